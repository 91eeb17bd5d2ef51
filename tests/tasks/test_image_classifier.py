"""The image classifier on squares of two colours, with the first blocks of a VGG16."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf
from absl.testing import flagsaver
from loading import load_images

from xmodal.config import flags
from xmodal.config.config import Config
from xmodal.data.images import ImageData
from xmodal.models.image_backbones import image_backbone
from xmodal.tasks import image_classifier
from xmodal.tasks.image_classifier import ImageClassifier, parts_of_pass, pixels, train_image_classifier
from xmodal.training.feature_cache import FeatureCache
from xmodal.training.prediction import predict
from xmodal.training.trainer import Trainer

FLAGS = (
    "--image_size=32",
    "--features=block1_pool",
    "--head_epochs=8",
    "--hidden=8",
    "--dropout=0",
    "--batch_size=8",
    "--head_learning_rate=0.01",
    "--learning_rate=0.001",
    "--epochs=3",
    "--augment=flip,shift",
)


@pytest.fixture(scope="module")
def settings() -> Config:
    with flagsaver.flagsaver():
        flags.parse(["run", *FLAGS])
        return flags.from_flags()


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> ImageData:
    """40 images of noise with a bright square somewhere, red or blue."""
    root = tmp_path_factory.mktemp("squares")
    rng = np.random.default_rng(0)
    for number in range(40):
        name, channel = (("blue", 2), ("red", 0))[number % 2]
        image = rng.integers(0, 80, (32, 32, 3), np.uint8)
        top, left = rng.integers(4, 16, 2)
        image[top : top + 12, left : left + 12, channel] = 230
        path = root / name / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(tf.io.encode_png(image).numpy())
    return load_images(f"folder:{root}", cache=root, validation_fraction=0.2, test_fraction=0.2)


def new_backbone(strategy, features=("block1_pool",)) -> keras.Model:
    with strategy.scope():
        keras.utils.set_random_seed(7)
        return image_backbone("VGG16", 32, features, cache=None)


def trained(
    data,
    settings,
    strategy,
    *,
    trainable="head",
    features=("block1_pool",),
    cache=None,
    **changes,
):
    shared = {name: changes.pop(name) for name in ("batch_size", "patience") if name in changes}
    config = dataclasses.replace(settings.image, trainable=trainable, **changes)
    trainer = Trainer(dataclasses.replace(settings.train, **shared), 1, strategy, cache=cache)
    return train_image_classifier(new_backbone(strategy, features), data, config, trainer, name="squares")


def changed_layers(classifier: ImageClassifier, strategy, features=("block1_pool",)) -> list[str]:
    before = new_backbone(strategy, features)
    return [
        layer.name
        for layer in classifier.backbone.layers
        if not all(
            np.array_equal(a, b)
            for a, b in zip(layer.get_weights(), before.get_layer(layer.name).get_weights(), strict=True)
        )
    ]


@pytest.fixture(scope="module")
def frozen(data, settings, one_device) -> ImageClassifier:
    return trained(data, settings, one_device)


def test_a_head_on_a_frozen_trunk_learns(frozen, data, one_device):
    test = predict(frozen.model, pixels(data.test, 32, 8), one_device)
    assert (test.argmax(axis=1) == data.test.labels).all()
    assert (frozen.validation_logits.argmax(axis=1) == data.validation.labels).all()
    [history] = frozen.histories
    assert history.stage == "squares: head"
    assert history.epochs[-1]["loss"] < history.epochs[0]["loss"]


def test_a_frozen_trunk_keeps_its_weights(frozen, one_device):
    assert changed_layers(frozen, one_device) == []
    assert frozen.backbone.trainable_weights == []


@pytest.mark.parametrize("trainable", ["head", "all"])
def test_kept_features_give_the_same_weights(trainable, frozen, data, settings, one_device, tmp_path):
    cache = FeatureCache(tmp_path / "features", 1.0)
    options = {"trainable": trainable, "cache": cache}
    first, second = (trained(data, settings, one_device, **options) for _ in range(2))
    without = frozen if trainable == "head" else trained(data, settings, one_device, trainable="all")
    assert list((tmp_path / "features").rglob("*.npy"))
    for classifier in (first, second):
        for a, b in zip(classifier.model.get_weights(), without.model.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("trainable", ["head", "all"])
def test_logits_of_another_split_are_those_of_the_model(trainable, data, settings, one_device, tmp_path):
    cache = FeatureCache(tmp_path / "features", 1.0)
    classifier = trained(data, settings, one_device, trainable=trainable, cache=cache)
    kept = set(cache.folder.iterdir())
    found = classifier.logits(data.test, "test")
    np.testing.assert_allclose(
        found, predict(classifier.model, pixels(data.test, 32, 8), one_device), atol=1e-4
    )
    # Of a frozen backbone features are kept, for whoever asks next.
    assert len(set(cache.folder.iterdir()) - kept) == (trainable == "head")


def test_every_view_has_its_logits(frozen, data):
    count = len(data.train)
    assert frozen.train_logits().shape == (3 * count, 2)
    views = frozen.train_logits().reshape(3, count, 2)
    for view in views:
        assert (view.argmax(axis=1) == data.train.labels).mean() > 0.9
    # The first view is the images as they are; the others are moved, each in its own way.
    assert not np.allclose(views[0], views[1], atol=1e-3)
    assert not np.allclose(views[1], views[2], atol=1e-3)


def test_the_first_view_and_the_validation_split_are_the_images_as_they_are(frozen, data, one_device):
    count = len(data.train)
    for split, kept in (
        (data.train, frozen.train_logits()[:count]),
        (data.validation, frozen.validation_logits),
    ):
        whole = predict(frozen.model, pixels(split, 32, 8), one_device)
        np.testing.assert_allclose(kept, whole, atol=1e-4)


def test_the_joined_model_is_the_trunk_and_the_head(frozen, data):
    images = next(iter(pixels(data.test, 32, 4)))
    np.testing.assert_allclose(frozen.model(images), frozen.head(frozen.backbone(images)), atol=1e-5)


def test_both_ways_is_the_mean_over_an_image_and_its_mirror_image(
    frozen, data, settings, one_device, monkeypatch
):
    monkeypatch.setattr(image_classifier, "MAX_TRAIN_LOGITS", 5)
    mirrored = trained(data, settings, one_device, mirror=True)
    images = next(iter(pixels(data.test, 32, 4)))
    mean = (frozen.model(images) + frozen.model(images[:, :, ::-1])) / 2
    np.testing.assert_allclose(mirrored.model(images), mean, atol=1e-4)
    assert np.abs(mean - frozen.model(images)).max() > 1e-3
    whole = predict(mirrored.model, pixels(data.validation, 32, 8), one_device)
    np.testing.assert_allclose(mirrored.validation_logits, whole, atol=1e-4)
    # Some images, from the first to the last.
    places = np.linspace(0, len(data.train) - 1, 5).round().astype(int)
    some = predict(mirrored.model, pixels(data.train.take(places), 32, 8), one_device)
    np.testing.assert_allclose(mirrored.train_logits(), some, atol=1e-4)


def test_the_same_seed_gives_the_same_result(frozen, data, settings, one_device):
    again = trained(data, settings, one_device)
    np.testing.assert_allclose(again.train_logits(), frozen.train_logits(), atol=1e-5)
    for a, b in zip(again.model.get_weights(), frozen.model.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_the_whole_network_is_trained(data, settings, one_device):
    # As many epochs as make it better than what it starts with.
    classifier = trained(data, settings, one_device, trainable="all", epochs=4, head_epochs=1)
    assert changed_layers(classifier, one_device) == ["block1_conv1", "block1_conv2"]
    assert [history.stage for history in classifier.histories] == ["squares: head", "squares: network"]
    # The images pass the trained network once, as they are.
    assert classifier.train_logits().shape == (len(data.train), 2)
    for split, kept in (
        (data.train, classifier.train_logits()),
        (data.validation, classifier.validation_logits),
    ):
        whole = predict(classifier.model, pixels(split, 32, 8), one_device)
        np.testing.assert_allclose(kept, whole, atol=1e-4)


def test_only_the_layers_from_a_prefix_on_are_trained(data, settings, one_device):
    features = ("block1_pool", "block2_pool")
    options = {"epochs": 4, "head_epochs": 1, "learning_rate": 3e-4}
    classifier = trained(data, settings, one_device, trainable="block2", features=features, **options)
    assert changed_layers(classifier, one_device, features) == ["block2_conv1", "block2_conv2"]


def test_the_validation_split_is_looked_at_within_an_epoch(data, settings, one_device):
    options = {"trainable": "all", "epochs": 2, "head_epochs": 1, "patience": 9}
    whole = trained(data, settings, one_device, **options)
    parts = trained(data, settings, one_device, validations_per_epoch=3, **options)
    # 26 images in batches of 8 are 4 steps; three equal parts would leave one out.
    assert parts_of_pass(len(data.train), settings.image, settings.train) == (1, 4)
    changed = dataclasses.replace(settings.image, validations_per_epoch=3)
    assert parts_of_pass(len(data.train), changed, settings.train) == (2, 2)
    assert [len(made.histories[-1].epochs) for made in (whole, parts)] == [2, 4]
    # The batches are the same; only the split is looked at more often.
    for a, b in zip(whole.histories[-1].epochs, parts.histories[-1].epochs[1::2], strict=True):
        assert a["val_loss"] == pytest.approx(b["val_loss"], rel=1e-3)


# Soft labels.


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """24 images of which three people said what they show: as shares, and as three lines each."""
    root = tmp_path_factory.mktemp("soft")
    rng = np.random.default_rng(1)
    soft, hard = ["image,label:blue,label:red,split"], ["image,label,split"]
    for number in range(24):
        split = ("train", "train", "val", "test")[number // 6]
        red = number % 4
        image = rng.integers(0, 80, (32, 32, 3), np.uint8)
        image[8:20, 8:20] += np.array([40 * red, 0, 40 * (3 - red)], np.uint8)
        (root / f"{number}.png").write_bytes(tf.io.encode_png(image).numpy())
        soft.append(f"{number}.png,{3 - red},{red},{split}")
        hard += [f"{number}.png,{name},{split}" for name in ["red"] * red + ["blue"] * (3 - red)]
    (root / "soft.csv").write_text("\n".join(soft))
    (root / "hard.csv").write_text("\n".join(hard))
    return [load_images(f"csv:{root / name}", cache=root) for name in ("soft.csv", "hard.csv")]


@pytest.mark.parametrize("trainable", ["head", "all"])
def test_learning_shares_is_learning_answers_in_these_proportions(tables, settings, one_device, trainable):
    # One batch holds all: then no order matters. Steps in proportion to the gradients show any difference.
    trainer = Trainer(dataclasses.replace(settings.train, optimizer="sgd", batch_size=128), 1, one_device)
    changes = {
        "learning_rate": 1e-3,
        "head_learning_rate": 1e-3,
        "augment": (),
        "epochs": 5,
        "trainable": trainable,
    }
    soft, hard = (
        train_image_classifier(
            new_backbone(one_device), data, dataclasses.replace(settings.image, **changes), trainer
        )
        for data in tables
    )
    assert (len(tables[0].train), len(tables[1].train)) == (12, 36)
    for one, other in zip(soft.histories, hard.histories, strict=True):
        for name in ("loss", "val_loss"):
            np.testing.assert_allclose(
                [epoch[name] for epoch in one.epochs], [epoch[name] for epoch in other.epochs], rtol=1e-5
            )
        # The rate of the first step is 0, and the momentum may go too far in the last ones.
        assert min(epoch["loss"] for epoch in one.epochs) < one.epochs[0]["loss"] - 0.01
    np.testing.assert_allclose(
        np.repeat(soft.validation_logits, 3, axis=0), hard.validation_logits, atol=1e-4
    )


def test_every_view_of_an_image_has_its_shares(tables, settings, one_device):
    frozen = trained(tables[0], settings, one_device, batch_size=64, epochs=3)
    assert frozen.train_logits().shape == (36, 2)
    # Two of four images are certain, of two others three people say the same in two of three cases.
    least = -(np.log(2 / 3) * 2 / 3 + np.log(1 / 3) / 3) / 2
    assert min(epoch["loss"] for epoch in frozen.histories[0].epochs) > least


def test_a_new_network_learns_as_a_whole_from_the_first_step(data, settings, one_device):
    classifier = trained(data, settings, one_device, trainable="all", epochs=4, head_epochs=0)
    assert [history.stage for history in classifier.histories] == ["squares: network"]
    history = classifier.histories[-1]
    # No head was fitted: it starts at the loss of guessing, and does not explode from there.
    assert history.start["val_loss"] < 3
    assert max(epoch["loss"] for epoch in history.epochs) < 3
    assert changed_layers(classifier, one_device) == ["block1_conv1", "block1_conv2"]
    whole = predict(classifier.model, pixels(data.validation, 32, 8), one_device)
    np.testing.assert_allclose(classifier.validation_logits, whole, atol=1e-4)
