"""Speakers: ready image classifiers with names of their own, which speak for classes they never learned."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import keras
import tensorflow as tf

from xmodal.assets.efficientnet_lite0 import efficientnet_lite0_arrays
from xmodal.assets.fetch import locate
from xmodal.bridge.names_text import imagenet_names
from xmodal.core.errors import UserError, nearest
from xmodal.core.files import cache_folder
from xmodal.data.decoding import decoded_pixels, framed
from xmodal.models.efficientnet_lite0 import CROP, IMAGE_SIZE, efficientnet_lite0, set_torch_weights


@dataclass(frozen=True)
class Speaker:
    """A classifier and the names that it knows.

    Attributes:
        name: how it was asked for, such as "efficientnet_lite0_imagenet".
        model: RGB images (B, H, W, 3) from 0 to 255 -> logits (B, C). It prepares their values itself.
        features: the same images -> pooled features (B, D), what its last layer reads.
        class_names: the C names.
        wordnet: their ids in WordNet, where they are ImageNet's.
        image_size: (H, W).
        crop: the share of a photograph's shorter side that it was trained to see, in the middle.
        method: how a photograph is brought to that size: "bicubic" or "bilinear".
    """

    name: str
    model: keras.Model
    features: keras.Model
    class_names: tuple[str, ...]
    wordnet: tuple[str, ...] | None
    image_size: tuple[int, int]
    crop: float = 1.0
    method: str = "bilinear"

    def read(self, encoded: tf.Tensor) -> tf.Tensor:
        """Reads an encoded photograph, a scalar string, as the classifier sees it: (H, W, 3) float32.

        It runs in `tf.data`, in a graph, and therefore in an export. Raises as `decoding.decode` does.
        """
        return self.frame(decoded_pixels(encoded))

    def frame(self, images: tf.Tensor) -> tf.Tensor:
        """Brings pixels of any size, (h, w, 3) or (B, h, w, 3), to (..., H, W, 3) float32."""
        return framed(images, self.image_size, crop=self.crop, method=self.method)


def make_speaker(
    spec: str, names_file: Path | None = None, offline: bool = False, cache: Path | None = None
) -> Speaker:
    """Loads a ready classifier.

    Args:
        spec: "efficientnet_lite0_imagenet".
        names_file: a file with a name a line, in the order of the classifier's outputs.
        offline: make no attempt to fetch.
        cache: the folder of fetched assets; None for the usual one.

    Raises:
        UserError: for a classifier that is not known or not to be had.

    Example:
        >>> speaker = make_speaker("efficientnet_lite0_imagenet")
        >>> speaker.class_names[151]
        'Chihuahua'
    """
    if spec not in _NAMED:
        raise UserError(f"the speaker {spec!r} is not known", nearest(spec, _NAMED))
    return _NAMED[spec](cache or cache_folder(), offline)


def _efficientnet_lite0(cache: Path, offline: bool) -> Speaker:
    name = "efficientnet_lite0_imagenet"
    model = efficientnet_lite0()
    set_torch_weights(model, efficientnet_lite0_arrays(locate(name, cache=cache, offline=offline)))
    return Speaker(
        name=name,
        model=model,
        features=keras.Model(model.input, model.get_layer("avg_pool").output, name="features"),
        class_names=tuple(entry.name for entry in imagenet_names()),
        wordnet=tuple(entry.wordnet for entry in imagenet_names()),
        image_size=(IMAGE_SIZE, IMAGE_SIZE),
        crop=CROP,
        method="bicubic",
    )


_NAMED: dict[str, Callable[[Path, bool], Speaker]] = {"efficientnet_lite0_imagenet": _efficientnet_lite0}
