"""The training of image classifiers as the settings of a run ask for it, and from scratch."""

from collections.abc import Callable
from dataclasses import replace

import keras

from xmodal.config.config import Config
from xmodal.config.image import ImageConfig
from xmodal.data.images import ImageData, ImageSplit, batches
from xmodal.evaluation.metrics import HeldOut
from xmodal.runs.inputs import build_backbone
from xmodal.tasks.image_classifier import (
    ImageClassifier,
    parts_of_pass,
    train_image_classifier,
)
from xmodal.training.baselines import Attempt, from_scratch
from xmodal.training.progress import History
from xmodal.training.steps import Loss
from xmodal.training.trainer import Trainer
from xmodal.transfer.weights import TransferReport, transfer_weights

PROBE_IMAGES = 64


def transfer_backbone(
    config: Config, images: ImageSplit, trainer: Trainer
) -> tuple[keras.Model, TransferReport]:
    """Builds the target's backbone with the base's weights, and proves it on a batch of images."""
    base = build_backbone(config, config.image.base, config.image.image_weights, trainer)
    target = build_backbone(config, config.image.target, "none", trainer)
    probe = batches(images, image_size=config.data.image_size, batch_size=PROBE_IMAGES)
    transfer = transfer_weights(
        base,
        target,
        growth=config.image.growth,
        grow=config.image.grow,
        drop=config.image.drop,
        probe=next(iter(probe))["image"].numpy(),
    )
    return target, transfer


def train_images(
    backbone: keras.Model,
    data: ImageData,
    config: ImageConfig,
    trainer: Trainer,
    *,
    name: str,
    epsilon: float = 0.0,
    loss: Loss | keras.losses.Loss | None = None,
) -> tuple[ImageClassifier, HeldOut]:
    """Trains a head on a backbone, and returns the class logits of the held-out images with it.

    Arguments are those of `train_image_classifier`.
    """
    classifier = train_image_classifier(
        backbone, data, config, trainer, name=name, epsilon=epsilon, loss=loss
    )
    return classifier, held_out_logits(classifier, data, name=name)


def held_out_logits(classifier: ImageClassifier, data: ImageData, *, name: str) -> HeldOut:
    """Returns the class logits of the validation and of the test images."""
    return HeldOut(classifier.validation_logits, classifier.logits(data.test, f"{name}: test logits"))


def image_scratch_protocol(config: ImageConfig, rate: float, passes: int) -> ImageConfig:
    """Returns how all layers of an image network are trained from scratch.

    The head of a new network is new too: it is not fitted before all of it learns.
    """
    return replace(config, trainable="all", head_epochs=0, learning_rate=rate, epochs=passes)


def train_images_from_scratch(
    build: Callable[[], keras.Model],
    data: ImageData,
    config: ImageConfig,
    trainer: Trainer,
    *,
    name: str,
    passes: int,
    seconds: float,
) -> tuple[Attempt[ImageClassifier], tuple[Attempt[ImageClassifier], ...]]:
    """Trains all layers from random weights within the budget of a candidate, see `baselines.from_scratch`.

    Args:
        build: makes a backbone of random weights.
        data: the splits.
        config: augmentation.
        trainer: trains them; its config has the rates that are tried, the batch and the patience.
        name: (rate, passes) are added to it for each attempt.
        passes: that the candidate had.
        seconds: that the candidate took.
    """

    def attempt(rate: float, passes: int) -> tuple[History, ImageClassifier]:
        protocol = image_scratch_protocol(config, rate, passes)
        classifier = train_image_classifier(
            build(), data, protocol, trainer, name=attempt_name(name, rate, passes)
        )
        return classifier.histories[-1], classifier

    return from_scratch(
        attempt,
        rates=trainer.config.scratch_learning_rates,
        passes=passes,
        seconds=seconds,
        trainer=trainer,
        parts=parts_of_pass(len(data.train), config, trainer.config)[0],
    )


def attempt_name(name: str, rate: float, passes: int) -> str:
    """Returns what an attempt to train from scratch is called."""
    return f"{name}, rate {rate:g}, passes {passes}"
