"""Texts and their classes from CSV, TSV and JSON Lines, and the decoding of any text."""

import codecs
import contextlib
import csv
import gzip
import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, NamedTuple

from xmodal.core.errors import UserError
from xmodal.data.shares import most_probable, parsed_shares, share_columns
from xmodal.data.sources import RawExamples
from xmodal.data.splits import Example, split_of, with_splits

# No document is longer; what is, is a file of another kind, and it would fill the memory.
MOST_BYTES = 16 * 2**20
TABLES = ("csv", "tsv", "jsonl")


@dataclass(frozen=True)
class Reading:
    """How files are decoded, and the names of their columns.

    Attributes:
        encoding: of the files.
        fallback: of files that are not in `encoding`, or None to refuse these.
        text: the column of a table or key of the text, or several with commas between them.
        label: the column, or key, of the class. Soft labels stand in columns LABEL:NAME instead, one for each
            class, or in JSON under this key, as an object.
        split: a column or key.
        image: the column of the paths of images, None for a table of documents. In a table of pairs a cell of
            the image or of the text may be empty, and a key missing.
    """

    encoding: str = "utf-8"
    fallback: str | None = None
    text: str = "text"
    label: str = "label"
    split: str = "split"
    image: str | None = None

    @property
    def content(self) -> tuple[str, ...]:
        """The columns of what an example consists of."""
        texts = tuple(self.text.split(","))
        return texts if self.image is None else (self.image, *texts)

    def text_of(self, cells: Mapping[str, str]) -> str:
        """Returns the text of a row: what its columns hold, with a space between them."""
        parts = [cells[name] for name in self.text.split(",")]
        return parts[0] if len(parts) == 1 else " ".join(filter(None, map(str.strip, parts)))


class Row(NamedTuple):
    """A row of a table: the number of its line, from 1 on, and what each of its columns holds.

    Of a soft label there are the shares of the classes.
    """

    line: int
    cells: dict[str, str]
    shares: dict[str, float] | None = None


def require_encodings(reading: Reading) -> None:
    """Refuses encodings that Python does not know, with a `UserError`."""
    for flag, name in (("encoding", reading.encoding), ("fallback_encoding", reading.fallback)):
        try:
            "".encode(name or "utf-8")
        except LookupError as error:
            raise UserError(f"`{flag}={name}` is not known", "utf-8, latin-1 and gb18030 are some") from error


def decoded(content: bytes, name: str, reading: Reading, fallen: list[str]) -> str:
    """Decodes a document.

    Args:
        content: its bytes.
        name: how messages name it.
        reading: the encodings.
        fallen: collects the names of those that needed the fallback.

    Raises:
        UserError: when it is in neither encoding.
    """
    try:
        return content.decode(_without_mark(reading.encoding))
    except UnicodeDecodeError as error:
        if not reading.fallback:
            raise _not_in(name, reading, error) from error
    try:
        text = content.decode(reading.fallback)
    except UnicodeDecodeError as error:
        raise _not_in(name, replace(reading, encoding=reading.fallback), error) from error
    fallen.append(name)
    return text


def _without_mark(encoding: str) -> str:
    """UTF-8 may begin with a byte order mark, which is no part of a text."""
    return "utf-8-sig" if codecs.lookup(encoding).name == "utf-8" else encoding


def _not_in(name: str, reading: Reading, error: UnicodeDecodeError) -> UserError:
    return UserError(
        f"{name!r} is not in {reading.encoding} (0x{error.object[error.start]:02x} does not fit there)",
        "save it in UTF-8, or give its encoding with `encoding` or `fallback_encoding`",
    )


def fallen_warning(fallen: Sequence[str], reading: Reading) -> tuple[str, ...]:
    """Returns a warning of the names that `decoded` collected, or nothing."""
    if not fallen:
        return ()
    return (
        f"files in {reading.fallback} and not in {reading.encoding}: {len(fallen)}, such as {fallen[0]!r}",
    )


def read_tables(kind: str, path: Path, reading: Reading) -> RawExamples:
    """Reads a table, or a folder with one for each split.

    Args:
        kind: one of `TABLES`.
        path: the file, with a column for the split or none, or the folder.
        reading: encodings and columns.

    Raises:
        UserError: when it is not there, not in its encoding, or not such a table.
    """
    if path.is_file():
        return _read_table(kind, path, "", reading)
    if not path.is_dir():
        raise UserError(f"the file {str(path)!r} does not exist", "check the path of `documents`")
    files = {file: split for file in sorted(path.glob(f"*.{kind}")) if (split := split_of(file.stem))}
    if "train" not in files.values():
        raise UserError(f"the folder {str(path)!r} holds no train.{kind}", "add it, or name one file")
    twice = [file.name for file, split in files.items() if list(files.values()).count(split) > 1]
    if twice:
        raise UserError(f"{str(path)!r} holds both {twice[0]!r} and {twice[1]!r}", "keep one of them")
    listings = [_read_table(kind, file, split, reading) for file, split in files.items()]
    return RawExamples(
        [example for listing in listings for example in listing.examples],
        warnings=tuple(warning for listing in listings for warning in listing.warnings),
    )


def _read_table(kind: str, path: Path, split: str, reading: Reading) -> RawExamples:
    """Reads a table, all of whose rows belong to `split`, or, when that is "", to the one that each names."""
    rows, warnings = read_rows(kind, path, reading)
    examples = [row_example(reading.text_of(row.cells), row, path, reading, split) for row in rows]
    examples, more = with_splits(examples, repr(str(path)))
    return RawExamples(examples, warnings=warnings + more)


def read_rows(kind: str, path: Path, reading: Reading) -> tuple[list[Row], tuple[str, ...]]:
    """Reads the rows of a table.

    Args:
        kind: one of `TABLES`.
        path: the file; one whose name ends in .gz is unpacked as it is read.
        reading: encodings and columns.

    Returns:
        The rows, with a cell for each column that `reading` names and the table has; and warnings.

    Raises:
        UserError: when it is not in its encoding, or not such a table.
    """
    try:
        return _rows_in(kind, path, reading), ()
    except UnicodeDecodeError as error:
        if not reading.fallback:
            raise _not_in(str(path), reading, error) from error
    fallback = replace(reading, encoding=reading.fallback)
    try:
        rows = _rows_in(kind, path, fallback)
    except UnicodeDecodeError as error:
        raise _not_in(str(path), fallback, error) from error
    return rows, fallen_warning([path.name], reading)


def row_example(item: str, row: Row, path: Path, reading: Reading, split: str = "") -> Example:
    """Returns the example of a row of a table.

    Args:
        item: its content.
        row: with a class, or shares of several.
        path: the table, for messages and names.
        reading: encodings and columns.
        split: its split; where this is "", the word in its own column, see `with_splits`.

    Raises:
        UserError: when it has no class.
    """
    where = _line(row.line, path)
    label = most_probable(row.shares) if row.shares else row.cells[reading.label].strip()
    if not label:
        raise UserError(f"{where} has no label in {reading.label!r}", "fill it in or remove the line")
    split = split or row.cells.get(reading.split, "train").strip()
    return Example(item, f"{path.name}:{row.line}", label, split, shares=row.shares)


def _line(number: int, path: Path) -> str:
    return f"line {number} of {str(path)!r}"


def _rows_in(kind: str, path: Path, reading: Reading) -> list[Row]:
    try:
        with _opened(path, _without_mark(reading.encoding)) as file:
            lines = _bounded_lines(path, file)
            if kind == "jsonl":
                return [
                    _json_row(line, path, number, reading)
                    for number, line in enumerate(lines, start=1)
                    if line.strip()
                ]
            with _long_fields():
                separator = "\t" if kind == "tsv" else ","
                table = csv.DictReader(lines, delimiter=separator, restval="", strict=True)
                return _separated_rows(table, path, reading)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise UserError(
            f"{str(path)!r} cannot be unpacked ({error})", "copy it anew, or unpack it"
        ) from error


def _opened(path: Path, encoding: str) -> IO[str]:
    opens = gzip.open if path.suffix == ".gz" else open
    return opens(path, "rt", newline="", encoding=encoding)


def _bounded_lines(path: Path, file: IO[str]) -> Iterator[str]:
    """Yields lines without ever holding one that is too long for a document."""
    while line := file.readline(MOST_BYTES):
        if len(line) == MOST_BYTES:
            raise _too_long(path)
        yield line


def _too_long(path: Path) -> UserError:
    return UserError(
        f"{str(path)!r} holds a row of more than {MOST_BYTES // 2**20} MB",
        "check that it is a table with a document a row",
    )


@contextlib.contextmanager
def _long_fields() -> Iterator[None]:
    """The csv module's own limit, 128 kB, is short for a document."""
    before = csv.field_size_limit(MOST_BYTES)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _separated_rows(table: csv.DictReader, path: Path, reading: Reading) -> list[Row]:
    try:
        found = table.fieldnames or ()
        classes = share_columns(found, reading.label, repr(str(path)))
        needed = reading.content if classes else (*reading.content, reading.label)
        missing = [name for name in needed if name not in found]
        if missing:
            flags = "`text_column` and `label_column`"
            raise UserError(
                f"{str(path)!r} has no column {missing[0]!r} among {', '.join(map(repr, found)) or 'none'}",
                f"name its columns with {flags if reading.image is None else f'`image_column`, {flags}'}",
            )
        rows = []
        for row in table:
            if None in row:
                raise UserError(
                    f"{_line(table.line_num, path)} has more fields than columns",
                    'put "quotes" around a text that holds the separator',
                )
            shares = parsed_shares(row, classes, _line(table.line_num, path)) if classes else None
            rows.append(Row(table.line_num, row, shares))
    except csv.Error as error:
        if "limit" in str(error):
            raise _too_long(path) from error
        raise UserError(
            f"{_line(table.line_num, path)} is not well formed ({error})",
            'put "quotes" around a text, and double those within it',
        ) from error
    return rows


def _json_row(line: str, path: Path, number: int, reading: Reading) -> Row:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{_line(number, path)} is not JSON", "write an object a line") from error
    if not isinstance(row, dict):
        raise UserError(f"{_line(number, path)} is no JSON object", "write an object a line")
    shares = _json_shares(row, reading.label, _line(number, path))
    cells = {}
    for name in (*reading.content, *(() if shares else (reading.label,)), reading.split):
        kinds = (str, int) if name == reading.label else (str,)
        value = row.get(name)
        if name == reading.split and name not in row:
            continue
        if value is None and reading.image is not None and name in reading.content:
            value = ""
        if value is None or isinstance(value, bool) or not isinstance(value, kinds):
            given = f"{name!r} is {type(value).__name__}" if name in row else f"there is no {name!r}"
            raise UserError(
                f"{_line(number, path)}: {given}",
                f"give {name!r} as {' or '.join({str: 'a string', int: 'a number'}[kind] for kind in kinds)}",
            )
        cells[name] = str(value)
    return Row(number, cells, shares)


def _json_shares(row: dict, label: str, where: str) -> dict[str, float] | None:
    """Returns the shares in the keys LABEL:NAME of a row, or in the object under LABEL, None for neither."""
    columns = share_columns(row, label, where)
    if isinstance(row.get(label), dict):
        row = {f"{label}:{name}": share for name, share in row[label].items()}
        columns = share_columns(row, label, where)
    return parsed_shares(row, columns, where) if columns else None
