"""Folders of files: every file of them, in an order that no file system changes.

What is not read is counted, by the reason for it, and told in warnings.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from xmodal.core.formatting import first_few
from xmodal.core.reading import kind_of

# Reason -> what is left out for it.
LeftOut = dict[str, list[Path]]

HIDDEN = "hidden files, which are not read"
SYSTEM = "files in folders that systems and programs make, which are not read"
NOWHERE = "links that lead nowhere"
LINKS = "links to folders that are read already, which are not followed"
SPECIAL = "pipes, sockets and devices, which are not read"
# No data, and in nearly every folder: not worth a word.
LITTER = ("ds_store", "localized", "directory", "gitkeep", "gitignore", "keep", "nomedia", "picasa.ini")
LITTER_BESIDE = ("thumbs.db", "desktop.ini", "icon\r")
SYSTEM_FOLDERS = (
    *("__macosx", "@eadir", "#recycle", "@recycle", "$recycle.bin", "lost+found", "__pycache__"),
    "system volume information",
)


def subfolders(folder: Path) -> list[Path]:
    """Returns the folders in a folder, sorted, links too; hidden ones and those of systems are left out."""
    return sorted(path for path in folder.iterdir() if path.is_dir() and not _reason_against_folder(path))


def files_in(folder: Path, left_out: LeftOut) -> Iterator[Path]:
    """Yields the files of a folder, without those of folders in it.

    A link that leads nowhere is a file: whoever reads it says what is wrong with it.

    Args:
        folder: where they stand.
        left_out: what is not read is added to it; of hidden folders and those of systems, the files.

    Raises:
        OSError: when the folder cannot be read.
    """
    for path in sorted(folder.iterdir()):
        if path.is_dir():
            reason = _reason_against_folder(path)
            if reason:
                left_out.setdefault(reason, []).extend(_all_files(path))
        elif _is_litter(path.name):
            continue
        elif path.name.startswith("."):
            left_out.setdefault(HIDDEN, []).append(path)
        elif path.exists() and kind_of(path.stat().st_mode):
            left_out.setdefault(SPECIAL, []).append(path)
        else:
            yield path


def files_under(folder: Path, left_out: LeftOut) -> list[Path]:
    """Returns the files at any depth, sorted.

    Links to folders are followed, and each folder is read once: links may lead in circles.

    Args:
        folder, left_out: as `files_in` takes them.

    Raises:
        OSError: when a folder cannot be read.
    """
    real_path = folder.resolve()
    read_folders = {real_path, *real_path.parents}
    files: list[Path] = []
    pending_folders = [folder]
    while pending_folders:
        current_folder = pending_folders.pop()
        files += files_in(current_folder, left_out)
        for path in subfolders(current_folder):
            if path.resolve() in read_folders:
                left_out.setdefault(LINKS, []).append(path)
            else:
                read_folders.add(path.resolve())
                pending_folders.append(path)
    return sorted(files)


def filter_files(files: list[Path], reason_against: Callable[[Path], str], left_out: LeftOut) -> list[Path]:
    """Returns the files that there is no reason against, and adds the others to what is left out."""
    accepted_files = []
    for path in files:
        reason = reason_against(path)
        if reason:
            left_out.setdefault(reason, []).append(path)
        else:
            accepted_files.append(path)
    return accepted_files


def warnings_of(left_out: LeftOut, root: Path) -> tuple[str, ...]:
    """Returns a line for each reason: how many files, of which endings, and one of their names.

    Args:
        left_out: what is not read.
        root: what names are told relative to.
    """
    lines = []
    for reason, paths in left_out.items():
        if paths:
            endings = Counter(path.suffix.lower() or "no ending" for path in paths)
            counts = first_few([f"{count} {ending}" for ending, count in endings.most_common()], 5)
            lines.append(f"{reason}: {len(paths)} ({counts}), such as {name_in(paths[0], root)!r}")
    return tuple(lines)


def name_in(path: Path, root: Path) -> str:
    """Returns how reports, which are UTF-8, name a file of a data set: its path there."""
    return printable(path.relative_to(root))


def printable(path: Path) -> str:
    """Returns a path for reports, which are UTF-8 where file names need not be."""
    return path.as_posix().encode("utf-8", "backslashreplace").decode()


def _reason_against_folder(path: Path) -> str:
    if path.name.casefold() in SYSTEM_FOLDERS:
        return SYSTEM
    return HIDDEN if path.name.startswith(".") else ""


def _is_litter(name: str) -> bool:
    name = name.casefold()
    return name in LITTER_BESIDE or (name.startswith(".") and (name[1:] in LITTER or name[1] == "_"))


def _all_files(folder: Path) -> list[Path]:
    found_files = (Path(parent, name) for parent, _, files in os.walk(folder) for name in sorted(files))
    return [path for path in found_files if not _is_litter(path.name)]
