"""What the backbone of an image classifier makes of images, beside its logits."""

import keras
import numpy as np

from xmodal.config.image import ImageConfig
from xmodal.data.images import ImageSplit
from xmodal.models.window_layers import over_windows
from xmodal.tasks.image_classifier import ImageClassifier, backbone_features, evaluation_pixels
from xmodal.training.trainer import Trainer


def with_features(classifier: ImageClassifier, *, mirror: bool) -> keras.Model:
    """Returns a model of both outputs: images (B, H, W, 3) -> features (B, D), logits (B, C).

    Of sounds and videos it takes windows, and gives the means over these.

    Args:
        classifier: as it was trained.
        mirror: the logits are those of `both_ways`; the features are of the images as they are.
    """
    backbone, head = classifier.backbone, classifier.head
    model = keras.Model(backbone.input, [backbone.output, head(backbone.output)], name=backbone.name)
    if len(classifier.model.inputs[0].shape) == 5:
        return over_windows(model)
    if not mirror:
        return model
    images = keras.Input(backbone.input.shape[1:], name="images")
    (features, logits), (_, mirrored_logits) = model(images), model(keras.ops.flip(images, axis=2))
    mean = keras.layers.Average(dtype="float32", name="both_ways")([logits, mirrored_logits])
    return keras.Model(images, [features, mean], name=f"{backbone.name}_both_ways")


def sample_features(
    classifier: ImageClassifier,
    split: ImageSplit,
    most: int,
    config: ImageConfig,
    trainer: Trainer,
    *,
    name: str,
) -> tuple[np.ndarray, np.ndarray]:
    """Returns some positions of a split, evenly spread, and what the backbone makes of these images (n, D).

    Of a sound or a video it is the mean over its windows. Features that a frozen backbone has in the cache
    are read there.

    Args:
        classifier: whose backbone it is.
        split: the images.
        most: how many at most.
        config: as the classifier was trained with it.
        trainer: runs the backbone.
        name: what progress and checkpoints call it.
    """
    indices = split.spread(most)
    cached = trainer.cache is not None and trainer.cache.gigabytes
    if config.trainable == "head" and cached and not split.medium:
        return indices, backbone_features(classifier.backbone, split, config, trainer, name=name)[indices]
    network = over_windows(classifier.backbone) if split.medium else classifier.backbone
    batches = evaluation_pixels(network, split.take(indices), trainer.config)
    return indices, trainer.predict(network, batches, name=name)
