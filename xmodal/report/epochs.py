"""Epochs as they end: a line, metrics.jsonl, and TensorBoard's curves, while a run is under way."""

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from xmodal.core.files import write_text
from xmodal.core.formatting import printable
from xmodal.core.reading import read_regular

LINES = "metrics.jsonl"
MAX_BYTES = 2**28
# TensorBoard's folder -> what the quantities of an epoch begin with that it shows.
CURVES = {"train": "", "validation": "val_"}
# Seconds between lines of short epochs.
PAUSE = 1.0

# The stage and the number of an epoch -> its line of metrics.jsonl.
Epochs = dict[tuple[str, int], dict[str, Any]]
OnEpoch = Callable[[str, Mapping[str, float]], None]


class EpochWriter:
    """Tells of epochs as they end: a `Trainer` calls it.

    Args:
        folder: of the run. What an interrupted run told there stays.
        log: where lines go; of epochs that take less than a second each, one a second.
        also: is called with each stage and epoch too, None for nothing.

    Attributes:
        epochs: all that was told, by stage and number.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> write = EpochWriter(folder, print)
        >>> write("text head", {"epoch": 0, "loss": 0.5, "accuracy": 0.875, "seconds": 1.25})
        text head, epoch 1: loss 0.5, accuracy 87.5%, 1.2 s
        >>> (folder / "metrics.jsonl").read_text()
        '{"stage": "text head", "epoch": 0, "loss": 0.5, "accuracy": 0.875, "seconds": 1.25}\\n'
    """

    def __init__(self, folder: Path, log: Callable[[str], None], also: OnEpoch | None = None):
        self._folder, self._log, self._also = folder, log, also
        self._writers: dict[str, Any] = {}
        self._last = -PAUSE
        self.epochs = read_lines(folder)

    def __call__(self, stage: str, epoch: Mapping[str, float]) -> None:
        """Tells of an epoch.

        Args:
            stage: the name of the training.
            epoch: an entry of `History.epochs`.
        """
        number = int(epoch["epoch"])
        numbers = {name: float(value) for name, value in epoch.items()}
        self.epochs[stage, number] = {"stage": stage, **numbers, "epoch": number}
        write_lines(self.epochs, self._folder)
        for name, prefix in CURVES.items():
            self._write_curves(name, prefix, stage, epoch)
        if self._also:
            self._also(stage, epoch)
        if time.monotonic() - self._last >= PAUSE:
            self._last = time.monotonic()
            self._log(epoch_line(stage, epoch))

    def _write_curves(self, name: str, prefix: str, stage: str, epoch: Mapping[str, float]) -> None:
        import tensorflow as tf

        if name not in self._writers:
            self._writers[name] = tf.summary.create_file_writer(str(self._folder / "tensorboard" / name))
        with self._writers[name].as_default():
            write_scalars(stage, epoch, prefix)
            self._writers[name].flush()


def read_lines(folder: Path) -> Epochs:
    """Returns what the run told so far, or nothing where that is damaged: it is not needed to go on."""
    try:
        lines = [json.loads(line) for line in read_regular(folder / LINES, MAX_BYTES).splitlines()]
        return {(str(line["stage"]), int(line["epoch"])): dict(line) for line in lines}
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return {}


def write_scalars(stage: str, epoch: Mapping[str, float], prefix: str) -> None:
    """Writes loss and accuracy of an epoch to TensorBoard's default writer; the step is the epoch, from 0."""
    import tensorflow as tf

    for quantity in ("loss", "accuracy"):
        if prefix + quantity in epoch:
            tf.summary.scalar(f"{stage}/{quantity}", epoch[prefix + quantity], step=int(epoch["epoch"]))


def write_lines(epochs: Epochs, folder: Path) -> None:
    """Writes metrics.jsonl."""
    lines = (json.dumps(line, allow_nan=False) + "\n" for line in epochs.values())
    write_text(folder / LINES, "".join(lines))


def epoch_line(stage: str, epoch: Mapping[str, float]) -> str:
    """Returns a line about an epoch, such as "images, epoch 2: loss 0.12, accuracy 97.5%, 3.1 s"."""
    values = [
        f"{words} {epoch[name]:.1%}" if name.endswith("accuracy") else f"{words} {epoch[name]:.3g}"
        for name, words in (
            ("loss", "loss"),
            ("accuracy", "accuracy"),
            ("val_loss", "validation loss"),
            ("val_accuracy", "accuracy"),
        )
        if name in epoch
    ]
    return (
        f"{printable(stage)}, epoch {int(epoch['epoch']) + 1}: {', '.join(values)}, {epoch['seconds']:.1f} s"
    )
