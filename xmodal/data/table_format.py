"""How files of texts are laid out and decoded."""

import codecs
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from xmodal.core.errors import UserError

MARKS = {
    "utf-16": (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE),
    "utf-32": (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE),
}
# What may stand between columns.
SEPARATORS = (",", ";", "\t", "|")
# In the place of a separator of labels: each has a column of its own, with one of these in it.
COLUMNS = "columns"
TRUTHS = {"1": True, "0": False, "true": True, "false": False, "": False}
# Between the labels that were read of columns; no text has it.
BETWEEN = "\x1f"


@dataclass(frozen=True)
class TableFormat:
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
        audio: the column of the paths of sounds, which a table of pairs may have; None for none.
        separator: between the columns of a CSV or TSV, or "auto": the one whose heading has the columns.
        quoting: texts of a TSV may stand in quotes, as those of a CSV do.
        group: the column, or key, of what belongs into one split together, "" for none.
        several: what stands between the labels of a row that may have several or none, or `COLUMNS`: `label`
            then names several columns of 0 and 1, with commas between them. "" for one label each.
    """

    encoding: str = "utf-8"
    fallback: str | None = None
    text: str = "text"
    label: str = "label"
    split: str = "split"
    image: str | None = None
    separator: str = "auto"
    quoting: bool = False
    group: str = ""
    several: str = ""
    audio: str | None = None

    @property
    def content(self) -> tuple[str, ...]:
        """The columns of what an example consists of."""
        texts = tuple(self.text.split(","))
        return texts if self.image is None else (self.image, *texts)

    @property
    def label_columns(self) -> tuple[str, ...]:
        """The columns of the labels."""
        return tuple(self.label.split(",")) if self.several == COLUMNS else (self.label,)

    def label_of(self, cells: Mapping[str, str], where: str) -> str:
        """Returns the label of a row; of columns of 0 and 1 the names of those with 1, `BETWEEN` them.

        Raises:
            UserError: for what is neither 0 nor 1.
        """
        if self.several != COLUMNS:
            return cells[self.label].strip()
        for name in self.label_columns:
            if cells[name].strip().casefold() not in TRUTHS:
                raise UserError(f"{where} has {cells[name]!r} in {name!r}", "write 0 or 1")
        return BETWEEN.join(name for name in self.label_columns if TRUTHS[cells[name].strip().casefold()])

    def text_of(self, cells: Mapping[str, str]) -> str:
        """Returns the text of a row: what its columns hold, with a space between them."""
        parts = [cells[name] for name in self.text.split(",")]
        return parts[0] if len(parts) == 1 else " ".join(filter(None, map(str.strip, parts)))


def check_format(table_format: TableFormat, group_column: str) -> TableFormat:
    """Returns a format with a column of groups, where one is given; refuses encodings that are not known."""
    require_encodings(table_format)
    return replace(table_format, group=group_column or table_format.group)


def require_encodings(table_format: TableFormat) -> None:
    """Refuses encodings that Python does not know, with a `UserError`."""
    for flag, name in (("encoding", table_format.encoding), ("fallback_encoding", table_format.fallback)):
        if name is None:
            continue
        try:
            # An empty text does not reach every codec.
            "a".encode(name).decode(name)
        except (LookupError, ValueError) as error:
            raise UserError(f"`{flag}={name}` is not known", "utf-8, latin-1 and gb18030 are some") from error


def decode_document(content: bytes, name: str, table_format: TableFormat, fallen: list[str]) -> str:
    """Decodes a document.

    Args:
        content: its bytes.
        name: how messages name it.
        table_format: the encodings.
        fallen: collects the names of those that needed the fallback.

    Raises:
        UserError: when it is in neither encoding.
    """
    try:
        return _decode(content, table_format.encoding)
    except UnicodeError as error:
        if not table_format.fallback:
            raise not_in(name, table_format, error) from error
    try:
        text = _decode(content, table_format.fallback)
    except UnicodeError as error:
        raise not_in(name, replace(table_format, encoding=table_format.fallback), error) from error
    fallen.append(name)
    return text


def _decode(content: bytes, encoding: str) -> str:
    """Decodes a text; UTF-16 and UTF-32 without a byte order mark may be either way round."""
    require_mark(content, encoding)
    return content.decode(without_mark(encoding))


def require_mark(start: bytes, encoding: str) -> None:
    """Refuses a text without the byte order mark that an encoding has, with a `UnicodeError`."""
    marks = MARKS.get(codecs.lookup(encoding).name)
    if marks and start and not start.startswith(marks):
        raise UnicodeError("it does not begin with a byte order mark")


def without_mark(encoding: str) -> str:
    """Returns the encoding that leaves out a byte order mark: UTF-8 may begin with one, no part of a text."""
    return "utf-8-sig" if codecs.lookup(encoding).name == "utf-8" else encoding


def not_in(name: str, table_format: TableFormat, error: UnicodeError) -> UserError:
    """Returns what is said of a file that is not in its encoding."""
    encoding = table_format.encoding
    if not isinstance(error, UnicodeDecodeError):
        return UserError(
            f"{name!r} is not in {encoding} (it has no byte order mark)",
            f"give `encoding={encoding}-le`, as Windows writes it, or {encoding}-be",
        )
    return UserError(
        f"{name!r} is not in {encoding} (0x{error.object[error.start]:02x} does not fit there)",
        "save it in UTF-8, or give its encoding with `encoding` or `fallback_encoding`",
    )


def fallen_warning(fallen: Sequence[str], table_format: TableFormat) -> tuple[str, ...]:
    """Returns a warning of the names that `decode_document` collected, or nothing."""
    if not fallen:
        return ()
    encodings = f"{table_format.fallback} and not in {table_format.encoding}"
    return (f"files in {encodings}: {len(fallen)}, such as {fallen[0]!r}",)
