"""How images and texts are read together."""

from dataclasses import dataclass

from xmodal.config.fields import MOST_UNITS, Group, option
from xmodal.core.errors import UserError


@dataclass(frozen=True)
class FusionConfig(Group):
    """How images and texts are read together."""

    fusion: tuple[str, ...] = option(
        ("early", "late", "gated", "attention"), "How they are read together: any of the default's ways."
    )
    region_layer: str = option(
        "block4_pool", "Layer of the trunk whose map has the regions that attention looks at."
    )
    fusion_units: int = option(
        256, "Units of each hidden layer on the encoders; a multiple of 4.", least=4, most=MOST_UNITS
    )
    fusion_epochs: int = option(
        20, "Epochs of each way to read them together, and of each side alone.", least=1
    )
    fusion_learning_rate: float = option(1e-3, "Its peak rate.", least=0)
    modality_dropout: float = option(
        0.5,
        "Share of the pairs that lose their image or their text, either as often, in an epoch.",
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
