"""Folders of files: their splits, and an order of files that no file system changes."""

import os
from pathlib import Path

from xmodal.core.errors import UserError
from xmodal.data.splits import SPLIT_WORDS


def split_folders(root: Path, *, flat: bool = False) -> tuple[dict[str, Path], tuple[str, ...]]:
    """Finds the folders of the splits: train/ and its like, or the root alone as train.

    Args:
        root: folder of a data set.
        flat: train/ is the split even when it holds no folders.

    Returns:
        Split -> its folder, and warnings of what else stands there.

    Raises:
        UserError: when two folders are one split, or splits stand there without train.
    """
    # A folder named train that holds files and no folders is a class of its own.
    splits_alone = [folder.name for folder in subfolders(root) if folder.name in SPLIT_WORDS]
    if splits_alone and len(splits_alone) == len(subfolders(root)) and "train" not in splits_alone:
        raise UserError(f"the folder {str(root)!r} holds no train folder", "add it")
    if not (root / "train").is_dir() or not (flat or subfolders(root / "train")):
        return {"train": root}, ()
    splits: dict[str, Path] = {}
    unread = []
    for folder in subfolders(root):
        split = SPLIT_WORDS.get(folder.name)
        if split is None:
            unread.append(repr(folder.name))
        elif split in splits:
            raise UserError(
                f"{str(root)!r} holds both {splits[split].name!r} and {folder.name!r}",
                f"keep one {split} folder",
            )
        else:
            splits[split] = folder
    warnings = (f"not read, beside train/: {', '.join(unread)}",) if unread else ()
    return splits, warnings


def subfolders(folder: Path) -> list[Path]:
    """Returns the folders in a folder, sorted; hidden ones are left out."""
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def files_under(folder: Path) -> list[Path]:
    """Returns the files at any depth, in an order that no file system changes; hidden ones are left out.

    Raises:
        UserError: for a device, a pipe or a socket: reading it may never end.
    """

    def refuse(error: OSError) -> None:
        raise error

    found = []
    for parent, folders, files in os.walk(folder, onerror=refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Path(parent, name) for name in files if not name.startswith(".")]
    for path in found:
        # A link that leads nowhere is told as what cannot be read.
        if not os.path.isfile(path) and os.path.exists(path):
            raise UserError(f"{str(path)!r} is no regular file", "remove it, or give another folder")
    return sorted(found)


def printable(path: Path) -> str:
    """Returns a path for reports, which are UTF-8 where file names need not be."""
    return path.as_posix().encode("utf-8", "backslashreplace").decode()
