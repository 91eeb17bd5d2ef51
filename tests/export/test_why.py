"""What made an answer, of models whose answers are known to hang on one part."""

from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
from tiny_export import ANSWERS

from xmodal import predict
from xmodal.core.errors import UserError
from xmodal.export.predictor import Answer, Item, Predictor
from xmodal.export.why import CELLS, MAX_PARTS, why


class OneCorner:
    """Answers "lit" by how bright the upper left eighth of a picture is, and texts by a word."""

    takes_texts, medium = True, SimpleNamespace(noun="picture")

    def __call__(self, items):
        for item in items:
            if item.is_text:
                share = 0.9 if b"cat" in item.content else 0.2
            else:
                corner = tf.io.decode_png(item.content).numpy()[:8, :8]
                share = 0.1 + 0.8 * float(corner.mean()) / 255
            yield Answer(item.name, "lit", share, "a photo of a cat", {"lit": share, "dark": 1 - share})


@pytest.fixture
def picture():
    pixels = np.full((64, 64, 3), 20, np.uint8)
    pixels[:8, :8] = 250
    return Item("a.png", tf.io.encode_png(pixels).numpy(), False)


def explained(item):
    (answer,) = OneCorner()([item])
    return why(OneCorner(), item, answer)


def test_the_part_of_a_picture_that_counts_is_found(picture):
    found = explained(picture)
    assert found.cells.shape == (CELLS, CELLS)
    assert np.unravel_index(found.cells.argmax(), found.cells.shape) == (0, 0)
    assert found.cells[0, 0] > 0.5
    np.testing.assert_allclose(found.cells[2:, 2:], 0, atol=1e-6)
    # A map that found what counts is better than chance in both.
    assert found.curves.deletion < found.curves.random_deletion - 0.1
    assert found.curves.insertion > found.curves.random_insertion + 0.1
    # The sentence that was read has one word that counts.
    assert max(found.words, key=lambda pair: pair[1])[0] == "cat"


def test_the_word_that_counts_is_found():
    found = explained(Item("text", b"one two cat three", True))
    falls = dict(found.words)
    assert list(falls) == ["one", "two", "cat", "three"]
    assert falls["cat"] == pytest.approx(0.7)
    assert falls["one"] == 0
    assert found.cells is None
    assert found.curves.deletion < found.curves.random_deletion


@pytest.mark.parametrize("words", [1, MAX_PARTS, 1000])
def test_texts_of_any_length(words):
    found = explained(Item("text", b"cat " * words, True))
    assert len(found.words) == min(words, MAX_PARTS)


def test_a_pair_is_refused():
    item = Item("pair", b"", False, text=b"a cat")
    with pytest.raises(UserError, match="a pair is answered from two sides"):
        why(OneCorner(), item, Answer("pair"))


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
    assert [word for word, _ in found.words] == ["three", "red", "cats"]
    assert answer.label in ANSWERS
