"""Rows of tables: the names of columns as they were asked for, and cells that have types."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from xmodal.core.errors import UserError
from xmodal.core.formatting import first_few, truncate
from xmodal.data.file_advice import ending_of
from xmodal.data.shares import parse_shares, share_columns
from xmodal.data.table_format import TableFormat
from xmodal.data.typed_tables import TYPED_TABLES


class Row(NamedTuple):
    """A row of a table: the number of its line, from 1 on, and what each of its columns holds.

    Of a soft label there are the shares of the classes.
    """

    line: int
    cells: dict[str, str]
    shares: dict[str, float] | None = None


def line_in(number: int, path: Path) -> str:
    """Returns how messages name a row of a table."""
    is_typed = path.is_dir() or ending_of(path).removeprefix(".") in TYPED_TABLES
    return f"{'row' if is_typed else 'line'} {number} of {str(path)!r}"


def as_asked(heading: Sequence[str], table_format: TableFormat) -> list[str]:
    """Returns a heading with the names as they were asked for, where it has capitals or blanks."""
    target_names = {
        name.casefold(): name
        for name in (
            *table_format.content,
            *table_format.label_columns,
            table_format.split,
            table_format.group,
            table_format.audio,
        )
        if name and name not in heading
    }
    names = [target_names.pop(name.strip().casefold(), name) for name in heading]
    prefix = f"{table_format.label}:".casefold()
    if not table_format.label:
        return names
    return [
        f"{table_format.label}:{name.strip()[len(prefix) :]}"
        if name.strip().casefold().startswith(prefix)
        else name
        for name in names
    ]


def named_columns(names: Sequence[str]) -> str:
    """Returns the names of columns for a message."""
    return first_few([repr(truncate(name, 60)) for name in names], 12) or "none"


def json_row(line: str, path: Path, number: int, table_format: TableFormat) -> Row:
    """Reads a line of JSON Lines, see `object_row`.

    Raises:
        UserError: when it is no object, or not such a row.
    """
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{line_in(number, path)} is not JSON", "write an object a line") from error
    if not isinstance(row, dict):
        raise UserError(f"{line_in(number, path)} is no JSON object", "write an object a line")
    return object_row(row, path, number, table_format)


def object_row(row: Mapping[str, Any], path: Path, number: int, table_format: TableFormat) -> Row:
    """Returns a row of cells that have types: texts are strings, and a label may be a number or a truth.

    Args:
        row: a cell by its column.
        path, number: of the table and of the row in it, from 1 on, for messages.
        table_format: the columns.

    Raises:
        UserError: when a column is missing, or holds what it must not.
    """
    row = dict(zip(as_asked(list(row), table_format), row.values(), strict=True))
    shares = _json_shares(row, table_format.label, line_in(number, path))
    labels = () if shares else table_format.label_columns
    names = (*table_format.content, *labels, table_format.split, table_format.group)
    # What is not read stays as it is shown, for who asks for answers beside it.
    cells = {name: _display(value) for name, value in row.items() if name not in names}
    for name in filter(None, names):
        if name == table_format.split and row.get(name) is None:
            # A row without a split, as a blank cell is one, where the table has the column.
            cells |= {name: ""} if name in row else {}
            continue
        cells[name] = _cell(row, name, line_in(number, path), table_format)
    return Row(number, {name: cells[name] for name in row if name in cells} | cells, shares)


def _cell(row: Mapping[str, Any], name: str, where: str, table_format: TableFormat) -> str:
    kinds = (str, int, float) if name in (*table_format.label_columns, table_format.group) else (str,)
    value = row.get(name)
    if table_format.several and name in table_format.label_columns and name in row:
        # A list of labels, as JSON and Parquet have it, or none.
        value = "" if value is None else value
        value = table_format.several.join(map(str, value)) if isinstance(value, list) else value
    # A text that is missing is an empty one, as in a CSV; of a pair one side may have no key.
    if value is None and name in table_format.content and (name in row or table_format.image is not None):
        return ""
    # What pandas has in the place of a label that is missing.
    if value != value:
        value = None
    if value is None or not isinstance(value, kinds):
        value_text = "empty" if value is None else type(value).__name__
        missing = f"there is no {name!r} among {named_columns(list(row))}"
        raise UserError(
            f"{where}: {f'{name!r} is {value_text}' if name in row else missing}",
            f"give {name!r} as a string{' or a number' if len(kinds) > 1 else ''}",
        )
    # Programs that know no missing integers write 1.0 for 1.
    return str(int(value) if isinstance(value, float) and value.is_integer() else value)


def _display(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=_display_other)


def _display_other(value: Any) -> str | None:
    # Dates and the like; the bytes of pictures are not to be read.
    return None if isinstance(value, bytes) else str(value)


def _json_shares(row: Mapping[str, Any], label: str, where: str) -> dict[str, float] | None:
    """Returns the shares in the keys LABEL:NAME of a row, or in the object under LABEL, None for neither."""
    columns = share_columns(row, label, where)
    if isinstance(row.get(label), dict):
        row = {f"{label}:{name}": share for name, share in row[label].items()}
        columns = share_columns(row, label, where)
    return parse_shares(row, columns, where) if columns else None
