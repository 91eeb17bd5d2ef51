"""Where pairs are read from: a table, or digits with written readings; a table may have sounds too."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from xmodal.core.errors import UserError
from xmodal.core.files import path_of
from xmodal.data.digit_readings import write_readings
from xmodal.data.image_sources import group_by_content, load_digits
from xmodal.data.sources import RawExamples, permission_errors, source_reader
from xmodal.data.split_names import with_splits
from xmodal.data.table_format import TableFormat
from xmodal.data.tables import TABLES, path_beside, read_rows, row_example
from xmodal.text.cleaning import prepare_texts

# What a pair without an image has in its place.
NO_IMAGE = ""


@dataclass(frozen=True)
class PairSettings:
    """How pairs are read.

    Attributes:
        table_format: encodings and columns.
        cache: folder of downloaded data.
        offline: reach for nothing.
        image_folder: what the paths of images and sounds are relative to, by default the table's own folder.
        misread, typing_slips: of the readings of mnist_5k, see `write_readings`.
        seed: of these readings.
    """

    table_format: TableFormat
    cache: Path
    offline: bool = False
    image_folder: Path | None = None
    misread: float = 0.15
    typing_slips: float = 0.05
    seed: int = 0


@permission_errors()
def read_pairs(source: str, settings: PairSettings) -> RawExamples:
    """Lists what `load_pairs` splits: the pairs of a source as they came.

    Raises:
        UserError: for a source that is not known, or not there, or a pair without both sides.
    """
    read, location = source_reader(PAIR_SOURCES, source, "pairs")
    return group_by_content(read(location, settings))


def _read_digits(location: str, settings: PairSettings) -> RawExamples:
    """Returns the digits of mnist_5k with written readings, see `write_readings`."""
    examples = load_digits(settings.cache, settings.offline)
    digits = [int(example.class_name) for example in examples]
    texts = write_readings(digits, misread=settings.misread, slips=settings.typing_slips, seed=settings.seed)
    id_texts = zip((example.id for example in examples), texts, strict=True)
    return RawExamples(examples, texts=dict(id_texts))


def _read_table(kind: str, location: str, settings: PairSettings) -> RawExamples:
    table_format, image_folder = settings.table_format, settings.image_folder
    path = path_of(location)
    if not path.is_file():
        raise UserError(f"the file {str(path)!r} does not exist", "check the path of `pairs`")
    if image_folder and not image_folder.is_dir():
        raise UserError(f"`image_folder={image_folder}` is no folder", "give the one that the paths start in")
    rows, warnings = read_rows(kind, path, table_format)
    assert table_format.image is not None
    # JSON may hold halves of surrogate pairs, which no tensor takes.
    row_texts = [table_format.text_of(row.cells).strip().encode("utf-8", "replace").decode() for row in rows]
    # A text of which cleaning leaves nothing is none.
    cleaned_texts, _ = prepare_texts(row_texts, scrub=False)
    has_audio = any(table_format.audio in row.cells for row in rows)
    sounds: dict[str, str] = {}
    examples, texts, empty_lines = [], {}, []
    for row, text, cleaned_text in zip(rows, row_texts, cleaned_texts, strict=True):
        image = row.cells[table_format.image].strip()
        sound = row.cells[table_format.audio or ""].strip() if has_audio else ""
        if not image and not cleaned_text and not sound:
            empty_lines.append(row.line)
        item, sound_path = (
            str(path_beside(path, cell, image_folder)) if cell else NO_IMAGE for cell in (image, sound)
        )
        example = row_example(item, row, path, table_format)
        if sound_path and not image and not example.group:
            # As images are: what is the same sound comes into one split.
            example = example._replace(group=sound_path)
        examples.append(example)
        texts[example.id] = text if cleaned_text else ""
        sounds |= {example.id: sound_path} if sound_path else {}
    if empty_lines:
        sides = "neither an image, a text nor a sound" if has_audio else "neither an image nor a text"
        raise UserError(
            f"{len(empty_lines)} of {len(rows)} pairs of {str(path)!r} have {sides}, "
            f"the first in line {empty_lines[0]}",
            "fill one of them in, or remove these lines",
        )
    examples, split_warnings = with_splits(examples, repr(str(path)))
    return RawExamples(
        examples, warnings=warnings + split_warnings, texts=texts, sounds=sounds if has_audio else None
    )


# How a source is written -> what reads it: place, settings -> the pairs.
PAIR_SOURCES: dict[str, Callable[[str, PairSettings], RawExamples]] = {
    "mnist_5k": _read_digits,
    **{f"{kind}:PATH": partial(_read_table, kind) for kind in TABLES},
}
