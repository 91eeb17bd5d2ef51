"""Traces of a few training steps, for the profiler page of TensorBoard."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import tensorflow as tf

from xmodal.config.training import TracedSteps


class StepTrace:
    """Traces some steps of a training; a context, at whose end nothing is traced any more.

    Args:
        steps: which ones, and a folder; None traces nothing.
        stage: what the training is called. Its folder in that one gets
            `plugins/profile/<time>/<host>.xplane.pb`, where TensorBoard looks for it; a training that ends
            before the first of the steps leaves nothing.
    """

    def __init__(self, steps: TracedSteps | None, stage: str):
        self._steps = steps
        self._stage = re.sub(r"[^\w.-]+", "_", stage)
        self._on = False

    @contextmanager
    def step(self, number: int, count: int = 1) -> Iterator[None]:
        """Surrounds `count` steps that are taken at once, of which the first one is `number`, from 1 on."""
        steps = self._steps
        if steps is None or number > steps.last or number + count <= steps.first:
            yield
            return
        if not self._on:
            tf.profiler.experimental.start(str(steps.folder / self._stage))
            self._on = True
        # By this the profiler tells steps apart.
        with tf.profiler.experimental.Trace("train", step_num=number, _r=1):
            yield
        if number + count > steps.last:
            self._stop()

    def __enter__(self) -> "StepTrace":
        return self

    def __exit__(self, *_) -> None:
        self._stop()

    def _stop(self) -> None:
        if self._on:
            self._on = False
            tf.profiler.experimental.stop()
