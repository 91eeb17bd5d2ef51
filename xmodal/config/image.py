"""The image classifier."""

from dataclasses import dataclass
from typing import Literal

from xmodal.config.fields import MAX_UNITS, Group, documented, option
from xmodal.config.sound import SOUND_AUGMENTATIONS

AUGMENTATIONS = ("flip", "shift", "crop", "rotate", "zoom")


@documented
@dataclass(frozen=True)
class ImageConfig(Group):
    """The image classifier: architectures, transfer and training.

    Raises:
        UserError: for a value out of an option's limits.

    Example:
        >>> config = ImageConfig(trainable="block5", epochs=3, augment=("flip", "shift"))
        >>> config.epochs, config.learning_rate
        (3, 0.0003)
        >>> ImageConfig(learning_rate=-1.0)
        Traceback (most recent call last):
        xmodal.core.errors.UserError: `learning_rate=-1.0` does not fit; give a non-negative number
    """

    base: str = option(
        "VGG16",
        "Model that the weights come from: of Keras Applications, keras_hub:PRESET, hf://..., or a folder.",
    )
    target: str = option("VGG19", "Model that the weights are copied into, named like --base.")
    image_weights: str = option(
        "vgg16_imagenet",
        "Weights of the base: a named asset, imagenet (Keras Applications), preset (KerasHub's), a "
        ".weights.h5 file, or none.",
    )
    growth: Literal["identity", "random"] = option(
        "identity", "Weights of layers that are new in the target, or wider.", choices=("identity", "random")
    )
    grow: tuple[str, ...] = option(
        ("*",),
        "Patterns of the target layers that may be new or of another width; "
        "* allows all that the base does not have.",
    )
    drop: tuple[str, ...] = option((), "Patterns of the base layers that the target does not have.")
    trainable: str = option(
        "head",
        "What to train: head, all, or a prefix of target layers such as block5 (these and all after them).",
    )
    features: tuple[str, ...] = option(
        ("auto",), "Layers whose pooled outputs the head reads; auto takes those that suit the network."
    )
    pooling: str = option(
        "mean_max",
        "How the maps of these layers are read: by mean and maximum over all places, or flatten, place by "
        "place, such as frequencies and times of sounds.",
        choices=("mean_max", "flatten"),
    )
    augment: tuple[str, ...] = option(
        ("shift", "rotate", "zoom"),
        "Augmentations of the training images: "
        f"{', '.join(AUGMENTATIONS)}; of sounds: {', '.join(SOUND_AUGMENTATIONS)}.",
        choices=tuple(dict.fromkeys((*AUGMENTATIONS, *SOUND_AUGMENTATIONS))),
    )
    head_epochs: int = option(20, "Epochs of the head on cached features of the frozen backbone.", least=0)
    hidden: int = option(
        0, "Units of the head's hidden layer; 0 makes the head linear.", least=0, most=MAX_UNITS
    )
    head_learning_rate: float = option(1e-3, "Peak learning rate of the head.", least=0)
    epochs: int = option(
        2,
        "Epochs of the image network; a frozen backbone computes its features once for each.",
        least=1,
    )
    validations_per_epoch: int = option(
        1,
        "Validations per epoch of the image network, at most; up to 5% of the batches may be left out"
        " to make equal parts.",
        least=1,
    )
    learning_rate: float = option(3e-4, "Peak learning rate of the image network.", least=0)
    mirror: bool = option(False, "Average the logits of each image and its mirror image when predicting.")
