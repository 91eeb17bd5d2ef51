"""One SavedModel with raw inputs: where it goes, and how it is written."""

import hashlib
import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import tensorflow as tf

from xmodal.core.files import new_folder, rename_folder
from xmodal.core.sums import sums_of, write_sums
from xmodal.export.served_documents import ServedDocuments
from xmodal.export.served_images import ServedImages
from xmodal.export.served_names import ServedNames
from xmodal.export.served_pairs import ServedPairs
from xmodal.export.warmup_requests import write_requests
from xmodal.training.checkpoint import Stage, State

# Other forms of an export, each in a folder beside its own.
FORMS = ("int8", "litert", "portable", "index", "generator")
# What is told about an export, as a run's facts.
ExportFacts = dict[str, float | int | str]
# What can be exported.
ServedModel = ServedImages | ServedDocuments | ServedNames | ServedPairs


def export_saved_model(served: ServedModel, folder: str | Path) -> Path:
    """Saves a model as the next version in a folder, the layout that TensorFlow Serving watches.

    The version stands under its number only when it is whole, with the sums of its files and requests that
    warm it up. `Predictor` reads it, and `tf.saved_model.load` where `tensorflow_text` is imported.

    Args:
        served: what is to answer, such as `ServedImages`.
        folder: of all versions; it is made where there is none.

    Returns:
        The folder of the version, <folder>/<version>; the first is 1.

    Raises:
        UserError: when the folder cannot be written.

    Example:
        >>> export_saved_model(served, "saved_models/photos")
        PosixPath('saved_models/photos/1')
    """
    return publish(Path(folder), partial(save, served))[0]


def save(served: ServedModel, folder: Path) -> None:
    """Saves a model, and requests that warm it up, in a folder that is there."""
    signatures = served.signatures()
    with _quiet_logger():
        tf.saved_model.save(served, str(folder), signatures=signatures)
    inputs = {name: [spec.name for spec in function.input_signature] for name, function in signatures.items()}
    write_requests({name: names for name, names in inputs.items() if names}, folder)


@contextmanager
def _quiet_logger() -> Iterator[None]:
    """Keeps TensorFlow from saying, in a notebook too, into which temporary folder it writes."""
    logger = tf.get_logger()
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def publish(
    folder: Path,
    write: Callable[[Path], None],
    check: Callable[[Path], ExportFacts] = lambda folder: {},
    stage: Stage | None = None,
    form: str = "",
) -> tuple[Path, ExportFacts]:
    """Gives a model the next version in a folder, the layout that TensorFlow Serving watches.

    It stands under its number only when it is whole and checked, with the sums of its files.

    Args:
        folder: such as saved_models/vgg_to_bert.
        write: fills a folder.
        check: tells about what was written, or raises.
        stage: remembers what was written and told. A run that goes on finds its own version by the content,
            and publishes no second one; what another run put there is left alone.
        form: the model's form, where it has no export of its own; see `form_folder`.

    Returns:
        The folder of the version, and what `check` told about it.
    """

    def place(version: Path) -> Path:
        return form_folder(version, form) if form else version

    checkpoint = stage.newest() if stage else None
    facts = checkpoint[0].facts if checkpoint else {}
    for version in _versions([place(folder / "1").parent]) if checkpoint else ():
        if facts.get("sha256") == _digest(version):
            return version, facts["told"]
    with new_folder(place(folder / "new")) as temporary:
        write(temporary)
        check_facts = check(temporary)
        write_sums(temporary)
        if stage:
            attempt = facts.get("attempt", 0) + 1
            state = {"sha256": _digest(temporary), "told": check_facts, "attempt": attempt}
            stage.save(attempt, State({}, state))
        # Another run may take a number first.
        while not rename_folder(temporary, version := place(next_version(folder))):
            pass
    return version, check_facts


def form_folder(exported: Path, form: str) -> Path:
    """Returns the folder of another form: saved_models/bert_news_int8/1 for saved_models/bert_news/1."""
    folder = exported.parent
    return folder.with_name(f"{folder.name}_{form}") / exported.name


def next_version(folder: Path) -> Path:
    """Returns the next version in a folder: a number belongs to one run, in all forms."""
    versions = _versions([folder, *(folder.with_name(f"{folder.name}_{form}") for form in FORMS)])
    return folder / str(max((int(path.name) for path in versions), default=0) + 1)


def _versions(folders: Iterable[Path]) -> list[Path]:
    return [path for folder in folders for path in folder.glob("*") if path.name.isdecimal()]


def _digest(folder: Path) -> str:
    """The SHA-256 of a version, whatever its card says."""
    return hashlib.sha256(sums_of(folder).encode()).hexdigest()
