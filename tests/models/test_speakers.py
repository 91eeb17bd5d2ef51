"""Speakers: what they see, what they say, and what is told when they cannot."""

import numpy as np
import pytest
import tensorflow as tf

from xmodal.core.errors import UserError
from xmodal.models.speakers import make_speaker


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
    kernel, bias = lite0.model.get_layer("predictions").get_weights()
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


@pytest.mark.parametrize("size", [(1, 1), (32, 32), (1, 300), (300, 7)])
def test_photographs_of_any_size(lite0, size):
    pixels = np.full((*size, 3), 90, np.uint8)
    seen = np.asarray(lite0.frame(pixels))
    assert seen.shape == (224, 224, 3)
    np.testing.assert_allclose(seen, 90, atol=1e-3)
    np.testing.assert_allclose(lite0.frame(pixels[None]), seen[None])


def test_an_unknown_speaker():
    with pytest.raises(UserError, match="'efficientnet_lite0' is not known; did you mean"):
        make_speaker("efficientnet_lite0")
