"""Pairs read from tables, with sides that are missing, and what is wrong with them."""

import csv
import gzip
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from loading import load_pairs

from xmodal.core.errors import UserError
from xmodal.core.files import cache_folder
from xmodal.data.digit_readings import WORDS, write_readings
from xmodal.data.pairs import PairData
from xmodal.data.table_format import TableFormat

READING = TableFormat("utf-8", None, "text", "label", "split", "image")
COLOURS = {"red": (200, 0, 0), "blue": (0, 0, 200)}


def png(colour, number) -> bytes:
    pixels = np.full((4, 4, 3), COLOURS[colour], np.uint8)
    pixels[0, 0] = number
    return tf.io.encode_png(pixels).numpy()


@pytest.fixture
def folder(tmp_path):
    """40 images in photos/, numbered; those of even numbers are red."""
    (tmp_path / "photos").mkdir()
    for number in range(40):
        (tmp_path / f"photos/{number}.png").write_bytes(png(["red", "blue"][number % 2], number))
    return tmp_path


def rows(count=40):
    return [
        {
            "image": f"photos/{n}.png",
            "text": f"it is {['red', 'blue'][n % 2]}",
            "label": ["red", "blue"][n % 2],
        }
        for n in range(count)
    ]


def write_csv(path: Path, table, columns=("image", "text", "label")) -> str:
    opens = gzip.open if path.suffix == ".gz" else open
    with opens(path, "wt", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(table)
    return f"csv:{path}"


def load(source, **options) -> PairData:
    return load_pairs(
        source, cache=cache_folder(), table_format=options.pop("table_format", READING), **options
    )


def said(data: PairData):
    """Yields the bytes of each image and its text."""
    for split in (data.train, data.validation, data.test):
        for place, text in enumerate(split.texts):
            yield split.images().encoded(place), text


def test_every_pair_of_a_table_is_in_one_split(folder):
    data = load(write_csv(folder / "pairs.csv", rows()))
    ids = [name for split in (data.train, data.validation, data.test) for name in split.ids]
    assert sorted(ids) == sorted(f"pairs.csv:{line}" for line in range(2, 42))
    assert (len(data.train), len(data.validation), len(data.test)) == (29, 3, 8)
    assert data.class_names == ("blue", "red")
    for place, name in enumerate(data.test.ids):
        number = int(name.partition(":")[2]) - 2
        colour = ["red", "blue"][number % 2]
        assert data.test.texts[place] == f"it is {colour}"
        assert data.class_names[data.test.labels[place]] == colour
        assert data.test.images().encoded(place) == png(colour, number)


def test_a_packed_table_and_one_of_objects_say_the_same(folder):
    expected = load(write_csv(folder / "pairs.csv", rows()))
    (folder / "pairs.jsonl").write_text("\n".join(map(json.dumps, rows())))
    packed = load(write_csv(folder / "pairs.csv.gz", rows()))
    objects = load(f"jsonl:{folder / 'pairs.jsonl'}")
    for data in (packed, objects):
        assert sum(map(len, (data.train, data.validation, data.test))) == 40
        assert dict(said(data)) == dict(said(expected))


def test_the_columns_and_the_folder_have_flags(folder, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    table = [
        {"photo": f"{n}.png", "word": "a", "kind": row["label"], "part": ["train", "test"][n // 30]}
        for n, row in enumerate(rows())
    ]
    source = write_csv(elsewhere / "pairs.csv", table, ("photo", "word", "kind", "part"))
    table_format = TableFormat("utf-8", None, "word", "kind", "part", "photo")
    data = load(source, table_format=table_format, image_folder=folder / "photos")
    assert len(data.test) == 10
    assert data.test.images().encoded(0) == png("red", 30)


def test_a_text_may_stand_in_several_columns(folder):
    table = [row | {"second": "or so" if n % 2 else ""} for n, row in enumerate(rows())]
    source = write_csv(folder / "pairs.csv", table, ("image", "text", "second", "label"))
    data = load(source, table_format=replace(READING, text="text,second"), image_folder=folder)
    assert set(data.train.texts) == {"it is red", "it is blue or so"}


def test_either_side_may_be_missing(folder):
    table = rows()
    table[3]["image"] = table[8]["text"] = table[9]["text"] = ""
    data = load(write_csv(folder / "pairs.csv", table))
    splits = (data.train, data.validation, data.test)
    assert sum((~split.has_image).sum() for split in splits) == 1
    assert sum((~split.has_text).sum() for split in splits) == 2
    for split in splits:
        assert len(split.images()) == split.has_image.sum()
        assert split.images().ids == tuple(np.array(split.ids)[split.has_image])
    assert "of 40 pairs, 1 have no image and 2 no text" in data.report.warnings


def test_a_missing_key_is_a_missing_side(folder):
    table = rows()
    del table[0]["image"]
    table[1]["text"] = None
    (folder / "pairs.jsonl").write_text("\n".join(map(json.dumps, table)))
    data = load(f"jsonl:{folder / 'pairs.jsonl'}")
    assert "of 40 pairs, 1 have no image and 1 no text" in data.report.warnings


def test_texts_alone_that_repeat_are_no_duplicates(folder):
    table = rows()
    for row in table[:10]:
        row["image"] = ""
    assert load(write_csv(folder / "pairs.csv", table)).report.duplicates == ()


def test_a_pair_without_either_side_is_an_error(folder):
    table = rows()
    for place in (4, 7):
        table[place] |= {"image": " ", "text": ""}
    with pytest.raises(UserError) as caught:
        load(write_csv(folder / "pairs.csv", table))
    assert caught.value.problem == (
        f"2 of 40 pairs of {str(folder / 'pairs.csv')!r} have neither an image nor a text, "
        "the first in line 6"
    )


def test_an_unreadable_picture_leaves_its_text(folder):
    table = rows()
    table[5]["text"] = ""
    (folder / "photos/4.png").write_bytes(b"\x89PNG\r\n\x1a\n but no more")
    (folder / "photos/5.png").write_bytes(b"")
    data = load(write_csv(folder / "pairs.csv", table))
    assert data.report.dropped == (("pairs.csv:7", "empty file"),)
    assert (
        "1 of 40 images cannot be read; their texts stay: 'pairs.csv:6' (truncated or corrupt PNG)"
        in data.report.warnings
    )
    splits = (data.train, data.validation, data.test)
    assert sum(map(len, splits)) == 39
    (text_alone,) = [split.texts[~split.has_image] for split in splits if not split.has_image.all()]
    assert list(text_alone) == ["it is red"]


def test_an_unreadable_picture_can_be_an_error(folder):
    (folder / "photos/4.png").write_bytes(b"no image")
    with pytest.raises(UserError, match=r"^1 pair cannot be used: 'pairs.csv:6' \(not an image\)"):
        load(write_csv(folder / "pairs.csv", rows()), bad_images="fail")


def test_no_picture_that_can_be_read_is_a_wrong_folder(folder):
    source = write_csv(folder / "pairs.csv", rows())
    with pytest.raises(UserError, match=r"none of the 40 images can be read: .*No such file") as caught:
        load(source, image_folder=folder / "photos")
    assert caught.value.remedy == "check the column of the images and `image_folder`"


def test_a_class_that_never_occurs_in_training(folder):
    table = [row | {"split": "train"} for row in rows()]
    table[9] |= {"label": "green", "split": "test"}
    source = write_csv(folder / "pairs.csv", table, ("image", "text", "label", "split"))
    with pytest.raises(UserError, match=r"class 'green' stands in test \('pairs.csv:11'\) but not in train"):
        load(source)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("csv:", "`pairs='csv:'` is not complete"),
        ("pairs.csv.gz", "`pairs='pairs.csv.gz'` does not say what it is"),
        ("csw:x.csv", "unknown `pairs='csw:x.csv'`"),
        ("csv:nowhere.csv", "the file 'nowhere.csv' does not exist"),
    ],
)
def test_a_source_that_is_none(folder, monkeypatch, source, message):
    monkeypatch.chdir(folder)
    write_csv(folder / "pairs.csv.gz", rows())
    with pytest.raises(UserError) as caught:
        load(source)
    assert caught.value.problem.startswith(message)


def test_a_column_that_is_not_there(folder):
    source = write_csv(folder / "pairs.csv", rows())
    with pytest.raises(UserError, match="has no column 'photo' among 'image', 'text', 'label'") as caught:
        load(source, table_format=replace(READING, image="photo"))
    told = "name its columns with `image_column`, `text_column` and `label_column`"
    assert caught.value.remedy.startswith(told)


def test_a_packed_table_that_is_cut_off(folder):
    write_csv(folder / "pairs.csv.gz", rows())
    content = (folder / "pairs.csv.gz").read_bytes()
    (folder / "pairs.csv.gz").write_bytes(content[: len(content) // 2])
    with pytest.raises(UserError, match="cannot be unpacked"):
        load(f"csv:{folder / 'pairs.csv.gz'}")


def test_digits_come_with_readings():
    data = load("mnist_5k", misread=0.0, typing_slips=0.0, limit=100)
    for text, label in zip(data.train.texts, data.train.labels, strict=True):
        assert WORDS[label] in text or str(label) in text
    assert data.train.in_memory
    assert data.train.has_image.all()


def test_readings_are_wrong_as_often_as_is_asked_for():
    digits = np.arange(10).repeat(400).tolist()
    texts = write_readings(digits, misread=0.15, slips=0.0, seed=3)
    wrong = [
        WORDS[digit] not in text and str(digit) not in text for digit, text in zip(digits, texts, strict=True)
    ]
    assert 0.12 < np.mean(wrong) < 0.18
    # A slip may fall on any word, but never on a figure.
    slipped = write_readings(digits, misread=0.15, slips=0.3, seed=3)
    changed = [text != other for text, other in zip(texts, slipped, strict=True)]
    assert 0.7 < np.mean(changed) < 1.0
    assert list(slipped) == list(write_readings(digits, misread=0.15, slips=0.3, seed=3))
    assert list(texts) != list(write_readings(digits, misread=0.15, slips=0.0, seed=4))


def test_texts_of_pairs_are_scrubbed(tmp_path):
    from xmodal.data.cleaned_documents import prepare_documents

    texts = ["call 415-555-2645", "mail ann@example.org", "<br/>", "plain"] * 6
    lines = [f"{n}.png,{text},{'ab'[n // 2 % 2]}" for n, text in enumerate(texts)]
    for n in range(len(texts)):
        pixels = np.full((8, 8, 3), 10 * n, np.uint8)
        (tmp_path / f"{n}.png").write_bytes(tf.io.encode_png(pixels).numpy())
    (tmp_path / "pairs.csv").write_text("image,text,label\n" + "\n".join(lines) + "\n")
    data = load_pairs(f"csv:{tmp_path / 'pairs.csv'}", cache=tmp_path, table_format=READING)
    prepared = prepare_documents(data, scrub=True)
    splits = (prepared.data.train, prepared.data.validation, prepared.data.test)
    found = {text for split in splits for text in split.texts}
    assert found == {"call [PHONE]", "mail [EMAIL]", "", "plain"}
    assert sum(prepared.counts["[PHONE]"].values()) == 6
    assert prepared.facts == {"personal data replaced by marks": 12}
    # The sides that a pair has are the same before and after.
    assert [split.has_text.sum() for split in splits] == [
        split.has_text.sum() for split in (data.train, data.validation, data.test)
    ]


def test_texts_of_one_image_come_into_one_split(tmp_path):
    for n in range(12):
        pixels = np.full((8, 8, 3), 10 * n, np.uint8)
        (tmp_path / f"{n}.png").write_bytes(tf.io.encode_png(pixels).numpy())
    lines = [f"{n}.png,caption {k} of {n},{'ab'[n % 2]}" for n in range(12) for k in range(5)]
    (tmp_path / "pairs.csv").write_text("image,text,label\n" + "\n".join(lines) + "\n")
    data = load_pairs(f"csv:{tmp_path / 'pairs.csv'}", cache=tmp_path, table_format=READING)
    images = [set(split.items) for split in (data.train, data.validation, data.test)]
    assert all(images)
    assert not images[0] & images[1] | images[0] & images[2] | images[1] & images[2]
    assert not data.report.leaked
