"""Images in Parquet, Arrow and TFRecord files, as Hugging Face, TensorFlow and TFDS write them."""

import gzip
import json

import numpy as np
import pyarrow
import pytest
import tensorflow as tf
from pyarrow import parquet

from xmodal.config.data import SplitConfig
from xmodal.core.errors import UserError
from xmodal.data.documents import load_documents
from xmodal.data.image_sources import read_images
from xmodal.data.images import load_images
from xmodal.data.source_of_path import source_of

NAMES = ["cat", "dog"]
LABEL = {"names": NAMES, "_type": "ClassLabel"}
FEATURES = {"info": {"features": {"label": LABEL, "image": {"_type": "Image"}}}}
SPLIT = SplitConfig(min_per_class=1, test_fraction=0.5)


def picture(number: int) -> bytes:
    return tf.io.encode_png(np.full((9, 7, 3), 10 * number, np.uint8)).numpy()


def table(count=20, image="image", label="label", metadata=True, wrap=True, **more) -> pyarrow.Table:
    pictures = [picture(number) for number in range(count)]
    cells = [{"bytes": content, "path": None} for content in pictures] if wrap else pictures
    rows = pyarrow.table({image: cells, label: [number % 2 for number in range(count)]} | more)
    return rows.replace_schema_metadata({"huggingface": json.dumps(FEATURES)}) if metadata else rows


def features(number: int, image: str, **labels) -> bytes:
    values = {image: tf.train.Feature(bytes_list=tf.train.BytesList(value=[picture(number)]))}
    for name, value in labels.items():
        kind = "int64_list" if isinstance(value, int) else "bytes_list"
        made = (
            tf.train.Int64List(value=[value]) if isinstance(value, int) else tf.train.BytesList(value=[value])
        )
        values[name] = tf.train.Feature(**{kind: made})
    return tf.train.Example(features=tf.train.Features(feature=values)).SerializeToString()


def write_records(path, records, packed=False):
    path.parent.mkdir(parents=True, exist_ok=True)
    with tf.io.TFRecordWriter(str(path), "GZIP" if packed else "") as writer:
        for record in records:
            writer.write(record)


def read(source):
    return read_images(source, None, offline=True).examples


@pytest.mark.parametrize("wrap", [True, False])
@pytest.mark.parametrize("image", ["image", "img"])
def test_one_parquet_file(tmp_path, wrap, image):
    parquet.write_table(table(image=image, wrap=wrap), tmp_path / "pets.parquet")
    examples = read(f"parquet:{tmp_path}/pets.parquet")
    assert [example.class_name for example in examples] == ["cat", "dog"] * 10
    assert [example.item for example in examples] == [picture(number) for number in range(20)]
    assert {example.split for example in examples} == {"train"}
    assert examples[3].id == "pets.parquet:4"


def test_a_folder_of_numbered_parts(tmp_path):
    for part in range(3):
        parquet.write_table(table(8), tmp_path / f"train-0000{part}-of-00003.parquet")
    parquet.write_table(table(4), tmp_path / "test-00000-of-00001.parquet")
    splits = [example.split for example in read(f"parquet:{tmp_path}")]
    assert (splits.count("train"), splits.count("test")) == (24, 4)
    (tmp_path / "train-00001-of-00003.parquet").unlink()
    with pytest.raises(UserError, match=r"holds 2 of the 3 parts of 'train-00000-of-00003.parquet'; add"):
        read(f"parquet:{tmp_path}")


def test_texts_of_numbered_parts(tmp_path):
    texts = pyarrow.table({"text": [f"word{n} here" for n in range(12)], "label": ["a", "b"] * 6})
    for part in range(2):
        more = texts.slice(6 * part, 6)
        parquet.write_table(more, tmp_path / f"train-0000{part}-of-00002.parquet")
    parquet.write_table(
        pyarrow.table({"text": ["other words", "more of them"], "label": ["a", "b"]}),
        tmp_path / "validation-00000-of-00001.parquet",
    )
    data = load_documents(f"parquet:{tmp_path}", cache=tmp_path, split=SPLIT, offline=True)
    assert len(data.train) + len(data.test) == 12
    assert len(data.validation) == 2


def test_a_data_set_of_hugging_face(tmp_path):
    for split, count in (("train", 12), ("test", 6)):
        (tmp_path / split).mkdir()
        rows = table(count)
        with (
            pyarrow.OSFile(str(tmp_path / split / "data-00000-of-00001.arrow"), "wb") as sink,
            pyarrow.ipc.new_stream(sink, rows.schema) as writer,
        ):
            writer.write_table(rows)
    examples = read(f"arrow:{tmp_path}")
    assert [example.split for example in examples] == ["test"] * 6 + ["train"] * 12
    data = load_images(f"arrow:{tmp_path}", cache=tmp_path, split=SPLIT, offline=True)
    assert data.class_names == ("cat", "dog")
    assert len(data.test) == 6


def test_paths_are_relative_to_the_table(tmp_path):
    (tmp_path / "a.png").write_bytes(picture(1))
    rows = pyarrow.table({"image": [{"bytes": None, "path": "a.png"}], "label": ["cat"], "split": ["dev"]})
    parquet.write_table(rows, tmp_path / "t.parquet")
    (example,) = read(f"parquet:{tmp_path}/t.parquet")
    assert (example.item, example.split) == (str(tmp_path / "a.png"), "validation")


@pytest.mark.parametrize("packed", [True, False])
def test_records_of_tensorflow(tmp_path, packed):
    records = [
        features(
            n, "image/encoded", **{"image/class/label": n % 2, "image/class/text": NAMES[n % 2].encode()}
        )
        for n in range(6)
    ]
    write_records(tmp_path / "pets.tfrecord", records, packed)
    examples = read(f"tfrecord:{tmp_path}/pets.tfrecord")
    assert [example.class_name for example in examples] == ["cat", "dog"] * 3
    assert [example.item for example in examples] == [picture(n) for n in range(6)]


def test_records_of_tfds(tmp_path):
    (tmp_path / "label.labels.txt").write_text("cat\ndog\n")
    for split, count in (("train", 10), ("test", 4)):
        write_records(
            tmp_path / f"pets-{split}.tfrecord-00000-of-00001",
            [features(n, "image", label=n % 2) for n in range(count)],
        )
    data = load_images(f"tfrecord:{tmp_path}", cache=tmp_path, split=SPLIT, offline=True)
    assert data.class_names == ("cat", "dog")
    assert (len(data.train) + len(data.validation), len(data.test)) == (10, 4)


def test_what_cannot_be_read_is_one_line(tmp_path):
    def refused(source, match):
        with pytest.raises(UserError, match=match):
            read(source)

    write_records(tmp_path / "a.tfrecord", [features(n, "image", label=n) for n in range(3)])
    content = (tmp_path / "a.tfrecord").read_bytes()
    (tmp_path / "cut.tfrecord").write_bytes(content[:-5])
    refused(f"tfrecord:{tmp_path}/cut.tfrecord", "cannot be read as TFRecord")
    (tmp_path / "text.tfrecord").write_text("no records at all, but words")
    refused(f"tfrecord:{tmp_path}/text.tfrecord", "cannot be read as TFRecord")
    (tmp_path / "packed.tfrecord").write_bytes(gzip.compress(content)[:90])
    refused(f"tfrecord:{tmp_path}/packed.tfrecord", "cannot be read as TFRecord")
    write_records(tmp_path / "other.tfrecord", [b"\xff\xff\xff not a message"])
    refused(f"tfrecord:{tmp_path}/other.tfrecord", "cannot be read as TFRecord.*no tf.train.Example")
    write_records(tmp_path / "names.tfrecord", [features(1, "picture", label=1)])
    refused(
        f"tfrecord:{tmp_path}/names.tfrecord",
        r"record 1 .* has none of image, img, image/encoded \(there are .*picture.*\); rename the column",
    )
    write_records(tmp_path / "bare.tfrecord", [features(1, "image", label=b"")])
    refused(f"tfrecord:{tmp_path}/bare.tfrecord", "record 1 .* has no label; fill it in or remove the record")
    refused(f"tfrecord:{tmp_path}/none.tfrecord", "does not exist; check the path of `dataset`")
    parquet.write_table(
        table(4, metadata=False).set_column(1, "label", pyarrow.array([-1, 0, 1, 0])), tmp_path / "t.parquet"
    )
    refused(f"parquet:{tmp_path}/t.parquet", "record 1 .* has no label")
    parquet.write_table(pyarrow.table({"image": [7], "label": ["cat"]}), tmp_path / "n.parquet")
    refused(f"parquet:{tmp_path}/n.parquet", "record 1 .* holds no encoded image; give the bytes")
    refused(str(tmp_path / "t.parquet"), "did you mean 'parquet:")


def test_bytes_that_are_no_image_are_counted(tmp_path):
    rows = table(20).set_column(0, "image", pyarrow.array([b"raw pixels", *map(picture, range(1, 20))]))
    parquet.write_table(rows, tmp_path / "pets.parquet")
    data = load_images(f"parquet:{tmp_path}/pets.parquet", cache=tmp_path, split=SPLIT, offline=True)
    assert [(name, reason) for name, reason in data.report.dropped] == [("pets.parquet:1", "not an image")]


def test_init_knows_images_inside_of_a_table(tmp_path):
    parquet.write_table(table(4), tmp_path / "pets.parquet")
    assert source_of(tmp_path / "pets.parquet") == (f"parquet:{tmp_path}/pets.parquet", False)
    parquet.write_table(table(4), tmp_path / "train-00000-of-00001.parquet")
    assert source_of(tmp_path) == (f"parquet:{tmp_path}", False)
    write_records(tmp_path / "tf/train.tfrecord", [features(1, "image", label=1)])
    assert source_of(tmp_path / "tf") == (f"tfrecord:{tmp_path}/tf", False)
