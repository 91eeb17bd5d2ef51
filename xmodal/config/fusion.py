"""How images and texts are read together."""

from dataclasses import dataclass

FUSIONS = ("early", "late", "gated", "attention")


@dataclass(frozen=True)
class FusionConfig:
    """How images and texts are read together."""

    fusion: tuple[str, ...]
    region_layer: str
    fusion_units: int
    fusion_epochs: int
    fusion_learning_rate: float
    modality_dropout: float
