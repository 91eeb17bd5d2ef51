"""Pairs of an image and a text, and of a sound where the data have any, checked and split.

Each of these may be missing in a pair, never all of them.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path

import numpy as np

from xmodal.config.data import SplitConfig
from xmodal.core.errors import UserError
from xmodal.core.files import cache_folder
from xmodal.data.audit import Scan, reasons, scan, scan_each
from xmodal.data.decoding import MAX_PIXELS, decoded_pixels
from xmodal.data.examples import LOSSLESS, PAIRS, Columns, Example, ExampleSplit
from xmodal.data.images import ImageSplit
from xmodal.data.loading import Scanned, SplitData, split_and_audit
from xmodal.data.media import of_sounds
from xmodal.data.modalities import MODALITIES
from xmodal.data.pair_sources import NO_IMAGE, PairSettings, read_pairs
from xmodal.data.sound_format import SoundFormat
from xmodal.data.sources import RawExamples
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
        sounds: M sounds, each of one or several pairs; None of pairs that have none.
        sound_row: (N,) the position of each pair's sound in these, -1 for none.
    """

    items: np.ndarray
    texts: np.ndarray
    labels: np.ndarray
    ids: tuple[str, ...]
    digests: tuple[bytes, ...]
    in_memory: bool
    shares: np.ndarray | None = None
    sounds: ImageSplit | None = None
    sound_row: np.ndarray = field(default_factory=lambda: np.array([], int))

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def contents(self) -> Iterator[bytes]:
        """Of each pair the digest of its image, then its text, then the digest of its sound."""
        for index, (digest, text) in enumerate(zip(self.digests, self.texts, strict=True)):
            yield digest
            yield text.encode(*LOSSLESS)
            if self.sounds:
                yield self.sounds.digests[self.sound_row[index]] if self.sound_row[index] >= 0 else b""

    @property
    def has_image(self) -> np.ndarray:
        """Whether each pair has an image (N,)."""
        return np.array([bool(item) for item in self.items], bool)

    @property
    def has_text(self) -> np.ndarray:
        """Whether each pair has a text (N,)."""
        return np.array([bool(text) for text in self.texts], bool)

    @property
    def present(self) -> dict[str, np.ndarray]:
        """Modality -> whether each pair has it (N,); without sounds there are two."""
        sounds = {} if self.sounds is None else {"sound": self.sound_row >= 0}
        return {"image": self.has_image, "text": self.has_text} | sounds

    @property
    def pictured(self) -> tuple[str, ...]:
        """The modalities that are read as pictures."""
        return tuple(name for name in self.present if name != "text")

    def pictures(self, modality: str) -> ImageSplit:
        """Returns the distinct images, or sounds, of the pairs."""
        if modality == "image":
            return self.images()
        assert self.sounds is not None
        return self.sounds

    def picture_rows(self, modality: str) -> np.ndarray:
        """Returns where each pair's image or sound is in `pictures` (N,), their number for none."""
        there = self.present[modality]
        row = np.cumsum(there) - 1 if modality == "image" else self.sound_row
        return np.where(there, row, len(self.pictures(modality)))

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

    def sound(self, index: int) -> bytes:
        """Returns the sound of a pair as a WAV, b"" where it has none."""
        heard = self.sounds is not None and self.sound_row[index] >= 0
        return self.pictures("sound").encoded(self.sound_row[index]) if heard else b""

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
    sound: SoundFormat = SoundFormat(),
) -> PairData:
    """Lists, splits and audits a set of pairs, see `split_and_audit`. No pixels are kept.

    Two pairs with the same pixels, or without any with the same sound, count as the same, whatever their
    texts say: short texts repeat themselves. A pair whose image or sound cannot be read keeps what else it
    has, and is left out when that is nothing.

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
        bad_images, max_pixels, sound: as `load_images` takes them; "fail" is for images and sounds.

    Returns:
        The splits, the class names and the audit's report.

    Raises:
        UserError: when the data is not there or cannot be learned from.

    Example:
        >>> data = load_pairs("csv:pairs.csv", SplitConfig(min_per_class=2), image_folder=Path("photos"))
        >>> data.train.texts[0]
        'a cat or 0'
    """
    layout, cache = checked_format(table_format, split.group_column), cache or cache_folder()
    settings = PairSettings(layout, cache, offline, image_folder, misread, typing_slips, seed)
    raw = read_pairs(source, settings)
    heard: dict[str, bytes] = {}
    scanned = partial(_scanned, raw=raw, heard=heard, bad_images=bad_images)
    return split_and_audit(
        raw,
        split,
        dataset=source,
        kind=PAIRS,
        seed=seed,
        scan=partial(scanned, max_pixels=max_pixels, sound=sound),
        as_split=partial(_pair_split, raw=raw, heard=heard, sound=sound),
        doubts=partial(_one_sided, raw=raw, heard=heard),
        bad_images=bad_images,
    )


def _scanned(
    examples: list[Example],
    raw: RawExamples,
    heard: dict[str, bytes],
    bad_images: str,
    max_pixels: int,
    sound: SoundFormat,
) -> Scanned:
    """Looks at every image and every sound; a pair goes on without one that cannot be read.

    Args:
        examples: of the pairs.
        raw: with their texts and sounds.
        heard: gets the digests of the sounds that can be read, by the ids of the pairs.
        bad_images, max_pixels, sound: as `load_pairs` takes them.

    Returns:
        The examples, a scan of each, and warnings of these pairs.
    """
    pixels, look = partial(decoded_pixels, max_pixels=max_pixels), of_sounds(sound).look
    paths = raw.sounds or {}
    images = {example.id: example.item for example in examples if example.item}
    sounds = {example.id: paths[example.id] for example in examples if example.id in paths}
    seen = dict(zip(images, scan([*images.values()], pixels), strict=True))
    listened = dict(zip(sounds, scan_each([*sounds.values()], look), strict=True))
    _require_readable("image", seen)
    _require_readable("sound", listened)
    heard |= {name: found.digest for name, found in listened.items() if not found.problem}
    audited, scans = [], []
    for example in examples:
        found = [part[example.id] for part in (seen, listened) if example.id in part]
        good, bad = ([one for one in found if bool(one.problem) is is_bad] for is_bad in (False, True))
        if bad and (bad_images == "fail" or not (good or raw.texts[example.id])):
            audited.append(example)
            scans.append(bad[0])
            continue
        own = Scan(hashlib.blake2b(example.id.encode(), digest_size=16).digest(), "")
        has_image = example.id in seen and not seen[example.id].problem
        audited.append(example if has_image else example._replace(item=NO_IMAGE))
        scans.append(good[0] if good else own)
    left = {example.id for example, one in zip(audited, scans, strict=True) if not one.problem}
    what = "their texts stay" if raw.sounds is None else "what else these pairs have stays"
    warnings = (*_unread("images", seen, left, what), *_unread("sounds", listened, left, what))
    return audited, scans, warnings


def _require_readable(noun: str, scans: Mapping[str, Scan]) -> None:
    bad = [(name, found.problem) for name, found in scans.items() if found.problem]
    if bad and len(bad) == len(scans):
        raise UserError(
            f"none of the {len(bad)} {noun}s can be read: {reasons(bad)}",
            f"check the column of the {noun}s and `image_folder`",
        )


def _unread(noun: str, scans: Mapping[str, Scan], left: set[str], what: str) -> tuple[str, ...]:
    """Counts the images or sounds that cannot be read, of pairs that go on without them."""
    bad = [(name, found.problem) for name, found in scans.items() if found.problem and name in left]
    return (f"{len(bad)} of {len(scans)} {noun} cannot be read; {what}: {reasons(bad)}",) if bad else ()


def _one_sided(examples: Sequence[Example], raw: RawExamples, heard: Mapping[str, bytes]) -> tuple[str, ...]:
    """Counts the pairs that lack something."""
    missing = {
        "image": sum(not example.item for example in examples),
        "text": sum(not raw.texts[example.id] for example in examples),
        "sound": sum(example.id not in heard for example in examples),
    }
    counts = [f"{missing[name]} have no {name}" for name in MODALITIES[: 2 if raw.sounds is None else 3]]
    if not any(missing[name] for name in MODALITIES[: len(counts)]):
        return ()
    *first, last = [counts[0], *(count.replace("have ", "") for count in counts[1:])]
    return (f"of {len(examples)} pairs, {', '.join(first)} and {last}",)


def _pair_split(
    columns: Columns, raw: RawExamples, heard: Mapping[str, bytes], sound: SoundFormat
) -> PairSplit:
    items, labels, ids, digests, shares = columns
    own = np.empty(len(ids), object)
    own[:] = [raw.texts[name] for name in ids]
    split = PairSplit(items, own, labels, ids, digests, columns.in_memory, shares)
    if raw.sounds is None:
        return split
    there = np.array([name in heard for name in ids], bool)
    picked = np.flatnonzero(there)
    names = tuple(ids[index] for index in picked)
    paths = np.array([raw.sounds[name] for name in names], object)
    sounds = ImageSplit(
        *(paths, labels[picked], names, tuple(heard[name] for name in names), False),
        shares=split.shares_at(picked),
        medium=of_sounds(sound),
    )
    return replace(split, sounds=sounds, sound_row=np.where(there, np.cumsum(there) - 1, -1))
