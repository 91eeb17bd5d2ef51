"""Where documents are read from: a named set, a folder of .txt files, a table or TFDS."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from xmodal.assets.fetch import locate
from xmodal.core.errors import UserError
from xmodal.core.files import path_of
from xmodal.core.reading import NotReadable, read_regular
from xmodal.data.examples import Example
from xmodal.data.folders import NOWHERE, name_in
from xmodal.data.hub_datasets import fetch_dataset
from xmodal.data.labelled_folders import FileKind, list_labelled_files
from xmodal.data.sources import RawExamples, permission_errors, source_reader
from xmodal.data.table_format import TableFormat, decode_document, fallen_warning
from xmodal.data.tables import MAX_BYTES, TABLES, read_tables
from xmodal.data.tfds import prepare_builder, require_features, tfds_examples

Source = Callable[[str, TableFormat, Path, bool], RawExamples]


@permission_errors()
def read_documents(dataset: str, table_format: TableFormat, cache: Path, offline: bool) -> RawExamples:
    """Reads what `load_documents` splits: the documents of a source as they came.

    Raises:
        UserError: for a source that is not known, or not there.
    """
    read, location = source_reader(DOCUMENT_SOURCES, dataset, "documents")
    return read(location, table_format, cache, offline)


def _read_asset(
    name: str, location: str, table_format: TableFormat, cache: Path, offline: bool
) -> RawExamples:
    """Reads Orange's tables: three lines of heading, then a class, a tab and a text without tabs."""
    folder = locate(name, cache=cache, offline=offline)
    examples = []
    for split in ("train", "test"):
        lines = (folder / f"{split}.tab").read_text(encoding="utf-8").split("\n")
        # Those of reuters_r52 have a blank line more.
        for number, line in enumerate(line for line in lines[3:] if line.strip()):
            class_name, _, text = line.partition("\t")
            examples.append(Example(text, f"{name}/{split}/{number}", class_name, split))
    return RawExamples(examples)


# A folder of .txt files.


def _read_folder(location: str, table_format: TableFormat, cache: Path, offline: bool) -> RawExamples:
    root = path_of(location)
    if not root.is_dir():
        raise UserError(f"the folder {str(root)!r} does not exist", "check the path of `documents`")
    files, warnings = list_labelled_files(root, FileKind(".txt files", _reason_against, _class_by_name))
    examples: list[Example] = []
    fallback_names: list[str] = []
    for path, class_name, split in files:
        name = name_in(path, root)
        examples.append(
            Example(
                decode_document(_content(path), name, table_format, fallback_names), name, class_name, split
            )
        )
    return RawExamples(examples, warnings=warnings + fallen_warning(fallback_names, table_format))


def _reason_against(path: Path) -> str:
    if path.suffix.lower() != ".txt":
        return "files other than .txt, which are not read"
    return "" if path.exists() else NOWHERE


def _class_by_name(path: Path) -> str:
    """Returns the class of a file beside folders of classes: the number that starts its name."""
    number, dot, _ = path.name.partition(".")
    if not dot or not number.isdecimal():
        raise UserError(
            f"the file {str(path)!r} has no label",
            "put it in a folder named after its class, or start its name with a number and a dot",
        )
    return str(int(number))


def _content(path: Path) -> bytes:
    try:
        return read_regular(path, MAX_BYTES)
    except NotReadable as error:
        raise UserError(
            f"the file {str(path)!r} is not read: {error.strerror}, the most of a document",
            "cut it into documents or remove it",
        ) from error


def _read_table(
    kind: str, location: str, table_format: TableFormat, cache: Path, offline: bool
) -> RawExamples:
    return read_tables(kind, path_of(location), table_format)


def _read_tfds(name: str, table_format: TableFormat, cache: Path, offline: bool) -> RawExamples:
    alternative = "give the documents as dir:PATH or csv:PATH"
    builder = prepare_builder(name, cache=cache, offline=offline, flag="documents", instead=alternative)
    require_features(builder, name, table_format.text, table_format.label)
    rows, class_names = tfds_examples(builder, name, table_format.text, table_format.label, encoded=False)
    fallback_names: list[str] = []
    examples = []
    for row in rows:
        assert isinstance(row.item, bytes)
        examples.append(row._replace(item=decode_document(row.item, row.id, table_format, fallback_names)))
    return RawExamples(examples, class_names, fallen_warning(fallback_names, table_format))


# How a source is written -> what reads it: place, columns and encodings, downloaded data, offline -> the
# documents.
DOCUMENT_SOURCES: dict[str, Source] = {
    **{name: partial(_read_asset, name) for name in ("20newsgroups", "reuters_r8", "reuters_r52")},
    "dir:PATH": _read_folder,
    **{f"{kind}:PATH": partial(_read_table, kind) for kind in TABLES},
    "tfds:NAME": _read_tfds,
    "hf:NAME": lambda name, table_format, cache, offline: read_tables(
        "parquet", fetch_dataset(name, cache, offline), table_format
    ),
}
