"""What made an answer, of models whose answers are known to hang on one part."""

from types import MappingProxyType, SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf
from tiny_export import ANSWERS

from xmodal import predict
from xmodal.data.sound_format import SoundFormat
from xmodal.data.sounds import picture_of_sound
from xmodal.data.wav_files import wav_of
from xmodal.export.covered import CELLS, MAX_PARTS, covered_sound, map_of_windows
from xmodal.export.predictor import Answer, Item, Predictor
from xmodal.export.why import why
from xmodal.models.opened_models import with_maps


class OneCorner:
    """Answers "lit" by how bright the upper left eighth of a picture is, and texts by a word."""

    takes_texts, takes_pairs, reads_sentences = True, True, True
    medium = SimpleNamespace(noun="picture", sound=None)
    explain_images = explain_texts = None

    def __call__(self, items):
        for item in items:
            if item.is_text:
                share = 0.9 if b"cat" in item.content else 0.2
            else:
                corner = tf.io.decode_png(item.content).numpy()[:8, :8]
                share = 0.1 + 0.7 * float(corner.mean()) / 255
                share += 0.2 * (item.text is not None and b"cat" in item.text)
            yield Answer(item.name, "lit", share, "a photo of a cat", {"lit": share, "dark": 1 - share})


class OneCornerItself(OneCorner):
    """The same, and it says so: of a map, and of words."""

    signatures = MappingProxyType({"why": ("image_bytes",), "why_text": ("text",)})
    asked_why, _sound_of, _sounds = Predictor.asked_why, Predictor._sound_of, None

    def explain_images(self, images):
        found = np.zeros((len(images), 4, 4), np.float32)
        # Not quite where it is, and where it is not.
        found[:, 0, 0], found[:, 3, 3] = 1, 0.5
        return {"map": found}

    def explain_texts(self, texts):
        words = np.array([[*(word.encode() + b" " for word in texts[0].decode().split()), b"", b""]])
        shares = np.array([[0.6 if word == b"cat " else 0.02 for word in words[0]]])
        return {"words": words, "shares": shares, "difference": shares.sum(axis=1)}


@pytest.fixture
def picture():
    pixels = np.full((64, 64, 3), 20, np.uint8)
    pixels[:8, :8] = 250
    return Item("a.png", tf.io.encode_png(pixels).numpy(), False)


def explained(item, model=OneCorner):
    predictor = model()
    (answer,) = predictor([item])
    return why(predictor, item, answer)


def test_the_part_of_a_picture_that_counts_is_found(picture):
    found = explained(picture)
    (occlusion,) = found.maps
    cells = occlusion.shares
    assert cells.shape == (CELLS, CELLS)
    assert np.unravel_index(cells.argmax(), cells.shape) == (0, 0)
    assert cells[0, 0] > 0.3
    np.testing.assert_allclose(cells[2:, 2:], 0, atol=1e-6)
    # A map that found what counts is better than chance in both.
    assert occlusion.curves.deletion < occlusion.curves.random_deletion - 0.1
    assert occlusion.curves.insertion > occlusion.curves.random_insertion + 0.1
    # The sentence that was read has one word that counts.
    assert found.words[found.of_words[0].shares.argmax()] == "cat"


def test_maps_and_words_of_an_export_stand_beside_what_was_left_out(picture):
    found = explained(picture, OneCornerItself)
    assert [part.method for part in found.maps] == ["occlusion", "Grad-CAM"]
    cells = found.maps[1].shares
    assert cells.shape == (CELLS, CELLS)
    assert cells[0, 0] > cells[-1, -1] > cells[3, 3]
    # The same random orders for both, and both are measured.
    occlusion, gradients = (part.curves for part in found.maps)
    assert occlusion.random_deletion == gradients.random_deletion
    assert gradients.deletion < gradients.random_deletion
    left_out, integrated = found.of_words
    assert (left_out.method, integrated.method) == ("left out", "integrated gradients")
    assert found.words == ("a", "photo", "of", "a", "cat")
    assert found.words[left_out.shares.argmax()] == found.words[integrated.shares.argmax()] == "cat"
    assert integrated.difference == pytest.approx(0.6 + 6 * 0.02)
    assert "the words sum to 68.0 of 72.0 points" in integrated.line


def test_the_word_that_counts_is_found():
    found = explained(Item("text", b"one two cat three", True))
    (left_out,) = found.of_words
    falls = dict(zip(found.words, left_out.shares, strict=True))
    assert list(falls) == ["one", "two", "cat", "three"]
    assert falls["cat"] == pytest.approx(0.7)
    assert falls["one"] == 0
    assert found.picture is None
    assert not found.maps
    assert left_out.curves.deletion < left_out.curves.random_deletion


@pytest.mark.parametrize("words", [1, MAX_PARTS, 1000])
def test_texts_of_any_length(words):
    found = explained(Item("text", b"cat " * words, True))
    assert len(found.words) == min(words, MAX_PARTS)


def test_words_without_spaces_are_told_apart():
    found = explained(Item("text", "我有cat和狗".encode(), True))
    assert found.words[found.of_words[0].shares.argmax()] == "cat"


def test_both_sides_of_a_pair_are_explained(picture):
    pair = Item("pair", picture.content, False, text=b"a red cat")
    found = explained(pair)
    cells = found.maps[0].shares
    assert np.unravel_index(cells.argmax(), cells.shape) == (0, 0)
    falls = dict(zip(found.words, found.of_words[0].shares, strict=True))
    assert falls == pytest.approx({"a": 0, "red": 0, "cat": 0.2}, abs=1e-6)
    # A picture that is not there has no map.
    (answer,) = OneCorner()([pair])
    found = why(OneCorner(), Item("pair", b"", True, text=b"a red cat"), answer)
    assert not found.maps


def tone(hertz: float, seconds: float, rate: int = 8000) -> np.ndarray:
    return 0.3 * np.sin(2 * np.pi * hertz * np.arange(int(seconds * rate)) / rate).astype(np.float32)


def test_parts_of_a_sound_are_covered_in_time_and_frequency():
    config = SoundFormat(rate=8000, seconds=1.0)
    wav = wav_of(np.concatenate([tone(3000, 0.5), tone(300, 0.5)]), 8000)
    rest = covered_sound(wav, config)

    def halves(encoded: bytes) -> np.ndarray:
        """Brightness above and below, before and after."""
        pixels = tf.io.decode_png(picture_of_sound(encoded, config)).numpy()[:, :, 0].astype(float)
        upper = [pixels[:64, :64].max(axis=0).mean(), pixels[:64, 64:].max(axis=0).mean()]
        lower = [pixels[64:, :64].max(axis=0).mean(), pixels[64:, 64:].max(axis=0).mean()]
        return np.array([upper, lower])

    whole = np.ones(CELLS**2, bool)
    before = halves(wav)
    np.testing.assert_allclose(halves(rest(whole)), before, atol=3)
    without_high = whole.reshape(CELLS, CELLS).copy()
    without_high[: CELLS // 2, : CELLS // 2] = False
    after = halves(rest(without_high.ravel()))
    assert after[0, 0] < before[0, 0] - 50
    np.testing.assert_allclose(after[1, 1], before[1, 1], atol=15)


def test_maps_of_windows_lie_side_by_side():
    config = SoundFormat(rate=8000, seconds=1.0)
    wav = wav_of(tone(500, 2.0), 8000)
    maps = np.stack([np.full((2, 4), value, np.float32) for value in (1.0, 2.0, 4.0)])
    placed = map_of_windows(maps, wav, config)
    assert placed.shape[0] == 2
    quarters = placed[0].reshape(4, -1).mean(axis=1)
    np.testing.assert_allclose(quarters, [1.0, 1.5, 3.0, 4.0], atol=0.05)
    # A sound that is shorter than a window is one.
    alone = map_of_windows(maps[:1], wav_of(tone(500, 0.4), 8000), config)
    assert np.unique(alone) == [1.0]


def test_the_command_writes_a_sheet(tiny_exported, tmp_path, capsys):
    pixels = np.random.default_rng(0).integers(0, 255, (40, 50, 3), np.uint8)
    (tmp_path / "a.png").write_bytes(tf.io.encode_png(pixels).numpy())
    sheet = tmp_path / "why.png"
    asked = [
        f"--model={tiny_exported[1]}",
        str(tmp_path / "a.png"),
        "--text=three red cats",
        f"--why={sheet}",
    ]
    assert predict.main(["", *asked]) == 0
    assert sheet.read_bytes().startswith(b"\x89PNG")
    # Its own sheet is replaced, another picture is not.
    assert predict.main(["", *asked]) == 0
    assert predict.main(["", *asked[:-1], f"--why={tmp_path / 'a.png'}"]) == 2
    assert predict.main(["", *asked[:-1], "--why=why.jpg"]) == 2
    assert "--why=why.jpg does not end in .png" in capsys.readouterr().err
    predictor = Predictor(tiny_exported[1])
    (answer,) = predictor(["three red cats"])
    found = why(predictor, Item("", b"three red cats", True), answer)
    assert found.words == ("three", "red", "cats")
    assert answer.label in ANSWERS
    _, integrated = found.of_words
    assert integrated.shares.sum() == pytest.approx(integrated.difference, abs=1e-3)
    (answer,) = predictor([(tmp_path / "a.png").read_bytes()])
    found = why(predictor, Item("", (tmp_path / "a.png").read_bytes(), False), answer)
    assert [part.method for part in found.maps] == ["occlusion", "Grad-CAM"]


@pytest.mark.parametrize("preprocessed", [False, True])
def test_a_head_on_a_network_is_explained_by_its_classes(preprocessed):
    layers = keras.layers
    trunk = keras.Sequential(
        [keras.Input((8, 8, 3)), layers.Conv2D(5, 3, padding="same"), layers.GlobalAveragePooling2D()]
    )
    before = [layers.Rescaling(1 / 255)] if preprocessed else []
    model = keras.Sequential([keras.Input((8, 8, 3)), *before, trunk, layers.Dense(2)])
    opened = with_maps(model)
    images = np.random.default_rng(0).uniform(0, 255, (3, 8, 8, 3)).astype(np.float32)
    maps, logits = opened(images)
    assert maps.shape == (3, 8, 8, 5)
    np.testing.assert_allclose(logits, model(images), atol=1e-4)
    # Built without an input of its own, as users do.
    maps, logits = with_maps(keras.Sequential([trunk, model.layers[-1]]))(images)
    assert logits.shape == (3, 2)
