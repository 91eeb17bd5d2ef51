"""Images: reading, checking, splitting, decoding, batching, augmenting; all on real files."""

import gzip
import os
import re
import shutil
from collections import Counter

import numpy as np
import pytest
import tensorflow as tf
from loading import load_images

from xmodal.core.errors import UserError
from xmodal.core.files import cache_folder
from xmodal.data import decoding, image_sources, images, splits
from xmodal.data.audit import scan
from xmodal.data.augmentation import augment_images, draws
from xmodal.data.decoding import decode
from xmodal.data.images import batches, load_unlabelled


def picture(number, height=12, width=10, channels=3, dtype=np.uint8):
    """Returns noise that no other number has."""
    rng = np.random.default_rng(number)
    return rng.integers(0, np.iinfo(dtype).max + 1, (height, width, channels)).astype(dtype)


def png(number, **kind):
    return tf.io.encode_png(picture(number, **kind)).numpy()


def jpeg(number, **kind):
    return tf.io.encode_jpeg(picture(number, **kind)).numpy()


def write(path, encoded):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encoded)


def write_classes(root, counts, start=0):
    """Writes PNGs, each with pixels of its own, and returns the next number that is free."""
    for name, count in counts.items():
        for number in range(start, start + count):
            write(root / name / f"{number}.png", png(number))
        start += count
    return start


@pytest.fixture
def load(tmp_path):
    def load_from(dataset, **options):
        return load_images(dataset, cache=tmp_path / "cache", offline=True, **options)

    return load_from


@pytest.fixture
def folder(tmp_path):
    write_classes(tmp_path / "pets", {"cat": 20, "dog": 10})
    return tmp_path / "pets"


def refuses(message):
    """The whole text of an error, and that it is one line."""
    return pytest.raises(UserError, match=f"^{re.escape(message)}$")


# Reading and splitting.


def test_folder_is_split_by_class_and_seed(folder, load):
    data = load(f"folder:{folder}", test_fraction=0.2, validation_fraction=0.25)
    assert data.class_names == ("cat", "dog")
    assert data.report.counts == {
        "train": {"cat": 12, "dog": 6},
        "validation": {"cat": 4, "dog": 2},
        "test": {"cat": 4, "dog": 2},
    }
    splits = (data.train, data.validation, data.test)
    ids = [name for split in splits for name in split.ids]
    assert sorted(ids) == sorted(f"{path.parent.name}/{path.name}" for path in folder.glob("*/*.png"))
    for split in splits:
        assert not split.in_memory
        assert split.labels.dtype == np.int32
        assert [data.class_names[label] for label in split.labels] == [
            name.split("/")[0] for name in split.ids
        ]
        assert [str(folder / name) for name in split.ids] == list(split.items)


def test_the_split_follows_from_seed_and_ids_alone(folder, load, tmp_path):
    data = load(f"folder:{folder}")
    # Another place, and files made in another order.
    for path in sorted(folder.glob("*/*.png"), reverse=True):
        write(tmp_path / "moved" / path.relative_to(folder), path.read_bytes())
    moved = load(f"folder:{tmp_path / 'moved'}")
    assert [split.ids for split in (moved.train, moved.validation, moved.test)] == [
        split.ids for split in (data.train, data.validation, data.test)
    ]
    assert set(load(f"folder:{folder}", seed=1).test.ids) != set(data.test.ids)


def test_files_with_the_same_bytes_come_into_one_split(tmp_path, load):
    for name, first in (("cat", 0), ("dog", 50)):
        for number in range(20):
            for copy in range(3):
                write(tmp_path / "set" / name / f"{copy}-{number}.png", png(first + number))
    data = load(f"folder:{tmp_path / 'set'}", test_fraction=0.3)
    assert (len(data.train), len(data.validation), len(data.test)) == (78, 6, 36)
    found = {}
    for part, split in enumerate((data.train, data.validation, data.test)):
        for name in split.ids:
            place, number = name.split("/")[0], name.rpartition("-")[2]
            found.setdefault((place, number), set()).add(part)
    assert len(found) == 40
    assert all(len(parts) == 1 for parts in found.values())
    assert data.report.leaked == ()


def test_the_same_pixels_in_files_of_two_kinds_come_into_one_split(tmp_path, load):
    for name, first in (("cat", 0), ("dog", 50)):
        for number in range(20):
            write(tmp_path / "set" / name / f"{number}.png", png(first + number))
            pixels = picture(first + number)
            write(tmp_path / "set" / name / f"{number}.bmp", tf.io.encode_png(pixels, compression=0).numpy())
    data = load(f"folder:{tmp_path / 'set'}", test_fraction=0.3)
    parts = [set(split.digests) for split in (data.train, data.validation, data.test)]
    assert all(parts)
    assert sum(map(len, parts)) == len(set.union(*parts)) == 40


def test_a_new_image_does_not_reshuffle_the_others(folder, load):
    before = set(load(f"folder:{folder}").test.ids)
    write(folder / "cat" / "new.png", png(1000))
    after = set(load(f"folder:{folder}").test.ids)
    assert len(before & after) >= len(before) - 1


@pytest.mark.parametrize("validation_name", ["val", "validation"])
def test_split_folders_are_taken_as_they_are(tmp_path, load, validation_name):
    free = write_classes(tmp_path / "train", {"cat": 4, "dog": 3})
    free = write_classes(tmp_path / validation_name, {"cat": 2, "dog": 2}, free)
    write_classes(tmp_path / "test", {"cat": 1, "dog": 2}, free)
    data = load(f"folder:{tmp_path}")
    assert [len(split) for split in (data.train, data.validation, data.test)] == [7, 4, 3]
    assert all(name.startswith("test/") for name in data.test.ids)


def test_validation_is_cut_from_train_only(tmp_path, load):
    free = write_classes(tmp_path / "train", {"cat": 10, "dog": 10})
    write_classes(tmp_path / "test", {"cat": 3, "dog": 3}, free)
    write_classes(tmp_path / "drafts", {"cat": 1}, free + 6)
    data = load(f"folder:{tmp_path}", validation_fraction=0.2)
    assert [len(split) for split in (data.train, data.validation, data.test)] == [16, 4, 6]
    assert all(name.startswith("train/") for name in data.validation.ids)
    assert "not read, beside the folders of splits: 'drafts' (1)" in data.report.warnings


def test_another_source_is_learned_from_and_never_measured_on(folder, load, tmp_path):
    write_classes(tmp_path / "more", {"cat": 3, "dog": 4}, start=100)
    alone = load(f"folder:{folder}")
    more = f"folder:{tmp_path / 'more'}"
    data = load(f"folder:{folder}", also_train=more)
    assert data.train.ids[:-7] == alone.train.ids
    assert all(name.startswith(more) for name in data.train.ids[-7:])
    assert np.bincount(data.train.labels[-7:]).tolist() == [3, 4]
    assert (data.validation.ids, data.test.ids) == (alone.validation.ids, alone.test.ids)
    # Its names need not be of any group.
    assert len(load(f"folder:{folder}", group_pattern="^[a-z]+/([0-9]+)", also_train=more).train) > 7


def test_another_source_may_have_its_images_in_memory(tmp_path, load, monkeypatch):
    write_classes(tmp_path / "digits", {str(digit): 5 for digit in range(10)})
    write(tmp_path / "digits" / "3" / "broken.png", b"")
    table = np.zeros((20, 785), int)
    table[:, :784] = np.arange(20)[:, None]
    table[:, -1] = np.arange(20) % 10
    np.savetxt(tmp_path / "mnist_5k.csv.gz", table, fmt="%d", delimiter=",")
    monkeypatch.setattr(image_sources, "locate", lambda *_, **__: tmp_path)
    alone = load(f"folder:{tmp_path / 'digits'}")
    data = load(f"folder:{tmp_path / 'digits'}", also_train="mnist_5k")
    assert len(data.train) == len(alone.train) + 20
    assert data.train.in_memory
    assert data.report.dropped == alone.report.dropped
    np.testing.assert_array_equal(data.test.arrays(32)[0], alone.test.arrays(32)[0])


def test_another_source_that_does_not_fit(folder, load, tmp_path):
    write_classes(tmp_path / "more", {"cat": 3, "cow": 4}, start=100)
    more = f"folder:{tmp_path / 'more'}"
    with refuses(
        f"class 'cow' stands in further ('{more}/cow/103.png') but not in train; "
        "add training images of it, or remove it"
    ):
        load(f"folder:{folder}", also_train=more)
    with refuses(f"the folder '{tmp_path / 'none'}' does not exist; check the path of `also_train`"):
        load(f"folder:{folder}", also_train=f"folder:{tmp_path / 'none'}")
    with refuses(
        f"`also_train=sounds:{tmp_path / 'waves'}` holds sounds, and `dataset` images; "
        "give images of the same classes, or leave it out"
    ):
        for name in "cat", "dog":
            write(tmp_path / "waves" / name / "0.wav", b"RIFF")
        load(f"folder:{folder}", also_train=f"sounds:{tmp_path / 'waves'}")


def test_a_class_may_be_called_train(tmp_path, load):
    write_classes(tmp_path, {"bus": 6, "train": 6})
    assert load(f"folder:{tmp_path}").class_names == ("bus", "train")


def test_nested_and_hidden_files(folder, load):
    write(folder / "cat" / "more" / "x.png", png(100))
    write(folder / "cat" / ".DS_Store", b"junk")
    write(folder / "cat" / ".cache" / "y.png", png(101))
    write(folder / ".git" / "z.png", png(102))
    data = load(f"folder:{folder}")
    ids = data.train.ids + data.validation.ids + data.test.ids
    assert "cat/more/x.png" in ids
    assert len(ids) == 31
    assert data.report.dropped == ()


def test_file_names_that_are_not_utf8(folder, load):
    write(folder / "cat" / os.fsdecode(b"caf\xe9.png"), png(100))
    data = load(f"folder:{folder}", test_fraction=0, validation_fraction=0)
    assert "cat/caf\\udce9.png" in data.train.ids
    assert sum(len(batch["label"]) for batch in batches(data.train, image_size=8, batch_size=16)) == 31


def test_whole_numbers_are_ordered_by_value(tmp_path, load):
    write_classes(tmp_path, {str(number): 4 for number in (0, 2, 10)})
    data = load(f"folder:{tmp_path}", class_names=("zero", "two", "ten"))
    assert data.class_names == ("zero", "two", "ten")
    (ten,) = {label for name, label in zip(data.train.ids, data.train.labels, strict=True) if "10/" in name}
    assert ten == 2


def test_csv_with_and_without_a_split_column(folder, load):
    rows = [f"cat/{number}.png,tabby,train" for number in range(6)]
    rows += [f"dog/{number}.png,hound,train" for number in range(20, 26)]
    rows += [f"cat/6.png,tabby,test\n{folder}/dog/26.png,hound,test\n"]
    (folder / "split.csv").write_text("\n".join(["image,label,split", *rows]))
    data = load(f"csv:{folder / 'split.csv'}", validation_fraction=0.2)
    assert data.class_names == ("hound", "tabby")
    assert data.test.ids == ("cat/6.png", f"{folder}/dog/26.png")
    assert [len(split) for split in (data.train, data.validation)] == [10, 2]
    # A byte order mark, as spreadsheets write it.
    plain = "\n".join(row.rpartition(",")[0] for row in ["image,label,split", *rows[:-1]])
    (folder / "plain.csv").write_bytes(b"\xef\xbb\xbf" + plain.encode())
    data = load(f"csv:{folder / 'plain.csv'}", test_fraction=0.5)
    assert data.report.counts["test"] == {"hound": 3, "tabby": 3}


def test_digits_of_a_table_become_png_bytes(tmp_path):
    rng = np.random.default_rng(0)
    pixels, labels = rng.integers(0, 256, (6, 784)), [7, 0, 3, 9, 1, 1]
    with gzip.open(tmp_path / "digits.csv.gz", "wt") as file:
        file.writelines(
            ",".join(map(str, [*row, label])) + "\n" for row, label in zip(pixels, labels, strict=True)
        )
    examples = image_sources._digits(tmp_path / "digits.csv.gz")
    assert [example.class_name for example in examples] == ["7", "0", "3", "9", "1", "1"]
    assert examples[4].id == "mnist_5k/4"
    read = decode(examples[4].item, 28).numpy()
    np.testing.assert_array_equal(read, np.repeat(pixels[4].reshape(28, 28, 1), 3, axis=2))


def test_mnist_5k_has_a_hundred_test_digits_of_each():
    data = load_images("mnist_5k", cache=cache_folder())
    assert data.class_names == tuple("0123456789")
    assert data.report.counts == {
        "train": dict.fromkeys(data.class_names, 360),
        "validation": dict.fromkeys(data.class_names, 40),
        "test": dict.fromkeys(data.class_names, 100),
    }
    assert (data.report.dropped, data.report.leaked, data.report.warnings) == ((), (), ())
    assert data.test.in_memory


@pytest.fixture(scope="module")
def tfds_cache(tmp_path_factory):
    """A cache with a real TFDS data set, prepared without a network."""
    tfds = pytest.importorskip("tensorflow_datasets")

    class TinyPets(tfds.core.GeneratorBasedBuilder):
        VERSION = tfds.core.Version("1.0.0")

        def _info(self):
            features = tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(None, None, 3)),
                    "label": tfds.features.ClassLabel(names=["dog", "cat"]),
                }
            )
            return tfds.core.DatasetInfo(builder=self, features=features)

        def _split_generators(self, dl_manager):
            return {"train": self._generate_examples(0, 12), "test": self._generate_examples(12, 18)}

        def _generate_examples(self, start, end):
            for number in range(start, end):
                yield number, {"image": picture(number), "label": number % 2}

    cache = tmp_path_factory.mktemp("cache")
    TinyPets(data_dir=cache / "tfds").download_and_prepare()
    return cache


def test_tfds_bytes_are_kept_as_they_are(tfds_cache):
    data = load_images("tfds:tiny_pets", cache=tfds_cache, offline=True, validation_fraction=0.17)
    assert data.class_names == ("dog", "cat")
    assert [len(split) for split in (data.train, data.validation, data.test)] == [10, 2, 6]
    assert data.test.in_memory
    assert data.test.ids[0] == "tiny_pets/test/0"
    written = {picture(number).tobytes(): number % 2 for number in range(12, 18)}
    for item, label in zip(data.test.items, data.test.labels, strict=True):
        assert written[tf.io.decode_png(item).numpy().tobytes()] == label


def test_tfds_that_cannot_be_had(tmp_path, tfds_cache):
    with pytest.raises(UserError, match=r"^the TFDS data set 'tiny_pest' cannot be had: .*Tiny|Dataset"):
        load_images("tfds:tiny_pest", cache=tfds_cache, offline=True)
    with refuses(
        f"the TFDS data set 'tiny_pets' is neither in '{tmp_path / 'tfds'}' nor in TFDS's own folder, "
        "and `offline` is on; run once without `offline`"
    ):
        load_images("tfds:tiny_pets", cache=tmp_path, offline=True)
    with pytest.raises(UserError, match=r"^the TFDS name 'huggingface:mnist' is looked up on the network"):
        load_images("tfds:huggingface:mnist", cache=tmp_path, offline=True)


def test_limit_keeps_classes_in_proportion(folder, load):
    data = load(f"folder:{folder}", limit=9, test_fraction=0.2, validation_fraction=0.25)
    assert data.report.counts == {
        "train": {"cat": 6, "dog": 3},
        "validation": {"cat": 2, "dog": 1},
        "test": {"cat": 2, "dog": 1},
    }
    more = load(f"folder:{folder}", limit=12, test_fraction=0.2, validation_fraction=0.25)
    whole = load(f"folder:{folder}", limit=1000, test_fraction=0.2, validation_fraction=0.25)
    assert set(data.train.ids) < set(more.train.ids) < set(whole.train.ids)
    assert set(data.test.ids) < set(whole.test.ids)
    assert len(whole.train) == 18


def test_train_examples_leave_the_test_split_whole(folder, load):
    options = {"test_fraction": 0.2, "validation_fraction": 0.25}
    data, more, whole = (load(f"folder:{folder}", train_examples=count, **options) for count in (12, 18, 24))
    assert data.report.counts == {
        "train": {"cat": 6, "dog": 3},
        "validation": {"cat": 2, "dog": 1},
        "test": {"cat": 4, "dog": 2},
    }
    assert data.test.ids == more.test.ids == whole.test.ids
    learned = [{*some.train.ids, *some.validation.ids} for some in (data, more, whole)]
    assert learned[0] < learned[1] < learned[2]
    assert len(learned[2]) == 24


def test_train_examples_leave_a_validation_split_that_came_with_the_data_whole(tmp_path, load):
    free = write_classes(tmp_path / "train", {"cat": 10, "dog": 10})
    free = write_classes(tmp_path / "val", {"cat": 3, "dog": 3}, free)
    write_classes(tmp_path / "test", {"cat": 1, "dog": 1}, free)
    data = load(f"folder:{tmp_path}", train_examples=8)
    assert [len(split) for split in (data.train, data.validation, data.test)] == [8, 6, 2]


def test_limit_leaves_enough_of_a_rare_class(folder, load):
    data = load(f"folder:{folder}", limit=9, min_per_class=4)
    assert data.report.counts["train"] == {"cat": 5, "dog": 4}


@pytest.mark.parametrize(
    ("counts", "fraction", "expected"),
    [
        ([500] * 10, 0.2, [100] * 10),
        ([20, 10], 0.25, [5, 3]),  # 7.5 of 30 is 8; the half that is left goes to the second
        ([7, 7, 7], 1 / 3, [3, 2, 2]),  # 7 of 21, each within one of its quota
        ([1, 2, 3], 0.1, [0, 1, 1]),  # at least one, but one stays
        ([5, 5], 0, [0, 0]),
    ],
)
def test_shares_are_exact(counts, fraction, expected):
    assert splits._shares(np.array(counts), fraction, minimum=1, reserve=1).tolist() == expected


# The audit.


def test_bad_files_are_listed_and_left_out(folder, load):
    bad = {
        "cat/cut.jpg": (jpeg(200, height=64, width=64)[:-900], "truncated or corrupt JPEG"),
        "cat/cut.png": (png(201)[:-20], "truncated or corrupt PNG"),
        "cat/empty.png": (b"", "empty file"),
        "cat/flipped.png": (png(202)[:100] + b"\xff\x00\xff" + png(202)[103:], "truncated or corrupt PNG"),
        "cat/notes.png": (b"buy milk", "not an image"),
    }
    for name, (encoded, _) in bad.items():
        write(folder / name, encoded)
    (folder / "cat" / "gone.png").symlink_to("nowhere.png")
    data = load(f"folder:{folder}")
    expected = {name: reason for name, (_, reason) in bad.items()}
    assert dict(data.report.dropped) == expected | {
        "cat/gone.png": "cannot be read: No such file or directory"
    }
    assert sum(data.report.counts[split]["cat"] for split in data.report.counts) == 20
    kept = data.train.ids + data.validation.ids + data.test.ids
    assert not set(kept) & set(expected)
    (line,) = [line for line in data.report.warnings if "cannot be read" in line]
    assert line == (
        "6 of 36 images cannot be read and were left out: 'cat/cut.jpg' (truncated or corrupt JPEG), "
        "'cat/cut.png' (truncated or corrupt PNG), 'cat/empty.png' (empty file) and 3 more"
    )
    # All that is left decodes.
    for split in (data.train, data.validation, data.test):
        assert sum(len(batch["label"]) for batch in batches(split, image_size=8, batch_size=4)) == len(split)


def test_bad_files_can_be_fatal(folder, load):
    write(folder / "dog" / "cut.png", png(201)[:-20])
    with refuses(
        "1 image cannot be read: 'dog/cut.png' (truncated or corrupt PNG); "
        "fix or remove them, or pass `bad_images=skip`"
    ):
        load(f"folder:{folder}", bad_images="fail")


def test_leaks_duplicates_and_conflicts(tmp_path, load):
    free = write_classes(tmp_path / "train", {"cat": 12, "dog": 12})
    free = write_classes(tmp_path / "val", {"cat": 2, "dog": 2}, free)
    write_classes(tmp_path / "test", {"cat": 2, "dog": 2}, free)
    # The same pixels in other files: grey as grey and as RGB, eight bits and sixteen.
    grey = picture(500, channels=1)
    write(tmp_path / "train/cat/grey.png", tf.io.encode_png(grey).numpy())
    write(tmp_path / "test/cat/rgb.png", tf.io.encode_png(np.repeat(grey, 3, axis=2)).numpy())
    write(tmp_path / "val/cat/deep.png", tf.io.encode_png(grey.astype(np.uint16) * 257).numpy())
    write(tmp_path / "train/dog/twin.png", (tmp_path / "train/cat/0.png").read_bytes())
    # The same bytes in another shape are another image.
    flat = np.zeros((2, 8, 3), np.uint8)
    write(tmp_path / "train/dog/flat.png", tf.io.encode_png(flat).numpy())
    write(tmp_path / "test/dog/square.png", tf.io.encode_png(flat.reshape(4, 4, 3)).numpy())
    report = load(f"folder:{tmp_path}").report
    assert set(report.leaked) == {
        ("train/cat/grey.png", "test/cat/rgb.png"),
        ("val/cat/deep.png", "test/cat/rgb.png"),
    }
    assert report.duplicates == (("train/cat/0.png", "train/dog/twin.png"),)
    assert set(report.warnings) == {
        "2 images of train or validation also in test were kept: "
        "'train/cat/grey.png' = 'test/cat/rgb.png', 'val/cat/deep.png' = 'test/cat/rgb.png'",
        "1 image of validation also in train: 'val/cat/deep.png'",
        "1 image repeated within a split: 'train/cat/0.png' = 'train/dog/twin.png'",
        "1 image with the same pixels in two classes: 'train/cat/0.png' = 'train/dog/twin.png'",
        "2 images without contrast: 'test/dog/square.png', 'train/dog/flat.png'",
        "fewer than 20 training images in class 'cat' (13), 'dog' (14)",
    }
    without = load(f"folder:{tmp_path}", keep_leaks=False)
    assert without.report.leaked == report.leaked
    assert without.report.counts["train"] == {"cat": 12, "dog": 14}
    assert without.report.counts["validation"] == {"cat": 2, "dog": 2}
    assert without.report.counts["test"] == {"cat": 3, "dog": 3}
    assert "train/cat/grey.png" not in without.train.ids
    assert any("were left out of training" in line for line in without.report.warnings)


def test_imbalance_and_absent_classes_are_told(tmp_path, load):
    free = write_classes(tmp_path / "train", {"cat": 40, "dog": 4})
    write_classes(tmp_path / "test", {"cat": 2}, free)
    warnings = load(f"folder:{tmp_path}", validation_fraction=0).report.warnings
    assert warnings == (
        "fewer than 20 training images in class 'dog' (4)",
        "strong imbalance: class 'cat' has 40 images in train, class 'dog' has 4",
        "no validation images in class 'cat', 'dog'",
        "no test images in class 'dog'",
    )


def test_a_clean_set_has_no_warnings(tmp_path, load):
    write_classes(tmp_path, {"cat": 30, "dog": 30})
    report = load(f"folder:{tmp_path}").report
    assert (report.dropped, report.duplicates, report.leaked, report.warnings) == ((), (), (), ())


def test_scan_keeps_the_order_over_many_tasks():
    encoded = [png(number % 7, height=2, width=2) for number in range(600)]
    encoded[300] = b"junk"
    scans = scan(encoded, decoding.decode_pixels)
    assert [number for number, found in enumerate(scans) if found.problem] == [300]
    assert all(scans[number].digest == scans[number % 7].digest for number in range(600) if number != 300)
    assert len({found.digest for found in scans[:7]}) == 7


# What the user can fix.


def test_unknown_sources(folder, load, tmp_path):
    with refuses(
        "unknown `dataset='foldr:x'` (there are mnist_5k, spoken_digits, folder:PATH, csv:PATH, "
        "parquet:PATH, arrow:PATH, tfrecord:PATH, sounds:PATH, videos:PATH, tfds:NAME, "
        "hf:NAME); did you mean 'folder'?"
    ):
        load("foldr:x")
    with refuses("`dataset='folder:'` is not complete; write it as folder:PATH"):
        load("folder:")
    with refuses(f"`dataset='{folder}'` does not say what it is; did you mean 'folder:{folder}'?"):
        load(str(folder))
    with refuses(f"the folder '{tmp_path / 'no'}' does not exist; check the path of `dataset`"):
        load(f"folder:{tmp_path / 'no'}")
    with refuses(f"the file '{tmp_path / 'no.csv'}' does not exist; check the path of `dataset`"):
        load(f"csv:{tmp_path / 'no.csv'}")


@pytest.mark.parametrize("kind", ["", "folder:", "csv:"])
@pytest.mark.parametrize(
    ("place", "problem"),
    [
        ("~nosuchuser/a", "'~nosuchuser/a' is no path (Could not determine home directory.)"),
        ("a\0b", "'a\\x00b' is no path (it holds NUL)"),
    ],
)
def test_paths_that_are_none(load, kind, place, problem):
    with refuses(f"{problem}; write the path out"):
        load(f"{kind}{place}")


def test_a_folder_with_what_is_no_file(folder, load):
    os.symlink("nowhere", folder / "cat" / "lost.png")
    assert "lost.png" in str(load(f"folder:{folder}").report.dropped)
    os.mkfifo(folder / "cat" / "pipe.png")
    os.symlink("/dev/zero", folder / "cat" / "endless.png")
    report = load(f"folder:{folder}").report
    assert (
        "pipes, sockets and devices, which are not read: 2 (2 .png), such as 'cat/endless.png'"
        in report.warnings
    )
    assert len(report.dropped) == 1
    # A table names them one by one.
    rows = ["cat/pipe.png,cat", "cat/endless.png,cat", "cat,cat"]
    rows += [f"{path.relative_to(folder)},{path.parent.name}" for path in folder.glob("*/2*.png")]
    rows += [f"cat/{number}.png,cat" for number in range(9)]
    (folder / "table.csv").write_text("\n".join(["image,label", *rows]))
    assert dict(load(f"csv:{folder / 'table.csv'}").report.dropped) == {
        "cat/pipe.png": "cannot be read: it is a pipe",
        "cat/endless.png": "cannot be read: it is a device",
        "cat": "cannot be read: it is a folder",
    }


def test_a_table_of_paths_that_are_none(folder, load):
    rows = [f"{path.relative_to(folder)},{path.parent.name}" for path in sorted(folder.glob("*/*.png"))]
    bad = [f"{300 * 'x'}.png,cat", "a\0b.png,cat"]
    (folder / "a.csv").write_text("\n".join(["image,label", *rows, *bad, ""]))
    told = load(f"csv:{folder / 'a.csv'}").report.dropped
    assert [reason for _, reason in told] == [
        "cannot be read: File name too long",
        "cannot be read: embedded null byte",
    ]


def test_folders_that_hold_no_data_set(folder, load, tmp_path):
    (tmp_path / "empty").mkdir()
    no_classes = "holds no class folders; put the images of each class in a folder of its own"
    with refuses(f"the folder '{tmp_path / 'empty'}' {no_classes}"):
        load(f"folder:{tmp_path / 'empty'}")
    write(tmp_path / "flat" / "x.png", png(0))
    with refuses(f"the folder '{tmp_path / 'flat'}' {no_classes}"):
        load(f"folder:{tmp_path / 'flat'}")
    (folder / "bird").mkdir()
    with refuses(f"the class folder '{folder / 'bird'}' is empty; add images to it or remove it"):
        load(f"folder:{folder}")
    write_classes(tmp_path / "one", {"cat": 9})
    with refuses(f"'folder:{tmp_path / 'one'}' holds one class only, 'cat'; there must be two to tell apart"):
        load(f"folder:{tmp_path / 'one'}")


def test_split_folders_that_do_not_fit(tmp_path, load):
    free = write_classes(tmp_path / "train", {"cat": 4, "dog": 4})
    write_classes(tmp_path / "test", {"cat": 2, "fox": 1}, free)
    with refuses(
        f"class 'fox' stands in test ('test/fox/{free + 2}.png') but not in train; "
        "add training images of it, or remove it"
    ):
        load(f"folder:{tmp_path}")
    shutil.rmtree(tmp_path / "test")
    write_classes(tmp_path / "val", {"cat": 1}, free)
    write_classes(tmp_path / "valid", {"cat": 1}, free)
    with refuses(f"'{tmp_path}' holds both 'val' and 'valid'; keep one validation folder"):
        load(f"folder:{tmp_path}")


def test_too_few_images_in_a_class(folder, load):
    for number in range(21, 30):
        write(folder / "dog" / f"{number}.png", b"junk")
    with refuses(
        "fewer than `min_per_class=2` training images in class 'dog' (1) besides 9 unreadable, such as "
        "'dog/21.png' (not an image); add images, remove the class, or lower `min_per_class`"
    ):
        load(f"folder:{folder}", test_fraction=0, validation_fraction=0)
    data = load(f"folder:{folder}", min_per_class=1, test_fraction=0, validation_fraction=0)
    assert data.report.counts["train"] == {"cat": 20, "dog": 1}


def test_a_split_that_cannot_be_read(tmp_path, load):
    write_classes(tmp_path / "train", {"cat": 4, "dog": 4})
    write(tmp_path / "test" / "cat" / "x.png", b"")
    with refuses(
        "no readable test images besides 1 unreadable, such as 'test/cat/x.png' (empty file); "
        "check the files of the data set"
    ):
        load(f"folder:{tmp_path}")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "file,label\n",
            "'{}' has no column 'image' among 'file', 'label'; "
            "its first line must name the columns image,label and, optionally, split",
        ),
        ("image,label\n", "'csv:{}' holds no training images; add some"),
        ("image,label\na.png,\n", "line 2 of '{}' lacks an image or a label; fill it in or remove it"),
        (
            "image,label,split\na,b,trian\n",
            "unknown splits in '{}': 'trian' (1), the first in 'a'; did you mean 'train'?",
        ),
        (
            "image,label,split\na,b,trian\nb,b,Train\nc,b,8\nd,b,8\n",
            "unknown splits in '{}': '8' (2), 'trian' (1), the first in 'a'; write train, validation or test",
        ),
    ],
)
def test_broken_tables(tmp_path, load, text, message):
    path = tmp_path / "table.csv"
    path.write_text(text)
    with refuses(message.format(path)):
        load(f"csv:{path}")


def test_a_table_that_is_not_text(tmp_path, load):
    write(tmp_path / "table.csv", png(0))
    with pytest.raises(
        UserError, match=r"table.csv' is not in utf-8 \(0x89 does not fit there\); save it in UTF-8"
    ):
        load(f"csv:{tmp_path / 'table.csv'}")


def test_class_names_and_limits_that_do_not_fit(folder, load):
    with refuses(
        "`class_names` gives 1 names, the data has 2 classes (cat, dog); give one name a class, in this order"
    ):
        load(f"folder:{folder}", class_names=("kitty",))
    with refuses("`class_names` repeats 'pet'; give each class a name of its own"):
        load(f"folder:{folder}", class_names=("pet", "pet"))
    with refuses("`limit=3` is too few for 2 classes of `min_per_class=2` images; give at least 4"):
        load(f"folder:{folder}", limit=3)
    with refuses("`train_examples=3` is too few for 2 classes of `min_per_class=2` images; give at least 4"):
        load(f"folder:{folder}", train_examples=3)


# Decoding.


# Images without labels.


def test_photographs_at_any_depth_in_the_order_of_their_paths(tmp_path):
    for number, name in enumerate(("b.png", "2024/a.jpg", "2024/may/c.png", ".hidden/d.png")):
        write(tmp_path / "photos" / name, png(number))
    write(tmp_path / "photos" / "notes.txt", b"no image")
    write(tmp_path / "photos" / "broken.png", b"")
    write(tmp_path / "photos" / "again.png", png(0))
    split, report = load_unlabelled(f"unlabelled:{tmp_path / 'photos'}", cache=tmp_path)
    assert split.ids == ("2024/a.jpg", "2024/may/c.png", "again.png", "b.png")
    assert (split.labels == 0).all()
    assert report.dropped == (("broken.png", "empty file"),)
    assert report.duplicates == (("again.png", "b.png"),)
    assert report.counts["test"] == {"": 4}
    assert "files other than images, which are not read: 1 (1 .txt), such as 'notes.txt'" in report.warnings
    assert any("1 of 5 images cannot be read and were left out" in line for line in report.warnings)
    with pytest.raises(UserError, match="1 image cannot be read"):
        load_unlabelled(f"unlabelled:{tmp_path / 'photos'}", cache=tmp_path, bad_images="fail")


def test_photographs_of_too_many_pixels_are_left_out(tmp_path):
    for number, height in enumerate((10, 20, 30)):
        write(tmp_path / f"{number}.png", png(number, height=height, width=10))
    for limit, left_out in ((99, 3), (100, 2), (200, 1), (300, 0), (0, 0)):
        if left_out == 3:
            with pytest.raises(UserError):
                load_unlabelled(f"unlabelled:{tmp_path}", cache=tmp_path, max_pixels=limit)
            continue
        split, report = load_unlabelled(f"unlabelled:{tmp_path}", cache=tmp_path, max_pixels=limit)
        assert (len(split), len(report.dropped)) == (3 - left_out, left_out)


def test_photographs_that_are_not_there(tmp_path, load):
    with pytest.raises(UserError, match=r"the folder '.*none' does not exist; check the path of `dataset`"):
        load_unlabelled(f"unlabelled:{tmp_path / 'none'}", cache=tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"the folder '.*empty' is empty; put photographs into it"):
        load_unlabelled(f"unlabelled:{tmp_path / 'empty'}", cache=tmp_path)
    write(tmp_path / "empty" / "notes.txt", b"")
    with pytest.raises(UserError, match=r"holds no images \(files other than images, .*'notes.txt'\); put"):
        load_unlabelled(f"unlabelled:{tmp_path / 'empty'}", cache=tmp_path)
    with pytest.raises(
        UserError, match=r"`dataset='unlabelled'` is not complete; write it as unlabelled:PATH"
    ):
        load_unlabelled("unlabelled", cache=tmp_path)
    with pytest.raises(
        UserError, match="has no labels, which are to be learned from here; give one of mnist"
    ):
        load(f"unlabelled:{tmp_path / 'empty'}")


def test_photographs_are_read_as_a_speaker_reads_them(tmp_path):
    """A way of reading in the place of `decode` gives batches of its own size."""
    for number in range(3):
        write(tmp_path / f"{number}.png", png(number, height=20, width=30))
    split, _ = load_unlabelled(f"unlabelled:{tmp_path}", cache=tmp_path)

    def middle(encoded):
        return decoding.center_crop(decoding.decode_pixels(encoded), (10, 20))

    read = [batch["image"] for batch in batches(split, image_size=(10, 20), read_image=middle, batch_size=2)]
    assert [image.shape for image in read] == [(2, 10, 20, 3), (1, 10, 20, 3)]
    np.testing.assert_allclose(read[1][0], middle(png(2, height=20, width=30)))


def test_framed_cuts_the_middle_at_the_ratio_of_the_sides():
    pixels = np.zeros((40, 100, 3), np.uint8)
    pixels[10:30, 40:60] = 200
    # Half of the largest square, 40 by 40: exactly the bright middle.
    np.testing.assert_allclose(
        decoding.center_crop(pixels, (8, 8), crop=0.5), np.full((8, 8, 3), 200), rtol=1e-5
    )
    # The largest 1 to 2 that fits is 40 by 80.
    seen = np.asarray(decoding.center_crop(pixels, (40, 80)))
    np.testing.assert_array_equal(seen, pixels[:, 10:90])


@pytest.mark.parametrize(("side", "kept"), [(5, 5), (16, 16), (20, 16), (32, 16), (40, 20)])
def test_a_picture_smaller_than_what_is_wanted_is_not_cropped(side, kept):
    pixels = np.zeros((side, side, 3), np.uint8)
    edge = (side - kept) // 2
    pixels[edge : edge + kept, edge : edge + kept] = 200
    seen = np.asarray(decoding.center_crop(pixels, (16, 16), crop=0.5))
    # The middle alone is seen, and all of it.
    np.testing.assert_allclose(seen, np.full((16, 16, 3), 200), rtol=1e-5)
    pixels[edge], pixels[:, edge] = 0, 0
    assert np.asarray(decoding.center_crop(pixels, (16, 16), crop=0.5)).min() < 150


@pytest.mark.parametrize("encode", [png, jpeg])
@pytest.mark.parametrize("channels", [1, 3])
def test_decode_any_size_in_eager_and_graph(encode, channels):
    in_graph = tf.function(lambda encoded: decode(encoded, 20))
    for height, width in ((1, 1), (7, 50), (20, 20), (64, 33)):
        encoded = encode(3, height=height, width=width, channels=channels)
        image = decode(encoded, 20)
        assert image.shape == (20, 20, 3)
        assert image.dtype == tf.float32
        assert 0 <= np.min(image) <= np.max(image) <= 255
        np.testing.assert_array_equal(image, in_graph(encoded))
        if channels == 1:
            np.testing.assert_array_equal(image[..., 0], image[..., 2])


def test_decode_keeps_the_pixels_at_their_own_size():
    np.testing.assert_array_equal(decode(png(1, height=9, width=9), 9), picture(1, height=9, width=9))
    with_alpha = decode(png(1, height=9, width=9, channels=4), 9)
    rgba = picture(1, height=9, width=9, channels=4) / 255
    on_white = 255 * (rgba[..., :3] * rgba[..., 3:] + 1 - rgba[..., 3:])
    np.testing.assert_allclose(with_alpha, on_white, atol=0.51)
    grey_alpha = decode(png(1, height=9, width=9, channels=2), 9)
    grey = picture(1, height=9, width=9, channels=2) / 255
    np.testing.assert_allclose(
        grey_alpha[..., 1], 255 * (grey[..., 0] * grey[..., 1] + 1 - grey[..., 1]), atol=0.51
    )
    deep = picture(1, height=9, width=9, dtype=np.uint16)
    np.testing.assert_array_equal(decode(tf.io.encode_png(deep), 9), deep // 256)


def test_decode_shrinks_with_all_pixels():
    # Every fourth column is white: without antialiasing the result depends on which ones are hit.
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::4] = 255
    small = decode(tf.io.encode_png(stripes), 8).numpy()
    np.testing.assert_allclose(small[:, 1:-1], 255 / 4, atol=2)


def test_decode_refuses_what_is_no_image():
    with pytest.raises(tf.errors.InvalidArgumentError, match="Unknown image file format"):
        decode(b"buy milk", 8)


# Batches.


@pytest.fixture
def pets(folder, load):
    return load(f"folder:{folder}", test_fraction=0, validation_fraction=0).train


def read(split, **options):
    return list(batches(split, image_size=16, **options).dataset().as_numpy_iterator())


def augment(images, kinds, seed):
    return augment_images(images, kinds, draws(tf.shape(images)[0], seed))


def joined(epoch, name):
    return np.concatenate([batch[name] for batch in epoch])


def test_batches_in_order(pets):
    epoch = read(pets, batch_size=8)
    assert [batch["image"].shape for batch in epoch] == [(8, 16, 16, 3)] * 3 + [(6, 16, 16, 3)]
    np.testing.assert_array_equal(joined(epoch, "index"), np.arange(30))
    np.testing.assert_array_equal(joined(epoch, "label"), pets.labels)
    with open(pets.items[11], "rb") as file:
        np.testing.assert_array_equal(epoch[1]["image"][3], decode(file.read(), 16))
    assert len(read(pets, batch_size=8, drop_remainder=True)) == 3
    moved = batches(pets, image_size=16, batch_size=8, seed=0, shuffle=True, augment=("shift",))
    spec = moved.dataset().element_spec
    assert {name: (part.shape.as_list(), part.dtype) for name, part in spec.items()} == {
        "image": ([None, 16, 16, 3], tf.float32),
        "label": ([None], tf.int32),
        "index": ([None], tf.int64),
    }


def test_batches_from_memory(tfds_cache):
    split = load_images("tfds:tiny_pets", cache=tfds_cache, offline=True).test
    epoch = read(split, batch_size=4)
    np.testing.assert_array_equal(joined(epoch, "image")[5], decode(split.items[5], 16))


def test_an_epoch_follows_from_seed_and_number(pets):
    options = {"batch_size": 8, "augment": ("flip", "shift", "rotate", "zoom")}
    first = read(pets, seed=3, shuffle=True, epoch=2, **options)
    again = read(pets, seed=3, shuffle=True, epoch=2, **options)
    for name in ("image", "label", "index"):
        np.testing.assert_array_equal(joined(first, name), joined(again, name))
    assert sorted(joined(first, "index")) == list(range(30))
    np.testing.assert_array_equal(joined(first, "label"), pets.labels[joined(first, "index")])
    for seed, number in ((3, 1), (4, 2)):
        other = read(pets, seed=seed, shuffle=True, epoch=number, **options)
        assert (joined(other, "index") != joined(first, "index")).any()
        by_index = [joined(epoch, "image")[np.argsort(joined(epoch, "index"))] for epoch in (first, other)]
        changed = (by_index[0] != by_index[1]).any(axis=(1, 2, 3))
        assert changed.all()


def test_what_is_small_is_read_once_and_to_the_same_bits(pets, monkeypatch):
    options = {"batch_size": 8, "shuffle": True, "augment": ("shift", "zoom"), "epoch": 1}
    read(pets, **options | {"epoch": 0})
    for item in pets.items:
        os.rename(item, f"{item}.moved")
    kept = read(pets, **options)
    # Another size is read when it is asked for, and a split that is too large in each epoch.
    with pytest.raises(tf.errors.NotFoundError):
        list(batches(pets, image_size=12, batch_size=30))
    monkeypatch.setattr(images, "KEPT_BYTES", 30 * 16 * 16 * 12 - 1)
    with pytest.raises(tf.errors.NotFoundError):
        read(pets, **options)
    for item in pets.items:
        os.rename(f"{item}.moved", item)
    again = read(pets, **options)
    for name in ("image", "label", "index"):
        np.testing.assert_array_equal(joined(again, name), joined(kept, name))


def test_epochs_and_batches_are_augmented_apart(tmp_path, load):
    # All images are the same, so that only the augmentation can make a difference.
    for number in range(8):
        write(tmp_path / "ab"[number % 2] / f"{number}.png", png(0))
    split = load(f"folder:{tmp_path}", test_fraction=0, validation_fraction=0).train
    first, second = (
        read(split, batch_size=4, seed=0, shuffle=True, epoch=epoch, augment=("shift",)) for epoch in (0, 1)
    )
    shown = np.concatenate([joined(first, "image"), joined(second, "image")])
    assert len({image.tobytes() for image in shown}) == 16


@pytest.mark.parametrize("parts", [1, 2, 4])
def test_the_parts_of_an_epoch_are_the_epoch(pets, parts):
    options = {"batch_size": 8, "seed": 3, "shuffle": True, "augment": ("shift",), "epoch": 1}
    whole = read(pets, **options)
    cut = [read(pets, part=(number, parts), **options) for number in range(parts)]
    # 30 images are 4 batches.
    assert [len(part) for part in cut] == [4 // parts] * parts
    for name in ("image", "label", "index"):
        np.testing.assert_array_equal(
            np.concatenate([joined(part, name) for part in cut]), joined(whole, name)
        )


def test_parts_that_do_not_divide_an_epoch_leave_out_its_end(pets):
    options = {"batch_size": 8, "seed": 3, "shuffle": True}
    cut = [read(pets, part=(number, 3), **options) for number in range(3)]
    assert [len(part) for part in cut] == [1, 1, 1]
    left = np.concatenate([joined(part, "index") for part in cut])
    np.testing.assert_array_equal(left, joined(read(pets, **options), "index")[:24])


@pytest.mark.parametrize(
    ("batch_count", "most", "parts"), [(8, 4, 4), (57, 4, 4), (7, 4, 1), (15, 4, 3), (2, 4, 2), (1, 9, 1)]
)
def test_equal_parts_leave_out_little(batch_count, most, parts):
    assert images.equal_parts(batch_count, most) == parts


def test_augmentation_without_shuffling_keeps_the_order(pets):
    plain, moved = (read(pets, batch_size=8, augment=kinds, seed=3) for kinds in ((), ("shift",)))
    np.testing.assert_array_equal(joined(moved, "index"), np.arange(30))
    assert (joined(moved, "image") != joined(plain, "image")).any(axis=(1, 2, 3)).all()


# Augmentation.


def blobs(count, size=48):
    """Returns white discs, three pixels wide, off the centre, on black."""
    y, x = np.mgrid[:size, :size]
    disc = ((x - 34) ** 2 + (y - 20) ** 2 <= 9) * 255.0
    return tf.constant(np.repeat(disc[None, ..., None], count, 0).repeat(3, -1), tf.float32)


def centres(moved):
    """Returns the centre of mass of each image, (B, 2) as x, y."""
    weight = np.asarray(moved)[..., 0]
    y, x = np.mgrid[: weight.shape[1], : weight.shape[2]]
    return np.stack([(weight * x).sum((1, 2)), (weight * y).sum((1, 2))], 1) / weight.sum((1, 2))[:, None]


def test_no_kinds_changes_nothing():
    photos = tf.random.stateless_uniform((4, 9, 9, 3), (0, 0), maxval=255)
    np.testing.assert_array_equal(augment(photos, (), (0, 1)), photos)


def test_flip_mirrors_about_half_exactly():
    photos = tf.random.stateless_uniform((2000, 5, 6, 3), (0, 0), maxval=255)
    moved = augment(photos, ("flip",), (0, 1)).numpy()
    mirrored = (moved == photos.numpy()[:, :, ::-1]).all(axis=(1, 2, 3))
    kept = (moved == photos.numpy()).all(axis=(1, 2, 3))
    assert (mirrored ^ kept).all()
    assert 900 < mirrored.sum() < 1100


def test_shift_moves_up_to_eight_percent_each_way():
    away = centres(augment(blobs(200), ("shift",), (0, 1))) - centres(blobs(1))
    most = 0.08 * 48
    assert np.abs(away).max() <= most + 0.05
    assert (away.max(0) > 0.9 * most).all()
    assert (away.min(0) < -0.9 * most).all()


def test_rotation_turns_up_to_ten_degrees_about_the_centre():
    about = 23.5
    before, after = (centres(batch) - about for batch in (blobs(1), augment(blobs(200), ("rotate",), (0, 1))))
    np.testing.assert_allclose(np.hypot(*after.T), np.hypot(*before[0]), atol=0.1)
    turned = np.degrees(np.arctan2(*after.T) - np.arctan2(*before[0]))
    assert -10.2 < turned.min() < -9
    assert 9 < turned.max() < 10.2


def test_flip_and_rotation_together_keep_distances():
    about = 23.5
    before, after = (
        centres(batch) - about for batch in (blobs(1), augment(blobs(200), ("flip", "rotate"), (0, 1)))
    )
    np.testing.assert_allclose(np.hypot(*after.T), np.hypot(*before[0]), atol=0.1)
    assert (after[:, 0] < 0).any()
    assert (after[:, 0] > 0).any()


def test_zoom_scales_up_to_ten_percent_about_the_centre():
    about = 23.5
    before, after = (centres(batch) - about for batch in (blobs(1), augment(blobs(200), ("zoom",), (0, 1))))
    ratio = after / before
    np.testing.assert_allclose(ratio[:, 0], ratio[:, 1], atol=0.05)
    assert 0.89 < ratio.min() < 0.92
    assert 1.08 < ratio.max() < 1.11


def test_edges_go_on():
    flat = tf.fill((32, 24, 24, 3), 200.0)
    moved = augment(flat, ("flip", "shift", "rotate", "zoom"), (0, 1))
    np.testing.assert_allclose(moved, 200, rtol=1e-5)


def test_augment_is_stateless_and_kinds_are_independent():
    photos = tf.random.stateless_uniform((8, 16, 16, 3), (0, 0), maxval=255)
    kinds = ("shift", "zoom")
    np.testing.assert_array_equal(augment(photos, kinds, (5, 6)), augment(photos, kinds[::-1], (5, 6)))
    in_graph = tf.function(lambda batch: augment(batch, kinds, (5, 6)))
    np.testing.assert_allclose(in_graph(photos), augment(photos, kinds, (5, 6)), atol=1e-3)
    assert (augment(photos, kinds, (5, 7)).numpy() != augment(photos, kinds, (5, 6)).numpy()).any()
    # The shift of a blob is the same with or without a flip: the flip only mirrors what is shifted.
    alone, with_flip = (centres(augment(blobs(32), each, (1, 2))) for each in (("shift",), ("shift", "flip")))
    np.testing.assert_allclose(alone[:, 1], with_flip[:, 1], atol=0.05)
    assert Counter(np.isclose(alone[:, 0], with_flip[:, 0], atol=0.05)).keys() == {True, False}


def test_crop_moves_by_whole_pixels_up_to_an_eighth_of_the_side():
    away = centres(augment(blobs(200), ("crop",), (0, 1))) - centres(blobs(1))
    np.testing.assert_allclose(away, away.round(), atol=1e-3)
    for axis in range(2):
        assert set(away[:, axis].round().astype(int)) == set(range(-6, 7))  # of 48


def test_crop_changes_nothing_of_what_other_kinds_draw():
    alone, with_crop = (
        centres(augment(blobs(32), kinds, (1, 2))) for kinds in (("shift",), ("shift", "crop"))
    )
    moved = with_crop - alone
    np.testing.assert_allclose(moved, moved.round(), atol=0.05)
    assert np.abs(moved).max() > 0.5


def test_unknown_augmentation():
    with refuses("unknown augmentation 'rotat'; did you mean 'rotate'?"):
        augment(blobs(1), ("rotat",), (0, 0))
