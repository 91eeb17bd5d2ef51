"""A run for TensorBoard: curves, confusion matrix, calibration, pictures, sounds, HParams, flags."""

from __future__ import annotations

import errno
import hashlib
import os
import tempfile
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from xmodal.core.files import atomic_write
from xmodal.core.formatting import printable
from xmodal.report import figures
from xmodal.report.epochs import CURVES, write_scalars
from xmodal.report.records import GalleryItem, Run
from xmodal.report.tables import WIDEST, console_table
from xmodal.report.tensorboard.graph import served_graph
from xmodal.report.tensorboard.projector import write_points

if TYPE_CHECKING:
    from xmodal.evaluation.metrics import Result

# TensorBoard reads any file with "tfevents" in its name; a fixed name lets a later call replace it.
EVENTS = "events.out.tfevents.report"
# TensorBoard draws a curve of precision and recall for each of so many classes.
MAX_CURVES = 20


def write_tensorboard(run: Run, folder: Path, shown: Collection[tuple[str, int]] = ()) -> None:
    """Writes what TensorBoard shows of a run; a second call replaces what the first one wrote.

    Args:
        run: what to show.
        folder: gets one event file each in `results` (accuracies, confusion matrix, calibration, curves of
            precision and recall, pictures, HParams, flags, the graph of the export), `train` and
            `validation` (curves that TensorBoard lays over each other; step is the epoch, from 0);
            `results` gets the files of the Projector too.
        shown: stages and numbers of epochs that an `EpochWriter` has put there.
    """
    import tensorflow as tf
    from tensorboard.plugins.hparams import api as hparams

    flags = "\n".join(printable(line) for line in run.flags.splitlines())
    with _events(folder / "results"):
        hparams.hparams(flag_values(flags), trial_id=_trial(run))
        for name, result in run.results.items():
            tf.summary.scalar(f"test accuracy/{name}", result.accuracy, step=0)
            tf.summary.image(f"calibration/{name}", figures.calibration_pixels(result)[np.newaxis], step=0)
        if run.main_result:
            _write_headline(run.main_result)
        for plot in run.plots:
            tf.summary.image(f"plots/{plot.caption}", figures.lines_pixels(plot)[np.newaxis], step=0)
        for kind in dict.fromkeys(item.kind for item in run.gallery):
            pictures = np.stack([figures.add_caption(item) for item in run.gallery if item.kind == kind])
            tf.summary.image(f"pictures/{kind}", pictures, step=0, max_outputs=len(pictures))
            if run.noun == "sound":
                _write_sounds(f"sounds/{kind}", [item for item in run.gallery if item.kind == kind])
        tf.summary.text("flags", _code_block(flags), step=0)
        tf.summary.text("results", _code_block(console_table(run, WIDEST)), step=0)
        graph = served_graph(Path(str(run.facts.get("export", ""))) / "saved_model.pb")
        if graph is not None:
            tf.summary.graph(graph)
    if run.points is not None:
        write_points(run.points, folder / "results")
    new_epochs = [
        (history.stage, epoch)
        for history in run.histories
        for epoch in history.epochs
        if (history.stage, int(epoch["epoch"])) not in shown
    ]
    for name, prefix in CURVES.items():
        with _events(folder / name):
            for stage, epoch in new_epochs:
                write_scalars(stage, epoch, prefix)


def _write_sounds(tag: str, items: Sequence[GalleryItem]) -> None:
    """Writes what TensorBoard's page of sounds plays: the beginning of each, with its name and answer."""
    import tensorflow as tf

    from xmodal.data.sounds import CLIP_RATE, short_wav

    for number, item in enumerate(items, 1):
        samples = tf.audio.decode_wav(short_wav(item.original)).audio
        description = printable(f"{item.id}: {item.predicted}, {item.probability:.0%}")
        tf.summary.audio(f"{tag}/{number}", samples[None], CLIP_RATE, step=0, description=description)


def _write_headline(result: Result) -> None:
    import tensorflow as tf

    # Under names that all experiments share, so that the page of HParams compares them.
    tf.summary.scalar("headline/accuracy", result.accuracy, step=0)
    tf.summary.scalar("headline/log loss", result.log_loss, step=0)
    if result.confusion:
        tf.summary.image(f"confusion/{result.name}", figures.confusion(result)[np.newaxis], step=0)
    for number, class_name in enumerate(result.class_names[:MAX_CURVES]):
        tag = f"{result.name}/{printable(class_name)}"
        tf.summary.experimental.write_raw_pb(_precision_recall(tag, result, number), step=0)


def _trial(run: Run) -> str:
    """Returns what HParams calls a run: its folder, and what tells it from others in folders of that name."""
    folder = str(flag_values(run.flags).get("output_dir", run.experiment))
    identity = f"{run.flags}{run.seconds}".encode()
    return printable(f"{folder} {hashlib.sha256(identity).hexdigest()[:4]}")


def _precision_recall(tag: str, result: Result, number: int) -> bytes:
    """Returns the summary that TensorBoard's page of precision-recall curves reads, of one class."""
    from tensorboard.plugins.pr_curve import summary

    curves = result.precision_recall
    hits, misses = np.array(curves.true_positives[number]), np.array(curves.false_positives[number])
    positives = curves.positives[number]
    return summary.raw_data_pb(
        tag,
        true_positive_counts=hits,
        false_positive_counts=misses,
        true_negative_counts=result.n - positives - misses,
        false_negative_counts=positives - hits,
        precision=hits / np.maximum(hits + misses, 1),
        recall=hits / max(positives, 1),
        num_thresholds=len(curves.thresholds),
    ).SerializeToString()


def flag_values(flags: str) -> dict[str, bool | int | float | str]:
    """Reads the text of config.cfg back into values, without comments, repeated flags joined by ", "."""
    texts: dict[str, list[str]] = {}
    values: dict[str, bool | int | float | str] = {}
    lines = [line.strip() for line in flags.splitlines()]
    for line in [line for line in lines if line and not line.startswith("#")]:
        name, separator, value = line.removeprefix("--").partition("=")
        if separator:
            texts.setdefault(name, []).append(value)
        else:
            # absl writes --name and --noname for booleans only.
            values[name.removeprefix("no")] = not name.startswith("no")
    return values | {name: _number(", ".join(value)) for name, value in texts.items()}


def _number(value: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(value)
        except ValueError:
            continue
    return value


def _code_block(lines: str) -> str:
    # Indented, since a fence could be closed by the text itself.
    return "".join(f"    {line}\n" for line in lines.splitlines())


@contextmanager
def _events(folder: Path) -> Iterator[None]:
    import tensorflow as tf

    with tempfile.TemporaryDirectory() as temporary:
        writer = tf.summary.create_file_writer(temporary)
        with writer.as_default():
            yield
        writer.close()
        (event_file,) = Path(temporary).iterdir()
        require_whole(event_file)
        with atomic_write(folder / EVENTS) as file:
            file.write(event_file.read_bytes())


def require_whole(events: Path) -> None:
    """Raises an `OSError` for a file that was cut short: TensorFlow says nothing when the disk is full."""
    import tensorflow as tf

    try:
        for _ in tf.data.TFRecordDataset(str(events)):
            pass
    except tf.errors.DataLossError as error:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(events)) from error
