"""Texts and their classes from tables: CSV, TSV, JSON Lines, and those of `typed_tables`."""

import contextlib
import csv
import gzip
import itertools
import re
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO

from xmodal.core.errors import UserError
from xmodal.core.formatting import first_few
from xmodal.data.examples import Example
from xmodal.data.shares import most_probable, parse_shares, share_columns
from xmodal.data.sources import RawExamples
from xmodal.data.split_files import split_files
from xmodal.data.split_names import with_splits
from xmodal.data.table_format import (
    SEPARATORS,
    TableFormat,
    fallen_warning,
    not_in,
    require_mark,
    without_mark,
)
from xmodal.data.table_rows import Row, as_asked, json_row, line_in, named_columns, object_row
from xmodal.data.typed_tables import TYPED_TABLES, typed_rows
from xmodal.data.unpacked import limit_rows

# No document is longer; what is, is a file of another kind, and it would fill the memory.
MAX_BYTES = 16 * 2**20
# A line of these alone is a blank one.
BLANKS = ' ",;|\t\r\n'
TABLES = ("csv", "tsv", "jsonl", *TYPED_TABLES)


def read_tables(kind: str, path: Path, table_format: TableFormat) -> RawExamples:
    """Reads a table, or a folder with one for each split.

    Args:
        kind: one of `TABLES`.
        path: the file, with a column for the split or none, or the folder.
        table_format: encodings and columns.

    Raises:
        UserError: when it is not there, not in its encoding, or not such a table.
    """
    if path.is_file() or (kind == "arrow" and any(path.glob("*.arrow"))):
        return _read_table(kind, path, "", table_format)
    files = split_files(kind, path, "documents")
    listings = [_read_table(kind, file, split, table_format) for file, split in files.items()]
    return RawExamples(
        [example for listing in listings for example in listing.examples],
        warnings=tuple(warning for listing in listings for warning in listing.warnings),
    )


def _read_table(kind: str, path: Path, split: str, table_format: TableFormat) -> RawExamples:
    """Reads a table, all of whose rows belong to `split`, or, when that is "", to the one that each names."""
    rows, warnings = read_rows(kind, path, table_format)
    examples = [row_example(table_format.text_of(row.cells), row, path, table_format, split) for row in rows]
    examples, split_warnings = with_splits(examples, repr(str(path)))
    return RawExamples(examples, warnings=warnings + split_warnings)


def read_rows(kind: str, path: Path, table_format: TableFormat) -> tuple[list[Row], tuple[str, ...]]:
    """Reads the rows of a table.

    Args:
        kind: one of `TABLES`.
        path: the file; one whose name ends in .gz is unpacked as it is read.
        table_format: encodings and columns.

    Returns:
        The rows, with a cell for each column that `table_format` names and the table has; and warnings.

    Raises:
        UserError: when it is not in its encoding, or not such a table.
    """
    try:
        return _rows_in(kind, path, table_format)
    except UnicodeError as error:
        if not table_format.fallback:
            raise not_in(str(path), table_format, error) from error
    fallback = replace(table_format, encoding=table_format.fallback)
    try:
        rows, warnings = _rows_in(kind, path, fallback)
    except UnicodeError as error:
        raise not_in(str(path), fallback, error) from error
    return rows, warnings + fallen_warning([path.name], table_format)


def read_header(kind: str, path: Path, table_format: TableFormat) -> list[str]:
    """Returns the names of the columns of a CSV or TSV; nothing of one that is not in its encoding."""
    try:
        with _open_text(path, without_mark(table_format.encoding)) as file:
            _, heading = _heading_line(_bounded_lines(path, file))
    except (UnicodeError, gzip.BadGzipFile, EOFError, zlib.error):
        return []
    separator = _separator(kind, heading, table_format)
    return as_asked(next(csv.reader([heading.rstrip("\r\n")], delimiter=separator), []), table_format)


def path_beside(table: Path, cell: str, folder: Path | None = None) -> Path:
    """Returns the file that a cell of a table names, beside the table or in a folder; Windows writes a\\b."""
    folder = table.parent if folder is None else folder
    path = folder / cell
    return folder / cell.replace("\\", "/") if "\\" in cell and not path.exists() else path


def row_example(item: str, row: Row, path: Path, table_format: TableFormat, split: str = "") -> Example:
    """Returns the example of a row of a table.

    Args:
        item: its content.
        row: with a class, or shares of several.
        path: the table, for messages and names.
        table_format: encodings and columns.
        split: its split; where this is "", the word in its own column, see `with_splits`.

    Raises:
        UserError: when it has no class.
    """
    where = line_in(row.line, path)
    label = most_probable(row.shares) if row.shares else table_format.label_of(row.cells, where)
    if not label and not table_format.several:
        raise UserError(f"{where} has no label in {table_format.label!r}", "fill it in or remove the line")
    split = split or row.cells.get(table_format.split, "train").strip()
    group = f"{path}/{row.cells[table_format.group]}" if row.cells.get(table_format.group) else ""
    return Example(item, f"{path.name}:{row.line}", label, split, shares=row.shares, group=group)


def _rows_in(kind: str, path: Path, table_format: TableFormat) -> tuple[list[Row], tuple[str, ...]]:
    if kind in TYPED_TABLES:
        numbered_rows = enumerate(typed_rows(kind, path, without_mark(table_format.encoding)), 1)
        return [object_row(row, path, number, table_format) for number, row in numbered_rows], ()
    try:
        with _opener(path)(path, "rb") as binary_file:
            require_mark(binary_file.read(4), table_format.encoding)
        with _open_text(path, without_mark(table_format.encoding)) as file:
            lines = _bounded_lines(path, file)
            if kind == "jsonl":
                rows = [
                    json_row(line, path, number, table_format)
                    for number, line in enumerate(lines, start=1)
                    if line.strip()
                ]
                return rows, ()
            with _long_fields():
                blank_count, heading = _heading_line(lines)
                is_unquoted = kind == "tsv" and not table_format.quoting
                separator = _separator(kind, heading, table_format)
                all_lines = itertools.chain("\n" * blank_count, [heading], lines)
                table = csv.DictReader(
                    all_lines,
                    delimiter=separator,
                    quoting=csv.QUOTE_NONE if is_unquoted else csv.QUOTE_MINIMAL,
                    restval="",
                    strict=True,
                )
                return _separated_rows(table, path, table_format)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise UserError(
            f"{str(path)!r} cannot be unpacked ({error})", "copy it anew, or unpack it"
        ) from error
    except OSError as error:
        # What goes wrong in the midst of a file comes without its name.
        error.filename = error.filename or str(path)
        raise


def _open_text(path: Path, encoding: str) -> IO[str]:
    return _opener(path)(path, "rt", newline="", encoding=encoding)


def _opener(path: Path) -> Callable[..., IO]:
    return gzip.open if path.suffix == ".gz" else open


def _bounded_lines(path: Path, file: IO[str]) -> Iterator[str]:
    """Yields lines without ever holding one that is too long; those of a packed file are in proportion."""

    def lines() -> Iterator[str]:
        while line := file.readline(MAX_BYTES):
            if len(line) == MAX_BYTES:
                raise _too_long(path)
            yield line

    return limit_rows(lines(), path, len) if path.suffix == ".gz" else lines()


def _heading_line(lines: Iterator[str]) -> tuple[int, str]:
    """Returns how many lines stand before the names of the columns, and the line with these.

    Before it there may be blank lines, and one such as "sep=;", by which Excel knows the separator.
    """
    for number, line in enumerate(lines):
        if line.strip(BLANKS) and not re.fullmatch(r'"?sep=.?"?\s*', line):
            return number, line
    return 0, ""


def _separator(kind: str, heading: str, table_format: TableFormat) -> str:
    """Returns what stands between columns: the first usual one with which the heading has those needed."""
    usual_separator = "\t" if kind == "tsv" else ","
    if table_format.separator != "auto":
        return {"tab": "\t", "\\t": "\t"}.get(table_format.separator, table_format.separator)
    for separator in (usual_separator, *SEPARATORS):
        names = next(csv.reader([heading.rstrip("\r\n")], delimiter=separator), [])
        if set(table_format.content) <= set(as_asked(names, table_format)):
            return separator
    return usual_separator


def _too_long(path: Path) -> UserError:
    return UserError(
        f"{str(path)!r} holds a row of more than {MAX_BYTES // 2**20} MB",
        "check that it is a table with a document a row",
    )


@contextlib.contextmanager
def _long_fields() -> Iterator[None]:
    """The csv module's own limit, 128 kB, is short for a document."""
    limit = csv.field_size_limit(MAX_BYTES)
    try:
        yield
    finally:
        csv.field_size_limit(limit)


def _separated_rows(
    table: csv.DictReader, path: Path, table_format: TableFormat
) -> tuple[list[Row], tuple[str, ...]]:
    rows: list[Row] = []
    line_ranges: list[str] = []
    start = 1
    try:
        classes = _heading(table, path, table_format)
        start = table.line_num + 1
        for row in table:
            if None in row:
                raise UserError(
                    f"{line_in(table.line_num, path)} has more fields than columns",
                    'put "quotes" around a text that holds the separator',
                )
            # Blank lines belong to no row.
            lines = sum(value.count("\n") + value.count("\r") - value.count("\r\n") for value in row.values())
            if lines:
                line_ranges.append(f"lines {table.line_num - lines} to {table.line_num}")
            shares = parse_shares(row, classes, line_in(table.line_num, path)) if classes else None
            rows.append(Row(table.line_num, row, shares))
            start = table.line_num + 1
    except csv.Error as error:
        if "limit" in str(error):
            raise _too_long(path) from error
        where = line_in(start, path)
        if table.reader.line_num > start:
            where = f"{line_in(start, path)} begins a row that is read up to line {table.reader.line_num} and"
        raise UserError(
            f"{where} is not well formed ({error})", 'put "quotes" around a text, and double those within it'
        ) from error
    return rows, (*_several_lines(line_ranges, path), *_quoted_texts(rows, table, path, table_format))


def _heading(table: csv.DictReader, path: Path, table_format: TableFormat) -> dict[str, str]:
    """Reads the names of the columns; returns those that hold shares of classes."""
    # Blank lines may stand before the heading.
    heading = next((names for names in table.reader if any(map(str.strip, names))), [])
    columns = table.fieldnames = as_asked(heading, table_format)
    table.line_num = table.reader.line_num
    classes = share_columns(columns, table_format.label, repr(str(path)))
    group_columns = (table_format.group,) if table_format.group else ()
    needed_columns = (
        (*table_format.content, *group_columns)
        if classes
        else (*table_format.content, *group_columns, *table_format.label_columns)
    )
    missing_columns = [name for name in needed_columns if name not in columns]
    if missing_columns:
        flags = "`text_column` and `label_column`"
        if table_format.image is not None:
            flags = f"`image_column`, {flags}"
        if missing_columns[0] == table_format.group:
            flags = "`group_column`"
        remedy = f"name its columns with {flags}, what stands between them with `separator`"
        if table_format.content in (("image",), ("audio",), ("video",)):
            column = table_format.content[0]
            remedy = f"its first line must name the columns {column},label and, optionally, split"
        raise UserError(
            f"{str(path)!r} has no column {missing_columns[0]!r} among {named_columns(columns)}",
            remedy,
        )
    return classes


def _several_lines(line_ranges: Sequence[str], path: Path) -> tuple[str, ...]:
    """Warns of texts over several lines: a quote that nobody closed swallows what follows."""
    if not line_ranges:
        return ()
    return (f"rows of {path.name!r} that go over several lines, by their quotes: {first_few(line_ranges)}",)


def _quoted_texts(
    rows: Sequence[Row], table: csv.DictReader, path: Path, table_format: TableFormat
) -> tuple[str, ...]:
    """Warns of quotes that stand around texts, where they were read as a part of these."""
    if table.reader.dialect.quoting != csv.QUOTE_NONE:
        return ()
    names = table_format.content
    quoted_lines = [
        str(row.line)
        for row in rows
        if any(
            len(row.cells[name]) > 1 and row.cells[name][0] == row.cells[name][-1] == '"' for name in names
        )
    ]
    if not quoted_lines:
        return ()
    return (
        f'texts of {path.name!r} in "quotes", which were read with them (`quoting` reads them without): '
        f"{len(quoted_lines)}, in line {first_few(quoted_lines)}",
    )
