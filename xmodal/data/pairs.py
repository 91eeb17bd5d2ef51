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
from xmodal.data.decoding import MAX_PIXELS, decode_pixels
from xmodal.data.examples import LOSSLESS, PAIRS, Columns, Example, ExampleSplit
from xmodal.data.images import ImageSplit
from xmodal.data.loading import Scanned, SplitData, split_and_audit
from xmodal.data.media import of_sounds
from xmodal.data.modalities import MODALITIES
from xmodal.data.pair_sources import NO_IMAGE, PairSettings, read_pairs
from xmodal.data.sound_format import SoundFormat
from xmodal.data.sources import RawExamples
from xmodal.data.table_format import TableFormat, check_format


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
        is_present = self.present[modality]
        row = np.cumsum(is_present) - 1 if modality == "image" else self.sound_row
        return np.where(is_present, row, len(self.pictures(modality)))

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
        has_sound = self.sounds is not None and self.sound_row[index] >= 0
        return self.pictures("sound").encoded(self.sound_row[index]) if has_sound else b""

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
    layout, cache = check_format(table_format, split.group_column), cache or cache_folder()
    settings = PairSettings(layout, cache, offline, image_folder, misread, typing_slips, seed)
    raw = read_pairs(source, settings)
    sound_digests: dict[str, bytes] = {}
    scan_pairs = partial(_scan_examples, raw=raw, sound_digests=sound_digests, bad_images=bad_images)
    return split_and_audit(
        raw,
        split,
        dataset=source,
        kind=PAIRS,
        seed=seed,
        scan=partial(scan_pairs, max_pixels=max_pixels, sound=sound),
        as_split=partial(_pair_split, raw=raw, sound_digests=sound_digests, sound=sound),
        doubts=partial(_missing_warning, raw=raw, sound_digests=sound_digests),
        bad_images=bad_images,
    )


def _scan_examples(
    examples: list[Example],
    raw: RawExamples,
    sound_digests: dict[str, bytes],
    bad_images: str,
    max_pixels: int,
    sound: SoundFormat,
) -> Scanned:
    """Looks at every image and every sound; a pair goes on without one that cannot be read.

    Args:
        examples: of the pairs.
        raw: with their texts and sounds.
        sound_digests: gets those of the sounds that can be read, by the ids of the pairs.
        bad_images, max_pixels, sound: as `load_pairs` takes them.

    Returns:
        The examples, a scan of each, and warnings of these pairs.
    """
    pixels, look = partial(decode_pixels, max_pixels=max_pixels), of_sounds(sound).look
    paths = raw.sounds or {}
    images = {example.id: example.item for example in examples if example.item}
    sounds = {example.id: paths[example.id] for example in examples if example.id in paths}
    image_scans = dict(zip(images, scan([*images.values()], pixels), strict=True))
    sound_scans = dict(zip(sounds, scan_each([*sounds.values()], look), strict=True))
    _require_readable("image", image_scans)
    _require_readable("sound", sound_scans)
    sound_digests |= {name: result.digest for name, result in sound_scans.items() if not result.problem}
    audited_examples, scans = [], []
    for example in examples:
        results = [part[example.id] for part in (image_scans, sound_scans) if example.id in part]
        usable_scans, bad_scans = (
            [result for result in results if bool(result.problem) is is_bad] for is_bad in (False, True)
        )
        if bad_scans and (bad_images == "fail" or not (usable_scans or raw.texts[example.id])):
            audited_examples.append(example)
            scans.append(bad_scans[0])
            continue
        id_scan = Scan(hashlib.blake2b(example.id.encode(), digest_size=16).digest(), "")
        has_image = example.id in image_scans and not image_scans[example.id].problem
        audited_examples.append(example if has_image else example._replace(item=NO_IMAGE))
        scans.append(usable_scans[0] if usable_scans else id_scan)
    usable_ids = {
        example.id for example, result in zip(audited_examples, scans, strict=True) if not result.problem
    }
    rest_text = "their texts stay" if raw.sounds is None else "what else these pairs have stays"
    warnings = (
        *_unread_warning("images", image_scans, usable_ids, rest_text),
        *_unread_warning("sounds", sound_scans, usable_ids, rest_text),
    )
    return audited_examples, scans, warnings


def _require_readable(noun: str, scans: Mapping[str, Scan]) -> None:
    failures = [(name, scan_result.problem) for name, scan_result in scans.items() if scan_result.problem]
    if failures and len(failures) == len(scans):
        raise UserError(
            f"none of the {len(failures)} {noun}s can be read: {reasons(failures)}",
            f"check the column of the {noun}s and `image_folder`",
        )


def _unread_warning(
    noun: str, scans: Mapping[str, Scan], usable_ids: set[str], rest_text: str
) -> tuple[str, ...]:
    """Counts the images or sounds that cannot be read, of pairs that go on without them."""
    failures = [
        (name, scan_result.problem)
        for name, scan_result in scans.items()
        if scan_result.problem and name in usable_ids
    ]
    return (
        (f"{len(failures)} of {len(scans)} {noun} cannot be read; {rest_text}: {reasons(failures)}",)
        if failures
        else ()
    )


def _missing_warning(
    examples: Sequence[Example], raw: RawExamples, sound_digests: Mapping[str, bytes]
) -> tuple[str, ...]:
    """Counts the pairs that lack something."""
    missing_counts = {
        "image": sum(not example.item for example in examples),
        "text": sum(not raw.texts[example.id] for example in examples),
        "sound": sum(example.id not in sound_digests for example in examples),
    }
    counts = [
        f"{missing_counts[name]} have no {name}" for name in MODALITIES[: 2 if raw.sounds is None else 3]
    ]
    if not any(missing_counts[name] for name in MODALITIES[: len(counts)]):
        return ()
    *first, last = [counts[0], *(count.replace("have ", "") for count in counts[1:])]
    return (f"of {len(examples)} pairs, {', '.join(first)} and {last}",)


def _pair_split(
    columns: Columns, raw: RawExamples, sound_digests: Mapping[str, bytes], sound: SoundFormat
) -> PairSplit:
    items, labels, ids, digests, shares = columns
    texts = np.empty(len(ids), object)
    texts[:] = [raw.texts[name] for name in ids]
    split = PairSplit(items, texts, labels, ids, digests, columns.in_memory, shares)
    if raw.sounds is None:
        return split
    has_sound = np.array([name in sound_digests for name in ids], bool)
    indices = np.flatnonzero(has_sound)
    names = tuple(ids[index] for index in indices)
    paths = np.array([raw.sounds[name] for name in names], object)
    sounds = ImageSplit(
        *(paths, labels[indices], names, tuple(sound_digests[name] for name in names), False),
        shares=split.shares_at(indices),
        medium=of_sounds(sound),
    )
    return replace(split, sounds=sounds, sound_row=np.where(has_sound, np.cumsum(has_sound) - 1, -1))
