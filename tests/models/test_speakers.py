"""Speakers: what they see, what they say, and what is told when they cannot."""

import json
from collections.abc import Sequence
from pathlib import Path

import keras
import keras_nlp
import numpy as np
import pytest
import tensorflow as tf

from xmodal.assets.fetch import locate
from xmodal.core.errors import UserError
from xmodal.core.files import cache_folder
from xmodal.models.speakers import _imagenet, _with_names, application_speaker, make_speaker

# Keras asks TensorFlow's variables for arrays in a way that NumPy 2 is leaving behind, when it saves them.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


@pytest.fixture(scope="module")
def lite0():
    return make_speaker("efficientnet_lite0_imagenet")


def test_efficientnet_lite0_has_the_names_of_imagenet(lite0):
    assert len(lite0.class_names) == len(lite0.wordnet) == 1000
    assert (lite0.class_names[281], lite0.wordnet[281]) == ("tabby", "n02123045")
    assert lite0.model.output_shape == (None, 1000)
    assert lite0.features.output_shape == (None, 1280)
    trained = sum(int(np.prod(weight.shape)) for weight in lite0.model.trainable_weights)
    assert trained == 4_652_008


def test_logits_are_made_from_the_features(lite0):
    images = np.random.default_rng(0).uniform(0, 255, (2, 224, 224, 3)).astype(np.float32)
    kernel, bias = lite0.model.get_layer("from_the_head").get_layer("predictions").get_weights()
    features = lite0.features.predict(images, verbose=0)
    np.testing.assert_allclose(
        lite0.model.predict(images, verbose=0), features @ kernel + bias, rtol=1e-3, atol=1e-3
    )


def test_a_photograph_is_not_squashed(lite0):
    """A circle in a wide photograph stays one, and what is left and right of the middle is not seen."""
    pixels = np.zeros((256, 512, 3), np.uint8)
    row, column = np.mgrid[:256, :512]
    pixels[(row - 127.5) ** 2 + (column - 255.5) ** 2 < 100**2] = 255
    pixels[:, :100] = 77
    seen = np.asarray(lite0.read(tf.io.encode_png(pixels)))
    assert seen.shape == (224, 224, 3)
    # 256 pixels of height at 224 of 256 are cut, not scaled: the circle keeps its radius of 100.
    assert abs((seen[112, :, 0] > 127).sum() - 200) <= 2
    assert abs((seen[:, 112, 0] > 127).sum() - 200) <= 2
    assert not np.any(np.abs(seen - 77) < 0.5)


@pytest.mark.parametrize(
    ("photograph", "names"),
    [
        ("chelsea.png", {"tabby", "tiger cat", "Egyptian cat"}),
        ("coffee.png", {"espresso", "cup", "coffee mug", "eggnog"}),
        ("rocket.jpg", {"missile", "projectile"}),
    ],
)
def test_what_it_calls_photographs(lite0, photograph, names):
    folder = locate("sample_photographs", cache=cache_folder())
    seen = lite0.read(tf.io.read_file(str(folder / photograph)))
    [logits] = lite0.model.predict(seen[None], verbose=0)
    assert lite0.class_names[logits.argmax()] in names


@pytest.mark.parametrize("size", [(1, 1), (32, 32), (1, 300), (300, 7)])
def test_photographs_of_any_size(lite0, size):
    pixels = np.full((*size, 3), 90, np.uint8)
    seen = np.asarray(lite0.frame(pixels))
    assert seen.shape == (224, 224, 3)
    np.testing.assert_allclose(seen, 90, atol=1e-3)
    np.testing.assert_allclose(lite0.frame(pixels[None]), seen[None])


# Other kinds of speakers.


def noise(size: int, count: int = 3) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (count, size, size, 3)).astype(np.float32)


def names_file(folder: Path, names: Sequence[str]) -> Path:
    path = folder / "names.txt"
    path.write_text("\n".join(names) + "\n")
    return path


def saved(folder: Path, activation: str | None, channels: int = 3) -> Path:
    """A classifier of three classes, as Keras saves it."""
    keras.utils.set_random_seed(0)
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((16, 16, channels)),
            layers.Rescaling(1 / 255),
            layers.Conv2D(5, 3),
            layers.GlobalAveragePooling2D(),
            layers.Dense(3, activation=activation, kernel_initializer=keras.initializers.RandomNormal(0, 3)),
        ]
    )
    path = folder / f"{activation}_{channels}.keras"
    model.save(path)
    return path


@pytest.mark.parametrize(
    ("name", "size", "features"), [("MobileNetV3Small", 224, 1024), ("MobileNetV2", 224, 1280)]
)
def test_keras_applications_without_a_hub(name, size, features):
    speaker = _with_names(application_speaker(name, None), _imagenet())
    assert (speaker.image_size, speaker.crop) == ((size, size), 0.875)
    assert speaker.model.output_shape == (None, 1000)
    assert speaker.features.output_shape == (None, features)
    assert speaker.wordnet[0] == "n01440764"


def test_keras_applications_offline_and_unknown():
    with pytest.raises(UserError, match="not to be done offline; use efficientnet_lite0_imagenet"):
        make_speaker("imagenet:VGG16", offline=True)
    with pytest.raises(UserError, match=r"'VG16' is no model of Keras Applications; did you mean 'VGG16'\?"):
        make_speaker("imagenet:VG16", offline=True)


@pytest.mark.parametrize("channels", [1, 3])
def test_logits_and_probabilities_are_told_apart(tmp_path, channels):
    """The same weights with and without a softmax say the same."""
    names = names_file(tmp_path, ["cat", "dog", "bird"])
    logits, probabilities = (
        make_speaker(str(saved(tmp_path, activation, channels)), names) for activation in (None, "softmax")
    )
    images = noise(16)
    raw = keras.models.load_model(tmp_path / f"None_{channels}.keras")
    seen = images if channels == 3 else keras.ops.image.rgb_to_grayscale(images)
    given = logits.model.predict(images, verbose=0)
    np.testing.assert_allclose(given, raw.predict(np.asarray(seen), verbose=0), rtol=1e-5, atol=1e-4)
    softened = probabilities.model.predict(images, verbose=0)
    np.testing.assert_allclose(tf.nn.softmax(softened), tf.nn.softmax(given), atol=1e-5)
    assert np.abs(softened - given).max() > 0.1
    assert logits.features.output_shape == (None, 5)
    assert logits.class_names == ("cat", "dog", "bird")
    assert logits.wordnet is None


def test_a_sigmoid_is_no_choice_among_classes(tmp_path):
    names = names_file(tmp_path, ["cat", "dog", "bird"])
    with pytest.raises(UserError, match="judges each class apart"):
        make_speaker(str(saved(tmp_path, "sigmoid")), names)


def test_a_speaker_without_names_or_with_too_few(tmp_path):
    path = str(saved(tmp_path, None))
    with pytest.raises(UserError, match=r"has no names for its 3 classes; give a file .* `speaker_names`"):
        make_speaker(path)
    with pytest.raises(UserError, match="2 names do not fit the 3 classes of the speaker"):
        make_speaker(path, names_file(tmp_path, ["cat", "dog"]))
    with pytest.raises(UserError, match=r"line 2 of '.*names\.txt' is empty"):
        make_speaker(path, names_file(tmp_path, ["cat", "", "dog"]))
    with pytest.raises(UserError, match="cannot be read"):
        make_speaker(path, tmp_path / "none.txt")
    with pytest.raises(UserError, match="2 names do not fit the 1,000 classes"):
        make_speaker("efficientnet_lite0_imagenet", names_file(tmp_path, ["cat", "dog"]))


def test_what_is_no_classifier_of_images(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        make_speaker(str(tmp_path / "none.keras"))
    (tmp_path / "broken.keras").write_bytes(b"no zip")
    with pytest.raises(UserError, match="could not be loaded"):
        make_speaker(str(tmp_path / "broken.keras"))
    inputs = keras.Input((7,))
    keras.Model(inputs, keras.layers.Dense(3)(inputs)).save(tmp_path / "numbers.keras")
    with pytest.raises(UserError, match="which are no images"):
        make_speaker(str(tmp_path / "numbers.keras"))
    images = keras.Input((8, 8, 3))
    keras.Model(images, keras.layers.Conv2D(2, 3)(images)).save(tmp_path / "maps.keras")
    with pytest.raises(UserError, match="does not give a number for each of several classes"):
        make_speaker(str(tmp_path / "maps.keras"))


def test_an_image_classifier_of_kerashub(tmp_path):
    models, layers = keras_nlp.models, keras_nlp.layers
    keras.utils.set_random_seed(0)
    backbone = models.ResNetBackbone(
        input_conv_filters=[64],
        input_conv_kernel_sizes=[3],
        stackwise_num_filters=[64],
        stackwise_num_blocks=[1],
        stackwise_num_strides=[1],
        block_type="basic_block",
        image_shape=(None, None, 3),
    )
    converter = layers.ResNetImageConverter(image_size=(24, 24), scale=1 / 64, offset=[-1.0, -2.0, -3.0])
    classifier = models.ResNetImageClassifier(
        backbone,
        num_classes=3,
        preprocessor=models.ResNetImageClassifierPreprocessor(converter),
        activation="softmax",
    )
    classifier.save_to_preset(str(tmp_path / "preset"))
    speaker = make_speaker(str(tmp_path / "preset"), names_file(tmp_path, ["cat", "dog", "bird"]))
    assert (speaker.image_size, speaker.crop) == ((24, 24), 1.0)
    assert speaker.features.output_shape == (None, 64)
    images = noise(24)
    expected = classifier.predict(images, verbose=0)
    given = tf.nn.softmax(speaker.model.predict(images, verbose=0))
    np.testing.assert_allclose(given, expected, atol=1e-5)
    with pytest.raises(UserError, match="has no names for its 3 classes"):
        make_speaker(str(tmp_path / "preset"))


def test_a_preset_of_kerashub_offline(tmp_path, monkeypatch):
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(tmp_path))
    with pytest.raises(UserError, match="'resnet_50_imagenet' is not available offline: there is no folder"):
        make_speaker("resnet_50_imagenet", offline=True)


def test_an_export_of_xmodal_and_its_run(tiny_exported, tmp_path):
    served, folder = tiny_exported
    for spec in (folder, folder.parent):
        speaker = make_speaker(str(spec))
        assert speaker.class_names == ("animal", "plant")
        assert (speaker.image_size, speaker.crop) == ((32, 32), None)
    pixels = noise(32).astype(np.uint8)
    encoded = tf.constant([tf.io.encode_png(image).numpy() for image in pixels])
    expected = served.answer_images(encoded)["probabilities"]
    given = tf.nn.softmax(speaker.model.predict(pixels.astype(np.float32), verbose=0))
    np.testing.assert_allclose(given, expected, atol=1e-5)
    np.testing.assert_array_equal(speaker.read(encoded[0]), pixels[0])
    run = tmp_path / "run"
    run.mkdir()
    (run / "metrics.json").write_text(json.dumps({"facts": {"export": str(folder)}}))
    assert make_speaker(str(run)).class_names == ("animal", "plant")
    (run / "metrics.json").write_text("{}")
    with pytest.raises(UserError, match="tells of no export"):
        make_speaker(str(run))
    with pytest.raises(UserError, match="holds no model"):
        make_speaker(str(tmp_path))


def test_an_unknown_speaker():
    with pytest.raises(UserError, match="is neither known nor a file or folder; did you mean"):
        make_speaker("efficientnet_lite0")
