"""The bridge and the text head."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

TEXT_STYLES = ("top1", "topk", "hedged")
TEXT_HEADS = ("finetune", "zero_shot")
CLASS_WEIGHTS = ("none", "balanced")


@dataclass(frozen=True)
class TextConfig:
    """The bridge and the text head."""

    text_style: Literal["top1", "topk", "hedged"]
    template: tuple[str, ...]
    top_k: int
    text_encoder: str
    text_head: str
    target_map: Path | None
    also_ask: tuple[str, ...]
    sequence_length: int
    text_epochs: int
    text_batch_size: int
    text_learning_rate: float
    text_examples: int
    similarity_scale: float
    text_trainable: str
    text_head_epochs: int
    layer_decay: float
    class_weights: str
    length_window: int
