"""A speaker and a text encoder, asked in words: in memory, as an export, in a fresh process."""

import dataclasses
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from tiny_bert import save_tiny_bert

from xmodal import ask
from xmodal.bridge.name_answers import SCALE
from xmodal.core.errors import UserError
from xmodal.data.target_map import Answers, parse_answers, read_answers
from xmodal.export.predictor import Item, Predictor
from xmodal.export.saved_model import export_saved_model
from xmodal.export.served_names import ServedNames
from xmodal.export.verification import Question, check
from xmodal.export.why import why
from xmodal.models.speakers import make_speaker
from xmodal.models.text_encoder import text_encoder

NAMES = ("cat", "dog", "oak")


def tiny_speaker(folder: Path):
    """Says "cat" of red pictures, "dog" of green ones and "oak" of blue ones."""
    images = keras.Input((8, 8, 3))
    means = keras.layers.Rescaling(1 / 25)(keras.layers.GlobalAveragePooling2D()(images))
    model = keras.Model(images, keras.layers.Dense(3, kernel_initializer="identity")(means))
    model.save(folder / "tiny.keras")
    (folder / "names.txt").write_text("\n".join(NAMES))
    return make_speaker(str(folder / "tiny.keras"), folder / "names.txt")


def picture(colour: tuple[int, int, int]) -> bytes:
    return tf.io.encode_png(np.full((12, 20, 3), colour, np.uint8)).numpy()


PICTURES = [picture(colour) for colour in ((250, 30, 30), (20, 240, 20), (20, 20, 230), (120, 120, 0))]


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("names")
    # Cats and dogs are animals for this BERT, and oaks are plants.
    groups = (("animal", "cat", "dog"), ("plant", "oak"))
    encoder = text_encoder(save_tiny_bert(folder / "bert", alike=groups), 16)
    texts = [f"a photo of a {name}" for name in NAMES]
    with pytest.warns(DeprecationWarning, match="__array__"):
        speaker = tiny_speaker(folder)
    return speaker, encoder, texts


@pytest.fixture(scope="module")
def served(parts):
    return ServedNames(*parts, scale=8.0)


@pytest.fixture(scope="module")
def exported(served, tmp_path_factory):
    return export_saved_model(served, tmp_path_factory.mktemp("models") / "names")


def test_what_is_asked_in_words_is_answered_by_the_names(served):
    told = served.ask(tf.constant(PICTURES), tf.constant(["a photo of a plant", "a photo of a animal"]))
    assert [label.decode()[13:] for label in told["label"].numpy()] == ["animal", "animal", "plant", "animal"]
    np.testing.assert_allclose(np.sum(told["probabilities"], axis=1), 1, atol=1e-5)
    assert told["names"].numpy()[:3, 0].tolist() == [b"cat", b"dog", b"oak"]
    assert told["sentence"].numpy()[0] == b"a cat (100%), a dog (0%), an oak (0%)"
    np.testing.assert_allclose(told["weights"][3].numpy().sum(), 1, atol=1e-5)


def test_the_mixture_is_where_the_names_are(served):
    """By hand: vectors of names, weighted by probabilities, against the vectors of answers."""
    answers = ["a photo of a plant", "a photo of a animal", "warm"]
    names = served.embed_texts(tf.constant([f"a photo of a {name}" for name in NAMES]))["embedding"].numpy()
    asked = served.embed_texts(tf.constant(answers))["embedding"].numpy()
    spoken = served.speak(tf.constant(PICTURES))
    mixed = spoken["probabilities"].numpy() @ names
    mixed /= np.linalg.norm(mixed, axis=1, keepdims=True)
    np.testing.assert_allclose(spoken["embedding"], mixed, atol=1e-5)
    expected = tf.nn.softmax(8 * mixed @ asked.T)
    told = served.ask(tf.constant(PICTURES), tf.constant(answers))
    np.testing.assert_allclose(told["probabilities"], expected, atol=1e-5)


def test_the_export_answers_in_a_fresh_process(served, exported):
    answers = [b"a photo of a plant", b"a photo of a animal", b"a red cat", b"warm", b"not a oak"]
    expected = served.ask(tf.constant(PICTURES), tf.constant(answers))["probabilities"].numpy()
    question = Question({"image_bytes": PICTURES, "answers": answers}, expected, "ask")
    assert check(exported, [question])["ask"] < 1e-5


def test_the_predictor_gives_what_the_graph_gives(served, exported):
    items = [Item(str(number), content, False) for number, content in enumerate(PICTURES)]
    answers = Answers(("plant", "animal"), ("a photo of a plant", "a photo of a animal"), np.arange(2))
    told = list(Predictor(exported).with_answers(answers)(items))
    expected = served.ask(tf.constant(PICTURES), tf.constant(answers.texts))
    np.testing.assert_allclose(
        [list(answer.probabilities.values()) for answer in told], expected["probabilities"], atol=1e-5
    )
    assert [answer.read for answer in told] == [read.decode() for read in expected["sentence"].numpy()]
    (own,) = Predictor(exported)(items[2:3])
    assert own.label == "oak"
    (text,) = Predictor(exported).with_answers(answers)([Item("words", b"a photo of a dog", True)])
    assert text.label == "animal"


def test_an_export_has_the_limit_of_pixels_of_its_run(parts, tmp_path_factory):
    speaker, *others = parts
    small = tf.io.encode_png(np.ones((9, 10, 3), np.uint8)).numpy()
    # Of 240 and of 90 pixels.
    items = [Item("large", PICTURES[0], False), Item("small", small, False)]
    for limit, problems in ((100, ["20 x 12 pixels, which are too many", ""]), (240, ["", ""])):
        limited = ServedNames(dataclasses.replace(speaker, max_pixels=limit), *others)
        folder = export_saved_model(limited, tmp_path_factory.mktemp("limited") / "names")
        assert [answer.problem for answer in Predictor(folder)(items)] == problems
        loaded = tf.saved_model.load(folder)
        if limit == 100:
            with pytest.raises(tf.errors.InvalidArgumentError, match="too many pixels"):
                loaded.signatures["speak"](image_bytes=tf.constant(PICTURES))
        else:
            loaded.signatures["speak"](image_bytes=tf.constant(PICTURES))


def test_the_nearest_of_several_descriptions_speaks_for_an_answer(served, exported):
    texts = ("a photo of a plant", "a photo of a dog", "a photo of a animal")
    told = served.ask(tf.constant(PICTURES), tf.constant(texts))["probabilities"].numpy()
    answers = Answers(("plant", "animal"), texts, np.array([0, 1, 1]))
    nearest = np.stack([told[:, 0], told[:, 1:].max(axis=1)], axis=1)
    items = [Item("", content, False) for content in PICTURES]
    given = [
        list(answer.probabilities.values()) for answer in Predictor(exported).with_answers(answers)(items)
    ]
    np.testing.assert_allclose(given, nearest / nearest.sum(axis=1, keepdims=True), atol=1e-5)


def test_an_export_of_vgg_to_bert_is_asked_by_its_sentences(tiny_exported):
    served, folder = tiny_exported
    answers = parse_answers("cat, green bird")
    told = list(Predictor(folder).with_answers(answers)([Item("", content, False) for content in PICTURES]))
    vectors, asked = (
        served.embed_images(tf.constant(PICTURES))["embedding"].numpy(),
        served.embed_texts(tf.constant(answers.texts))["embedding"].numpy(),
    )
    expected = tf.nn.softmax(SCALE * vectors @ asked.T)
    np.testing.assert_allclose([list(one.probabilities.values()) for one in told], expected, atol=1e-4)
    assert all(answer.read.startswith("a photo of ") for answer in told)


def test_answers_that_the_encoder_cannot_tell_apart(exported):
    with pytest.raises(UserError, match="reads 'a photo of 猫' and 'a photo of 狗' alike"):
        Predictor(exported).with_answers(
            Answers(("猫", "狗"), ("a photo of 猫", "a photo of 狗"), np.arange(2))
        )
    for answer in ("猫", "кот", "แมว"):
        with pytest.raises(UserError, match=f"knows no word of the answer 'a photo of {answer}'"):
            Predictor(exported).with_answers({"cat": ["a photo of a cat"], "other": [f"a photo of {answer}"]})
    # Two descriptions of one answer may be alike.
    same = Answers(("a", "b"), ("a cat", "a  cat", "a oak"), np.array([0, 0, 1]))
    assert Predictor(exported).with_answers(same).labels == ["a", "b"]


def test_texts_must_be_as_many_as_names():
    speaker = dataclasses.make_dataclass("Named", ["class_names"])(NAMES)
    with pytest.raises(ValueError, match="one for each name"):
        ServedNames(speaker, None, ["cat"])


def test_an_export_speaks_for_others(exported):
    """As any export, it is a speaker itself."""
    speaker = make_speaker(str(exported))
    assert speaker.class_names == NAMES
    assert speaker.image_size == (8, 8)


def test_typed_answers_and_tables(tmp_path):
    assert parse_answers(" dog ,  fire   engine").names == ("dog", "fire engine")
    assert parse_answers("something that flies, owl").texts[0] == "a photo of something that flies"
    (tmp_path / "a.csv").write_text("description,target\na raven,yes\na cow,no\nan owl,yes\n")
    table = read_answers(str(tmp_path / "a.csv"))
    assert (table.names, table.texts) == (("yes", "no"), ("a raven", "a cow", "an owl"))
    assert table.targets.tolist() == [0, 1, 0]
    for words, message in (
        ("dog", "'dog' is the only answer; give at least two"),
        ("dog,,cat", "one of the answers in 'dog,,cat' is empty"),
        ("dog,Dog", "'Dog' stands twice"),
        ("none.csv", "cannot be read"),
    ):
        with pytest.raises(UserError, match=message):
            read_answers(words)


def test_what_made_an_answer_in_words_is_a_part_of_the_picture(exported, tmp_path):
    pixels = np.full((16, 16, 3), 40, np.uint8)
    pixels[:, :8] = (20, 20, 230)
    photo, drawn = tmp_path / "oak.png", tmp_path / "why.png"
    photo.write_bytes(tf.io.encode_png(pixels).numpy())
    flags = [f"--model={exported}", "--answers=plant,animal", f"--why={drawn}"]
    assert ask.main(["ask", *flags, str(photo)]) == 0
    assert drawn.read_bytes().startswith(b"\x89PNG")
    predictor = Predictor(exported).with_answers({"plant": ["plant"], "animal": ["animal"]})
    item = Item("oak", photo.read_bytes(), False)
    (answer,) = predictor([item])
    assert answer.label == "plant"
    found = why(predictor, item, answer)
    (occlusion,) = found.maps
    left, right = np.split(occlusion.shares, 2, axis=1)
    assert left.sum() > 0 > right.sum()
    # The names are mixed by their weights, and no sentence is read.
    assert found.words == ()
