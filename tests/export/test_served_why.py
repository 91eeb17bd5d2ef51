"""What an export tells of what made its answers, of models whose reasons are known."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from tiny_bert import save_tiny_bert

from xmodal.export.served_documents import ServedDocuments
from xmodal.export.served_pairs import ServedPairs
from xmodal.export.served_why import image_maps, words_of
from xmodal.models.heads import text_classifier
from xmodal.models.image_backbones import image_backbone, with_regions
from xmodal.models.opened_models import at_embeddings, with_maps
from xmodal.models.text_encoder import text_encoder
from xmodal.models.window_layers import over_windows
from xmodal.recipes.fusion.encoders import with_tokens
from xmodal.tasks.image_classifier import both_ways
from xmodal.tasks.pair_encoders import Encoders, PictureEncoder
from xmodal.tasks.text_classifier import TextClassifier


def brightness_classifier() -> keras.Model:
    """Logits of "red" and "green", each the mean of its channel over all positions."""
    images = keras.Input((32, 32, 3))
    maps = keras.layers.AveragePooling2D(4, name="small")(images)
    kernel = np.zeros((1, 1, 3, 4), np.float32)
    kernel[0, 0, 0, 0] = kernel[0, 0, 1, 1] = 1 / 255
    maps = keras.layers.Conv2D(4, 1, use_bias=False, name="colours")(maps)
    logits = keras.layers.Dense(2, use_bias=False)(keras.layers.GlobalAveragePooling2D()(maps))
    model = keras.Model(images, logits)
    model.get_layer("colours").set_weights([kernel])
    model.layers[-1].set_weights([np.eye(4, 2, dtype=np.float32)])
    return model


@pytest.fixture
def pictures():
    """One with a red part above on the left, one with a green part below on the right."""
    pixels = np.zeros((2, 32, 32, 3), np.float32)
    pixels[0, :8, :8, 0] = 255
    pixels[1, -8:, -8:, 1] = 255
    return pixels


def test_a_map_is_where_the_class_is(pictures):
    found = image_maps(brightness_classifier())(tf.constant(pictures)).numpy()
    assert found.shape == (2, 8, 8)
    expected = np.zeros((2, 8, 8))
    # By hand: a channel weighs the 64th of one that its mean over 64 positions rises by.
    expected[0, :2, :2] = expected[1, -2:, -2:] = 1 / 64
    np.testing.assert_allclose(found, expected, atol=1e-9)


def test_models_around_a_network_are_opened(pictures):
    network = brightness_classifier()
    alone = image_maps(network)(tf.constant(pictures))
    np.testing.assert_allclose(image_maps(both_ways(network))(tf.constant(pictures)), alone, atol=1e-9)
    # Of windows: the one that is missing has nothing, the others have the class of the whole.
    windows = np.stack([pictures, np.full_like(pictures, -1)], axis=1)
    found = image_maps(over_windows(network))(tf.constant(windows)).numpy()
    np.testing.assert_allclose(found[:, 0], alone, atol=1e-9)
    assert not found[:, 1].any()
    nested = keras.Sequential([keras.Input((32, 32, 3)), keras.layers.Rescaling(1.0), network])
    np.testing.assert_allclose(image_maps(nested)(tf.constant(pictures)), alone, atol=1e-9)
    flat = keras.Sequential([keras.Input((32, 32, 3)), keras.layers.Flatten(), keras.layers.Dense(2)])
    assert image_maps(flat) is None


@pytest.mark.parametrize(("side", "shape"), [(32, (4, 4)), (128, (4, 4)), (160, (5, 5))])
def test_the_last_maps_with_enough_positions_are_taken(side, shape):
    network = image_backbone("VGG16", side)
    maps, features = with_maps(network).output
    assert maps.shape[1:3] == shape
    assert features.shape == network.output.shape


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    keras.utils.set_random_seed(1)
    encoder = text_encoder(save_tiny_bert(tmp_path_factory.mktemp("bert")), 16)
    model = text_classifier(encoder.model, 3)
    return TextClassifier(encoder, model)


@pytest.fixture(scope="module")
def documents(text):
    return ServedDocuments(text=text, temperature=0.8, prepare=tf.strings.lower, names=("a", "b", "c"))


TEXTS = ["Three red  cats and dogs", "cat", "", "  ", "dogs " * 40, "red 猫 cats"]


def test_the_shares_of_words_sum_to_the_difference(documents, text):
    """Completeness: arXiv:1703.01365, proposition 1. Within 0.01 points of the probability."""
    found = documents.explain_texts(tf.constant(TEXTS))
    summed = found["shares"].numpy().sum(axis=1)
    np.testing.assert_allclose(summed, found["difference"], atol=1e-4)
    assert np.abs(summed[[0, 1, 4, 5]]).min() > 0.002
    assert not summed[2:4].any()
    # The difference is that to the answer with zeros in the place of the vectors of all words.
    embeddings, rest = at_embeddings(text.model)
    read = text.encoder.padded(["three red cats and dogs"])
    vectors = embeddings(read["token_ids"]).numpy()
    others = [read["padding_mask"], read["segment_ids"]]
    whole = tf.nn.softmax(rest([vectors, *others]) / 0.8).numpy()[0]
    vectors[:, 1:-1] = 0
    without = tf.nn.softmax(rest([vectors, *others]) / 0.8).numpy()[0]
    answer = documents.answer_texts(tf.constant(TEXTS[:1]))
    np.testing.assert_allclose(whole, answer["probabilities"][0], atol=1e-6)
    best = whole.argmax()
    assert float(found["difference"][0]) == pytest.approx(whole[best] - without[best], abs=1e-5)


def test_words_have_the_shares_of_their_tokens(documents):
    found = documents.explain_texts(tf.constant(TEXTS))
    words = [[word.decode() for word in row if word] for row in found["words"].numpy()]
    assert words[0] == ["three ", "red  ", "cats ", "and ", "dogs"]
    assert words[1:4] == [["cat"], [], []]
    # As many words as tokens can be. Two of these mark the ends, and each word takes two of the others.
    assert words[4] == ["dogs "] * 16
    assert found["shares"][4].numpy().nonzero()[0].max() == 6
    assert words[5] == ["red ", "猫 ", "cats"]
    # A word and its answer are the same in other company.
    alone = documents.explain_texts(tf.constant(TEXTS[:1]))
    np.testing.assert_allclose(found["shares"][0], alone["shares"][0], atol=1e-6)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("one two\n three", ["one ", "two\n ", "three"]),
        ("我喜欢 cats和狗", ["我", "喜", "欢 ", "cats", "和", "狗"]),
        ("ねこ", ["ね", "こ"]),
        ("", []),
    ],
)
def test_words_joined_are_the_text(text, words):
    found = [word.decode() for word in words_of(tf.constant(text)).numpy()]
    assert found == words
    assert "".join(found) == text


@pytest.fixture(scope="module")
def pairs(text):
    keras.utils.set_random_seed(2)
    images = PictureEncoder(*with_regions(image_backbone("VGG16", 32, ("block1_pool",)), "block1_pool"))
    shapes = {"image": (128,), "text": (16,), "has_image": (), "has_text": ()}
    inputs = {name: keras.Input(shape, name=name) for name, shape in shapes.items()}
    # Features of random weights are far larger than sentence vectors.
    sides = {"image": keras.layers.Rescaling(1e-3)(inputs["image"]), "text": inputs["text"]}
    there = [
        keras.layers.Multiply()([vectors, keras.ops.expand_dims(inputs[f"has_{side}"], 1)])
        for side, vectors in sides.items()
    ]
    logits = keras.layers.Dense(2)(keras.layers.Concatenate()(there))
    encoder = text.encoder
    return ServedPairs(
        encoders=Encoders({"image": images}, encoder, with_tokens(encoder.model)),
        image_size=32,
        model=keras.Model(inputs, logits),
        temperature=1.0,
        prepare=tf.strings.lower,
        names=("a", "b"),
    )


def test_both_sides_of_a_pair_have_their_part(pairs, pictures):
    images = [tf.io.encode_png(picture.astype(np.uint8)).numpy() for picture in pictures]
    images, texts = tf.constant([*images, b""]), tf.constant(["Three red cats", "", "red cats"])
    assert {"why", "why_text"} <= set(pairs.signatures())
    found = pairs.explain_images(images, texts)["map"].numpy()
    assert found.shape == (3, 16, 16)
    assert found[:2].any(axis=(1, 2)).all()
    assert not found[2].any()
    words = pairs.explain_texts(images, texts)
    summed = words["shares"].numpy().sum(axis=1)
    np.testing.assert_allclose(summed, words["difference"], atol=1e-4)
    assert (np.abs(summed) > 1e-4).tolist() == [True, False, True]
    # The picture counts in what the words change.
    alone = pairs.explain_texts(tf.constant([b""] * 3), texts)["difference"]
    assert float(words["difference"][0]) != pytest.approx(float(alone[0]), abs=1e-5)
    assert float(words["difference"][2]) == pytest.approx(float(alone[2]), abs=1e-6)
