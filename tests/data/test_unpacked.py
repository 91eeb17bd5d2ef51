"""Packed files that hold more than any memory are told before they fill it."""

import gzip
import json
import zipfile

import numpy as np
import pyarrow
import pytest
import tensorflow as tf
from pyarrow import parquet

from xmodal.core.errors import UserError
from xmodal.data import unpacked
from xmodal.data.image_records import read_image_records
from xmodal.data.table_format import TableFormat
from xmodal.data.tables import read_rows
from xmodal.data.unpacked import limit_rows

TEXT, COUNT = "wheat prices rise " * 50, 3000


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """As if a file of any size might unpack to 100 kB alone."""
    monkeypatch.setattr(unpacked, "ALWAYS", 100_000)


def save(kind, path, text=TEXT, count=COUNT):
    rows = [{"text": text, "label": "trade"}] * count
    if kind == "parquet":
        parquet.write_table(pyarrow.Table.from_pylist(rows), path, compression="zstd")
    elif kind == "arrow":
        # As one batch of so many rows that nothing holds.
        table = pyarrow.Table.from_pylist(rows)
        columns = [table[name].dictionary_encode().combine_chunks() for name in table.column_names]
        batch = pyarrow.record_batch(columns, names=table.column_names)
        with pyarrow.ipc.new_file(path, batch.schema) as writer:
            writer.write_batch(batch)
    elif kind == "xlsx":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("xl/sharedStrings.xml", text * count)
    elif kind == "json.gz":
        path.write_bytes(gzip.compress(json.dumps(rows).encode()))
    elif kind == "jsonl.gz":
        path.write_bytes(gzip.compress("\n".join(map(json.dumps, rows)).encode()))
    else:
        path.write_bytes(gzip.compress(("text,label\n" + f"{text},trade\n" * count).encode()))


@pytest.mark.parametrize("kind", ["parquet", "arrow", "xlsx", "json.gz", "jsonl.gz", "csv.gz"])
def test_a_packed_table_out_of_proportion_is_told(tmp_path, kind):
    path = tmp_path / f"bomb.{kind}"
    save(kind, path)
    with pytest.raises(UserError, match=r"unpacks to more than .* MB, too much for a file of its size"):
        read_rows(kind.removesuffix(".gz"), path, TableFormat())


@pytest.mark.parametrize("kind", ["parquet", "arrow", "json.gz", "jsonl.gz", "csv.gz"])
def test_one_in_proportion_is_read(tmp_path, kind):
    path = tmp_path / f"news.{kind}"
    save(kind, path, text=" ".join(np.random.default_rng(0).bytes(40).hex()), count=150)
    rows, _ = read_rows(kind.removesuffix(".gz"), path, TableFormat())
    assert len(rows) == 150


def test_what_is_not_packed_has_no_limit(tmp_path):
    (tmp_path / "news.csv").write_text("text,label\n" + ",a\n" * 10_000)
    rows, _ = read_rows("csv", tmp_path / "news.csv", TableFormat())
    assert len(rows) == 10_000


def test_packed_records_out_of_proportion_are_told(tmp_path):
    path = tmp_path / "train.tfrecord"
    cells = {
        "image": tf.train.Feature(bytes_list=tf.train.BytesList(value=[bytes(100_000)])),
        "label": tf.train.Feature(int64_list=tf.train.Int64List(value=[1])),
    }
    record = tf.train.Example(features=tf.train.Features(feature=cells)).SerializeToString()
    with tf.io.TFRecordWriter(str(path), "GZIP") as writer:
        for _ in range(100):
            writer.write(record)
    with pytest.raises(UserError, match="unpacks to more than"):
        read_image_records("tfrecord", path)


def test_a_larger_file_may_unpack_to_more(tmp_path):
    (tmp_path / "file").write_bytes(bytes(10_000))
    assert len(list(limit_rows([""] * 3000, tmp_path / "file", len))) == 3000
    with pytest.raises(UserError):
        list(limit_rows([""] * 4000, tmp_path / "file", len))
