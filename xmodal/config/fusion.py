"""Fusion of image, text and sound."""

from dataclasses import dataclass

from xmodal.config.fields import MAX_UNITS, Group, option
from xmodal.core.errors import UserError


@dataclass(frozen=True)
class FusionConfig(Group):
    """Fusion of image, text and sound."""

    fusion: tuple[str, ...] = option(
        ("early", "late", "gated", "attention"), "Ways to fuse image, text and sound: any of these."
    )
    region_layer: str = option(
        "auto",
        "Layer of the image backbone whose feature map gives the regions for attention; auto takes the last "
        "but one of --features.",
    )
    sound_pooling: str = option(
        "flatten",
        "How the maps of a spectrogram are read: place by place, since frequency and time are what tells "
        "sounds apart, or by mean and maximum over all places.",
        choices=("mean_max", "flatten"),
    )
    fusion_units: int = option(
        256, "Units of each hidden layer on the encoders; a multiple of 4.", least=4, most=MAX_UNITS
    )
    fusion_epochs: int = option(20, "Epochs of each way of fusion, and of each modality alone.", least=1)
    fusion_learning_rate: float = option(1e-3, "Peak learning rate of the fusion.", least=0)
    modality_dropout: float = option(
        0.5,
        "Probability of dropping the image or the text of a pair during training, each as often; of three "
        "modalities one or two.",
        least=0,
        most=1.0,
    )

    def __post_init__(self):
        super().__post_init__()
        if not self.fusion or len(set(self.fusion)) < len(self.fusion):
            raise UserError(
                f"`fusion={','.join(self.fusion)}` names no way, or one of them twice",
                "name each way once",
            )
        if self.fusion_units % 4:
            raise UserError(
                f"`fusion_units={self.fusion_units}` is no multiple of 4", "attention has 4 heads: give one"
            )
