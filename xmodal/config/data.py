"""Which images, documents or pairs, and how they are split and checked."""

from dataclasses import dataclass
from pathlib import Path

from xmodal.config.fields import MOST_SIDE, MOST_WORDS, Group, option, require_named


@dataclass(frozen=True)
class DataConfig(Group):
    """Which images, and how they are split and checked."""

    dataset: str = option(
        "mnist_5k",
        "mnist_5k, folder:PATH, csv:PATH (columns image and label, or label:NAME with its shares) or "
        "tfds:NAME.",
    )
    class_names: tuple[str, ...] = option((), "Names of the classes in order, instead of the data's own.")
    image_size: int = option(
        32, "Side, in pixels, of the square that images are resized to.", least=32, most=MOST_SIDE
    )
    validation_fraction: float = option(
        0.1, "Share of the training examples held out to choose on.", above=0, below=1
    )
    test_fraction: float = option(
        0.2, "Share held out for testing, where the data comes without a test split.", above=0, below=1
    )
    bad_images: str = option(
        "skip", "What to do with unreadable or truncated images.", choices=("skip", "fail")
    )
    keep_leaks: bool = option(True, "Keep training examples that stand in the test split too.")
    min_per_class: int = option(5, "Fewest training examples that a class may have.", least=0)
    limit: int = option(
        0, "Use at most this many training examples (and test ones in proportion); 0 is all.", least=0
    )
    train_examples: int = option(
        0,
        "Use at most this many training examples, those held out for validation among them; 0 is all.",
        least=0,
    )


@dataclass(frozen=True)
class DocumentConfig(Group):
    """Which documents, and how they are read; `DataConfig` says how they are split and checked."""

    documents: str = option(
        "reuters_r8",
        "20newsgroups, reuters_r8, reuters_r52, dir:PATH, csv:PATH, tsv:PATH, jsonl:PATH or tfds:NAME.",
    )
    test_documents: tuple[str, ...] = option(
        (),
        "More documents of the same classes to test on, in another language perhaps: NAME=SOURCE; repeat.",
        repeat=True,
    )
    text_column: str = option("text", "Column, key or feature of a document's text; a,b joins two.")
    label_column: str = option(
        "label",
        "Column, key or feature of a document's class; soft labels have columns LABEL:NAME with the shares.",
    )
    split_column: str = option("split", "Column or key of a document's split; a table may lack it.")
    encoding: str = option("utf-8", "Encoding of the documents.")
    fallback_encoding: str | None = option(
        None, "Encoding of files that are not in --encoding; without it they are an error."
    )
    baseline_words: int = option(
        30_000, "Most words that the TF-IDF baseline knows, the most frequent ones.", least=1, most=MOST_WORDS
    )
    scrub: bool = option(True, "Put marks such as [EMAIL] in the place of personal data.")

    def __post_init__(self):
        super().__post_init__()
        require_named("test_documents", self.test_documents, "swahili=tsv:data/swahili")


@dataclass(frozen=True)
class PairConfig(Group):
    """Which pairs; `DocumentConfig` names their columns, `DataConfig` says how they are split and checked."""

    pairs: str = option(
        "mnist_5k", "Pairs of images and texts: mnist_5k, csv:PATH, tsv:PATH or jsonl:PATH; .gz will do."
    )
    image_column: str = option("image", "Column or key of a pair's image: the path of a file.")
    image_folder: Path | None = option(
        None, "Folder that these paths start in; default that of the table.", parse=Path
    )
    misread: float = option(
        0.15, "Share of mnist_5k's digits that were read as one that looks alike.", least=0, most=1.0
    )
    typing_slips: float = option(
        0.05, "Share of the letters in their readings that were mistyped.", least=0, most=1.0
    )
