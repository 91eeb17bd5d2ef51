"""What a path holds, so that nobody has to say it: documents, images, sounds or videos."""

import csv
import gzip
import json
from collections.abc import Sequence
from pathlib import Path

from xmodal.core.errors import UserError
from xmodal.core.reading import read_regular
from xmodal.data import image_files, sound_files, video_files
from xmodal.data.file_advice import advice_for, ending_of
from xmodal.data.folders import files_under, warnings_of
from xmodal.data.split_files import files_of_splits
from xmodal.data.table_format import SEPARATORS
from xmodal.data.tables import TABLES
from xmodal.data.typed_tables import TYPED_TABLES, columns_of

TEXT = ".txt"
# Beside the folders of splits that Hugging Face's `datasets` saved.
SAVED_DATASET = "dataset_dict.json"
# Images of a folder of which it is asked whether they move.
LOOKED_AT = 50
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
        kind = _kind_of_folder(path)
        return f"{kind}:{path}", kind == "dir"
    kind = ending_of(path)
    if kind.removeprefix(".") not in TABLES or not path.is_file():
        remedy = f"give a folder, or a file ending in {', '.join(f'.{name}' for name in TABLES)}"
        raise UserError(f"{str(path)!r} is no table", advice_for(path, remedy))
    columns = {name.strip().casefold() for name in _columns(path)}
    if "image" in columns and "text" in columns:
        raise UserError(
            f"{str(path)!r} holds both images and texts",
            f"run python -m xmodal.run `flagfile=experiments/fusion.cfg` `pairs={kind[1:]}:{path}`",
        )
    if not columns.isdisjoint({"image", "audio", "video"}) and kind in (".csv", ".tsv"):
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


def _kind_of_folder(folder: Path) -> str:
    """Returns what reads a folder: that of which it holds most."""
    files = files_under(folder, {})
    if not files:
        raise UserError(f"the folder {str(folder)!r} holds no files", "put pictures or .txt files in it")
    images = [file for file in files if image_files.kind_of_file(file) in image_files.READ]
    counts = {
        "folder": len(images),
        "dir": sum(file.suffix.lower() == TEXT for file in files),
        "sounds": sum(sound_files.kind_of_file(file) in sound_files.READ for file in files),
        "videos": sum(video_files.kind_of_file(file) in video_files.CONTAINERS for file in files),
    }
    if not any(counts.values()):
        (reasons,) = warnings_of({"files of other kinds": files}, folder)
        raise UserError(
            f"the folder {str(folder)!r} holds neither pictures nor .txt files ({reasons})",
            advice_for(files[0], "put pictures or .txt files in it, or give a table"),
        )
    kind = max(counts, key=counts.__getitem__)
    return "videos" if kind == "folder" and _are_animations(images) else kind


def _are_animations(images: Sequence[Path]) -> bool:
    """Tells whether most of some images have several frames."""
    sample = images[:: max(1, len(images) // LOOKED_AT)]
    return sum(map(_is_animation, sample)) > len(sample) / 2


def _is_animation(image: Path) -> bool:
    try:
        encoded = read_regular(image, image_files.MAX_BYTES)
        kind = video_files.kind_by_content(encoded[: image_files.HEAD])
        return kind in video_files.ANIMATIONS and len(video_files.delays(encoded)) > 1
    except (OSError, ValueError):
        return False


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
    usual_separator = "\t" if kind == "tsv" else ","
    headings = [
        next(csv.reader([head], delimiter=separator), []) for separator in (usual_separator, *SEPARATORS)
    ]
    return max(headings, key=len)
