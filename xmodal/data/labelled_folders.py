"""Data sets in folders: a folder a class, in or around folders of splits, or without these."""

from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from xmodal.core.errors import UserError
from xmodal.core.formatting import first_few
from xmodal.data.folders import (
    NOWHERE,
    LeftOut,
    files_in,
    files_under,
    name_in,
    subfolders,
    wanted_files,
    warnings_of,
)
from xmodal.data.split_names import split_of

BESIDE = "files beside the folders of classes, which are not read"


class LabelledFile(NamedTuple):
    """A file of a data set, its class and its split."""

    path: Path
    class_name: str
    split: str


class ClassFolder(NamedTuple):
    """A folder with the files of one class in one split."""

    path: Path
    class_name: str
    split: str


class Layout(NamedTuple):
    """Where the files of a data set stand.

    Attributes:
        classes: the folders of the classes, in each split.
        around: the folders that hold these, and the split of files beside them; "" where they have none.
        warnings: of what else stands there.
    """

    classes: list[ClassFolder]
    around: list[tuple[Path, str]]
    warnings: tuple[str, ...] = ()


class FileKind(NamedTuple):
    """The files that a data set consists of.

    Attributes:
        noun: how messages name them.
        reason_against: tells of a file why it is not read; "" when it is.
        class_by_name: tells the class of a file beside the folders of classes, None where such are not read.
    """

    noun: str
    reason_against: Callable[[Path], str]
    class_by_name: Callable[[Path], str] | None = None


def labelled_files(root: Path, kind: FileKind) -> tuple[list[LabelledFile], tuple[str, ...]]:
    """Lists the files of a data set, and warns of what is left out or put together.

    Args:
        root: the folder of the data set.
        kind: what its files are.

    Raises:
        UserError: when the folders are no data set.
    """
    layout = layout_of(root, loose=kind.class_by_name is not None)
    left_out: LeftOut = {}
    labelled: list[LabelledFile] = []
    inner, empty = defaultdict(list), []
    for folder in layout.classes:
        files = wanted_files(files_under(folder.path, left_out), kind.reason_against, left_out)
        if not files:
            empty.append(folder)
        for path in files:
            labelled.append(LabelledFile(path, folder.class_name, folder.split))
            if path.parent != folder.path:
                inner[folder.path].append(path)
    for folder_at, split in layout.around:
        files = wanted_files(list(files_in(folder_at, left_out)), _leads_nowhere, left_out)
        if kind.class_by_name is None or not split:
            left_out.setdefault(BESIDE, []).extend(files)
        else:
            files = wanted_files(files, kind.reason_against, left_out)
            labelled += [LabelledFile(path, kind.class_by_name(path), split) for path in files]
    _require_files(layout, labelled, empty, kind)
    warnings = (*layout.warnings, *_merged(inner, root), *_without_files(empty, kind, root))
    return labelled, warnings + warnings_of(left_out, root)


def layout_of(root: Path, *, loose: bool = False) -> Layout:
    """Tells folders of splits from folders of classes.

    Args:
        root: the folder of the data set.
        loose: files may stand in folders of splits without a folder for each class.

    Raises:
        UserError: when two folders are one split, splits stand there without train, or some classes have
            folders of splits and others have none.
    """
    top = subfolders(root)
    inner = {folder: subfolders(folder) for folder in top}
    named = {folder: split for folder in top if (split := split_of(folder.name))}
    divided = [
        folder for folder in top if inner[folder] and all(split_of(part.name) for part in inner[folder])
    ]
    trains = [folder for folder, split in named.items() if split == "train"]
    if named and len(named) == len(top) and not trains:
        raise UserError(f"the folder {str(root)!r} holds no train folder", "add it")
    if any(inner[folder] and folder not in divided for folder in trains):
        return _splits_first(root, named, top)
    if len(named) < len(top) and any("train" in map(_split_of, inner[folder]) for folder in divided):
        if len(top) == 1:
            raise _one_alone(root, top[0])
        return _classes_first(root, divided, top)
    # A folder named train that holds files and no folders may be a class.
    alone = len(set(named.values())) > 1 and (loose or len(named) == len(top))
    if trains and (alone or any(inner[folder] for folder in trains)):
        return _splits_first(root, named, top)
    if len(top) == 1 and len(inner[top[0]]) > 1 and not loose:
        raise _one_alone(root, top[0])
    taken = [repr(folder.name) for folder in named]
    warnings = (f"taken for classes, not for splits: {', '.join(taken)}",) if taken else ()
    return Layout([ClassFolder(folder, folder.name, "train") for folder in top], [(root, "train")], warnings)


def _one_alone(root: Path, folder: Path) -> UserError:
    return UserError(
        f"the folder {str(root)!r} holds one folder alone, {folder.name!r}", f"give {str(folder)!r}"
    )


def _split_of(folder: Path) -> str:
    return split_of(folder.name)


def _splits_first(root: Path, named: dict[Path, str], top: list[Path]) -> Layout:
    _require_one_each(root, named)
    classes = [
        ClassFolder(path, path.name, split) for folder, split in named.items() for path in subfolders(folder)
    ]
    around = [(root, ""), *named.items()]
    return Layout(classes, around, _not_splits([folder for folder in top if folder not in named]))


def _not_splits(folders: list[Path]) -> tuple[str, ...]:
    counts = [f"{folder.name!r} ({len(files_under(folder, {}))})" for folder in folders]
    return (f"not read, beside the folders of splits: {first_few(counts)}",) if counts else ()


def _classes_first(root: Path, divided: list[Path], top: list[Path]) -> Layout:
    others = [folder for folder in top if folder not in divided]
    if others:
        raise UserError(
            f"in {str(root)!r}, {divided[0].name!r} holds folders of splits and {others[0].name!r} none",
            "give every class the same ones, or none",
        )
    classes = []
    for folder in divided:
        splits = {part: split_of(part.name) for part in subfolders(folder)}
        _require_one_each(folder, splits)
        classes += [ClassFolder(part, folder.name, split) for part, split in splits.items()]
    return Layout(classes, [(root, ""), *((folder, "") for folder in divided)])


def _require_one_each(root: Path, splits: dict[Path, str]) -> None:
    first: dict[str, Path] = {}
    for folder, split in splits.items():
        other = first.setdefault(split, folder)
        if other is not folder:
            raise UserError(
                f"{str(root)!r} holds both {other.name!r} and {folder.name!r}", f"keep one {split} folder"
            )


def _require_files(
    layout: Layout, labelled: list[LabelledFile], empty: list[ClassFolder], kind: FileKind
) -> None:
    """Refuses splits without files, and without folders of classes where there must be some."""
    for folder, split in layout.around:
        if not split:
            continue
        if kind.class_by_name is None and not subfolders(folder):
            raise UserError(
                f"the folder {str(folder)!r} holds no class folders",
                f"put the {kind.noun} of each class in a folder of its own",
            )
        if kind.class_by_name is not None and not any(file.split == split for file in labelled):
            raise UserError(f"the folder {str(folder)!r} holds no {kind.noun}", "put the documents in it")
    for class_folder in empty:
        if class_folder.split == "train" and kind.class_by_name is None:
            other = (
                f"holds no {kind.noun} that are read" if files_under(class_folder.path, {}) else "is empty"
            )
            raise UserError(
                f"the class folder {str(class_folder.path)!r} {other}", f"add {kind.noun} to it or remove it"
            )


def _leads_nowhere(path: Path) -> str:
    return "" if path.exists() else NOWHERE


def _merged(inner: dict[Path, list[Path]], root: Path) -> tuple[str, ...]:
    """Tells of folders inside class folders, which may have been meant as classes."""
    if not inner:
        return ()
    listed = []
    for folder, files in inner.items():
        names = dict.fromkeys(repr(path.relative_to(folder).parts[0]) for path in files)
        listed.append(f"{len(files)} of {first_few(list(names))} in {name_in(folder, root)!r}")
    return (f"files in folders inside class folders count as the class: {first_few(listed)}",)


def _without_files(empty: list[ClassFolder], kind: FileKind, root: Path) -> tuple[str, ...]:
    if not empty:
        return ()
    names = [repr(name_in(folder.path, root)) for folder in empty]
    return (f"class folders without {kind.noun}, which are left out: {first_few(names)}",)
