"""Images inside of tables and records: Parquet and Arrow (Hugging Face `datasets`), and TFRecord."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf

from xmodal.core.errors import UserError
from xmodal.core.formatting import first_few
from xmodal.data.examples import Example
from xmodal.data.sources import RawExamples
from xmodal.data.split_files import split_files
from xmodal.data.split_names import with_splits
from xmodal.data.tables import path_beside
from xmodal.data.typed_tables import typed_rows
from xmodal.data.unpacked import limit_rows

# What the columns are called by Hugging Face, TensorFlow Datasets and TensorFlow's own image records, the
# first that is there is taken: a name before the number of a class.
IMAGES = ("image", "img", "image/encoded")
LABELS = ("label", "image/class/text", "image/class/label")
# TensorFlow Datasets keeps the names of the classes beside the records.
CLASS_NAMES = "label.labels.txt"

Records = Iterator[Mapping[str, Any]]


def read_image_records(kind: str, path: Path) -> RawExamples:
    """Lists the images of a file, or of a folder with one or several numbered ones for each split.

    The encoded images are held in memory.

    Args:
        kind: one of `RECORDS`.
        path: the file, whose records may have a split, or the folder.

    Raises:
        UserError: when it is not there, no such file, or a record lacks an image or a label.
    """
    is_one_file = path.is_file() or (kind == "arrow" and any(path.glob("*.arrow")))
    files = {path: ""} if is_one_file else split_files(kind, path, "dataset")
    examples = [
        _example(record, number, file, split)
        for file, split in files.items()
        for number, record in enumerate(RECORDS[kind](file), 1)
    ]
    examples, warnings = with_splits(examples, repr(str(path)))
    return RawExamples(examples, warnings=warnings)


def _example(record: Mapping[str, Any], number: int, path: Path, split: str) -> Example:
    where = f"record {number} of {str(path)!r}"
    label = _first(record, LABELS, where)
    if isinstance(label, int | float) and (label < 0 or label != label):
        label = ""
    label = (label.decode("utf-8", "replace") if isinstance(label, bytes) else str(label)).strip()
    if not label:
        raise UserError(f"{where} has no label", "fill it in or remove the record")
    image = _first(record, IMAGES, where)
    if isinstance(image, Mapping):
        # Hugging Face keeps the content of a file, or where it is.
        image = image.get("bytes") or image.get("path")
    if isinstance(image, str):
        image = str(path_beside(path, image))
    if not isinstance(image, bytes | str):
        raise UserError(f"{where} holds no encoded image", "give the bytes of a JPEG, PNG, GIF or BMP file")
    return Example(image, f"{path.name}:{number}", label, split or str(record.get("split") or "train"))


def _first(record: Mapping[str, Any], names: tuple[str, ...], where: str) -> Any:
    """Returns what a record has under the first of some names that is there, "" where that is empty."""
    name = next((name for name in names if name in record), None)
    if name is None:
        raise UserError(
            f"{where} has none of {', '.join(names)} (there are {first_few([*record], 10) or 'none'})",
            "rename the column",
        )
    return "" if record[name] is None else record[name]


def _records(path: Path) -> Records:
    """Yields the features of the records of a TFRecord file, packed by gzip or not."""
    with path.open("rb") as file:
        is_packed = file.read(2) == b"\x1f\x8b"
    names = path.with_name(CLASS_NAMES)
    class_names = names.read_text("utf-8").splitlines() if names.is_file() else []
    records = tf.data.TFRecordDataset(str(path), "GZIP" if is_packed else "").as_numpy_iterator()
    try:
        for record in limit_rows(records, path, len) if is_packed else records:
            features = {name: _value(value) for name, value in _features(record).items()}
            label = features.get("label")
            if isinstance(label, int) and 0 <= label < len(class_names):
                features["label"] = class_names[label]
            yield features
    except (tf.errors.DataLossError, ValueError) as error:
        reason = " ".join(str(getattr(error, "message", error)).split())[:200]
        raise UserError(f"{str(path)!r} cannot be read as TFRecord ({reason})", "check the file") from error


def _features(record: bytes) -> Mapping[str, tf.train.Feature]:
    from google.protobuf.message import DecodeError

    try:
        return tf.train.Example.FromString(record).features.feature
    except DecodeError as error:
        raise ValueError(f"a record is no tf.train.Example: {error}") from error


def _value(feature: tf.train.Feature) -> Any:
    """Returns the first value of a feature, None for none."""
    kind = feature.WhichOneof("kind")
    values = getattr(feature, kind).value if kind else ()
    return values[0] if values else None


# A kind of file -> what yields its records, each a cell by its column.
RECORDS: dict[str, Callable[[Path], Records]] = {
    "parquet": lambda path: typed_rows("parquet", path),
    "arrow": lambda path: typed_rows("arrow", path),
    "tfrecord": _records,
}
