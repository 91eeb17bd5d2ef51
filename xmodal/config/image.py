"""The image classifier."""

from dataclasses import dataclass
from typing import Literal

AUGMENTATIONS = ("flip", "shift", "crop", "rotate", "zoom")


@dataclass(frozen=True)
class ImageConfig:
    """The image classifier: architectures, transfer and training."""

    base: str
    target: str
    image_weights: str
    growth: Literal["identity", "random"]
    grow: tuple[str, ...]
    drop: tuple[str, ...]
    trainable: str
    features: tuple[str, ...]
    augment: tuple[str, ...]
    head_epochs: int
    hidden: int
    dropout: float
    label_smoothing: float
    head_learning_rate: float
    epochs: int
    validations_per_epoch: int
    learning_rate: float
    batch_size: int
    patience: int
    mirror: bool
