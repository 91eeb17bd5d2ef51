"""Where pairs are read from: a table, or digits with written readings; a table may have sounds too."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from xmodal.core.errors import UserError
from xmodal.core.files import path_of
from xmodal.data.digit_readings import typed_captions
from xmodal.data.image_sources import grouped_by_content, load_digits
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
        misread, typing_slips: of the readings of mnist_5k, see `typed_captions`.
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
    return grouped_by_content(read(location, settings))


def _read_digits(location: str, settings: PairSettings) -> RawExamples:
    """Returns the digits of mnist_5k with written readings, see `typed_captions`."""
    examples = load_digits(settings.cache, settings.offline)
    digits = [int(example.class_name) for example in examples]
    texts = typed_captions(digits, misread=settings.misread, slips=settings.typing_slips, seed=settings.seed)
    named = zip((example.id for example in examples), texts, strict=True)
    return RawExamples(examples, texts=dict(named))


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
    written = [table_format.text_of(row.cells).strip().encode("utf-8", "replace").decode() for row in rows]
    # A text of which cleaning leaves nothing is none.
    cleaned, _ = prepare_texts(written, scrub=False)
    audible = any(table_format.audio in row.cells for row in rows)
    sounds: dict[str, str] = {}
    examples, texts, empty = [], {}, []
    for row, text, left in zip(rows, written, cleaned, strict=True):
        image = row.cells[table_format.image].strip()
        sound = row.cells[table_format.audio or ""].strip() if audible else ""
        if not image and not left and not sound:
            empty.append(row.line)
        item, heard = (
            str(path_beside(path, cell, image_folder)) if cell else NO_IMAGE for cell in (image, sound)
        )
        example = row_example(item, row, path, table_format)
        if heard and not image and not example.group:
            # As images are: what is the same sound comes into one split.
            example = example._replace(group=heard)
        examples.append(example)
        texts[example.id] = text if left else ""
        sounds |= {example.id: heard} if heard else {}
    if empty:
        sides = "neither an image, a text nor a sound" if audible else "neither an image nor a text"
        raise UserError(
            f"{len(empty)} of {len(rows)} pairs of {str(path)!r} have {sides}, the first in line {empty[0]}",
            "fill one of them in, or remove these lines",
        )
    examples, more = with_splits(examples, repr(str(path)))
    return RawExamples(examples, warnings=warnings + more, texts=texts, sounds=sounds if audible else None)


# How a source is written -> what reads it: place, settings -> the pairs.
PAIR_SOURCES: dict[str, Callable[[str, PairSettings], RawExamples]] = {
    "mnist_5k": _read_digits,
    **{f"{kind}:PATH": partial(_read_table, kind) for kind in TABLES},
}
