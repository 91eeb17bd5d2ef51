"""What a predictor is asked, from files, folders, tables and lines."""

import io
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from xmodal.core.errors import UserError
from xmodal.core.reading import read_regular
from xmodal.data import image_files, sound_files, video_files
from xmodal.data.file_advice import ending_of
from xmodal.data.folders import LeftOut, files_under, printable, warnings_of
from xmodal.data.image_files import kind_of_file
from xmodal.data.table_format import TableFormat, decode_document
from xmodal.data.tables import MAX_BYTES, TABLES, path_beside, read_rows
from xmodal.export.predictor import Item

TEXT = ".txt"
OTHERS = "files that are neither images nor .txt, which are not read"
BLANK = "a blank line"


def items_of_folder(folder: Path, table_format: TableFormat) -> tuple[list[Item], tuple[str, ...]]:
    """Reads the images and texts of a folder, at any depth, or the sounds and videos of one without images.

    Returns:
        The items, those that cannot be read with their problem, and warnings of what else stands there.
    """
    left_out: LeftOut = {}
    items = []
    files = files_under(folder, left_out)
    media = (image_files, sound_files, video_files)
    kinds = [module.kind_of_file for module in media if any(map(module.kind_of_file, files))]
    kind_of = kinds[0] if kinds else kind_of_file
    for path in files:
        if path.suffix.lower() == TEXT or kind_of(path):
            items.append(item_of_file(path, table_format))
        else:
            left_out.setdefault(OTHERS, []).append(path)
    return items, warnings_of(left_out, folder)


def item_of_file(path: Path, table_format: TableFormat) -> Item:
    """Reads a text, when the name ends in .txt, or an image; one that cannot be read has a problem."""
    name, is_text = printable(path), path.suffix.lower() == TEXT
    try:
        content = read_regular(path, MAX_BYTES if is_text else image_files.MAX_BYTES)
    except OSError as error:
        return Item(name, b"", is_text, f"not readable: {error.strerror}")
    except ValueError as error:
        return Item(name, b"", is_text, f"not readable: {error}")
    return item_of_text(name, content, table_format) if is_text else Item(name, content, False)


def item_of_text(name: str, content: bytes, table_format: TableFormat) -> Item:
    """Decodes a text; one in neither encoding has that for its problem."""
    try:
        text = decode_document(content, name, table_format, [])
    except UserError as error:
        cause = error.__cause__
        # Only a missing byte order mark is told without a place.
        place = (
            f"at byte {cause.start}" if isinstance(cause, UnicodeDecodeError) else "without a byte order mark"
        )
        return Item(name, content, True, f"no {table_format.encoding.upper()} {place}")
    return Item(name, text.encode("utf-8", "replace"), True)


def items_of_lines(lines: Iterable[bytes], table_format: TableFormat) -> Iterator[Item]:
    """Yields an item for every line, blank ones too, so that answers stand where the lines did.

    Raises:
        UserError: for lines in UTF-16 or UTF-32, whose ends no single byte tells, that are not so encoded.
    """
    if len("\n".encode(table_format.encoding)) > 1:
        text = decode_document(b"".join(lines), "-", table_format, [])
        lines, table_format = (
            io.BytesIO(text.encode("utf-8", "replace")),
            replace(table_format, encoding="utf-8"),
        )
    for line in lines:
        line = line.rstrip(b"\r\n")
        item = item_of_text("", line, table_format)
        item = replace(item, name=(line if item.problem else item.content).decode(errors="replace"))
        yield replace(item, problem=item.problem or ("" if item.content.strip() else BLANK))


def is_table(path: Path) -> bool:
    """Tells whether the name of a file is that of a table, packed or not."""
    return ending_of(path).removeprefix(".") in TABLES


def items_of_table(path: Path, table_format: TableFormat, image_column: str) -> list[Item]:
    """Reads the rows of a table.

    Args:
        path: CSV, TSV or JSON Lines.
        table_format: encodings, and the column of the texts.
        image_column: that of the paths of images, relative to the table's folder. Rows of a table with both
            are pairs, in which one of them may be missing. Those of sounds are in a column "audio".

    Raises:
        UserError: when it cannot be read, or has neither column.
    """
    kind = ending_of(path).removeprefix(".")
    try:
        rows, _ = read_rows(kind, path, _unlabelled(table_format, table_format.text))
        texts = True
    except UserError as error:
        try:
            rows, _ = read_rows(kind, path, _unlabelled(table_format, image_column))
            texts = False
        except UserError:
            raise error from None
    items = []
    for row in rows:
        name = f"{path.name}:{row.line}"
        text = table_format.text_of(row.cells).encode("utf-8", "replace") if texts else None
        image = row.cells.get(image_column)
        if image is None:
            item = Item(name, text or b"", True)
        elif image:
            item = replace(item_of_file(path_beside(path, image), table_format), name=name, text=text)
        else:
            item = Item(name, b"", False, text=text)
        if audio := row.cells.get("audio", "").strip():
            item = replace(item, sound=item_of_file(path_beside(path, audio), table_format))
        items.append(replace(item, row=row.cells))
    return items


def _unlabelled(table_format: TableFormat, column: str) -> TableFormat:
    # A table that is asked has no answers: any column will do in the place of the labels.
    return replace(table_format, text=column, label=column.partition(",")[0], split="")
