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
    filter_files,
    name_in,
    subfolders,
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


def list_labelled_files(root: Path, kind: FileKind) -> tuple[list[LabelledFile], tuple[str, ...]]:
    """Lists the files of a data set, and warns of what is left out or put together.

    Args:
        root: the folder of the data set.
        kind: what its files are.

    Raises:
        UserError: when the folders are no data set.
    """
    layout = layout_of(root, loose=kind.class_by_name is not None)
    left_out: LeftOut = {}
    all_files: list[LabelledFile] = []
    inner_files, empty_folders = defaultdict(list), []
    for folder in layout.classes:
        files = filter_files(files_under(folder.path, left_out), kind.reason_against, left_out)
        if not files:
            empty_folders.append(folder)
        for path in files:
            all_files.append(LabelledFile(path, folder.class_name, folder.split))
            if path.parent != folder.path:
                inner_files[folder.path].append(path)
    for folder_at, split in layout.around:
        files = filter_files(list(files_in(folder_at, left_out)), _leads_nowhere, left_out)
        if kind.class_by_name is None or not split:
            left_out.setdefault(BESIDE, []).extend(files)
        else:
            files = filter_files(files, kind.reason_against, left_out)
            all_files += [LabelledFile(path, kind.class_by_name(path), split) for path in files]
    _require_files(layout, all_files, empty_folders, kind)
    warnings = (
        *layout.warnings,
        *_merge_warning(inner_files, root),
        *_without_files(empty_folders, kind, root),
    )
    return all_files, warnings + warnings_of(left_out, root)


def layout_of(root: Path, *, loose: bool = False) -> Layout:
    """Tells folders of splits from folders of classes.

    Args:
        root: the folder of the data set.
        loose: files may stand in folders of splits without a folder for each class.

    Raises:
        UserError: when two folders are one split, splits stand there without train, or some classes have
            folders of splits and others have none.
    """
    folders = subfolders(root)
    inner_folders = {folder: subfolders(folder) for folder in folders}
    split_folders = {folder: split for folder in folders if (split := split_of(folder.name))}
    divided_folders = [
        folder
        for folder in folders
        if inner_folders[folder] and all(split_of(part.name) for part in inner_folders[folder])
    ]
    train_folders = [folder for folder, split in split_folders.items() if split == "train"]
    if split_folders and len(split_folders) == len(folders) and not train_folders:
        raise UserError(f"the folder {str(root)!r} holds no train folder", "add it")
    if any(inner_folders[folder] and folder not in divided_folders for folder in train_folders):
        return _splits_first(root, split_folders, folders)
    if len(split_folders) < len(folders) and any(
        "train" in map(_split_of, inner_folders[folder]) for folder in divided_folders
    ):
        if len(folders) == 1:
            raise _single_folder_error(root, folders[0])
        return _classes_first(root, divided_folders, folders)
    # A folder named train that holds files and no folders may be a class.
    has_splits = len(set(split_folders.values())) > 1 and (loose or len(split_folders) == len(folders))
    if train_folders and (has_splits or any(inner_folders[folder] for folder in train_folders)):
        return _splits_first(root, split_folders, folders)
    if len(folders) == 1 and len(inner_folders[folders[0]]) > 1 and not loose:
        raise _single_folder_error(root, folders[0])
    names = [repr(folder.name) for folder in split_folders]
    warnings = (f"taken for classes, not for splits: {', '.join(names)}",) if names else ()
    return Layout(
        [ClassFolder(folder, folder.name, "train") for folder in folders], [(root, "train")], warnings
    )


def _single_folder_error(root: Path, folder: Path) -> UserError:
    return UserError(
        f"the folder {str(root)!r} holds one folder alone, {folder.name!r}", f"give {str(folder)!r}"
    )


def _split_of(folder: Path) -> str:
    return split_of(folder.name)


def _splits_first(root: Path, split_folders: dict[Path, str], folders: list[Path]) -> Layout:
    _require_one_each(root, split_folders)
    classes = [
        ClassFolder(path, path.name, split)
        for folder, split in split_folders.items()
        for path in subfolders(folder)
    ]
    around = [(root, ""), *split_folders.items()]
    return Layout(classes, around, _not_splits([folder for folder in folders if folder not in split_folders]))


def _not_splits(folders: list[Path]) -> tuple[str, ...]:
    counts = [f"{folder.name!r} ({len(files_under(folder, {}))})" for folder in folders]
    return (f"not read, beside the folders of splits: {first_few(counts)}",) if counts else ()


def _classes_first(root: Path, folders: list[Path], all_folders: list[Path]) -> Layout:
    others = [folder for folder in all_folders if folder not in folders]
    if others:
        raise UserError(
            f"in {str(root)!r}, {folders[0].name!r} holds folders of splits and {others[0].name!r} none",
            "give every class the same ones, or none",
        )
    classes = []
    for folder in folders:
        splits = {part: split_of(part.name) for part in subfolders(folder)}
        _require_one_each(folder, splits)
        classes += [ClassFolder(part, folder.name, split) for part, split in splits.items()]
    return Layout(classes, [(root, ""), *((folder, "") for folder in folders)])


def _require_one_each(root: Path, splits: dict[Path, str]) -> None:
    first: dict[str, Path] = {}
    for folder, split in splits.items():
        other = first.setdefault(split, folder)
        if other is not folder:
            raise UserError(
                f"{str(root)!r} holds both {other.name!r} and {folder.name!r}", f"keep one {split} folder"
            )


def _require_files(
    layout: Layout, files: list[LabelledFile], empty_folders: list[ClassFolder], kind: FileKind
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
        if kind.class_by_name is not None and not any(file.split == split for file in files):
            raise UserError(f"the folder {str(folder)!r} holds no {kind.noun}", "put the documents in it")
    for class_folder in empty_folders:
        if class_folder.split == "train" and kind.class_by_name is None:
            problem = (
                f"holds no {kind.noun} that are read" if files_under(class_folder.path, {}) else "is empty"
            )
            raise UserError(
                f"the class folder {str(class_folder.path)!r} {problem}",
                f"add {kind.noun} to it or remove it",
            )


def _leads_nowhere(path: Path) -> str:
    return "" if path.exists() else NOWHERE


def _merge_warning(inner_files: dict[Path, list[Path]], root: Path) -> tuple[str, ...]:
    """Tells of folders inside class folders, which may have been meant as classes."""
    if not inner_files:
        return ()
    descriptions = []
    for folder, files in inner_files.items():
        names = dict.fromkeys(repr(path.relative_to(folder).parts[0]) for path in files)
        descriptions.append(f"{len(files)} of {first_few(list(names))} in {name_in(folder, root)!r}")
    return (f"files in folders inside class folders count as the class: {first_few(descriptions)}",)


def _without_files(empty_folders: list[ClassFolder], kind: FileKind, root: Path) -> tuple[str, ...]:
    if not empty_folders:
        return ()
    names = [repr(name_in(folder.path, root)) for folder in empty_folders]
    return (f"class folders without {kind.noun}, which are left out: {first_few(names)}",)
