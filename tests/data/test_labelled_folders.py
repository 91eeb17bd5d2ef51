"""Folders of images and documents as people have them: splits of every name, links, litter."""

import os
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from loading import load_documents, load_images

from xmodal.core.errors import UserError
from xmodal.data.document_sources import read_documents
from xmodal.data.folders import files_under
from xmodal.data.image_sources import read_images
from xmodal.data.split_names import split_of
from xmodal.data.table_format import TableFormat

READING = TableFormat("utf-8", None, "text", "label", "split")
PNG = tf.io.encode_png(np.zeros((4, 4, 3), np.uint8)).numpy()


def write(root: Path, *names: str) -> None:
    for number, name in enumerate(names):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(f"text {number}".encode() if name.endswith(".txt") else PNG)


def read(root: Path, kind: str):
    if kind == "images":
        return read_images(f"folder:{root}", root, True)
    return read_documents(f"dir:{root}", READING, root, True)


def counts(root: Path, kind: str) -> Counter:
    return Counter((example.split, example.class_name) for example in read(root, kind).examples)


@pytest.fixture(params=["images", "documents"])
def kind(request):
    return request.param


@pytest.fixture
def fill(tmp_path, kind):
    """Writes a file of the kind at each path, and returns the root."""
    ending = {"images": ".png", "documents": ".txt"}[kind]

    def fill_with(*names: str) -> Path:
        write(tmp_path, *(f"{name}{ending}" for name in names))
        return tmp_path

    return fill_with


@pytest.mark.parametrize(
    ("word", "split"),
    [
        ("Train", "train"),
        ("TRAINING", "train"),
        ("training_set", "train"),
        ("Training Data", "train"),
        ("train-images", "train"),
        ("训练集", "train"),
        ("Val", "validation"),
        ("eval", "validation"),
        ("Dev", "validation"),
        ("development", "validation"),
        ("validation_split", "validation"),
        ("验证", "validation"),
        ("Test", "test"),
        ("TESTING", "test"),
        ("hold-out", "test"),
        ("test_set", "test"),
        ("测试集", "test"),
        ("訓練集", "train"),
        ("訓練データ", "train"),
        ("训练数据", "train"),
        ("\uff34\uff32\uff21\uff29\uff2e", "train"),
        ("train2017", "train"),
        ("Trainingsdaten", "train"),
        ("Entraînement", "train"),
        ("entrainement", "train"),
        ("驗證集", "validation"),
        ("开发集", "validation"),
        ("val2017", "validation"),
        ("Validación", "validation"),
        ("テスト", "test"),
        ("測試數據", "test"),
        ("тест", "test"),
        ("test-00001-of-00003", "test"),
        *((word, "") for word in ("train_2", "2017", "test-1", "devtest")),
        *((word, "") for word in ("", "cat", "trains", "contest", "data", "set", "valley", "tester", "集")),
    ],
)
def test_words_for_splits(word, split):
    assert split_of(word) == split


@pytest.mark.parametrize(
    "names",
    [("Train", "Test"), ("training", "testing"), ("TRAIN", "VAL", "TEST"), ("Training_Set", "Holdout")],
)
def test_folders_of_splits_in_any_case(names, fill, kind):
    root = fill(*(f"{name}/{label}/{number}" for name in names for label in "ab" for number in range(2)))
    found = counts(root, kind)
    assert found == {(split_of(name), label): 2 for name in names for label in "ab"}


def test_a_folder_around_the_data_set_is_no_class(fill, kind):
    root = fill(*(f"data/{split}/{label}/1" for split in ("train", "test") for label in "ab"))
    with pytest.raises(UserError, match=r"holds one folder alone, 'data'; give '.*data'"):
        counts(root, kind)


def test_classes_first(fill, kind):
    root = fill(
        *(
            f"{label}/{split}/{number}"
            for label in ("town", "train", "sea")
            for split in ("Train", "test")
            for number in range(3)
        )
    )
    found = counts(root, kind)
    assert found == {(split, label): 3 for label in ("town", "train", "sea") for split in ("train", "test")}


def test_some_classes_with_splits_and_some_without(fill, kind):
    root = fill("town/train/1", "town/test/2", "sea/3")
    with pytest.raises(UserError, match=r"'town' holds folders of splits and 'sea' none; give every class"):
        read(root, kind)


def test_two_folders_of_one_split(fill, kind):
    root = fill("train/a/1", "Training/a/2", "train/b/3", "Training/b/4")
    with pytest.raises(UserError, match=r"holds both 'Training' and 'train'; keep one train folder"):
        read(root, kind)
    root = fill("c/test/1", "c/testing/2", "c/train/3")


@pytest.mark.parametrize("names", [("Test", "Validation"), ("testing", "dev"), ("VAL",)])
def test_splits_without_train(names, fill, kind):
    root = fill(*(f"{name}/{label}/1" for name in names for label in "ab"))
    with pytest.raises(UserError, match="holds no train folder; add it"):
        read(root, kind)


def test_splits_that_hold_images_without_classes(tmp_path):
    write(tmp_path, "Train/1.png", "Test/2.png")
    with pytest.raises(UserError, match="holds no class folders; put the images of each class in a folder"):
        read(tmp_path, "images")


def test_classes_that_are_called_like_splits(fill, kind):
    root = fill("valid/1", "invalid/2")
    assert counts(root, kind) == {("train", "valid"): 1, ("train", "invalid"): 1}
    assert "taken for classes, not for splits: 'valid'" in read(root, kind).warnings


def test_folders_inside_classes_are_told(fill, kind):
    root = fill(*(f"animals/{name}/{number}" for name in ("cats", "dogs") for number in range(3)), "cars/1")
    assert counts(root, kind) == {("train", "animals"): 6, ("train", "cars"): 1}
    assert read(root, kind).warnings == (
        "files in folders inside class folders count as the class: 6 of 'cats', 'dogs' in 'animals'",
    )


def test_a_folder_around_the_classes(tmp_path):
    write(tmp_path, "pets/cat/1.png", "pets/dog/2.png", "__MACOSX/pets/._1.png")
    with pytest.raises(UserError, match=rf"one folder alone, 'pets'; give '{re.escape(str(tmp_path))}/pets'"):
        read(tmp_path, "images")


def test_files_beside_classes_are_told(tmp_path):
    write(tmp_path, "a/1.png", "b/2.png", "README.md", "3.png", "4.png")
    assert read(tmp_path, "images").warnings == (
        "files beside the folders of classes, which are not read: 3 (2 .png, 1 .md), such as '3.png'",
    )
    os.symlink("nowhere", tmp_path / "c")
    assert "links that lead nowhere: 1 (1 no ending), such as 'c'" in read(tmp_path, "images").warnings


def test_files_beside_classes_in_splits_are_told(tmp_path):
    write(tmp_path, "Train/a/1.png", "Train/b/2.png", "Train/3.png", "Test/a/4.png", "labels.csv")
    assert read(tmp_path, "images").warnings == (
        "files beside the folders of classes, which are not read: 2 (1 .csv, 1 .png), such as 'labels.csv'",
    )
    write(tmp_path / "first", "a/train/1.png", "a/2.png", "b/train/3.png")
    assert counts(tmp_path / "first", "images") == {("train", "a"): 1, ("train", "b"): 1}
    (told,) = read(tmp_path / "first", "images").warnings
    assert told.endswith("which are not read: 1 (1 .png), such as 'a/2.png'")


def test_linked_folders_are_read_once_and_circles_are_not_followed(fill, kind, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    root = fill("a/1", "b/2", "b/deep/3")
    ending = {"images": ".png", "documents": ".txt"}[kind]
    write(elsewhere, f"4{ending}", f"more/5{ending}")
    os.symlink(elsewhere, root / "a" / "linked")
    os.symlink("deep", root / "b" / "again")
    os.symlink("..", root / "b" / "deep" / "up")
    os.symlink("../..", root / "b" / "root")
    os.symlink("/", root / "b" / "all")
    os.symlink(elsewhere, root / "c")
    found = read(root, kind)
    assert counts(root, kind) == {("train", "a"): 3, ("train", "b"): 2, ("train", "c"): 2}
    (told,) = [line for line in found.warnings if line.startswith("links to folders")]
    assert "which are not followed: 4 (4 no ending)" in told


def test_many_links_to_links_end(tmp_path):
    # Without a guard 2^30 ways lead to the file.
    for number in range(30):
        folder = tmp_path / "f" / str(number)
        folder.mkdir(parents=True)
        for name in ("x", "y"):
            os.symlink(f"../{number + 1}", folder / name)
    write(tmp_path, "f/30/1.png")
    assert len(files_under(tmp_path / "f" / "0", {})) == 1


@pytest.mark.parametrize("name", ["__MACOSX", "@eaDir", "#recycle", "lost+found", "$RECYCLE.BIN", ".cache"])
def test_folders_of_systems_are_no_classes_and_no_examples(name, fill, kind):
    root = fill("a/1", "b/2", f"{name}/3", f"a/{name}/4", f"a/{name}/deep/5")
    assert counts(root, kind) == {("train", "a"): 1, ("train", "b"): 1}
    (told,) = read(root, kind).warnings
    assert ", which are not read: 3 (3 ." in told


def test_litter_is_not_worth_a_word(fill, kind):
    root = fill("a/1", "b/2")
    write(root, ".DS_Store", "a/.DS_Store", "a/._1.png", "b/Thumbs.db", "desktop.ini", "a/.gitkeep")
    assert read(root, kind).warnings == ()
    write(root, "a/.hidden.png")
    assert read(root, kind).warnings == (
        "hidden files, which are not read: 1 (1 .png), such as 'a/.hidden.png'",
    )


def test_captions_beside_images_do_not_shift_the_shares(tmp_path):
    rng = np.random.default_rng(0)
    for number in range(20):
        name = f"{'ab'[number % 2]}/{number}"
        write(tmp_path, f"{name}.png", *([f"{name}.txt"] if number % 2 else []))
        pixels = rng.integers(0, 256, (4, 4, 3)).astype(np.uint8)
        (tmp_path / f"{name}.png").write_bytes(tf.io.encode_png(pixels).numpy())
    report = load_images(f"folder:{tmp_path}", cache=tmp_path).report
    assert report.counts["test"] == {"a": 2, "b": 2}
    assert report.dropped == ()
    told = "files other than images, which are not read: 10 (10 .txt), such as 'b/1.txt'"
    assert told in report.warnings


def test_kinds_of_images_that_are_not_read_are_counted(tmp_path):
    write(tmp_path, *(f"{label}/{number}.png" for label in "ab" for number in range(2)), "a/scan.tif")
    write(tmp_path, "a/phone.HEIC", "b/new.avif", "b/raw.NEF", "b/drawing.svg")
    (tmp_path / "a" / "noname").write_bytes(PNG)
    (tmp_path / "a" / "odd.jpg_large").write_bytes(PNG)
    (tmp_path / "a" / "tiff").write_bytes(b"MM\0*" + bytes(60))
    found = read(tmp_path, "images")
    assert {"a/noname", "a/odd.jpg_large"} < {example.id for example in found.examples}
    assert len(found.examples) == 6
    assert found.warnings == (
        "images of kinds that are not read: convert them to JPEG or PNG: 6 "
        "(1 .heic, 1 .tif, 1 no ending, 1 .svg, 1 .avif and 1 more), such as 'a/phone.HEIC'",
    )


def test_a_class_of_what_is_not_read(tmp_path):
    write(tmp_path, "a/1.png", "b/2.heic")
    with pytest.raises(UserError, match="b' holds no images that are read; add images to it or remove it"):
        read(tmp_path, "images")
    write(tmp_path / "texts", "a/1.txt", "b/2.pdf")
    assert read(tmp_path / "texts", "documents").warnings == (
        "class folders without .txt files, which are left out: 'b'",
        "files other than .txt, which are not read: 1 (1 .pdf), such as 'b/2.pdf'",
    )


def test_a_dangling_link_stops_nothing(fill, kind):
    root = fill("a/1", "b/2")
    ending = {"images": ".png", "documents": ".txt"}[kind]
    os.symlink("nowhere", root / "a" / f"lost{ending}")
    found = read(root, kind)
    assert len(found.examples) == {"images": 3, "documents": 2}[kind]
    assert bool(found.warnings) == (kind == "documents")


def test_folder_names_that_are_not_utf8_are_told_before_anything_is_trained(tmp_path):
    name = os.fsdecode(b"caf\xe9")
    write(tmp_path, *(f"{label}/{number}.txt" for label in (name, "tea") for number in range(5)))
    with pytest.raises(UserError, match="not in UTF-8; rename it, or give `class_names`") as refused:
        load_documents(f"dir:{tmp_path}", cache=tmp_path)
    assert r"the class name 'caf\\udce9'" in str(refused.value)
    data = load_documents(f"dir:{tmp_path}", cache=tmp_path, class_names=("café", "tea"))
    assert data.class_names == ("café", "tea")


def table(tmp_path: Path, *words: str) -> Path:
    rows = [f"the text {number},{'ab'[number % 2]},{word}" for number, word in enumerate(words)]
    path = tmp_path / "table.csv"
    path.write_text("\n".join(["text,label,split", *rows]))
    return path


def test_splits_in_tables_in_any_case(tmp_path):
    path = table(tmp_path, *(6 * ("Train",)), "EVAL", "dev ", "Test", "testing")
    data = load_documents(f"csv:{path}", cache=tmp_path)
    assert [len(split) for split in (data.train, data.validation, data.test)] == [6, 2, 2]
    assert not any("split" in line for line in data.report.warnings)


def test_rows_without_a_split_are_told_at_once(tmp_path):
    path = table(tmp_path, *(6 * ("train",)), "", " ", "test", "test")
    data = load_documents(f"csv:{path}", cache=tmp_path, validation_fraction=0)
    assert len(data.train) == 8
    told = f"rows of '{path}' without a split, which are taken for train: 2, such as 'table.csv:8'"
    assert told in data.report.warnings


def test_tables_named_after_splits_in_any_case(tmp_path):
    for name in ("Train.csv", "TEST.csv"):
        rows = [f"{name} {number},{'ab'[number % 2]}" for number in range(8)]
        (tmp_path / name).write_text("\n".join(["text,label", *rows]))
    data = load_documents(f"csv:{tmp_path}", cache=tmp_path, validation_fraction=0)
    assert [len(data.train), len(data.test)] == [8, 8]


def test_too_few_to_cut_from(tmp_path):
    write(tmp_path, "a/1.png", "b/2.png")
    with pytest.raises(UserError, match=r"no test images can be cut from train: .*; add images, such as"):
        load_images(f"folder:{tmp_path}", cache=tmp_path, min_per_class=1)
