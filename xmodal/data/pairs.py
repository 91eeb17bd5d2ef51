"""Pairs of an image and a text, checked and split.

Either side of a pair may be missing, never both.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import numpy as np

from xmodal.config.data import SplitConfig
from xmodal.core.errors import UserError
from xmodal.core.files import cache_folder
from xmodal.data.audit import Scan, reasons, scan
from xmodal.data.decoding import MAX_PIXELS, decoded_pixels
from xmodal.data.examples import LOSSLESS, PAIRS, Columns, Example, ExampleSplit
from xmodal.data.images import ImageSplit
from xmodal.data.loading import Scanned, SplitData, split_and_audit
from xmodal.data.pair_sources import NO_IMAGE, PairSettings, read_pairs
from xmodal.data.table_format import TableFormat, checked_format


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
        return self._images

    @cached_property
    def _images(self) -> ImageSplit:
        # The same each time: it may keep what was read of it.
        return self._every_image.take(np.flatnonzero(self.has_image))

    def image(self, index: int) -> bytes:
        """Returns the encoded image of a pair, b"" where it has none."""
        return self._every_image.encoded(index) if self.items[index] else b""

    @cached_property
    def _every_image(self) -> ImageSplit:
        return ImageSplit(self.items, self.labels, self.ids, self.digests, self.in_memory, self.shares)


PairData = SplitData[PairSplit]


def load_pairs(
    source: str,
    split: SplitConfig = SplitConfig(),
    *,
    seed: int = 0,
    cache: Path | None = None,
    offline: bool = False,
    table_format: TableFormat = TableFormat(image="image"),
    image_folder: Path | None = None,
    misread: float = 0.15,
    typing_slips: float = 0.05,
    bad_images: str = "skip",
    max_pixels: int = MAX_PIXELS,
) -> PairData:
    """Lists, splits and audits a set of pairs, see `split_and_audit`. No pixels are kept.

    Two pairs with the same pixels count as the same, whatever their texts say; those without an image never
    do, since short texts repeat themselves. A pair whose image cannot be read keeps its text, and is left
    out when it has none.

    Args:
        source: "mnist_5k", digits with readings by `xmodal.data.digit_readings`; or "csv:PATH", "tsv:PATH" or
            "jsonl:PATH", which may end in .gz.
        split: how they are split and checked.
        seed: of the cuts, of `limit` and of the readings.
        cache: folder of downloaded data; None for the usual one.
        offline: reach for nothing.
        table_format: encodings and columns.
        image_folder: what the table's paths of images are relative to, by default the table's own folder.
        misread, typing_slips: of the readings of mnist_5k.
        bad_images: what to do with unreadable images: "skip" or "fail".
        max_pixels: of an image; what has more is left out before it is decoded. 0 for no limit.

    Returns:
        The splits, the class names and the audit's report.

    Raises:
        UserError: when the data is not there or cannot be learned from.

    Example:
        >>> data = load_pairs("csv:pairs.csv", SplitConfig(min_per_class=2), image_folder=Path("photos"))
        >>> data.train.texts[0]
        'a cat or 0'
    """
    table_format = checked_format(table_format, split.group_column)
    settings = PairSettings(
        table_format, cache or cache_folder(), offline, image_folder, misread, typing_slips, seed
    )
    raw = read_pairs(source, settings)
    return split_and_audit(
        raw,
        split,
        dataset=source,
        kind=PAIRS,
        seed=seed,
        scan=partial(_scanned, texts=raw.texts, bad_images=bad_images, max_pixels=max_pixels),
        as_split=partial(_pair_split, texts=raw.texts),
        doubts=partial(_one_sided, texts=raw.texts),
        bad_images=bad_images,
    )


def _scanned(examples: list[Example], texts: Mapping[str, str], bad_images: str, max_pixels: int) -> Scanned:
    """Looks at every image; a pair that has a text goes on without one that cannot be read.

    Returns:
        The examples, a scan of each, and a warning of these pairs.
    """
    pictured = [index for index, example in enumerate(examples) if example.item]
    pixels = partial(decoded_pixels, max_pixels=max_pixels)
    scans_by_index = dict(
        zip(pictured, scan([examples[index].item for index in pictured], pixels), strict=True)
    )
    bad = [(examples[index].id, seen.problem) for index, seen in scans_by_index.items() if seen.problem]
    if bad and len(bad) == len(scans_by_index):
        raise UserError(
            f"none of the {len(bad)} images can be read: {reasons(bad)}",
            "check the column of the images and `image_folder`",
        )
    audited, scans, textual = [], [], []
    for index, example in enumerate(examples):
        seen, text = scans_by_index.get(index), texts[example.id]
        if seen is None or (seen.problem and text and bad_images == "skip"):
            if seen is not None:
                textual.append((example.id, seen.problem))
            audited.append(example._replace(item=NO_IMAGE))
            scans.append(Scan(hashlib.blake2b(example.id.encode(), digest_size=16).digest(), ""))
        else:
            audited.append(example)
            scans.append(seen)
    if not textual:
        return audited, scans, ()
    warning = (
        f"{len(textual)} of {len(scans_by_index)} images cannot be read; their texts stay: {reasons(textual)}"
    )
    return audited, scans, (warning,)


def _one_sided(examples: Sequence[Example], texts: Mapping[str, str]) -> tuple[str, ...]:
    """Counts the pairs with one side only."""
    imageless = sum(not example.item for example in examples)
    textless = sum(not texts[example.id] for example in examples)
    if not imageless and not textless:
        return ()
    return (f"of {len(examples)} pairs, {imageless} have no image and {textless} no text",)


def _pair_split(columns: Columns, texts: Mapping[str, str]) -> PairSplit:
    items, labels, ids, digests, shares = columns
    own = np.empty(len(ids), object)
    own[:] = [texts[name] for name in ids]
    return PairSplit(items, own, labels, ids, digests, columns.in_memory, shares)
