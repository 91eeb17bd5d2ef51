"""Digests of data: the same files give the same, and whatever changes a result changes one of them."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from loading import load_documents, load_images, load_pairs
from tiny_data import save_tiny_data

from xmodal.data.documents import with_test
from xmodal.data.table_format import TableFormat
from xmodal.data.tables import read_tables

READING = TableFormat("utf-8", None, "text", "label", "split")


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    folder = tmp_path_factory.mktemp("original")
    save_tiny_data(folder)
    return folder


@pytest.fixture
def data(original, tmp_path):
    shutil.copytree(original, tmp_path / "data")
    return tmp_path / "data"


def changed(digests, again):
    assert set(digests) == set(again) == {"ids", "labels", "contents"}
    return {name for name, digest in digests.items() if again[name] != digest}


def images(folder: Path):
    return load_images(f"folder:{folder}/photos", cache=folder, offline=True).report.digests


def documents(folder: Path):
    return load_documents(f"dir:{folder}/letters", cache=folder, offline=True).report.digests


def pairs(folder: Path):
    table_format = TableFormat("utf-8", None, "text", "label", "split", "image")
    source, photos = f"csv:{folder}/pairs.csv", folder / "photos"
    return load_pairs(source, cache=folder, table_format=table_format, image_folder=photos).report.digests


@pytest.mark.parametrize("read", [images, documents, pairs])
def test_the_same_data_elsewhere_are_the_same(original, data, read):
    os.utime(data / "photos/cat/0.png", (0, 0))
    assert changed(read(original), read(data)) == set()


def swap(one: Path, other: Path):
    one.rename(one.with_name("aside"))
    other.rename(one)
    one.with_name("aside").rename(other)


def test_what_becomes_of_images_is_told(original, data):
    before = images(original)
    swap(data / "photos/cat/0.png", data / "photos/dog/1.png")
    assert "contents" in changed(before, images(data))
    swap(data / "photos/cat/0.png", data / "photos/dog/1.png")
    (data / "photos/cat").rename(data / "photos/hat")
    assert {"ids", "labels"} <= changed(before, images(data))
    (data / "photos/hat").rename(data / "photos/cat")
    pixels = tf.io.decode_png((data / "photos/cat/2.png").read_bytes()).numpy()
    (data / "photos/cat/2.png").write_bytes(tf.io.encode_png(pixels ^ np.uint8(1)).numpy())
    assert changed(before, images(data)) == {"contents"}


def test_what_becomes_of_documents_is_told(original, data):
    before = documents(original)
    letter = data / "letters/cat/0.txt"
    words = letter.read_text()
    # Even where the words are the same: what is learned is the text.
    for text in (words + " ", words.upper(), words.replace("cat", "dog")):
        letter.write_text(text)
        assert changed(before, documents(data)) == {"contents"}
    letter.unlink()
    assert "ids" in changed(before, documents(data))


def test_what_becomes_of_a_table_is_told(original, data):
    before = pairs(original)
    table = data / "pairs.csv"
    lines = table.read_text().splitlines()
    swapped = [lines[0], *(line[:-3] + {"cat": "dog", "dog": "cat"}[line[-3:]] for line in lines[1:])]
    table.write_text("\n".join(swapped))
    assert changed(before, pairs(data)) >= {"labels"}
    table.write_text("\n".join(lines).replace("or 8,", "and 8,"))
    assert changed(before, pairs(data)) == {"contents"}


def test_soft_labels_count_with_their_shares(tmp_path):
    def read(share: str):
        first = [share if number == 4 else "1.0" for number in range(20)]
        rows = [f"text number {number},{first[number]},{0.1 + 2 * (number % 2)}" for number in range(20)]
        (tmp_path / "soft.csv").write_text("\n".join(["text,label:a,label:b", *rows]))
        source = f"csv:{tmp_path}/soft.csv"
        return load_documents(source, cache=tmp_path, test_fraction=0.2, seed=1).report.digests

    assert changed(read("0.9"), read("0.9")) == set()
    assert "labels" in changed(read("0.9"), read("0.8"))


def test_another_test_set_has_its_own_digests(original, tmp_path):
    documents = load_documents(f"dir:{original}/letters", cache=tmp_path)

    def read(*labels: str):
        rows = [f"the {number} of a cat,{label}" for number, label in enumerate(labels)]
        (tmp_path / "more.csv").write_text("\n".join(["text,label", *rows]))
        examples = read_tables("csv", tmp_path / "more.csv", READING).examples
        return with_test(documents, examples).report.digests

    assert changed(read("cat", "dog"), read("cat", "dog")) == set()
    assert changed(read("cat", "dog"), read("dog", "cat")) == {"labels"}
