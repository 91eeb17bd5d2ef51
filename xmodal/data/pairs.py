"""Pairs of an image and a text, checked and split.

Either side of a pair may be missing, never both.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from xmodal.core.errors import UserError
from xmodal.core.files import cache_folder
from xmodal.data.audit import DataReport, Scan, audit, reasons, scan
from xmodal.data.decoding import MAX_PIXELS, decoded_pixels
from xmodal.data.images import ImageSplit
from xmodal.data.pair_sources import NO_IMAGE, PairSettings, RawPairs, read_pairs
from xmodal.data.similar_names import without_look_alikes
from xmodal.data.splits import LOSSLESS, PAIRS, SPLITS, Example, ExampleSplit, columns, digests_of, divide
from xmodal.data.tables import Reading, require_encodings


@dataclass(frozen=True)
class PairSplit(ExampleSplit):
    """One split of N pairs.

    Attributes:
        items: (N,) objects: paths of images (str), or encoded ones (bytes) when `in_memory`; "" for none.
        texts: (N,) objects, each a str; "" for none.
        labels: (N,) int32, positions in the class names.
        ids: how reports name each pair: its line in the table, or such as "mnist_5k/123".
        digests: of the pixels of each image; of no use where there is none.
        in_memory: the items are encoded images and not paths.
        shares: of the classes (N, C), where labels are soft.
    """

    items: np.ndarray
    texts: np.ndarray
    labels: np.ndarray
    ids: tuple[str, ...]
    digests: tuple[bytes, ...]
    in_memory: bool
    shares: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def contents(self) -> Iterator[bytes]:
        """Of each pair the digest of its image, then its text."""
        for digest, text in zip(self.digests, self.texts, strict=True):
            yield digest
            yield text.encode(*LOSSLESS)

    @property
    def has_image(self) -> np.ndarray:
        """Whether each pair has an image (N,)."""
        return np.array([bool(item) for item in self.items], bool)

    @property
    def has_text(self) -> np.ndarray:
        """Whether each pair has a text (N,)."""
        return np.array([bool(text) for text in self.texts], bool)

    def images(self) -> ImageSplit:
        """Returns the images of the pairs that have one, in their order: those where `has_image`."""
        every = ImageSplit(self.items, self.labels, self.ids, self.digests, self.in_memory, self.shares)
        return every.take(np.flatnonzero(self.has_image))


@dataclass(frozen=True)
class PairData:
    """The three splits of a data set, the names of its C classes, and what the audit found."""

    train: PairSplit
    validation: PairSplit
    test: PairSplit
    class_names: tuple[str, ...]
    report: DataReport


def load_pairs(
    source: str,
    *,
    cache: Path | None = None,
    reading: Reading = Reading(image="image"),  # noqa: B008
    image_folder: Path | None = None,
    misread: float = 0.15,
    typing_slips: float = 0.05,
    offline: bool = False,
    class_names: Sequence[str] = (),
    validation_fraction: float = 0.1,
    test_fraction: float = 0.2,
    seed: int = 0,
    bad_images: str = "skip",
    min_per_class: int = 2,
    limit: int = 0,
    train_examples: int = 0,
    keep_leaks: bool = True,
    merge_names: bool = False,
    max_pixels: int = MAX_PIXELS,
) -> PairData:
    """Lists, splits and audits a set of pairs. No pixels are kept.

    Splits that the data comes with are taken as they are. Otherwise test, then validation, are cut from
    train: the same share of each class, and at least one pair of each. Two pairs with the same pixels count
    as the same, whatever their texts say; those without an image never do, since short texts repeat
    themselves. A pair whose image cannot be read keeps its text, and is left out when it has none.

    Args:
        source: "mnist_5k", digits with readings by `xmodal.data.digit_readings`; or "csv:PATH", "tsv:PATH" or
            "jsonl:PATH", which may end in .gz.
        cache: folder of downloaded data; None for the usual one.
        reading: encodings and columns.
        image_folder: what the table's paths of images are relative to, by default the table's own folder.
        misread, typing_slips: of the readings of mnist_5k.
        offline: reach for nothing.
        class_names: names in place of the data's own, in the data's order: alphabetical, or by value when
            all are whole numbers.
        validation_fraction: share of train that becomes validation.
        test_fraction: share of train that becomes test.
        seed: of the cuts, of `limit` and of the readings.
        bad_images: what to do with unreadable images: "skip" or "fail".
        min_per_class: fewest training pairs that a class may have.
        limit: most training pairs, classes kept in proportion; validation and test shrink alike. 0 is all.
        train_examples: most pairs that train has before validation is cut from it, classes kept in
            proportion; a split that the data comes with stays whole. 0 is all.
        keep_leaks: keep train and validation pairs whose image stands in test too; reported in any case.
        merge_names: make one class of those whose names look alike, such as "Spam" and "spam".
        max_pixels: of an image; what has more is left out before it is decoded. 0 for no limit.

    Returns:
        The splits, the class names and the audit's report.

    Raises:
        UserError: when the data is not there or cannot be learned from.

    Example:
        >>> data = load_pairs("csv:pairs.csv", image_folder=Path("photos"), min_per_class=2)
        >>> data.train.texts[0]
        'a cat or 0'
    """
    require_encodings(reading)
    read = read_pairs(
        source,
        PairSettings(reading, cache or cache_folder(), offline, image_folder, misread, typing_slips, seed),
    )
    found, _, alike = without_look_alikes(read.examples, merge_names)
    examples, names = divide(
        found,
        dataset=source,
        things=PAIRS,
        own_names=(),
        class_names=class_names,
        validation_fraction=validation_fraction,
        test_fraction=test_fraction,
        limit=limit,
        train_examples=train_examples,
        min_per_class=min_per_class,
        seed=seed,
    )
    examples, scans, unread = _scanned(examples, read.texts, bad_images, max_pixels)
    examples, report = audit(
        examples,
        scans,
        things=PAIRS,
        class_names=names,
        min_per_class=min_per_class,
        keep_leaks=keep_leaks,
        bad_images=bad_images,
    )
    warnings = (*read.warnings, *alike, *unread, *_one_sided(examples, read.texts), *report.warnings)
    parts = [_pair_split(examples, split, names, read) for split in SPLITS]
    report = replace(report, warnings=warnings, digests=digests_of(parts, names))
    train, validation, test = parts
    return PairData(train, validation, test, names, report)


def _scanned(
    examples: list[Example], texts: dict[str, str], bad_images: str, max_pixels: int
) -> tuple[list[Example], list[Scan], tuple[str, ...]]:
    """Looks at every image; a pair that has a text goes on without one that cannot be read.

    Returns:
        The examples, a scan of each, and a warning of these pairs.
    """
    pictured = [place for place, example in enumerate(examples) if example.item]
    found = dict(
        zip(
            pictured,
            scan(
                [examples[place].item for place in pictured], partial(decoded_pixels, max_pixels=max_pixels)
            ),
            strict=True,
        )
    )
    bad = [(examples[place].id, seen.problem) for place, seen in found.items() if seen.problem]
    if bad and len(bad) == len(found):
        raise UserError(
            f"none of the {len(bad)} images can be read: {reasons(bad)}",
            "check the column of the images and `image_folder`",
        )
    kept, scans, textual = [], [], []
    for place, example in enumerate(examples):
        seen, text = found.get(place), texts[example.id]
        if seen is None or (seen.problem and text and bad_images == "skip"):
            if seen is not None:
                textual.append((example.id, seen.problem))
            kept.append(example._replace(item=NO_IMAGE))
            scans.append(Scan(hashlib.blake2b(example.id.encode(), digest_size=16).digest(), ""))
        else:
            kept.append(example)
            scans.append(seen)
    if not textual:
        return kept, scans, ()
    warning = f"{len(textual)} of {len(found)} images cannot be read; their texts stay: {reasons(textual)}"
    return kept, scans, (warning,)


def _one_sided(examples: Sequence[Example], texts: dict[str, str]) -> tuple[str, ...]:
    """Counts the pairs with one side only."""
    imageless = sum(not example.item for example in examples)
    textless = sum(not texts[example.id] for example in examples)
    if not imageless and not textless:
        return ()
    return (f"of {len(examples)} pairs, {imageless} have no image and {textless} no text",)


def _pair_split(examples: Sequence[Example], split: str, names: Sequence[str], read: RawPairs) -> PairSplit:
    items, labels, ids, shares = columns(examples, split, names)
    texts = np.empty(len(ids), object)
    texts[:] = [read.texts[name] for name in ids]
    digests = tuple(example.digest for example in examples if example.split == split)
    return PairSplit(items, texts, labels, ids, digests, read.in_memory, shares)
