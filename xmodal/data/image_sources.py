"""Where images, sounds and videos are read from: a named set, a folder, a table or records, or TFDS."""

import hashlib
import os
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import tensorflow as tf

from xmodal.assets.fetch import locate
from xmodal.bridge.class_names import with_article
from xmodal.core.errors import UserError
from xmodal.core.files import path_of
from xmodal.core.reading import read_regular
from xmodal.data import sound_files, video_files
from xmodal.data.examples import FURTHER, IMAGES, SOUNDS, VIDEOS, Example, ExampleKind
from xmodal.data.folders import LeftOut, files_under, filter_files, name_in, warnings_of
from xmodal.data.hub_datasets import fetch_dataset
from xmodal.data.image_files import MAX_BYTES, reason_against
from xmodal.data.image_records import read_image_records
from xmodal.data.labelled_folders import FileKind, list_labelled_files
from xmodal.data.several_labels import with_several_labels
from xmodal.data.sources import RawExamples, permission_errors, source_reader
from xmodal.data.split_names import with_splits
from xmodal.data.spoken_digits import spoken_digits
from xmodal.data.table_format import TableFormat
from xmodal.data.tables import path_beside, read_header, read_rows, row_example
from xmodal.data.tfds import prepare_builder, require_features, tfds_examples

IMAGE_COLUMNS = TableFormat("utf-8", None, "image", "label", "split")
# What the column is called that names the files of a table.
COLUMNS = {"image": IMAGES, "audio": SOUNDS, "video": VIDEOS}


@permission_errors()
def read_images(
    dataset: str, cache: Path, offline: bool, group_column: str = "", several: str = ""
) -> RawExamples:
    """Lists what `load_images` splits: the images, sounds or videos of a source as they came.

    Raises:
        UserError: for a source that is not known, or not there.
    """
    if is_unlabelled(dataset):
        raise UserError(
            f"`dataset={dataset!r}` has no labels, which are to be learned from here",
            f"give one of {', '.join(IMAGE_SOURCES)}",
        )
    read, location = source_reader(IMAGE_SOURCES, dataset, "dataset")
    if read is _read_csv:
        return _with_labels(_read_csv(location, cache, offline, group_column, several), several)
    if group_column:
        raise UserError(
            f"`group_column={group_column}` names a column, and `dataset={dataset!r}` is no table",
            "find the groups in the names of its files with `group_pattern`",
        )
    return _with_labels(read(location, cache, offline), several)


def with_further(raw: RawExamples, source: str, cache: Path, offline: bool, several: str = "") -> RawExamples:
    """Adds the examples of another source, all of the split `FURTHER`, train once the others are cut.

    Where one of both sources has files and the other one what was in them, all are read into memory.

    Raises:
        UserError: for a source that is not known, not there, or of another kind.
    """
    if source == "none":
        return raw
    try:
        further = read_images(source, cache, offline, several=several)
    except UserError as error:
        problem, remedy = (part.replace("dataset", "also_train") for part in (error.problem, error.remedy))
        raise UserError(problem, remedy) from error
    if further.kind != raw.kind:
        raise UserError(
            f"`also_train={source}` holds {further.kind.noun}s, and `dataset` {raw.kind.noun}s",
            f"give {raw.kind.noun}s of the same classes, or leave it out",
        )
    further_examples = [
        example._replace(split=FURTHER, id=f"{source}/{example.id}") for example in further.examples
    ]
    examples = [*raw.examples, *further_examples]
    if len({type(example.item) for example in examples}) > 1:
        examples = [example._replace(item=_content(example.item)) for example in examples]
    return replace(raw, examples=examples, warnings=(*raw.warnings, *further.warnings))


def _content(item: str | bytes) -> bytes:
    try:
        return item if isinstance(item, bytes) else read_regular(item, MAX_BYTES)
    except (OSError, ValueError):
        return b""  # It is counted as empty.


def _with_labels(raw: RawExamples, several: str) -> RawExamples:
    grouped_examples = group_by_content(raw)
    return (
        with_several_labels(grouped_examples, replace(IMAGE_COLUMNS, several=several))
        if several
        else grouped_examples
    )


def group_by_content(raw: RawExamples) -> RawExamples:
    """Puts files with the same bytes into one group, so that no cut goes between them.

    Only files as large as another one are read.
    """
    items = dict.fromkeys(example.item for example in raw.examples)
    sizes = {item: _size_of(item) for item in items if isinstance(item, str)}
    repeated_sizes = {size for size, count in Counter(sizes.values()).items() if size and count > 1}
    candidates = [item for item, size in sizes.items() if size in repeated_sizes]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        groups: dict[str | bytes, str] = dict(zip(candidates, pool.map(_group_of, candidates), strict=True))
    examples = [
        example._replace(group=example.group or groups[example.item]) if example.item in groups else example
        for example in raw.examples
    ]
    return replace(raw, examples=examples)


def _size_of(path: str) -> int:
    """Returns the size of a file, 0 for none: what is wrong with it is told where it is decoded."""
    try:
        return os.stat(path).st_size
    except (OSError, ValueError):
        return 0


def _group_of(path: str) -> str:
    try:
        return hashlib.blake2b(read_regular(path, MAX_BYTES), digest_size=16).hexdigest()
    except (OSError, ValueError):
        return ""


def is_unlabelled(dataset: str) -> bool:
    """Tells whether a source is of images without labels."""
    return dataset.partition(":")[0] in {form.partition(":")[0] for form in UNLABELLED_SOURCES}


@permission_errors()
def read_unlabelled(dataset: str, cache: Path, offline: bool) -> RawExamples:
    """Lists the images of a source without labels, all of them as test and of the class "".

    Raises:
        UserError: for a source that is not known, not there or empty.
    """
    read, location = source_reader(UNLABELLED_SOURCES, dataset, "dataset")
    root = read(location, cache, offline)
    if not root.is_dir():
        raise UserError(f"the folder {str(root)!r} does not exist", "check the path of `dataset`")
    left_out: LeftOut = {}
    files = filter_files(files_under(root, left_out), reason_against, left_out)
    warnings = warnings_of(left_out, root)
    if not files:
        reason = f"holds no images ({'; '.join(warnings)})" if warnings else "is empty"
        raise UserError(f"the folder {str(root)!r} {reason}", "put photographs into it")
    return RawExamples([Example(str(path), name_in(path, root), "", "test") for path in files], (), warnings)


def load_digits(cache: Path, offline: bool) -> list[Example]:
    """Returns the digits of mnist_5k, all of them as train."""
    return _digits(locate("mnist_5k", cache=cache, offline=offline) / "mnist_5k.csv.gz")


def _digits(table: Path) -> list[Example]:
    """Returns the digits of a CSV: 784 grey levels, row by row, then the digit."""
    rows = np.loadtxt(table, delimiter=",", dtype=np.uint8, ndmin=2)
    encoded = tf.io.encode_png(rows[:, :-1].reshape(-1, 28, 28, 1)).numpy()
    return [
        Example(image, f"mnist_5k/{row}", str(label), "train")
        for row, (image, label) in enumerate(zip(encoded, rows[:, -1], strict=True))
    ]


def _read_digits(location: str, cache: Path, offline: bool) -> RawExamples:
    return RawExamples(load_digits(cache, offline))


def _read_spoken_digits(location: str, cache: Path, offline: bool) -> RawExamples:
    return RawExamples(spoken_digits(locate("spoken_digits", cache=cache, offline=offline)), kind=SOUNDS)


def _read_folder(location: str, cache: Path, offline: bool) -> RawExamples:
    return _files(path_of(location), FileKind("images", reason_against), IMAGES)


def _read_sounds(location: str, cache: Path, offline: bool) -> RawExamples:
    return _files(path_of(location), FileKind("sounds", sound_files.reason_against), SOUNDS)


def _read_videos(location: str, cache: Path, offline: bool) -> RawExamples:
    return _files(path_of(location), FileKind("videos", video_files.reason_against), VIDEOS)


def _files(root: Path, file_kind: FileKind, kind: ExampleKind) -> RawExamples:
    if not root.is_dir():
        raise UserError(f"the folder {str(root)!r} does not exist", "check the path of `dataset`")
    files, warnings = list_labelled_files(root, file_kind)
    examples = [Example(str(file.path), name_in(file.path, root), *file[1:]) for file in files]
    return RawExamples(examples, warnings=warnings, kind=kind)


def _read_csv(
    location: str, cache: Path, offline: bool, group_column: str = "", several: str = ""
) -> RawExamples:
    path = path_of(location)
    if not path.is_file():
        raise UserError(f"the file {str(path)!r} does not exist", "check the path of `dataset`")
    columns = read_header("csv", path, IMAGE_COLUMNS)
    column = next((column for column in COLUMNS if column in columns), "image")
    kind = COLUMNS[column]
    table_format = replace(IMAGE_COLUMNS, text=column, group=group_column, several=several)
    rows, warnings = read_rows("csv", path, table_format)
    examples = []
    for row in rows:
        image = row.cells[table_format.text].strip()
        if not image or not (several or row.shares or row.cells["label"].strip()):
            raise UserError(
                f"line {row.line} of {str(path)!r} lacks {with_article(kind.noun)} or a label",
                "fill it in or remove it",
            )
        example = row_example(str(path_beside(path, image)), row, path, table_format)
        examples.append(example._replace(id=image))
    examples, split_warnings = with_splits(examples, repr(str(path)))
    return RawExamples(examples, warnings=warnings + split_warnings, kind=kind)


def _read_tfds(name: str, cache: Path, offline: bool) -> RawExamples:
    alternative = "give the images as folder:PATH"
    builder = prepare_builder(name, cache=cache, offline=offline, flag="dataset", instead=alternative)
    require_features(builder, name, "image", "label")
    return RawExamples(*tfds_examples(builder, name, "image", "label", encoded=True))


# How a source is written -> what reads it: place, folder of downloaded data, offline -> the images.
IMAGE_SOURCES: dict[str, Callable[[str, Path, bool], RawExamples]] = {
    "mnist_5k": _read_digits,
    "spoken_digits": _read_spoken_digits,
    "folder:PATH": _read_folder,
    "csv:PATH": _read_csv,
    "parquet:PATH": lambda location, cache, offline: read_image_records("parquet", path_of(location)),
    "arrow:PATH": lambda location, cache, offline: read_image_records("arrow", path_of(location)),
    "tfrecord:PATH": lambda location, cache, offline: read_image_records("tfrecord", path_of(location)),
    "sounds:PATH": _read_sounds,
    "videos:PATH": _read_videos,
    "tfds:NAME": _read_tfds,
    "hf:NAME": lambda name, cache, offline: read_image_records(
        "parquet", fetch_dataset(name, cache, offline)
    ),
}

# The same of images without labels: place, folder of downloaded data, offline -> the folder with the images.
UNLABELLED_SOURCES: dict[str, Callable[[str, Path, bool], Path]] = {
    "unlabelled:PATH": lambda location, cache, offline: path_of(location),
    "sample_photographs": lambda location, cache, offline: locate(
        "sample_photographs", cache=cache, offline=offline
    ),
}
