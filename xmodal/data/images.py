"""Images from a named set, a folder, a CSV or TFDS, checked, split and served as tf.data batches.

`decode` is the only code in the project that turns encoded images into numbers: training, evaluation and
the exported SavedModel all call it.
"""

import csv
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import tensorflow as tf

from xmodal import assets
from xmodal.config import AUGMENTATIONS, Config, cache_folder
from xmodal.data.audit import DataReport, audit, scan
from xmodal.data.folders import files_under, printable, split_folders, subfolders
from xmodal.data.reading import Batches
from xmodal.data.shares import most_probable, parsed_shares, share_columns
from xmodal.data.splits import IMAGES, SPLITS, Example, Labelled, columns, divide, parsed_split
from xmodal.data.tfds import prepared_builder, require_features, tfds_examples
from xmodal.errors import UserError, nearest
from xmodal.files import path_of

SHIFT = 0.08  # of the side
CROP = 1 / 8  # of the side: 4 pixels of 32
ROTATION = np.pi / 18  # 10 degrees
ZOOM = 0.1
# Share of an epoch's batches that may be in none of its parts; each epoch has others there.
LEFT_OUT = 0.05


@dataclass(frozen=True)
class ImageSplit(Labelled):
    """One split of N images, encoded.

    Attributes:
        items: (N,) objects: file paths (str), or encoded images (bytes) when `in_memory`.
        labels: (N,) int32, positions in the class names.
        ids: how reports name each image: its path in the data set, or such as "mnist_5k/123".
        digests: of the pixels of each image.
        in_memory: the items are encoded images and not file paths.
        shares: of the classes (N, C), where labels are soft.
    """

    items: np.ndarray
    labels: np.ndarray
    ids: tuple[str, ...]
    digests: tuple[bytes, ...]
    in_memory: bool
    shares: np.ndarray | None = None

    def __post_init__(self):
        sizes = {len(part) for part in (self.items, self.labels, self.ids, self.digests, self.targets)}
        if len(sizes) > 1:
            raise ValueError(
                f"items, labels, ids, digests and shares must be as many. Received: {sorted(sizes)}"
            )

    def __len__(self) -> int:
        return len(self.ids)

    def encoded(self, index: int) -> bytes:
        """Returns the bytes of one image."""
        item = self.items[index]
        return item if self.in_memory else Path(item).read_bytes()

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


@dataclass(frozen=True)
class ImageData:
    """The three splits of a data set, the names of its C classes, and what the audit found."""

    train: ImageSplit
    validation: ImageSplit
    test: ImageSplit
    class_names: tuple[str, ...]
    report: DataReport


def configured_images(config: Config) -> ImageData:
    """Reads, splits and audits the images that a configuration asks for, see `load_images`."""
    return load_images(
        config.data.dataset,
        cache=cache_folder(),
        offline=config.run.offline,
        class_names=config.data.class_names,
        validation_fraction=config.data.validation_fraction,
        test_fraction=config.data.test_fraction,
        seed=config.run.seed,
        bad_images=config.data.bad_images,
        min_per_class=config.data.min_per_class,
        limit=config.data.limit,
        train_examples=config.data.train_examples,
        keep_leaks=config.data.keep_leaks,
    )


def load_images(
    dataset: str,
    *,
    cache: Path,
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
) -> ImageData:
    """Lists, splits and audits a set of images. No pixels are kept.

    Splits that the data comes with are taken as they are. Otherwise test, then validation, are cut from
    train: the same share of each class, and at least one image of each. Which images, depends on the seed
    and their ids alone, so that it is the same on every machine.

    Args:
        dataset: "mnist_5k"; "folder:PATH" (a subfolder a class, or train/, validation/ and test/ that hold
            these); "csv:PATH" (columns image, label and, optionally, split; image paths relative to the
            CSV; for soft labels, columns label:NAME in the place of label, with the shares of each class,
            which are scaled to a sum of 1); or "tfds:NAME".
        cache: folder of downloaded data.
        offline: reach for nothing.
        class_names: names in place of the data's own, in the data's order: alphabetical, or by value when
            all are whole numbers.
        validation_fraction: share of train that becomes validation.
        test_fraction: share of train that becomes test.
        seed: of the cuts and of `limit`.
        bad_images: what to do with unreadable files: "skip" or "fail".
        min_per_class: fewest training images that a class may have.
        limit: most training images, classes kept in proportion; validation and test shrink alike. 0 is all.
        train_examples: most images that train has before validation is cut from it, classes kept in
            proportion; a split that the data comes with stays whole. 0 is all.
        keep_leaks: keep train and validation images that stand in test too; reported in any case.

    Returns:
        The splits, the class names and the audit's report.

    Raises:
        UserError: when the data is not there or cannot be learned from.
    """
    try:
        listing = _read(dataset, cache, offline)
    except PermissionError as error:
        raise UserError(
            f"{str(error.filename)!r} cannot be read ({error.strerror})", "allow reading it"
        ) from error
    examples, names = divide(
        listing.examples,
        dataset=dataset,
        things=IMAGES,
        own_names=listing.class_names,
        class_names=class_names,
        validation_fraction=validation_fraction,
        test_fraction=test_fraction,
        limit=limit,
        train_examples=train_examples,
        min_per_class=min_per_class,
        seed=seed,
    )
    examples, report = audit(
        examples,
        scan([example.item for example in examples], decoded_pixels),
        things=IMAGES,
        class_names=names,
        bad_images=bad_images,
        min_per_class=min_per_class,
        keep_leaks=keep_leaks,
    )
    report = replace(report, warnings=listing.warnings + report.warnings)
    train, validation, test = (_image_split(examples, split, names) for split in SPLITS)
    return ImageData(train, validation, test, names, report)


def decode(encoded: tf.Tensor, image_size: int) -> tf.Tensor:
    """Decodes an image and resizes it to a square: the one way from bytes to numbers.

    Grey becomes RGB, transparency is dropped, 16 bits become 8, the first frame stands for an animation.
    The sides are scaled apart, so that nothing is cut off. EXIF rotation is not applied.

    Args:
        encoded: scalar string, a JPEG, PNG, GIF, BMP or WebP.
        image_size: side of the result, in pixels.

    Returns:
        (H, W, 3) float32 RGB, 0 to 255.

    Raises:
        tf.errors.InvalidArgumentError: for bytes that are no image, or a part of one.
    """
    # Antialiasing makes a shrunk photo depend on all of its pixels; it changes nothing when enlarging.
    size = (image_size, image_size)
    return tf.image.resize(decoded_pixels(encoded), size, method="bilinear", antialias=True)


def decoded_pixels(encoded: tf.Tensor | bytes) -> tf.Tensor:
    """Decodes an image in its own size: (H, W, 3) uint8 RGB; raises as `decode` does."""
    return tf.io.decode_image(encoded, channels=3, expand_animations=False)


def batches(
    split: ImageSplit,
    *,
    image_size: int,
    batch_size: int,
    seed: int = 0,
    shuffle: bool = False,
    augment: Sequence[str] = (),
    epoch: int = 0,
    part: tuple[int, int] = (0, 1),
    drop_remainder: bool = False,
) -> Batches:
    """One epoch of a split, or a part of it, decoded as it is read.

    The order and the augmentation follow from (seed, epoch) alone, so that a resumed run can take up
    any epoch.

    Args:
        split: N images.
        image_size: side of the images, in pixels.
        batch_size: B.
        seed: of the order and the augmentation.
        shuffle: bring the images in a random order, instead of that of the split.
        augment: kinds of augmentation, see `augmented`.
        epoch: number of the epoch; each has its own order and augmentation.
        part: (i, n) for the i-th of n parts of the epoch that have equal numbers of batches; batches
            that are left over at its end are in none, see `equal_parts`.
        drop_remainder: leave out the last images when they do not fill a batch.

    Returns:
        Batches of {"image": (B, H, W, 3) float32 RGB 0 to 255, "label": (B,) int32,
        "index": (B,) int64, the position in the split} and, of soft labels, "shares": (B, C) float32.
    """
    order = np.arange(len(split))
    if shuffle:
        order = np.random.default_rng((seed, epoch)).permutation(order)
    number, parts = part
    count = -(-len(split) // batch_size) // parts
    first = number * count
    order = order[first * batch_size : (first + count) * batch_size]
    # Bytes stay as they are, and paths keep names that are not UTF-8.
    items = tf.constant([os.fsencode(item) for item in split.items[order]], tf.string)

    def read(rows: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        images = tf.map_fn(load, rows["item"], fn_output_signature=pixels)
        if augment:
            images = augmented(images, augment, rows["draws"])
        return {"image": images} | {name: rows[name] for name in labels}

    def load(item: tf.Tensor) -> tf.Tensor:
        return decode(item if split.in_memory else tf.io.read_file(item), image_size)

    pixels = tf.TensorSpec((image_size, image_size, 3), tf.float32)
    labels = {"label": split.labels[order], "index": order.astype(np.int64)}
    if split.shares is not None:
        labels["shares"] = split.shares[order]
    columns = {"item": items} | labels
    rows = tf.data.Dataset.from_tensor_slices(columns).batch(batch_size, drop_remainder=drop_remainder)
    return Batches(rows.enumerate(start=first).map(_with_draws((seed, epoch))) if augment else rows, read)


def learnable(batch: dict[str, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Returns the images, targets (B,) or (B, C) and weights of one (B,) of a batch that `batches` gave."""
    label = batch["label"]
    return batch["image"], batch.get("shares", label), tf.ones_like(label, tf.float32)


def equal_parts(batch_count: int, most: int) -> int:
    """Returns the largest number of equal parts, up to `most`, that leave out at most 5% of the batches."""
    return next(parts for parts in range(most, 0, -1) if batch_count % parts <= LEFT_OUT * batch_count)


def _with_draws(seed: tuple[int, int]) -> Callable:
    # Drawn for the whole batch before devices share it: so an image gets the same on any number of them.
    def add(number: tf.Tensor, rows: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        batch_seed = tf.random.fold_in(seed, number, alg="philox")
        return rows | {"draws": draws(tf.shape(rows["label"])[0], batch_seed)}

    return add


def draws(count: int | tf.Tensor, seed: Sequence[int] | tf.Tensor) -> tf.Tensor:
    """Draws what `augmented` takes.

    Args:
        count: B.
        seed: (2,) integers. The same seed gives the same numbers.

    Returns:
        (B, 7) float32 from -1 to 1.
    """
    # Two shapes, because each shape has numbers of its own: what was added leaves the others as they were.
    seeds = (seed, tf.random.fold_in(seed, 1, alg="philox"))
    drawn = [
        tf.random.stateless_uniform((count, size), part, minval=-1.0, alg="philox")
        for size, part in zip((5, 2), seeds, strict=True)
    ]
    return tf.concat(drawn, axis=1)


def augmented(images: tf.Tensor, kinds: Sequence[str], draws: tf.Tensor) -> tf.Tensor:
    """Moves each image a little, by one random affine map, so that it is resampled once.

    Where the map reaches outside the image, the pixel at the edge goes on: black would make wedges that
    no test image has, and mirroring would show parts of the object twice.

    Args:
        images: (B, H, W, 3) float32.
        kinds: any of "flip" (left to right, one image in two), "shift" (up to 8% of the side each way),
            "crop" (up to an eighth of the side each way in whole pixels, as by padding the image and cutting
            it out again), "rotate" (up to 10 degrees) and "zoom" (up to 10% in or out).
        draws: (B, 7) from `draws`: a kind takes the same ones whatever other kinds stand beside it.

    Returns:
        (B, H, W, 3) float32.

    Raises:
        UserError: for an unknown kind.
    """
    for kind in kinds:
        if kind not in AUGMENTATIONS:
            raise UserError(f"unknown augmentation {kind!r}", nearest(kind, AUGMENTATIONS))
    height, width = tf.unstack(tf.shape(images)[1:3])
    flip, right, down, turn, scale, cut_right, cut_down = tf.unstack(draws, axis=1)
    flip = tf.where(flip < 0, -1.0, 1.0) if "flip" in kinds else tf.ones_like(flip)
    shift, rotation, zoom = (
        most * (kind in kinds) for kind, most in (("shift", SHIFT), ("rotate", ROTATION), ("zoom", ZOOM))
    )
    angle = turn * rotation
    size = 1 + scale * zoom

    # The op asks where each output pixel comes from: input = matrix (output - centre) + centre + move.
    centre_x, centre_y = (tf.cast(side - 1, tf.float32) / 2 for side in (width, height))
    xx, xy = flip * tf.cos(angle) / size, -tf.sin(angle) / size
    yx, yy = flip * tf.sin(angle) / size, tf.cos(angle) / size
    x0 = centre_x - xx * centre_x - xy * centre_y + right * shift * tf.cast(width, tf.float32)
    y0 = centre_y - yx * centre_x - yy * centre_y + down * shift * tf.cast(height, tf.float32)
    if "crop" in kinds:
        x0 += tf.round(cut_right * CROP * tf.cast(width, tf.float32))
        y0 += tf.round(cut_down * CROP * tf.cast(height, tf.float32))
    none = tf.zeros_like(xx)
    moved = tf.raw_ops.ImageProjectiveTransformV3(
        images=images,
        transforms=tf.stack([xx, xy, x0, yx, yy, y0, none, none], axis=1),
        output_shape=tf.stack([height, width]),
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="NEAREST",
    )
    return tf.ensure_shape(moved, images.shape)


@dataclass(frozen=True)
class _Listing:
    examples: list[Example]
    class_names: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def _read(dataset: str, cache: Path, offline: bool) -> _Listing:
    source, _, place = dataset.partition(":")
    if dataset == "mnist_5k":
        return _Listing(load_digits(cache, offline))
    if source == "folder" and place:
        return _read_folder(path_of(place))
    if source == "csv" and place:
        return _read_csv(path_of(place))
    if source == "tfds" and place:
        return _read_tfds(place, cache, offline)
    if path_of(dataset).exists():
        kind = "folder" if path_of(dataset).is_dir() else "csv"
        raise UserError(f"--dataset={dataset!r} does not say what it is", f"did you mean '{kind}:{dataset}'?")
    forms = {"mnist_5k": "mnist_5k", "folder": "folder:PATH", "csv": "csv:PATH", "tfds": "tfds:NAME"}
    if source in forms:
        raise UserError(f"--dataset={dataset!r} is not complete", f"write it as {forms[source]}")
    raise UserError(
        f"unknown --dataset={dataset!r} (there are {', '.join(forms.values())})", nearest(source, forms)
    )


def load_digits(cache: Path, offline: bool) -> list[Example]:
    """Returns the digits of mnist_5k, all of them as train."""
    return _digits(assets.locate("mnist_5k", cache=cache, offline=offline) / "mnist_5k.csv.gz")


def _digits(table: Path) -> list[Example]:
    """Returns the digits of a CSV: 784 grey levels, row by row, then the digit."""
    rows = np.loadtxt(table, delimiter=",", dtype=np.uint8, ndmin=2)
    encoded = tf.io.encode_png(rows[:, :-1].reshape(-1, 28, 28, 1)).numpy()
    return [
        Example(image, f"mnist_5k/{row}", str(label), "train")
        for row, (image, label) in enumerate(zip(encoded, rows[:, -1], strict=True))
    ]


def _read_folder(root: Path) -> _Listing:
    if not root.is_dir():
        raise UserError(f"the folder {str(root)!r} does not exist", "check the path of --dataset")
    splits, warnings = split_folders(root)
    examples = []
    for split, folder in splits.items():
        class_folders = subfolders(folder)
        if not class_folders:
            raise UserError(
                f"the folder {str(folder)!r} holds no class folders",
                "put the images of each class in a folder of its own",
            )
        for class_folder in class_folders:
            files = files_under(class_folder)
            if not files and split == "train":
                raise UserError(
                    f"the class folder {str(class_folder)!r} is empty", "add images to it or remove it"
                )
            examples += [
                Example(str(path), printable(path.relative_to(root)), class_folder.name, split)
                for path in files
            ]
    return _Listing(examples, warnings=warnings)


def _read_csv(path: Path) -> _Listing:
    if not path.is_file():
        raise UserError(f"the file {str(path)!r} does not exist", "check the path of --dataset")
    examples = []
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            table = csv.DictReader(file)
            found = table.fieldnames or ()
            classes = share_columns(found, "label", repr(str(path)))
            missing = [name for name in ("image", *(() if classes else ("label",))) if name not in found]
            if missing:
                raise UserError(
                    f"{str(path)!r} has no column {missing[0]!r}",
                    "its first line must name the columns image,label and, optionally, split",
                )
            for row in table:
                examples.append(_csv_example(row, classes, path, table.line_num))
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(
            f"{str(path)!r} is not a CSV in UTF-8 ({error})", "save it as CSV in UTF-8"
        ) from error
    return _Listing(examples)


def _csv_example(row: dict[str, str | None], classes: dict[str, str], path: Path, line: int) -> Example:
    where = f"line {line} of {str(path)!r}"
    image, label, split = (
        (row.get(name, default) or "").strip()
        for name, default in (("image", ""), ("label", ""), ("split", "train"))
    )
    shares = parsed_shares(row, classes, where) if classes else None
    if shares:
        label = most_probable(shares)
    if not image or not label:
        raise UserError(f"{where} lacks an image or a label", "fill it in or remove it")
    return Example(str(path.parent / image), image, label, parsed_split(split, where), shares=shares)


def _read_tfds(name: str, cache: Path, offline: bool) -> _Listing:
    instead = "give the images as folder:PATH"
    builder = prepared_builder(name, cache=cache, offline=offline, flag="dataset", instead=instead)
    require_features(builder, name, "image", "label")
    return _Listing(*tfds_examples(builder, name, "image", "label", encoded=True))


def _image_split(examples: Sequence[Example], split: str, class_names: Sequence[str]) -> ImageSplit:
    items, labels, ids, shares = columns(examples, split, class_names)
    digests = tuple(example.digest for example in examples if example.split == split)
    in_memory = len(items) > 0 and isinstance(items[0], bytes)
    return ImageSplit(items, labels, ids, digests=digests, in_memory=in_memory, shares=shares)
