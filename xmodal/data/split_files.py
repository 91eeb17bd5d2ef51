"""Folders with a file, or several numbered parts of one, for each split."""

import re
from pathlib import Path

from xmodal.core.errors import UserError
from xmodal.data.split_names import split_of, without_shard

PART = re.compile(r"-\d{5}-of-(\d{5})(?=\.|$)")


def files_of_splits(kind: str, folder: Path) -> dict[Path, str]:
    """Returns the files of a kind in a folder that are named after splits, and the split of each.

    Args:
        kind: the ending of their names; of "arrow" each is a folder.
        folder: that of the files.
    """
    paths = [
        path for path in sorted(folder.iterdir()) if kind == "arrow" or _ending(path) in (kind, f"{kind}s")
    ]
    return {path: split for path in paths if (split := _split(path, kind))}


def split_files(kind: str, folder: Path, flag: str) -> dict[Path, str]:
    """Does so for a folder that has to hold a split for training.

    Args:
        kind, folder: as `files_of_splits` takes them.
        flag: the flag that names the folder.

    Raises:
        UserError: when there is none for training, or two for one split, or a part of one is missing.
    """
    if not folder.is_dir():
        raise UserError(f"the file {str(folder)!r} does not exist", f"check the path of `{flag}`")
    files = files_of_splits(kind, folder)
    if "train" not in files.values():
        missing_name = "folder train" if kind == "arrow" else f"train.{kind}"
        raise UserError(f"the folder {str(folder)!r} holds no {missing_name}", "add it, or name one file")
    for split in set(files.values()):
        _require_one(folder, [file for file in files if files[file] == split])
    return files


def _require_one(folder: Path, files: list[Path]) -> None:
    """Refuses several files for one split, unless they are all the parts of one."""
    tables = {(_stem(file), bool(PART.search(file.name))): file.name for file in files}
    if len(tables) > 1:
        one, other, *_ = tables.values()
        raise UserError(f"{str(folder)!r} holds both {one!r} and {other!r}", "keep one of them")
    counts = {int(part[1]) for file in files if (part := PART.search(file.name))}
    if counts and counts != {len(files)}:
        raise UserError(
            f"{str(folder)!r} holds {len(files)} of the {max(counts)} parts of {files[0].name!r}",
            "add the others",
        )


def _split(path: Path, kind: str) -> str:
    stem = _stem(path)
    # TensorFlow Datasets puts the name of the data set before that of the split.
    return split_of(stem.rpartition("-")[2] if kind == "tfrecord" else stem)


def _stem(path: Path) -> str:
    """Returns a file's name without endings and without what says that it is one part of several."""
    name = without_shard(path.name.removesuffix(".gz"))
    return without_shard(Path(name).stem)


def _ending(path: Path) -> str:
    return Path(without_shard(path.name.removesuffix(".gz"))).suffix.removeprefix(".").lower()
