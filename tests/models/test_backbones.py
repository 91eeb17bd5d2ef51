import shutil
import warnings
from pathlib import Path

import keras
import keras_nlp
import numpy as np
import pytest
import tensorflow as tf
from tiny_bert import save_tiny_bert

from xmodal.assets.fetch import locate
from xmodal.assets.vgg16 import vgg16_arrays
from xmodal.core.errors import UserError
from xmodal.core.files import cache_folder
from xmodal.models import trainable
from xmodal.models.applications import Preprocess
from xmodal.models.bilstm import MeanMaxPool, bilstm
from xmodal.models.image_backbones import image_backbone, pooled_layers
from xmodal.models.text_encoder import (
    MeanPool,
    bert_word_vectors,
    is_new,
    text_encoder,
    with_random_weights,
)
from xmodal.models.trainable import set_trainable

CACHE = cache_folder()


def trunk(name="VGG16", features=("block1_pool",), image_size=32, **options):
    keras.utils.set_random_seed(0)
    return image_backbone(name, image_size, features, cache=CACHE, **options)


@pytest.fixture
def images():
    return np.random.default_rng(0).uniform(0, 255, (3, 32, 32, 3)).astype(np.float32)


# Image trunks.

MODELS = [
    ("VGG16", ("block1_pool", "block3_conv2", "block5_pool"), keras.applications.vgg16),
    ("VGG19", ("block4_conv4", "block2_pool"), keras.applications.vgg19),
    ("MobileNetV2", ("block_1_expand_relu", "out_relu"), keras.applications.mobilenet_v2),
]


@pytest.mark.parametrize(("name", "layers", "module"), MODELS, ids=[name for name, *_ in MODELS])
def test_features_are_means_and_maxima_of_the_layers_of_keras_applications(images, name, layers, module):
    ours = trunk(name, layers)
    theirs = getattr(module, name)(include_top=False, weights=None, input_shape=(32, 32, 3))
    for layer in ours.layers:
        if layer.weights:
            theirs.get_layer(layer.name).set_weights(layer.get_weights())
    maps = keras.Model(theirs.input, [theirs.get_layer(layer).output for layer in layers])
    outputs = maps(module.preprocess_input(images.copy()), training=False)
    pooled = [pool(output, (1, 2)) for output in outputs for pool in (np.mean, np.max)]
    assert ours.name == name.lower()
    assert ours.output_shape == (None, sum(part.shape[1] for part in pooled))
    np.testing.assert_allclose(
        ours(images, training=False), np.concatenate(pooled, axis=1), rtol=1e-4, atol=1e-5
    )


def test_flattened_features_are_the_maps_place_by_place(images):
    ours = trunk(features=("block3_pool", "block5_pool"), pooling="flatten")
    maps = keras.Model(ours.input, [ours.get_layer(name).output for name in pooled_layers(ours)])
    expected = np.concatenate([np.reshape(output, (3, -1)) for output in maps(images)], axis=1)
    assert pooled_layers(ours) == {"block3_pool": 4 * 4 * 256, "block5_pool": 512}
    np.testing.assert_array_equal(ours(images), expected)
    assert pooled_layers(trunk(features=("block3_pool", "block5_pool"))) == {
        "block3_pool": 2 * 256,
        "block5_pool": 2 * 512,
    }
    with pytest.raises(UserError, match=r"^`pooling=flatten` makes 66,048 numbers of an image, more than"):
        trunk(features=("block1_conv1", "block5_pool"), pooling="flatten")


@pytest.mark.parametrize("name", ["vgg16", "resnet_v2", "densenet", "convnext"])
def test_preprocessing_in_the_graph_is_that_of_arrays(images, name):
    module = getattr(keras.applications, name)
    inputs = keras.Input((32, 32, 3))
    model = keras.Model(inputs, Preprocess(name)(inputs))
    np.testing.assert_allclose(model(images), module.preprocess_input(images.copy()), rtol=1e-5, atol=1e-4)


def test_published_weights_of_vgg16(images):
    published = trunk(features=("block5_pool",), weights="vgg16_imagenet")
    kernel, bias = published.get_layer("block1_conv1").get_weights()
    np.testing.assert_allclose(bias[:4], [0.7343, 0.0934, 0.0678, 0.8863], atol=5e-5)
    np.testing.assert_allclose(kernel[0, 0, 0, 0], 0.42947057, atol=1e-6)
    arrays = vgg16_arrays(locate("vgg16_imagenet", cache=CACHE))
    assert len(arrays) == 13
    for name, (kernel, bias) in arrays.items():
        np.testing.assert_array_equal(published.get_layer(name).get_weights()[0], kernel)
        np.testing.assert_array_equal(published.get_layer(name).get_weights()[1], bias)


def test_weights_of_a_file(tmp_path, images):
    path = tmp_path / "mine.weights.h5"
    mine = keras.applications.VGG16(include_top=False, weights=None, input_shape=(32, 32, 3))
    with warnings.catch_warnings():
        # Keras asks TensorFlow's variables for arrays in a way that NumPy 2 is leaving behind.
        warnings.filterwarnings("ignore", "__array__ implementation", DeprecationWarning)
        mine.save_weights(path)
    read = trunk(features=("block2_pool",), weights=str(path))
    for name in ("block1_conv1", "block2_conv2"):
        for a, b in zip(read.get_layer(name).get_weights(), mine.get_layer(name).get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)

    with pytest.raises(UserError, match=r"mine\.weights\.h5` does not fit 'vgg19' \(.*\); give a \.weights"):
        trunk("VGG19", weights=str(path))
    path.write_bytes(b"no weights")
    with pytest.raises(UserError, match=r"mine\.weights\.h5` does not fit 'vgg16' \("):
        trunk(weights=str(path))


@pytest.mark.parametrize(
    ("name", "options", "problem"),
    [
        ("VGG17", {}, "'VGG17' is no model of Keras Applications; did you mean 'VGG1"),
        (
            "VGG16",
            {"features": ("block1_pol",)},
            "`features=block1_pol` is no layer of 'vgg16' with feature maps; did you mean 'block1_pool'?",
        ),
        ("VGG16", {"features": ()}, "`features=` names no layer, or one of them twice; name each layer once"),
        ("VGG16", {"features": ("block1_pool",) * 2}, "`features=block1_pool,block1_pool` names no layer"),
        (
            "VGG16",
            {"weights": "vgg16_imagnet"},
            "`image_weights=vgg16_imagnet` is neither known nor a file; did you mean 'vgg16_imagenet'?",
        ),
        (
            "VGG16",
            {"weights": "imagenet", "offline": True},
            "`image_weights=imagenet` is fetched by Keras Applications, which `offline` forbids; "
            "use `image_weights=vgg16_imagenet`",
        ),
        (
            "VGG19",
            {"weights": "vgg16_imagenet"},
            "`image_weights=vgg16_imagenet` does not fit 'vgg19'; use it with VGG16, or choose others",
        ),
        ("InceptionV3", {"features": ("mixed1",)}, "InceptionV3 cannot be built for `image_size=32` ("),
    ],
)
def test_what_cannot_be_built_is_named_with_the_nearest_that_can(name, options, problem):
    with pytest.raises(UserError) as caught:
        trunk(name, **options)
    assert str(caught.value).startswith(problem)


@pytest.mark.parametrize(
    ("trainable", "expected"),
    [
        ("head", []),
        ("block2", ["block2_conv1", "block2_conv2", "block3_conv1"]),
        ("block2_conv2", ["block2_conv2", "block3_conv1"]),
        ("all", ["block1_conv1", "block1_conv2", "block2_conv1", "block2_conv2", "block3_conv1"]),
    ],
)
def test_what_is_trained(trainable, expected):
    network = trunk(features=("block3_conv1",))
    for choice in ("all", trainable):
        set_trainable(network, choice)
    assert [layer.name for layer in network.layers if layer.trainable_weights] == expected


@pytest.mark.parametrize(
    ("trainable", "remedy"),
    [
        ("blok2_conv1", "did you mean 'block2_conv1'?"),
        ("al", "did you mean 'all'?"),
        (
            "",
            "choose one of all, block1, block1_conv1, block1_conv2, block2, block2_conv1, block2_conv2, head",
        ),
    ],
)
def test_an_unknown_layer_to_train_from(trainable, remedy):
    with pytest.raises(UserError) as caught:
        set_trainable(trunk(features=("block2_pool",)), trainable)
    assert str(caught.value) == f"`trainable={trainable}` is no layer of 'vgg16'; {remedy}"


# The small CNN.


def test_the_small_cnn_is_that_of_lenet(images):
    model = trunk("small_cnn")
    assert [layer.count_params() for layer in model.layers if layer.weights] == [
        3 * 25 * 6 + 6,
        6 * 25 * 16 + 16,
    ]
    features = model(images).numpy()
    assert features.shape == (3, 5 * 5 * 16)
    assert features.min() == 0 < features.max()


def test_weights_of_a_file_for_the_small_cnn(tmp_path, images):
    first = trunk("small_cnn")
    with warnings.catch_warnings():
        # As above.
        warnings.filterwarnings("ignore", "__array__ implementation", DeprecationWarning)
        first.save_weights(tmp_path / "small.weights.h5")
    keras.utils.set_random_seed(1)
    again = image_backbone("small_cnn", 32, (), weights=str(tmp_path / "small.weights.h5"), cache=CACHE)
    np.testing.assert_array_equal(first(images), again(images))


# Documents.


@pytest.fixture(scope="module")
def documents_encoder():
    keras.utils.set_random_seed(0)
    return bilstm(np.random.default_rng(0).normal(size=(20, 6)), 12, units=5, dropout=0.5)


def test_what_stands_beside_a_document_changes_nothing(documents_encoder):
    ids = np.zeros((3, 12), np.int32)
    ids[0, :3], ids[1, :12], ids[2, :1] = [4, 2, 9], 7, 1
    together = documents_encoder(ids)
    assert together.shape == (3, 4 * 5)
    for row in range(3):
        np.testing.assert_allclose(documents_encoder(ids[row : row + 1])[0], together[row], atol=1e-6)


def test_both_ends_and_the_order_of_a_document_matter(documents_encoder):
    ids = np.array([[4, 2, 9], [9, 2, 4], [4, 2, 3], [3, 2, 9]], np.int32)
    features = documents_encoder(np.pad(ids, ((0, 0), (0, 9)))).numpy()
    assert np.abs(features[:, None] - features[None]).max(axis=-1)[np.triu_indices(4, 1)].min() > 1e-3


def test_only_training_drops_anything(documents_encoder):
    ids = np.full((2, 12), 3, np.int32)
    np.testing.assert_array_equal(documents_encoder(ids), documents_encoder(ids))
    assert not np.array_equal(documents_encoder(ids, training=True), documents_encoder(ids, training=True))


def test_mean_and_maximum_of_what_is_kept():
    vectors = np.random.default_rng(0).normal(size=(3, 4, 2)).astype(np.float32)
    kept = np.array([[1, 1, 0, 0], [1, 1, 1, 1], [0, 0, 0, 0]], bool)
    expected = [
        [*vectors[0, :2].mean(axis=0), *vectors[0, :2].max(axis=0)],
        [*vectors[1].mean(axis=0), *vectors[1].max(axis=0)],
        [0] * 4,
    ]
    np.testing.assert_allclose(MeanMaxPool()(vectors, kept), expected, atol=1e-6)


def test_word_vectors_of_bert_have_a_meaning():
    preset = str(locate("minilm_l6", cache=CACHE))
    words = [
        "baseball",
        "hockey",
        "islam",
        "christianity",
        "floppy",
        "diskette",
        "the",
        "of",
        "a",
        "on",
        "in",
        "it",
    ]
    vectors = bert_word_vectors(preset, words, 8)
    assert vectors.shape == (len(words), 8)
    assert np.mean(vectors**2) == pytest.approx(1, rel=1e-4)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    likeness = unit @ unit.T
    assert likeness[0, 1] > likeness[0, 2:6].max()
    assert likeness[2, 3] > max(likeness[2, 4], likeness[2, 0])


def test_word_vectors_wider_than_those_of_bert(tmp_path):
    preset = save_tiny_bert(tmp_path / "bert")
    with pytest.raises(
        UserError, match=r"vectors of 17 numbers cannot come from '.*', whose own have 16; use "
    ):
        bert_word_vectors(preset, ["cat"], 17)


# Text encoders.


def test_mean_pooling_sees_no_padding():
    vectors = np.random.default_rng(0).normal(size=(3, 4, 2)).astype(np.float32)
    kept = np.array([[1, 1, 0, 0], [1, 1, 1, 1], [0, 0, 0, 0]], bool)
    expected = [vectors[0, :2].mean(axis=0), vectors[1].mean(axis=0), [0, 0]]
    np.testing.assert_allclose(MeanPool()(vectors, kept), expected, atol=1e-6)
    vectors[0, 2:] = 1e6
    np.testing.assert_allclose(MeanPool()(vectors, kept), expected, atol=1e-6)


@pytest.fixture(scope="module")
def minilm():
    return text_encoder(str(locate("minilm_l6", cache=CACHE)), 16)


TEXTS = ["surely a photo of a cat", "Unbelievably LONG: " + "very " * 30, "", "naïve 犬, café"]


def test_tokens_in_a_graph_are_those_of_eager_execution(minilm):
    eager = minilm.tokens(TEXTS)
    assert {name: (value.shape, value.dtype) for name, value in eager.items()} == {
        "token_ids": ((4, 16), tf.int32),
        "segment_ids": ((4, 16), tf.int32),
        "padding_mask": ((4, 16), tf.bool),
    }
    in_function = tf.function(minilm.tokens)(tf.constant(TEXTS))
    in_data = next(iter(tf.data.Dataset.from_tensor_slices(TEXTS).batch(4).map(minilm.tokens)))
    for name, value in eager.items():
        np.testing.assert_array_equal(in_function[name], value)
        np.testing.assert_array_equal(in_data[name], value)
    # [CLS] surely a photo of a cat [SEP], in the vocabulary of BERT.
    assert eager["token_ids"][0, :8].numpy().tolist() == [101, 7543, 1037, 6302, 1997, 1037, 4937, 102]
    assert eager["padding_mask"].numpy().sum(axis=1).tolist()[:3] == [8, 16, 2]


def test_texts_without_a_known_word(minilm):
    assert minilm.knows(["cat", "犬 ☃ cat", "☃", "☃ ☃", ""]).tolist() == [True, True, False, False, False]


def test_sentence_vectors_have_a_meaning(minilm):
    texts = [
        "a photo of a small dog",
        "a picture of a puppy",
        "the bank raised its interest rates",
        "borrowing money became more expensive",
    ]
    vectors = keras.ops.normalize(minilm.model(minilm.tokens(texts), training=False)).numpy()
    likeness = vectors @ vectors.T
    assert vectors.shape == (4, 384)
    assert likeness[0, 1] > 0.5 > likeness[0, 2] + 0.2
    assert likeness[2, 3] > likeness[0, 3] + 0.2


def test_a_longer_padding_does_not_change_a_vector(minilm, tmp_path):
    preset = save_tiny_bert(tmp_path / "bert")
    short, long = (text_encoder(preset, length) for length in (10, 24))
    texts = ["a photo of a cat", "surely a dog"]
    np.testing.assert_allclose(short.model(short.tokens(texts)), long.model(long.tokens(texts)), atol=1e-5)


def test_the_table_of_a_vocabulary_of_many_languages_is_not_trained(tmp_path, monkeypatch):
    preset = save_tiny_bert(tmp_path / "bert")
    table = "token_embedding/embeddings"

    def trained(model) -> set[str]:
        return {weight.path for weight in model.trainable_weights}

    of_one_language = trained(text_encoder(preset, 10).model)
    monkeypatch.setattr(trainable, "MULTILINGUAL_VOCABULARY", 20)
    model = text_encoder(preset, 10).model
    assert of_one_language - trained(model) == {table}
    set_trainable(model, "all")
    assert of_one_language - trained(model) == {table}


def with_new_weights(encoder, texts, seed=0):
    keras.utils.set_random_seed(seed)
    return with_random_weights(encoder, texts)


def test_random_weights_are_those_of_a_new_bert(minilm):
    new = with_new_weights(minilm, TEXTS)
    for before, weight in zip(minilm.model.weights, new.model.weights, strict=True):
        assert (before.path, before.shape) == (weight.path, weight.shape)
        array = weight.numpy()
        if weight.name in ("bias", "beta", "gamma"):
            np.testing.assert_array_equal(array, float(weight.name == "gamma"))
        else:
            # A normal distribution of 0.02, cut off at two deviations.
            assert 0.0165 < array.std() < 0.0187
            assert 0.035 < abs(array).max() <= 0.04
    assert is_new(new.model)
    assert not is_new(minilm.model)
    again, other = (with_new_weights(minilm, TEXTS, seed).model.get_weights() for seed in (0, 1))
    for a, b, c in zip(new.model.get_weights(), again, other, strict=True):
        np.testing.assert_array_equal(a, b)
        assert a.ndim < 2 or not a.any() or (a != c).any()
    for name, tokens in minilm.tokens(TEXTS).items():
        np.testing.assert_array_equal(new.tokens(TEXTS)[name], tokens)
    assert new.model(new.tokens(TEXTS)).shape == (len(TEXTS), 384)


def test_from_random_weights_a_table_of_many_languages_learns_the_pieces_that_occur(tmp_path, monkeypatch):
    preset = save_tiny_bert(tmp_path / "bert")
    monkeypatch.setattr(trainable, "MULTILINGUAL_VOCABULARY", 20)
    encoder = text_encoder(preset, 10)
    new = with_new_weights(encoder, ["a photo of a cat", "not one"])
    table = new.model.get_layer("token_embedding")
    # [CLS], [SEP], [PAD], the six words, and what stands for all others.
    assert table.embeddings.shape == (10, 16)
    assert "token_embedding/embeddings" in {weight.path for weight in new.model.trainable_weights}
    set_trainable(new.model, "all")
    assert table.trainable
    tokens = new.tokens(["photo of a dog", "photo of a cat"])["token_ids"].numpy()
    assert (tokens[0] != tokens[1]).tolist() == [False] * 4 + [True] + [False] * 5
    assert tokens[0, 4] == 0 == new.unknown
    # No more pieces than a table may have that learns.
    monkeypatch.setattr(trainable, "MULTILINGUAL_VOCABULARY", 5)
    few = with_new_weights(encoder, ["a photo of a cat", "not one"]).model.get_layer("token_embedding")
    assert few.embeddings.shape == (5, 16)


def test_a_sequence_longer_than_the_encoder_reads(tmp_path):
    preset = save_tiny_bert(tmp_path / "bert")
    with pytest.raises(UserError, match=r"`sequence_length=25` is more than the 24 tokens that .* reads; ch"):
        text_encoder(preset, 25)


@pytest.mark.parametrize("part", ["config.json", "model.weights.h5", "tokenizer.json", "assets"])
def test_an_encoder_with_a_part_missing(tmp_path, part):
    folder = tmp_path / "bert"
    preset = save_tiny_bert(folder)
    path = folder / part
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(
        UserError, match=r"the text encoder '.*' could not be loaded \(\w+: .*\); check the n"
    ):
        text_encoder(preset, 16)


def test_an_encoder_with_broken_weights(tmp_path):
    folder = tmp_path / "bert"
    preset = save_tiny_bert(folder)
    weights = folder / "model.weights.h5"
    weights.write_bytes(weights.read_bytes()[:5000])
    with pytest.raises(UserError, match=r"the text encoder '.*' could not be loaded \(\w+: "):
        text_encoder(preset, 16)


def test_a_tokenizer_that_knows_more_than_its_table_is_refused(tmp_path):
    folder = Path(save_tiny_bert(tmp_path / "bert"))
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"word{number}" for number in range(99))]
    keras_nlp.models.BertTokenizer(words, lowercase=True).save_to_preset(str(folder))
    with pytest.raises(UserError, match=r"knows 104 pieces, its network has vectors for \d+; give a preset"):
        text_encoder(str(folder), 16)
