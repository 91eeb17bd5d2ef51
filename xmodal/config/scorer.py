"""One scorer for images and documents."""

from dataclasses import dataclass
from pathlib import Path

DIRECTIONS = ("images_to_documents", "documents_to_images")
MOVES = ("scorer", "upper")
WORD_VECTORS = ("bert", "random")


@dataclass(frozen=True)
class ScorerConfig:
    """One scorer for images and documents, and what is measured with it.

    `per_class` has 0 for all examples; `directions` are pairs of a source and a target.
    """

    per_class: tuple[int, ...]
    seeds: int
    directions: tuple[tuple[str, str], ...]
    move: str
    freeze_moved: bool
    unseen: int
    seen_per_class: int
    class_descriptions: Path | None
    vocabulary: int
    word_vectors: str
    units: int
    text_dropout: float
