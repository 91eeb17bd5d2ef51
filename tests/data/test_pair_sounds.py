"""Sounds of pairs: drawn from another data set, or named by a table."""

import csv
from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf
from loading import load_images, load_pairs
from tiny_sounds import save_tiny_sounds, tone, wav

from xmodal.core.errors import UserError
from xmodal.data.pair_sounds import with_sounds
from xmodal.data.table_format import TableFormat

SPLITS = ("train", "validation", "test")
READING = TableFormat("utf-8", None, "text", "label", "split", "image", audio="audio")


def png(number):
    return tf.io.encode_png(np.full((2, 2, 3), number, np.uint8)).numpy()


def save_pairs(folder, change=lambda number, row: row, count=40, heading="audio"):
    """A table of cats and dogs with an image, a text and a sound each."""
    (folder / "files").mkdir(exist_ok=True)
    with open(folder / "pairs.csv", "w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["image", "text", heading, "label"])
        for number in range(count):
            (folder / f"files/{number}.png").write_bytes(png(number))
            (folder / f"files/{number}.wav").write_bytes(wav(tone(300 + 20 * number)))
            row = [
                f"files/{number}.png",
                f"number {number}",
                f"files/{number}.wav",
                ["cat", "dog"][number % 2],
            ]
            table.writerow(change(number, row))
    return f"csv:{folder / 'pairs.csv'}"


def load(source, folder, **options):
    return load_pairs(source, cache=folder, table_format=READING, min_per_class=2, **options)


def splits_of(data):
    return [getattr(data, name) for name in SPLITS]


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    folder = tmp_path_factory.mktemp("drawn")
    save_tiny_sounds(folder / "sounds")
    source = save_pairs(folder, lambda number, row: [*row[:2], "", row[3]], heading="other")
    pairs = load(source, folder)
    sounds = load_images(
        f"sounds:{folder / 'sounds'}", cache=folder, group_pattern=r"(speaker\d)", min_per_class=2
    )
    return pairs, sounds


def test_each_pair_gets_a_sound_of_its_class_and_split(drawn):
    pairs, sounds = drawn
    assert pairs.train.present.keys() == {"image", "text"}
    data = with_sounds(pairs, sounds, 3)
    speakers = []
    for split, found in zip(splits_of(data), splits_of(sounds), strict=True):
        assert split.present["sound"].all()
        assert {*split.sounds.ids} <= {*found.ids}
        names = [split.sounds.ids[row] for row in split.sound_row]
        assert all(data.class_names[own] in name for own, name in zip(split.labels, names, strict=True))
        np.testing.assert_array_equal(split.sounds.labels[split.sound_row], split.labels)
        assert split.sound(0)[:4] == b"RIFF"
        # Those that no pair has are not there.
        assert {*split.sound_row} == {*range(len(split.sounds))}
        speakers.append({name.partition("speaker")[2][0] for name in names})
    assert not speakers[0] & speakers[2]
    again = with_sounds(pairs, sounds, 3)
    np.testing.assert_array_equal(again.train.sound_row, data.train.sound_row)
    assert again.report.digests == data.report.digests != pairs.report.digests
    assert with_sounds(pairs, sounds, 4).report.digests != data.report.digests
    assert any(
        warning.startswith("sounds: 1 of 41 sounds cannot be read") for warning in data.report.warnings
    )


def test_a_class_without_sounds(drawn):
    pairs, sounds = drawn
    with pytest.raises(
        UserError, match=r"^`sounds` has no train sound of the classes 'dog' of the pairs; give"
    ):
        with_sounds(pairs, replace(sounds, class_names=("cat", "cow")))


def test_cells_of_any_modality_may_be_empty(tmp_path):
    def change(number, row):
        empty = {3: (0,), 4: (1, 2), 5: (0, 1), 6: (2,)}.get(number, ())
        return ["" if place in empty else cell for place, cell in enumerate(row)]

    data = load(save_pairs(tmp_path, change, heading="Audio"), tmp_path)
    assert "of 40 pairs, 2 have no image, 2 no text and 2 no sound" in data.report.warnings
    for split in splits_of(data):
        assert len(split.sounds) == split.present["sound"].sum()
        for index, name in enumerate(split.ids):
            number = int(name.partition(":")[2]) - 2
            expected = b"" if number in (4, 6) else (tmp_path / f"files/{number}.wav").read_bytes()
            assert split.sound(index) == expected
            assert (split.image(index) != b"") == (number not in (3, 5))
        rows = split.picture_rows("sound")
        assert (rows[~split.present["sound"]] == len(split.sounds)).all()


def test_a_cell_that_is_no_sound(tmp_path):
    source = save_pairs(tmp_path, lambda number, row: ["", "", *row[2:]] if number == 7 else row)
    for number in (7, 9):
        (tmp_path / f"files/{number}.wav").write_bytes(b"RIFF")
    data = load(source, tmp_path)
    told = " ".join(data.report.warnings)
    assert "1 of 40 sounds cannot be read; what else these pairs have stays: " in told
    assert "1 of 40 pairs cannot be used and were left out: " in told
    assert sum(map(len, splits_of(data))) == 39
    with pytest.raises(UserError):
        load(source, tmp_path, bad_images="fail")


def test_a_row_of_nothing(tmp_path):
    source = save_pairs(tmp_path, lambda number, row: ["", "", "", row[3]] if number == 1 else row)
    with pytest.raises(
        UserError, match=r"1 of 40 pairs of .* have neither an image, a text nor a sound, the f"
    ):
        load(source, tmp_path)


def test_no_cell_is_a_sound(tmp_path):
    source = save_pairs(tmp_path)
    for number in range(40):
        (tmp_path / f"files/{number}.wav").write_bytes(b"none")
    with pytest.raises(
        UserError, match=r"none of the 40 sounds can be read: .*; check the column of the sounds"
    ):
        load(source, tmp_path)
    # A column of nothing is refused where its sounds are to be learned from.
    empty = load(save_pairs(tmp_path, lambda number, row: [*row[:2], "", row[3]]), tmp_path)
    assert not empty.train.present["sound"].any()
