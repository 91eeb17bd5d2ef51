"""Which images, documents or pairs, and how they are split and checked."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class DataConfig:
    """Which images, and how they are split and checked."""

    dataset: str
    class_names: tuple[str, ...]
    image_size: int
    validation_fraction: float
    test_fraction: float
    bad_images: str
    keep_leaks: bool
    min_per_class: int
    limit: int
    train_examples: int


@dataclass(frozen=True)
class DocumentConfig:
    """Which documents, and how they are read; `DataConfig` says how they are split and checked."""

    documents: str
    test_documents: tuple[str, ...]
    text_column: str
    label_column: str
    split_column: str
    encoding: str
    fallback_encoding: str | None
    baseline_words: int
    scrub: bool


@dataclass(frozen=True)
class PairConfig:
    """Which pairs; `DocumentConfig` names their columns, `DataConfig` says how they are split and checked."""

    pairs: str
    image_column: str
    image_folder: Path | None
    misread: float
    typing_slips: float
