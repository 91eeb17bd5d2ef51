"""What a path holds, so that nobody has to say it: documents or images, in folders or in a table."""

import csv
import gzip
import json
from pathlib import Path

from xmodal.core.errors import UserError
from xmodal.data.file_advice import advice_for, ending_of
from xmodal.data.folders import files_under, warnings_of
from xmodal.data.image_files import READ, kind_of_file
from xmodal.data.split_files import files_of_splits
from xmodal.data.table_format import SEPARATORS
from xmodal.data.tables import TABLES
from xmodal.data.typed_tables import TYPED_TABLES, columns_of

TEXT = ".txt"
# Beside the folders of splits that Hugging Face's `datasets` saved.
SAVED_DATASET = "dataset_dict.json"
# Of the first line of a table.
LONGEST_HEAD = 2**20


def source_of(path: Path) -> tuple[str, bool]:
    """Returns what --dataset or --documents takes for a path, and whether it holds documents.

    Raises:
        UserError: when there is nothing in it that a run could read.
    """
    if not path.exists():
        raise UserError(f"{str(path)!r} does not exist", "give a folder or a table")
    if path.is_dir():
        for kind in (*TABLES, "tfrecord"):
            files = {} if kind == "arrow" else files_of_splits(kind, path)
            if "train" in files.values():
                return f"{kind}:{path}", kind != "tfrecord" and not _holds_images(next(iter(files)))
        if (path / SAVED_DATASET).is_file():
            return f"arrow:{path}", not _holds_images(path / "train")
        documents = _holds_documents(path)
        return f"{'dir' if documents else 'folder'}:{path}", documents
    kind = ending_of(path)
    if kind.removeprefix(".") not in TABLES or not path.is_file():
        otherwise = f"give a folder, or a file ending in {', '.join(f'.{name}' for name in TABLES)}"
        raise UserError(f"{str(path)!r} is no table", advice_for(path, otherwise))
    columns = {name.strip().casefold() for name in _columns(path)}
    if "image" in columns and "text" in columns:
        raise UserError(
            f"{str(path)!r} holds both images and texts",
            f"run python -m xmodal.run `flagfile=experiments/fusion.cfg` `pairs={kind[1:]}:{path}`",
        )
    if "image" in columns and kind in (".csv", ".tsv"):
        # The separator is told from the heading.
        return f"csv:{path}", False
    if _holds_images(path):
        return f"{kind[1:]}:{path}", False
    if "image" in columns:
        raise UserError(f"{str(path)!r} holds images", "save it as CSV in UTF-8")
    return f"{kind[1:]}:{path}", True


def _holds_images(path: Path) -> bool:
    """Tells whether the images are inside of a table, as Parquet and Arrow have them."""
    kind = "arrow" if path.is_dir() else ending_of(path).removeprefix(".")
    return kind in ("parquet", "arrow") and not {"image", "img"}.isdisjoint(columns_of(kind, path))


def _holds_documents(folder: Path) -> bool:
    """Tells whether a folder holds more texts than images."""
    files = files_under(folder, {})
    texts = sum(file.suffix.lower() == TEXT for file in files)
    images = sum(kind_of_file(file) in READ for file in files)
    if not files:
        raise UserError(f"the folder {str(folder)!r} holds no files", "put pictures or .txt files in it")
    if not texts and not images:
        (reasons,) = warnings_of({"files of other kinds": files}, folder)
        raise UserError(
            f"the folder {str(folder)!r} holds neither pictures nor .txt files ({reasons})",
            advice_for(files[0], "put pictures or .txt files in it, or give a table"),
        )
    return texts > images


def _columns(path: Path) -> list[str]:
    """Returns the names in the first line of a table; of JSON, the keys of its first object."""
    kind = ending_of(path).removeprefix(".")
    if kind in TYPED_TABLES:
        return columns_of(kind, path)
    with (gzip.open if path.suffix == ".gz" else open)(path, "rb") as file:
        head = file.readline(LONGEST_HEAD).decode("utf-8-sig", "replace").rstrip("\r\n")
    if ending_of(path) == ".jsonl":
        try:
            return list(json.loads(head))
        except (ValueError, TypeError, RecursionError):
            return []
    own = "\t" if kind == "tsv" else ","
    headings = [next(csv.reader([head], delimiter=separator), []) for separator in (own, *SEPARATORS)]
    return max(headings, key=len)
