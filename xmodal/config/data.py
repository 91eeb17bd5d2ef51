"""Which images, documents or pairs, and how all of them are split and checked."""

import re
from dataclasses import dataclass
from pathlib import Path

from xmodal.config.fields import MAX_SIDE, MAX_WORDS, Group, documented, option, require_named
from xmodal.core.errors import UserError


@dataclass(frozen=True)
class DataConfig(Group):
    """Images.

    `SplitConfig` has their splits and checks.
    """

    dataset: str = option(
        "mnist_5k",
        "Images: mnist_5k, folder:PATH, csv:PATH (columns image and label, or label:NAME with a share for"
        " each class), parquet:PATH or arrow:PATH with the images inside (as saved by Hugging Face datasets),"
        " tfrecord:PATH, tfds:NAME or hf:NAME (of the Hugging Face hub); sounds: spoken_digits, sounds:PATH,"
        " or csv:PATH with a column audio;"
        " videos: videos:PATH, or csv:PATH with a column video;"
        " for names_to_answers unlabelled:PATH or sample_photographs, too.",
    )
    also_train: str = option(
        "none",
        "Another source of the same classes, as dataset: all of it is added to the training examples, after"
        " the splits are cut, so that nothing is measured on it; none for nothing.",
    )
    image_size: int = option(
        32, "Side, in pixels, of the square that images are resized to.", least=32, most=MAX_SIDE
    )
    bad_images: str = option(
        "skip", "What to do with unreadable or truncated images, sounds and videos.", choices=("skip", "fail")
    )
    max_pixels: int = option(
        100_000_000,
        "Maximum pixels per image, or of all frames of a video that are looked at; larger ones are left out"
        " before they are decoded.",
        least=1,
    )


@documented
@dataclass(frozen=True)
class SplitConfig(Group):
    """Splits and checks of all data.

    A fraction of 0 cuts nothing.

    Raises:
        UserError: for a pattern that is none, or has no parentheses.

    Example:
        >>> SplitConfig(min_per_class=1, test_fraction=0.5).validation_fraction
        0.1
    """

    class_names: tuple[str, ...] = option((), "Names of the classes in order, instead of the data's own.")
    group_column: str = option(
        "",
        "Column or key of a group that stays in one split, such as an author; equal texts always do.",
    )
    group_pattern: str = option(
        "",
        "Regular expression that finds the group in the path of a file, as in its first parentheses: "
        "a speaker in ([^/_]+)_[0-9]+.wav. The files of a group stay in one split.",
    )
    validation_fraction: float = option(
        0.1, "Fraction of the training examples held out for validation.", least=0, below=1
    )
    test_fraction: float = option(
        0.2, "Fraction held out for testing, where the data has no test split.", least=0, below=1
    )
    keep_leaks: bool = option(True, "Keep training examples that are in the test split, too.")
    merge_names: bool = option(False, "Merge classes whose names look alike: capitals, blanks, 1 and 1.0.")
    min_per_class: int = option(5, "Minimum number of training examples per class.", least=0)
    limit: int = option(
        0, "Maximum number of training examples (the test split shrinks in proportion); 0 is all.", least=0
    )
    train_examples: int = option(
        0,
        "Maximum number of training examples, validation included; the test split stays whole. 0 is all.",
        least=0,
    )

    def __post_init__(self):
        super().__post_init__()
        try:
            groups = re.compile(self.group_pattern).groups
        except re.error as error:
            raise UserError(
                f"`group_pattern={self.group_pattern}` is no regular expression ({error})",
                "give one such as ([^/_]+)_",
            ) from error
        if self.group_pattern and not groups:
            raise UserError(
                f"`group_pattern={self.group_pattern}` has no parentheses around the group",
                f"put some there, such as ({self.group_pattern})",
            )


@dataclass(frozen=True)
class DocumentConfig(Group):
    """Documents.

    `SplitConfig` has their splits and checks.
    """

    documents: str = option(
        "reuters_r8",
        "Documents: 20newsgroups, reuters_r8, reuters_r52, dir:PATH, csv:PATH, tsv:PATH, jsonl:PATH, "
        "json:PATH, parquet:PATH, arrow:PATH (a folder of Hugging Face datasets), xlsx:PATH, tfds:NAME "
        "or hf:NAME (of the Hugging Face hub).",
    )
    test_documents: tuple[str, ...] = option(
        (),
        "Another test set of the same classes, perhaps in another language: NAME=SOURCE; repeat, or take "
        "back by an empty one.",
        repeat=True,
    )
    text_column: str = option("text", "Column, key or feature with the text of a document; a,b joins two.")
    label_column: str = option(
        "label",
        "Column, key or feature with the class of a document; soft labels have columns LABEL:NAME "
        "with a share for each class.",
    )
    split_column: str = option("split", "Column or key with the split of a document; a table may lack it.")
    encoding: str = option("utf-8", "Encoding of the documents.")
    fallback_encoding: str | None = option(
        None, "Encoding of files that are not in --encoding; without it they are an error."
    )
    baseline_words: int = option(
        30_000, "Vocabulary size of the TF-IDF baseline: the most frequent words.", least=1, most=MAX_WORDS
    )
    scrub: bool = option(True, "Replace personal data by marks such as [EMAIL].")
    separator: str = option("auto", "Separator of the columns of CSV and TSV: a character, tab, or auto.")
    quoting: bool = option(False, "Read quoted fields in TSV, as in CSV.")
    multi_label: str = option(
        "",
        "What stands between the labels of an example that may have several or none, such as | in oil|gas; "
        "or columns, where label_column names columns of 0 and 1: oil,gas. Empty: each has one label.",
    )

    def __post_init__(self):
        super().__post_init__()
        if self.separator not in ("auto", "tab", "\\t") and (
            len(self.separator) != 1 or self.separator in '"\r\n'
        ):
            raise UserError(f"`separator={self.separator}` is no character", "give one, such as ; or tab")
        require_named("test_documents", self.test_documents, "swahili=tsv:data/swahili")


@dataclass(frozen=True)
class PairConfig(Group):
    """Pairs of an image and a text.

    `DocumentConfig` has their columns, `SplitConfig` their splits and checks.
    """

    pairs: str = option(
        "mnist_5k",
        "Pairs of images and texts: mnist_5k, csv:PATH, tsv:PATH, jsonl:PATH (these also compressed, .gz), "
        "json:PATH, parquet:PATH, arrow:PATH or xlsx:PATH.",
    )
    image_column: str = option("image", "Column or key with the image of a pair: the path of a file.")
    image_folder: Path | None = option(
        None,
        "Folder that these paths, and those in a column audio, are relative to; default that of the table.",
        parse=Path,
    )
    misread: float = option(
        0.15,
        "Fraction of mnist_5k's digits that are read as another digit that looks alike.",
        least=0,
        most=1.0,
    )
    typing_slips: float = option(
        0.05, "Fraction of the letters in these readings that are mistyped.", least=0, most=1.0
    )
