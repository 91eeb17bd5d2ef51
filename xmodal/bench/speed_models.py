"""What `bench/speed.py` measures: models, and inputs of noise."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from xmodal.assets.presets import text_encoder_path
from xmodal.config.config import Config
from xmodal.core.files import cache_folder
from xmodal.data.batches import array_batches, without_autotuning
from xmodal.models.heads import logits
from xmodal.models.image_backbones import image_backbone
from xmodal.models.trainable import set_trainable

CLASSES = 10


@contextlib.contextmanager
def computing(precision: str) -> Iterator[None]:
    """Builds models that compute in a precision, with the same initial weights each time."""
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy(precision)
    keras.utils.set_random_seed(0)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(policy)


def image_classifier(
    settings: Config, strategy: tf.distribute.Strategy, first: str
) -> tuple[keras.Model, keras.Model]:
    """Returns a classifier that learns from a layer on, and its trunk."""
    with strategy.scope(), computing(settings.train.precision):
        trunk = image_backbone(
            settings.image.target, settings.data.image_size, settings.image.features, cache=Path()
        )
        set_trainable(trunk, first)
        return keras.Model(trunk.input, logits(CLASSES)(trunk.output)), trunk


def hold_epoch(images: np.ndarray, labels: np.ndarray) -> tf.data.Dataset:
    """Returns an epoch of images (BATCHES, B, H, W, 3) with labels (BATCHES, B), held in memory."""
    flat_images = images.reshape(labels.size, *images.shape[2:])
    return without_autotuning(array_batches(flat_images, labels.ravel(), batch_size=labels.shape[1]))


def encoder_preset(settings: Config) -> str:
    """Finds the text encoder that the flags name, and returns where its preset is."""
    name, cache = settings.text.text_encoder, cache_folder()
    return text_encoder_path(name, cache=cache, offline=settings.run.offline)


def noise_images(settings: Config, count: int) -> np.ndarray:
    """Returns batches of noise, (count, B, H, W, 3) from 0 to 255."""
    size = settings.data.image_size
    shape = (count, settings.train.batch_size, size, size, 3)
    return np.random.default_rng(0).uniform(0, 255, shape).astype(np.float32)


def noise_tokens(count: int, length: int) -> dict[str, np.ndarray]:
    """Returns texts of that many tokens, without padding, as an encoder of `backbones` reads them."""
    ids = np.random.default_rng(0).integers(1000, 20_000, (count, length)).astype(np.int32)
    return {"token_ids": ids, "segment_ids": np.zeros_like(ids), "padding_mask": np.ones_like(ids, bool)}


def torch_tokens(tokens: dict[str, np.ndarray], size: int) -> list[tuple]:
    """Returns batches of token numbers and masks as PyTorch reads them."""
    ids, mask = tokens["token_ids"].astype(np.int64), tokens["padding_mask"].astype(np.int64)
    return [(ids[n : n + size], mask[n : n + size]) for n in range(0, len(ids), size)]
