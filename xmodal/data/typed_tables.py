"""Tables whose cells have types: JSON, Parquet, Arrow (as Hugging Face `datasets` saves it) and Excel."""

import gzip
import io
import json
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from xmodal.core.errors import UserError
from xmodal.core.formatting import truncate
from xmodal.core.reading import read_regular
from xmodal.data.unpacked import limit_rows, most_bytes, out_of_proportion

MAX_BYTES = 2**30
# Of a packed table.
ROWS_AT_ONCE = 256
# What a file of a kind is called in messages.
NAMES = {"json": "JSON", "parquet": "Parquet", "arrow": "Arrow", "xlsx": "Excel"}

ArrayShards = Iterator[Mapping[str, Any]]


def typed_rows(kind: str, path: Path, encoding: str = "utf-8") -> ArrayShards:
    """Yields the rows of a table, each a cell by its column.

    A number that stands for a class, as Hugging Face `datasets` keeps one, becomes the name of the class.

    Args:
        kind: one of `TYPED_TABLES`.
        path: the file; of "arrow" also a folder with the files of a data set.
        encoding: of JSON.

    Raises:
        UserError: when it is not such a table, unpacks to more than it may; for Excel also without
            the package openpyxl.
        UnicodeDecodeError: when JSON is not in its encoding.
    """
    rows = TYPED_TABLES[kind](path, encoding)
    try:
        yield from rows if kind == "json" else limit_rows(rows, path, _bytes_of)
    except (UserError, UnicodeError, PermissionError):
        raise
    # What the libraries say of damaged files may be anything.
    except Exception as error:
        reason = truncate(" ".join(str(error).split()), 200) or type(error).__name__
        raise UserError(
            f"{str(path)!r} cannot be read as {NAMES[kind]} ({reason})", "check the file, or save it anew"
        ) from error


def columns_of(kind: str, path: Path) -> list[str]:
    """Returns the names of the columns, as the first row has them."""
    return list(next(typed_rows(kind, path), {}))


def _bytes_of(row: Mapping[str, Any]) -> int:
    """Returns what a row takes in memory, about: what its texts, its bytes and those of its parts do."""
    return sum(_bytes_of(cell) if isinstance(cell, Mapping) else _length(cell) for cell in row.values())


def _length(cell: Any) -> int:
    return len(cell) if isinstance(cell, str | bytes | list) else 8


def _json_rows(path: Path, encoding: str) -> ArrayShards:
    content = read_regular(path, MAX_BYTES)
    if path.suffix == ".gz":
        limit = min(MAX_BYTES, most_bytes(path))
        with gzip.GzipFile(fileobj=io.BytesIO(content)) as file:
            content = file.read(limit + 1)
        if len(content) > limit:
            raise out_of_proportion(path)
    rows = json.loads(content.decode(encoding))
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise UserError(
            f"{str(path)!r} is no JSON array of objects", "write one, or an object a line and name it .jsonl"
        )
    yield from rows


def _parquet_rows(path: Path, encoding: str) -> ArrayShards:
    from pyarrow import parquet

    with parquet.ParquetFile(path) as file:
        names = _class_names(file.schema_arrow.metadata)
        for batch in file.iter_batches(ROWS_AT_ONCE):
            yield from (_with_names(row, names) for row in batch.to_pylist())


def _arrow_rows(path: Path, encoding: str) -> ArrayShards:
    import pyarrow

    for file in sorted(path.glob("*.arrow")) if path.is_dir() else [path]:
        with pyarrow.OSFile(str(file)) as source:
            # Data sets are saved as streams, and other programs write files.
            is_stream = source.read(6) != b"ARROW1"
            source.seek(0)
            reader = pyarrow.ipc.open_stream(source) if is_stream else pyarrow.ipc.open_file(source)
            names = _class_names(reader.schema.metadata)
            batches = reader if is_stream else map(reader.get_batch, range(reader.num_record_batches))
            for batch in batches:
                for start in range(0, batch.num_rows, ROWS_AT_ONCE):
                    rows = batch.slice(start, ROWS_AT_ONCE).to_pylist()
                    yield from (_with_names(row, names) for row in rows)


def _class_names(metadata: Mapping[bytes, bytes] | None) -> dict[str, list[str]]:
    """Returns the names of the classes of columns that hold their numbers, or lists of them."""
    features = json.loads((metadata or {}).get(b"huggingface", b"{}")).get("info", {}).get("features", {})
    item_features = {name: feature.get("feature") or feature for name, feature in features.items()}
    return {name: feature["names"] for name, feature in item_features.items() if "names" in feature}


def _with_names(row: dict[str, Any], names: Mapping[str, list[str]]) -> dict[str, Any]:
    return row | {name: _to_class_name(row[name], classes) for name, classes in names.items()}


def _to_class_name(value: Any, classes: list[str]) -> Any:
    if isinstance(value, list):
        return [_to_class_name(item, classes) for item in value]
    # A test set without labels has -1 in their place.
    return value if value is None or value < 0 else classes[value]


def _excel_rows(path: Path, encoding: str) -> ArrayShards:
    try:
        from openpyxl import load_workbook
    except ImportError as error:
        raise UserError(
            f"{str(path)!r} needs the package openpyxl ({error})",
            "pip install -c constraints.txt -e '.[excel]', or save it as CSV in UTF-8",
        ) from error
    # The library reads all texts at once.
    with zipfile.ZipFile(path) as archive:
        if sum(part.file_size for part in archive.infolist()) > most_bytes(path):
            raise out_of_proportion(path)
    workbook = load_workbook(path, read_only=True, data_only=True)
    try:
        rows = workbook.worksheets[0].iter_rows(values_only=True)
        head = [str(name) for name in next(rows, ()) if name is not None]
        for row in rows:
            if any(cell is not None for cell in row):
                yield dict(zip(head, map(_cell, row), strict=False))
    finally:
        workbook.close()


def _cell(value: Any) -> str:
    """Returns what a cell shows: Excel has no integers, and text that looks like a number is one."""
    if value is None:
        return ""
    return str(int(value) if isinstance(value, float) and value.is_integer() else value)


# The kind of a table -> what reads a file and its encoding.
TYPED_TABLES: dict[str, Callable[[Path, str], ArrayShards]] = {
    "json": _json_rows,
    "parquet": _parquet_rows,
    "arrow": _arrow_rows,
    "xlsx": _excel_rows,
}
