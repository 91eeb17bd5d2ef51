"""The image classifier."""

from dataclasses import dataclass
from typing import Literal

from xmodal.config.fields import MOST_IN_BATCH, MOST_UNITS, Group, option

AUGMENTATIONS = ("flip", "shift", "crop", "rotate", "zoom")


@dataclass(frozen=True)
class ImageConfig(Group):
    """The image classifier: architectures, transfer and training."""

    base: str = option("VGG16", "Keras Applications model that the weights come from.")
    target: str = option("VGG19", "Keras Applications model that they are copied into.")
    image_weights: str = option(
        "vgg16_imagenet",
        "Weights of the base: a named asset, imagenet (Keras Applications), a .weights.h5 file, or none.",
    )
    growth: Literal["identity", "random"] = option(
        "identity", "How layers that are new in the target start.", choices=("identity", "random")
    )
    grow: tuple[str, ...] = option(
        ("block3_conv4", "block4_conv4", "block5_conv4"),
        "Patterns of target layers that the base does not have.",
    )
    drop: tuple[str, ...] = option((), "Patterns of base layers that have no place in the target.")
    trainable: str = option(
        "head", "What to train: head, all, or a target layer prefix such as block5 (it and all after it)."
    )
    features: tuple[str, ...] = option(
        ("block3_pool", "block4_pool", "block5_pool"), "Layers whose pooled outputs the head reads."
    )
    augment: tuple[str, ...] = option(
        ("shift", "rotate", "zoom"), "How training images are varied.", choices=AUGMENTATIONS
    )
    head_epochs: int = option(20, "Epochs of the head on the kept outputs of a frozen trunk.", least=0)
    hidden: int = option(0, "Units of the head's hidden layer; 0 makes it linear.", least=0, most=MOST_UNITS)
    dropout: float = option(0.3, "Dropout in the image head.", least=0, most=0.9)
    label_smoothing: float = option(0.1, "Label smoothing of the image loss.", least=0, most=0.9)
    head_learning_rate: float = option(1e-3, "Peak rate of AdamW for the head.", least=0)
    epochs: int = option(
        2,
        "Times that each training image is shown to the network; a frozen trunk's outputs are kept.",
        least=1,
    )
    validations_per_epoch: int = option(
        1,
        "Most equal parts of an epoch of the network after which the validation split is looked at; "
        "up to 5% of an epoch's batches may be left out so that they are equal.",
        least=1,
    )
    learning_rate: float = option(3e-4, "Peak rate of AdamW through the whole network.", least=0)
    batch_size: int = option(64, "Global batch of images.", least=1, most=MOST_IN_BATCH)
    patience: int = option(5, "Epochs without a better validation loss before training stops.", least=1)
    mirror: bool = option(
        False, "vgg_to_bert answers with the mean of an image's logits and its mirror image's."
    )
