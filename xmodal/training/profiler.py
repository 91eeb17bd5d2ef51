"""Traces of a few training steps, for the profiler page of TensorBoard."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import tensorflow as tf


class StepTrace:
    """Traces some steps of a training; a context, at whose end nothing is traced any more.

    Args:
        steps: the first one and the last one, from 1 on; empty traces nothing.
        folder: where to.
        stage: what the training is called. Its folder in that one gets
            `plugins/profile/<time>/<host>.xplane.pb`, where TensorBoard looks for it; a training that ends
            before the first of the steps leaves nothing.
    """

    def __init__(self, steps: Sequence[int], folder: Path, stage: str):
        self._steps = steps
        self._folder = folder / re.sub(r"[^\w.-]+", "_", stage)
        self._on = False

    @contextmanager
    def step(self, number: int, count: int = 1) -> Iterator[None]:
        """Surrounds `count` steps that are taken at once, of which the first one is `number`, from 1 on."""
        first, last = self._steps or (0, 0)
        if not self._steps or number > last or number + count <= first:
            yield
            return
        if not self._on:
            tf.profiler.experimental.start(str(self._folder))
            self._on = True
        # By this the profiler tells steps apart.
        with tf.profiler.experimental.Trace("train", step_num=number, _r=1):
            yield
        if number + count > last:
            self._stop()

    def __enter__(self) -> "StepTrace":
        return self

    def __exit__(self, *_) -> None:
        self._stop()

    def _stop(self) -> None:
        if self._on:
            self._on = False
            tf.profiler.experimental.stop()
