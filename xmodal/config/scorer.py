"""One scorer for images, documents and sounds."""

from dataclasses import dataclass
from itertools import permutations
from pathlib import Path

from xmodal.config.fields import MAX_UNITS, MAX_WORDS, Group, option
from xmodal.config.sound import SOUND_AUGMENTATIONS
from xmodal.core.files import shipped_path

DIRECTIONS = tuple(
    f"{source}_to_{target}" for source, target in permutations(("images", "documents", "sounds"), 2)
)
MOVES = ("scorer", "upper")
WORD_VECTORS = ("bert", "random")


def _examples(count: str) -> int:
    if count != "all" and (not count.isdecimal() or int(count) == 0):
        raise ValueError(count)
    return 0 if count == "all" else int(count)


def _direction(words: str) -> tuple[str, ...]:
    return tuple(words.split("_to_"))


@dataclass(frozen=True)
class ScorerConfig(Group):
    """One scorer for images, documents and sounds, and what is measured with it.

    `per_class` has 0 for all examples; `directions` are pairs of a source and a target.
    """

    per_class: tuple[int, ...] = option(
        ("20", "100", "500", "all"),
        "Training examples per class at which transfer is measured; all is always among them.",
        least=0,
        form="whole numbers from 1 on, or all",
        parse=_examples,
    )
    seeds: int = option(3, "Number of seeds that each training is repeated with, from --seed on.", least=1)
    directions: tuple[tuple[str, str], ...] = option(
        ("images_to_documents", "documents_to_images"),
        "Where the scorer moves; none trains each modality alone.",
        choices=DIRECTIONS,
        parse=_direction,
    )
    sounds: str = option(
        "none",
        "Sounds beside images and documents, or with --documents=none in the place of these; for fusion one"
        " beside each pair: spoken_digits, sounds:PATH, or csv:PATH with a column audio. The groups of"
        " --group_pattern and --group_column are theirs then.",
    )
    sound_epochs: int = option(16, "Epochs of a training on all sounds.", least=1)
    sound_augment: tuple[str, ...] = option(
        ("shift", "speed", "pitch"), "Augmentations of the training sounds.", choices=SOUND_AUGMENTATIONS
    )
    move: str = option(
        "scorer",
        "Layers that move between the modalities: the scorer, or the scorer and the layer below it.",
        choices=MOVES,
    )
    freeze_moved: bool = option(False, "Freeze the layers that moved.")
    unseen: int = option(
        3, "Classes that are left out of training and recognized by their names alone.", least=0
    )
    seen_per_class: int = option(100, "Training examples per other class in that measurement.", least=1)
    class_descriptions: Path | None = option(
        None, "CSV with the columns name,description: what the classes are about.", parse=shipped_path
    )
    vocabulary: int = option(30_000, "Vocabulary size of the BiLSTM.", least=1, most=MAX_WORDS)
    word_vectors: str = option(
        "bert", "Initial word vectors: averages of BERT's word pieces, or random.", choices=WORD_VECTORS
    )
    units: int = option(256, "Units of each LSTM in each direction.", least=1, most=MAX_UNITS)
    text_dropout: float = option(0.5, "Dropout rate between the LSTM layers.", least=0, most=0.9)
