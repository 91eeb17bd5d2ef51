"""Images, sounds and videos from a named set, a folder, a CSV or TFDS, checked, split and served as batches.

A sound or a video is read as pictures of it, see `media`.
"""

import math
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from xmodal.config.data import SplitConfig
from xmodal.core.files import cache_folder
from xmodal.core.reading import read_regular
from xmodal.data.audit import DataReport, audit_unlabelled, scan, scan_each
from xmodal.data.augmentation import draws, trace_augmentation
from xmodal.data.batches import Batches, read_ahead, without_autotuning
from xmodal.data.decoding import MAX_PIXELS, decode, decode_pixels
from xmodal.data.examples import IMAGES, SOUNDS, VIDEOS, Columns, Example, ExampleSplit, columns, digests_of
from xmodal.data.image_files import MAX_BYTES
from xmodal.data.image_sources import read_images, read_unlabelled, with_further
from xmodal.data.loading import Scanned, SplitData, split_and_audit
from xmodal.data.media import Medium, of_sounds, of_videos, trace_reader
from xmodal.data.sound_format import SoundFormat
from xmodal.data.video_format import VideoFormat
from xmodal.data.videos import frames_of

# Sides of squares, in pixels, that halve evenly on their way through most networks.
SIDES = (32, 64, 96, 128, 160, 192, 224)
# Bytes of a split whose pixels are kept once they were read: 5,000 digits at 32 pixels, 100 photographs at
# 224. What reads images takes a second to be built and begun, in each epoch and for each validation.
KEPT_BYTES = 2**26
# Share of an epoch's batches that may be in none of its parts; each epoch has others there.
LEFT_OUT = 0.05


@dataclass(frozen=True)
class ImageSplit(ExampleSplit):
    """One split of N images, encoded.

    Attributes:
        items: (N,) objects: file paths (str), or encoded images (bytes) when `in_memory`.
        labels: (N,) int32, positions in the class names.
        ids: how reports name each image: its path in the data set, or such as "mnist_5k/123".
        digests: of the pixels of each image.
        in_memory: the items are encoded images and not file paths.
        shares: of the classes (N, C), where labels are soft.
        medium: how the items are read that are no images; None for images.
    """

    items: np.ndarray
    labels: np.ndarray
    ids: tuple[str, ...]
    digests: tuple[bytes, ...]
    in_memory: bool
    shares: np.ndarray | None = None
    medium: Medium | None = None
    # The pixels that were read last, by what they depend on.
    _pixels: dict[Any, tf.Tensor] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self):
        sizes = {len(part) for part in (self.items, self.labels, self.ids, self.digests, self.targets)}
        if len(sizes) > 1:
            raise ValueError(
                f"items, labels, ids, digests and shares must be as many. Received: {sorted(sizes)}"
            )

    def __len__(self) -> int:
        return len(self.ids)

    def arrays(self, image_size: int | tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        """Decodes all images at once, for data that memory holds: 12 bytes a pixel.

        Args:
            image_size: side of the images in pixels, or (H, W).

        Returns:
            RGB images (N, H, W, 3) float32 from 0 to 255, and their labels (N,) int32; where labels are soft,
            the shares of the classes (N, C) float32.

        Example:
            >>> images, labels = load_images("folder:photos", SplitConfig(min_per_class=2)).test.arrays(16)
            >>> images.shape, images.dtype, labels
            ((8, 16, 16, 3), dtype('float32'), array([0, 1, 0, 1, 0, 1, 0, 1], dtype=int32))
        """
        split_batches = batches(self, image_size=image_size, batch_size=256)
        return np.concatenate([batch["image"].numpy() for batch in split_batches]), self.targets

    @tf.autograph.experimental.do_not_convert
    def kept(self, key: Any, read: Callable[[tf.Tensor], tf.Tensor]) -> tf.Tensor:
        """Returns the pixels of all images (N, H, W, 3), which are read when they are asked for first.

        Args:
            key: what the pixels depend on.
            read: items (B,) -> pixels (B, H, W, 3), in-graph.
        """
        if key not in self._pixels:
            # Asked for where batches are put together, and not computed.
            with tf.init_scope(), tf.device("CPU"):
                items = tf.data.Dataset.from_tensor_slices(_items(self.items))
                parts = without_autotuning(read_ahead(items.batch(64), read))
                self._pixels.clear()
                self._pixels[key] = tf.concat(list(parts), axis=0)
        return self._pixels[key]

    @property
    def contents(self) -> Iterator[bytes]:
        """The digest of each image."""
        return iter(self.digests)

    def encoded(self, index: int) -> bytes:
        """Returns the bytes of one image or video, or of one sound as a WAV."""
        item = self.items[index]
        encoded = item if self.in_memory else read_regular(item, MAX_BYTES)
        return encoded if self.medium is None else self.medium.encoded(encoded)

    def picture(self, index: int) -> bytes:
        """Returns an encoded image of one: itself, the spectrogram of a sound, or frames of a video."""
        encoded = self.encoded(index)
        return encoded if self.medium is None else self.medium.picture(encoded)

    def spread(self, most: int) -> np.ndarray:
        """Returns the positions of `most` images, or of all, evenly from the first to the last."""
        return np.linspace(0, len(self) - 1, min(most, len(self))).round().astype(int)

    def take(self, positions: np.ndarray) -> "ImageSplit":
        """Returns the images at some positions (n,), in that order."""
        return replace(
            self,
            items=self.items[positions],
            labels=self.labels[positions],
            ids=tuple(self.ids[position] for position in positions),
            digests=tuple(self.digests[position] for position in positions),
            shares=self.shares_at(positions),
        )


ImageData = SplitData[ImageSplit]


def usual_side(split: ImageSplit) -> int:
    """Returns the shorter side, in pixels, that half of some images or frames of videos have at least."""

    def shape(index: int) -> Sequence[int]:
        encoded, medium = split.encoded(index), split.medium
        if medium and isinstance(medium.format, VideoFormat):
            return frames_of(encoded, medium.format).shape[1:]
        return decode_pixels(encoded).shape

    return sorted(min(shape(index)[:2]) for index in range(len(split)))[len(split) // 2]


def load_images(
    dataset: str,
    split: SplitConfig = SplitConfig(),
    *,
    seed: int = 0,
    cache: Path | None = None,
    offline: bool = False,
    bad_images: str = "skip",
    max_pixels: int = MAX_PIXELS,
    sound: SoundFormat = SoundFormat(),
    video: VideoFormat = VideoFormat(),
    multi_label: str = "",
    also_train: str = "none",
) -> ImageData:
    """Lists, splits and audits a set of images, see `split_and_audit`. No pixels are kept.

    Args:
        dataset: "mnist_5k"; "folder:PATH" (a subfolder a class, or train/, validation/ and test/ that hold
            these); "sounds:PATH" and "videos:PATH", the same of sounds and videos; "csv:PATH" (columns image,
            audio or video, label and, optionally, split; paths relative to the CSV; for soft labels, columns
            label:NAME, with shares that are scaled to a sum of 1); "parquet:PATH", "arrow:PATH" or
            "tfrecord:PATH", see `image_records`; "tfds:NAME"; or "hf:NAME".
        split: how they are split and checked; files with the same bytes come into one split.
        seed: of the cuts and of `limit`.
        cache: folder of downloaded data; None for the usual one.
        offline: reach for nothing.
        bad_images: what to do with unreadable files: "skip" or "fail".
        max_pixels: of an image; what has more is left out, not decoded. 0 for no limit.
        sound, video: how sounds and videos are read.
        multi_label: what stands between the labels of an image that may have several.
        also_train: another source, see `with_further`; "none" for nothing.

    Returns:
        The splits, the class names and the audit's report.

    Raises:
        UserError: when the data is not there or cannot be learned from.

    Example:
        >>> data = load_images("folder:photos", SplitConfig(min_per_class=2))
        >>> data.class_names, len(data.train), len(data.validation), len(data.test)
        (('cat', 'dog'), 29, 3, 8)
    """
    cache = cache or cache_folder()
    source_examples = read_images(dataset, cache, offline, split.group_column, multi_label)
    raw = with_further(source_examples, also_train, cache, offline, multi_label)
    medium = {SOUNDS: of_sounds(sound), VIDEOS: of_videos(video)}.get(raw.kind)

    return split_and_audit(
        raw,
        split,
        dataset=dataset,
        kind=raw.kind,
        seed=seed,
        scan=partial(_scan_examples, medium=medium, max_pixels=max_pixels),
        as_split=partial(_image_split, medium=medium),
        bad_images=bad_images,
    )


def _scan_examples(examples: list[Example], medium: Medium | None, max_pixels: int) -> Scanned:
    items = [example.item for example in examples]
    pixels = partial(decode_pixels, max_pixels=max_pixels)
    return examples, scan_each(items, medium.look) if medium else scan(items, pixels), ()


def load_unlabelled(
    dataset: str,
    *,
    cache: Path,
    offline: bool = False,
    bad_images: str = "skip",
    max_pixels: int = MAX_PIXELS,
) -> tuple[ImageSplit, DataReport]:
    """Lists and audits images that nobody has labelled. No pixels are kept.

    Args:
        dataset: "unlabelled:PATH", a folder with images at any depth; or "sample_photographs".
        cache: folder of downloaded data.
        offline: reach for nothing.
        bad_images: what to do with unreadable files: "skip" or "fail".
        max_pixels: of an image; what has more is left out before it is decoded. 0 for no limit.

    Returns:
        The images, in the order of their paths, of which each label is 0; and the audit's report.

    Raises:
        UserError: when there are none that can be read.
    """
    raw = read_unlabelled(dataset, cache, offline)
    pixels = partial(decode_pixels, max_pixels=max_pixels)
    scans = scan([example.item for example in raw.examples], pixels)
    audited_examples, report = audit_unlabelled(raw.examples, scans, kind=IMAGES, bad_images=bad_images)
    split = _image_split(columns(audited_examples, "test", ("",)), None)
    warnings = raw.warnings + report.warnings
    return split, replace(report, warnings=warnings, digests=digests_of([split], ("",)))


def batches(
    split: ImageSplit,
    *,
    image_size: int | tuple[int, int],
    read_image: Callable[[tf.Tensor], tf.Tensor] | None = None,
    batch_size: int,
    seed: int = 0,
    shuffle: bool = False,
    augment: Sequence[str] = (),
    epoch: int = 0,
    part: tuple[int, int] = (0, 1),
    drop_remainder: bool = False,
    windows: bool = False,
) -> Batches:
    """One epoch of a split, or a part of it, decoded as it is read.

    A small split is read once for all epochs, see `KEPT_BYTES`.

    The order and the augmentation follow from (seed, epoch) alone: a resumed run can take up any epoch.

    Args:
        split: N images.
        image_size: side of the images in pixels, or (H, W).
        read_image: an encoded image, scalar string -> (H, W, 3) float32; None for `decode`, into a square.
        batch_size: B.
        seed: of the order and the augmentation.
        shuffle: bring the images in a random order, instead of that of the split.
        augment: kinds of augmentation, see `augment_images`, of sounds `augment_spectrograms`.
        epoch: number of the epoch; each has its own order and augmentation.
        part: (i, n) for the i-th of n parts of the epoch that have equal numbers of batches; batches
            that are left over at its end are in none, see `equal_parts`.
        drop_remainder: leave out the last images when they do not fill a batch.
        windows: of sounds and videos, all pictures of each (B, n, H, W, 3), see `windows_of`.

    Returns:
        Batches of {"image": (B, H, W, 3) float32 RGB 0 to 255, "label": (B,) int32,
        "index": (B,) int64, the position in the split} and, of soft labels, "shares": (B, C) float32.
    """
    number, parts = part
    count = -(-len(split) // batch_size) // parts
    first = number * count
    order = np.random.default_rng((seed, epoch)).permutation(len(split)) if shuffle else np.arange(len(split))
    order = order[first * batch_size : (first + count) * batch_size]

    def read(rows: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        return {"image": pictures(rows)} | {name: rows[name] for name in labels}

    size = (image_size, image_size) if isinstance(image_size, int) else image_size
    pictures = _reader(split, size, read_image, augment, windows)
    labels = {"label": split.labels[order], "index": order.astype(np.int64)}
    if split.shares is not None:
        labels["shares"] = split.shares[order]
    rows = tf.data.Dataset.from_tensor_slices({"item": _items(split.items[order])} | labels)
    rows = rows.batch(batch_size, drop_remainder=drop_remainder)
    if augment:
        add_draws = _with_draws((seed, epoch), split.medium.draws if split.medium else draws)
        rows = rows.enumerate(start=first).map(add_draws)
    return Batches(rows, read)


def _reader(
    split: ImageSplit,
    size: tuple[int, int],
    read_image: Callable[[tf.Tensor], tf.Tensor] | None,
    augment: Sequence[str],
    windows: bool,
) -> Callable[[dict[str, tf.Tensor]], tf.Tensor]:
    """Returns what reads rows of items (B,), with the draws (B, D) of augmentation or none: (B, H, W, 3)."""
    if split.medium:
        read_items = trace_reader(split.medium, split.in_memory, size[0], tuple(augment), windows)
        if augment or windows:
            return lambda rows: read_items(rows["item"], rows.get("draws"))
        pixels: Callable[[tf.Tensor], tf.Tensor] = partial(read_items, row_draws=None)
    else:
        pixels = _pixels(split.in_memory, size, read_image)

    def read(rows: dict[str, tf.Tensor]) -> tf.Tensor:
        if 0 < len(split) * math.prod(size) * 12 <= KEPT_BYTES:
            images = tf.gather(split.kept((size, read_image), pixels), rows["index"])
        else:
            images = pixels(rows["item"])
        return trace_augmentation(tuple(augment))(images, rows["draws"]) if augment else images

    return read


@lru_cache(maxsize=16)
def _pixels(
    in_memory: bool, size: tuple[int, int], read_image: Callable[[tf.Tensor], tf.Tensor] | None
) -> Callable[[tf.Tensor], tf.Tensor]:
    """Returns what reads images (B,): (B, H, W, 3). It is traced once for all splits and epochs."""

    def load(item: tf.Tensor) -> tf.Tensor:
        encoded = item if in_memory else tf.io.read_file(item)
        return read_image(encoded) if read_image else decode(encoded, size[0], max_pixels=0)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)], autograph=False)
    def pixels(items: tf.Tensor) -> tf.Tensor:
        return tf.map_fn(load, items, fn_output_signature=tf.TensorSpec((*size, 3), tf.float32))

    return pixels


def _items(items: np.ndarray) -> tf.Tensor:
    # Bytes stay as they are, and paths keep names that are not UTF-8.
    return tf.constant([os.fsencode(item) for item in items], tf.string)


def learnable(batch: dict[str, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Returns the images, targets (B,) or (B, C) and weights of one (B,) of a batch that `batches` gave."""
    label = batch["label"]
    return batch["image"], batch.get("shares", label), tf.ones_like(label, tf.float32)


def equal_parts(batch_count: int, most: int) -> int:
    """Returns the largest number of equal parts, up to `most`, that leave out at most 5% of the batches."""
    return next(parts for parts in range(most, 0, -1) if batch_count % parts <= LEFT_OUT * batch_count)


def _with_draws(seed: tuple[int, int], draw: Callable) -> Callable:
    # Drawn for the whole batch before devices share it: so an image gets the same on any number of them.
    drawn, epoch_seed = _traced_draws(draw), tf.constant(seed)

    def add(number: tf.Tensor, rows: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        return rows | {"draws": drawn(tf.shape(rows["label"])[0], epoch_seed, number)}

    return add


@lru_cache(maxsize=16)
def _traced_draws(draw: Callable) -> Callable[..., tf.Tensor]:
    """Returns a function of a count, a seed (2,) and a batch's number, traced once for all epochs."""

    @partial(tf.function, autograph=False)
    def drawn(count: tf.Tensor, seed: tf.Tensor, number: tf.Tensor) -> tf.Tensor:
        return draw(count, tf.random.fold_in(seed, number, alg="philox"))

    return drawn


def _image_split(columns: Columns, medium: Medium | None) -> ImageSplit:
    return ImageSplit(
        columns.items, columns.labels, columns.ids, columns.digests, columns.in_memory, columns.shares, medium
    )
