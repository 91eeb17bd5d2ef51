"""Sounds become spectrograms of one size, are split by speakers, audited and augmented."""

import shutil
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from tiny_sounds import save_tiny_sounds, tone, wav

from xmodal.config.data import SplitConfig
from xmodal.config.sound import SOUND_AUGMENTATIONS
from xmodal.core.errors import UserError
from xmodal.data import sound_files
from xmodal.data.images import batches, load_images
from xmodal.data.sound_augmentation import augment_spectrograms, sound_draws
from xmodal.data.sound_format import SoundFormat
from xmodal.data.sounds import MAX_WINDOWS, short_wav, spectrogram, spectrograms
from xmodal.data.waves import decode_wave
from xmodal.data.windows import ABSENT

CONFIG = SoundFormat(rate=8000)


def pictures(samples, side=32, config=CONFIG, **options):
    return spectrograms(tf.constant(wav(samples, **options)), side, config).numpy()


def brightest_row(picture):
    return picture[..., 0].mean(axis=1).argmax()


@pytest.mark.parametrize("rate", [8000, 44100])
@pytest.mark.parametrize("seconds", [0.05, 0.3, 1.0])
def test_a_short_sound_is_one_picture_with_silence_around_it(seconds, rate):
    (picture,) = pictures(tone(1000, seconds, rate), rate=rate)
    assert picture.shape == (32, 32, 3)
    assert (picture.min(), picture.max()) == (0.0, pytest.approx(255, abs=1))
    loud = np.flatnonzero(picture[brightest_row(picture), :, 0] > 200)
    assert len(loud) == pytest.approx(32 * seconds, abs=3)
    assert loud.mean() == pytest.approx(15.5, abs=1.5)


def test_high_frequencies_are_on_top_whatever_the_rate():
    rows = [brightest_row(pictures(tone(hertz, 0.5))[0]) for hertz in (200, 800, 3000)]
    assert rows == sorted(rows, reverse=True)
    assert len(set(rows)) == 3
    for rate, hertz in ((16000, 800), (48000, 800)):
        assert brightest_row(pictures(tone(hertz, 0.5, rate), rate=rate)[0]) == pytest.approx(rows[1], abs=1)


@pytest.mark.parametrize(("seconds", "count"), [(1.0, 1), (1.3, 2), (2.0, 3), (5.0, 9), (30.0, MAX_WINDOWS)])
def test_a_long_sound_has_several_pictures(seconds, count):
    assert len(pictures(tone(1000, seconds))) == count


def test_silence_before_and_after_is_cut_off_and_within_a_long_sound_has_no_picture():
    silent = np.zeros(8000)
    around = np.concatenate([silent, tone(1000, 0.5), silent])
    assert len(pictures(around)) == 1
    between = pictures(np.concatenate([tone(1000, 1.0), silent, silent, tone(1000, 1.0)]))
    absent = (between == ABSENT).all(axis=(1, 2, 3))
    assert absent.any()
    assert not absent[0]
    assert not absent[-1]


def test_loudness_and_silence_do_not_matter():
    quiet, loud = (pictures(tone(1000, 0.5, loudness=loudness), bits=24) for loudness in (0.01, 0.9))
    np.testing.assert_allclose(quiet, loud, atol=3)
    assert np.isfinite(pictures(np.zeros(4000))).all()


def test_one_picture_of_a_long_sound_is_where_it_is_wanted():
    encoded = tf.constant(wav(np.concatenate([tone(300, 1.5), tone(3000, 1.5)])))
    rows = [brightest_row(spectrogram(encoded, 32, CONFIG, place).numpy()) for place in (-1.0, 1.0)]
    assert rows[0] > rows[1]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("sounds")
    save_tiny_sounds(path / "sounds")
    return path


def load(folder, **options):
    split = SplitConfig(min_per_class=2, **options)
    return load_images(f"sounds:{folder / 'sounds'}", split, sound=CONFIG)


def speakers(split):
    return {name.rpartition("/")[2].partition("_")[0] for name in split.ids}


def test_a_speaker_is_in_one_split_alone(folder):
    data = load(folder, group_pattern=r"(speaker\d)")
    parts = [speakers(split) for split in (data.train, data.validation, data.test)]
    assert sum(map(len, parts)) == len(set().union(*parts)) == 5
    assert all(parts)
    assert data.class_names == ("cat", "dog")


def test_a_group_may_be_a_column(folder):
    rows = ["audio,label,speaker"]
    rows += [
        f"{path.relative_to(folder)},{path.parent.name},{path.name[:8]}"
        for path in sorted((folder / "sounds").rglob("speaker*_[0-9]*.wav"))
    ]
    (folder / "sounds.csv").write_text("\n".join(rows))
    config = SplitConfig(min_per_class=2, group_column="speaker")
    data = load_images(f"csv:{folder / 'sounds.csv'}", config, sound=CONFIG)
    parts = [speakers(split) for split in (data.train, data.validation, data.test)]
    assert sum(map(len, parts)) == 5
    assert data.train.medium.format == CONFIG


def test_groups_that_the_data_itself_divides_are_told(folder, tmp_path):
    for split, number in (("train", 0), ("train", 1), ("train", 2), ("test", 3)):
        for name in ("cat", "dog"):
            path = tmp_path / split / name / f"anna_{number}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(wav(tone(200 + 100 * number + 50 * (name == "dog"))))
    config = SplitConfig(min_per_class=1, group_pattern="(anna)", validation_fraction=0)
    data = load_images(f"sounds:{tmp_path}", config, sound=CONFIG)
    assert "groups of test also in train or validation: 'anna'" in data.report.warnings


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"group_pattern": r"(nobody\d)"}, "finds no group in"),
        ({"group_column": "speaker"}, "is no table"),
    ],
)
def test_a_group_that_cannot_be_found_is_told(folder, options, told):
    with pytest.raises(UserError, match=told):
        load(folder, **options)


@pytest.mark.parametrize(("pattern", "told"), [("(", "no regular expression"), ("speaker", "no parentheses")])
def test_a_pattern_is_checked(pattern, told):
    with pytest.raises(UserError, match=told):
        SplitConfig(group_pattern=pattern)


def test_what_is_no_sound_is_counted_and_left_out(folder):
    data = load(folder)
    assert data.report.dropped == (("cat/speaker0_bad.wav", "not a sound"),)
    assert sum(map(len, (data.train, data.validation, data.test))) == 40


def test_batches_hold_pictures_and_all_windows_of_each(folder):
    data = load(folder)
    once, again = (
        np.concatenate([batch["image"].numpy() for batch in batches(data.train, image_size=32, batch_size=8)])
        for _ in range(2)
    )
    np.testing.assert_array_equal(once, again)
    assert once.shape == (len(data.train), 32, 32, 3)
    (several,) = batches(data.train, image_size=32, batch_size=64, windows=True)
    pictures = several["image"].numpy()
    assert pictures.shape[0] == len(data.train)
    assert pictures.shape[1] > 1
    there = pictures[:, :, 0, 0, 0] >= 0
    assert there[:, 0].all()
    assert not there.all()
    short = there.sum(axis=1) == 1
    np.testing.assert_allclose(pictures[short, 0], once[short], atol=1e-3)


def test_pictures_that_do_not_change_are_read_once(tmp_path):
    save_tiny_sounds(tmp_path / "sounds")
    read = batches(load(tmp_path).validation, image_size=32, batch_size=2)
    first = np.concatenate([batch["image"].numpy() for batch in read])
    shutil.rmtree(tmp_path / "sounds")
    np.testing.assert_array_equal(np.concatenate([batch["image"].numpy() for batch in read]), first)


def test_augmented_batches_follow_from_the_seed_and_the_epoch(folder):
    data = load(folder)

    def of(**options):
        read = batches(data.train, image_size=32, batch_size=64, augment=SOUND_AUGMENTATIONS, **options)
        return next(iter(read))["image"].numpy()

    np.testing.assert_array_equal(of(seed=1, epoch=2), of(seed=1, epoch=2))
    assert np.abs(of(seed=1, epoch=2) - of(seed=1, epoch=3)).max() > 1


@pytest.mark.parametrize("kind", SOUND_AUGMENTATIONS)
def test_each_augmentation_changes_a_picture_and_keeps_its_range(kind):
    images = np.repeat(pictures(tone(1000, 0.7)), 4, axis=0)
    changed = augment_spectrograms(tf.constant(images), (kind,), sound_draws(4, (1, 2))).numpy()
    assert np.abs(changed - images).max(axis=(1, 2, 3)).min() > 10
    assert changed.min() >= 0
    assert changed.max() <= 255.01


def test_augmentations_do_what_they_say():
    draws = np.zeros((1, 15), np.float32)
    draws[:, 1:4] = 1.0
    images = tf.constant(pictures(tone(1000, 0.5)))
    row = brightest_row(images[0].numpy())
    shifted = augment_spectrograms(images, ("shift",), draws).numpy()[0]
    np.testing.assert_allclose(shifted[:, :-4], images[0, :, 3:-1], atol=80)
    assert brightest_row(shifted) == row
    assert brightest_row(augment_spectrograms(images, ("pitch",), draws).numpy()[0]) < row
    fast = augment_spectrograms(images, ("speed",), draws).numpy()[0]
    assert (fast[row] > 200).sum() < (images[0, row].numpy() > 200).sum()


def test_augmentations_of_images_are_refused_for_sounds():
    with pytest.raises(UserError, match="'rotate' is not one of sounds"):
        augment_spectrograms(tf.zeros([1, 8, 8, 3]), ("rotate",), sound_draws(1, (1, 2)))


def test_a_short_wav_is_small_and_sounds_the_same():
    encoded = short_wav(wav(tone(500, 5.0, 44100), 44100, 24))
    samples, rate = decode_wave(encoded)
    assert (len(samples), int(rate)) == (16000, 8000)
    np.testing.assert_allclose(samples[200:-200], tone(500, 2.0)[200:-200], atol=1e-3)


def test_flac_and_ogg_are_read_as_the_wav_is(tmp_path):
    soundfile = pytest.importorskip("soundfile")
    for number in range(4):
        for name, ending in (("cat", "flac"), ("dog", "ogg")):
            path = tmp_path / name / f"{number}.{ending}"
            path.parent.mkdir(exist_ok=True)
            soundfile.write(path, tone(300 + 100 * number + 20 * (name == "dog")), 8000)
    data = load_images(f"sounds:{tmp_path}", SplitConfig(min_per_class=1), sound=CONFIG)
    assert sum(map(len, (data.train, data.validation, data.test))) == 8
    (batch,) = batches(data.train, image_size=32, batch_size=64)
    assert batch["image"].numpy().max() > 200
    flac = (tmp_path / "cat" / "0.flac").read_bytes()
    samples, _ = decode_wave(sound_files.as_wav(flac))
    np.testing.assert_allclose(samples, tone(300), atol=1e-4)
    with pytest.raises(ValueError, match="truncated or corrupt FLAC"):
        sound_files.as_wav(flac[:50])
    with pytest.raises(ValueError, match="too long: 0 seconds"):
        sound_files.as_wav(flac, 0.1)


def test_a_missing_library_is_told_with_its_remedy():
    code = (
        "import sys; sys.modules['soundfile'] = None\n"
        "from xmodal.data.sound_files import as_wav\n"
        "try: as_wav(b'fLaC')\n"
        "except Exception as error: print(error)"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "FLAC and OGG need the package soundfile" in told
    assert "pip install -c constraints.txt -e '.[sound]'" in told
