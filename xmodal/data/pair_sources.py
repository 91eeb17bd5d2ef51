"""Where pairs are read from: a table, or digits with written readings."""

from pathlib import Path
from typing import NamedTuple

from xmodal.core.errors import UserError, nearest
from xmodal.core.files import path_of
from xmodal.data.digit_readings import typed_readings
from xmodal.data.image_sources import load_digits
from xmodal.data.splits import Example
from xmodal.data.tables import TABLES, Reading, read_rows, row_example

# What a pair without an image has in its place.
NO_IMAGE = ""


class RawPairs(NamedTuple):
    """Pairs as they came: examples whose items are the images, and the text of each by its id."""

    examples: list[Example]
    texts: dict[str, str]
    in_memory: bool
    warnings: tuple[str, ...] = ()


def digits_with_readings(cache: Path, offline: bool, misread: float, slips: float, seed: int) -> RawPairs:
    """Returns the digits of mnist_5k with written readings, see `typed_readings`."""
    examples = load_digits(cache, offline)
    digits = [int(example.class_name) for example in examples]
    texts = typed_readings(digits, misread=misread, slips=slips, seed=seed)
    return RawPairs(examples, dict(zip((example.id for example in examples), texts, strict=True)), True)


def read_pair_table(source: str, reading: Reading, image_folder: Path | None) -> RawPairs:
    """Reads the pairs of a table.

    Raises:
        UserError: for a source that is not known, or not there, or a pair without both sides.
    """
    kind, _, place = source.partition(":")
    if kind not in TABLES or not place:
        raise _unknown(source, kind)
    path = path_of(place)
    if not path.is_file():
        raise UserError(f"the file {str(path)!r} does not exist", "check the path of --pairs")
    if image_folder and not image_folder.is_dir():
        raise UserError(f"--image_folder={image_folder} is no folder", "give the one that the paths start in")
    folder = path.parent if image_folder is None else image_folder
    try:
        rows, warnings = read_rows(kind, path, reading)
    except PermissionError as error:
        raise UserError(
            f"{str(error.filename)!r} cannot be read ({error.strerror})", "allow reading it"
        ) from error
    assert reading.image is not None
    examples, texts, empty = [], {}, []
    for row in rows:
        image, text = row.cells[reading.image].strip(), reading.text_of(row.cells).strip()
        if not image and not text:
            empty.append(row.line)
        item = str(folder / image) if image else NO_IMAGE
        example = row_example(item, row, path, reading)
        examples.append(example)
        # JSON may hold halves of surrogate pairs, which no tensor takes.
        texts[example.id] = text.encode("utf-8", "replace").decode()
    if empty:
        raise UserError(
            f"{len(empty)} of {len(rows)} pairs of {str(path)!r} have neither an image nor a text, the first "
            f"in line {empty[0]}",
            "fill one of them in, or remove these lines",
        )
    return RawPairs(examples, texts, False, warnings)


def _unknown(source: str, kind: str) -> UserError:
    forms = {"mnist_5k": "mnist_5k"} | {name: f"{name}:PATH" for name in TABLES}
    if path_of(source).is_file():
        suffixes = [suffix.removeprefix(".") for suffix in Path(source).suffixes if suffix != ".gz"]
        if suffixes and suffixes[-1] in TABLES:
            remedy = f"did you mean '{suffixes[-1]}:{source}'?"
            return UserError(f"--pairs={source!r} does not say what it is", remedy)
    if kind in TABLES:
        return UserError(f"--pairs={source!r} is not complete", f"write it as {forms[kind]}")
    return UserError(
        f"unknown --pairs={source!r} (there are {', '.join(forms.values())})", nearest(kind, forms)
    )
