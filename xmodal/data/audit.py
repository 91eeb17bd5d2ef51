"""What is wrong with a set of images, found before training and not after it."""

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import tensorflow as tf

from xmodal.errors import UserError

SPLITS = ("train", "validation", "test")

# A class with fewer training images than this is worth a warning, and so is a largest class with
# this many times the images of the smallest.
FEW_IMAGES = 20
IMBALANCE = 10

SIGNATURES = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"GIF8": "GIF",
    b"BM": "BMP",
    b"RIFF": "WebP",
}


class Example(NamedTuple):
    """One image: a file path or the encoded bytes, its name in reports, its class and its split.

    The audit adds the digest of its pixels.
    """

    item: str | bytes
    id: str
    class_name: str
    split: str
    digest: bytes = b""


@dataclass(frozen=True)
class DataReport:
    """What was read, what was left out and what is doubtful; goes into metrics.json and report.html.

    Attributes:
        counts: split -> class name -> images.
        dropped: (id, reason) of the unreadable files that were left out.
        duplicates: (id, id) of two images of one split with the same pixels.
        leaked: (train or validation id, test id) of two images with the same pixels.
        warnings: one readable line each.
    """

    counts: dict[str, dict[str, int]]
    dropped: tuple[tuple[str, str], ...]
    duplicates: tuple[tuple[str, str], ...]
    leaked: tuple[tuple[str, str], ...]
    warnings: tuple[str, ...]


def audit(
    examples: Sequence[Example],
    *,
    pixels: Callable[[bytes], tf.Tensor],
    class_names: Sequence[str],
    bad_images: str,
    min_per_class: int,
    keep_leaks: bool,
) -> tuple[list[Example], DataReport]:
    """Decodes every image, leaves out what cannot be used, and reports on the rest.

    Args:
        examples: the images of all splits.
        pixels: decodes the bytes of an image; the same code that training reads images with, so that
            whatever passes here cannot stop an epoch later.
        class_names: every class, in order.
        bad_images: what to do with unreadable files: "skip" or "fail".
        min_per_class: fewest readable training images that a class may have.
        keep_leaks: keep train and validation images that stand in test too; without it they are left
            out, and test stays as it is, comparable with other people's figures.

    Returns:
        The examples that are left, in their order, and the report.

    Raises:
        UserError: for unreadable files with `bad_images="fail"`, a class with too few images, or a split
            in which nothing is left.
    """
    scans = scan([example.item for example in examples], pixels)
    scanned = list(zip(examples, scans, strict=True))
    dropped = tuple((example.id, found.problem) for example, found in scanned if found.problem)
    if dropped and bad_images == "fail":
        raise UserError(
            f"{_images(len(dropped))} cannot be read: {_reasons(dropped)}",
            "mend or remove them, or pass --bad_images=skip",
        )
    readable = [(example, found.digest) for example, found in scanned if not found.problem]
    duplicates = _duplicates(readable)
    leaked = _leaked(readable)
    warnings = _content_warnings(len(examples), readable, dropped, duplicates, leaked, keep_leaks)
    gone = set() if keep_leaks else {name for name, _ in leaked}
    kept = [
        example._replace(digest=digest)
        for example, digest in readable
        if example.split == "test" or example.id not in gone
    ]
    counts = _counts(kept, class_names)
    _require_enough(counts, {example.split for example in examples}, min_per_class, dropped)
    return kept, DataReport(counts, dropped, duplicates, leaked, warnings + _count_warnings(counts))


class Scan(NamedTuple):
    """What decoding an image found: a digest of its pixels, or why it has none."""

    digest: bytes
    problem: str


def scan(items: Sequence[str | bytes], pixels: Callable[[bytes], tf.Tensor]) -> list[Scan]:
    """Decodes every image on all cores, holding no more than one a core.

    Args:
        items: N file paths or encoded images.
        pixels: decodes the bytes of an image.

    Returns:
        N results, in the order of the items.
    """

    def scan_some(some: Sequence[str | bytes]) -> list[Scan]:
        return [_scan_one(item, pixels) for item in some]

    # One task a file would cost more than decoding a small file does.
    tasks = [items[start : start + 256] for start in range(0, len(items), 256)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return [result for results in pool.map(scan_some, tasks) for result in results]


def _scan_one(item: str | bytes, pixels: Callable[[bytes], tf.Tensor]) -> Scan:
    try:
        encoded = item if isinstance(item, bytes) else Path(item).read_bytes()
        image = pixels(encoded).numpy()
    except OSError as error:
        return Scan(b"", f"cannot be read: {error.strerror}")
    except (tf.errors.InvalidArgumentError, tf.errors.UnimplementedError):
        return Scan(b"", _why_undecodable(encoded))
    # The shape counts: a 2x8 and a 4x4 image of one colour have the same bytes.
    return Scan(hashlib.blake2b(str(image.shape).encode() + image.tobytes(), digest_size=16).digest(), "")


def _why_undecodable(encoded: bytes) -> str:
    if not encoded:
        return "empty file"
    for signature, kind in SIGNATURES.items():
        if encoded.startswith(signature):
            return f"truncated or corrupt {kind}"
    return "not an image"


def _duplicates(readable: Iterable[tuple[Example, bytes]]) -> tuple[tuple[str, str], ...]:
    first: dict[tuple[str, bytes], Example] = {}
    pairs = []
    for example, digest in readable:
        original = first.setdefault((example.split, digest), example)
        if original is not example:
            pairs.append((original.id, example.id))
    return tuple(pairs)


def _leaked(readable: Sequence[tuple[Example, bytes]]) -> tuple[tuple[str, str], ...]:
    tested = {digest: example.id for example, digest in reversed(readable) if example.split == "test"}
    return tuple(
        (example.id, tested[digest])
        for example, digest in readable
        if example.split != "test" and digest in tested
    )


def _counts(examples: Iterable[Example], class_names: Sequence[str]) -> dict[str, dict[str, int]]:
    found = Counter((example.split, example.class_name) for example in examples)
    return {split: {name: found[split, name] for name in class_names} for split in SPLITS}


def _require_enough(
    counts: dict[str, dict[str, int]],
    listed_splits: Iterable[str],
    min_per_class: int,
    dropped: Sequence[tuple[str, str]],
) -> None:
    after = f" besides {len(dropped)} unreadable, such as {_reasons(dropped[:1])}" if dropped else ""
    for split in sorted(listed_splits):
        if not any(counts[split].values()):
            raise UserError(f"no readable {split} images{after}", "check the files of the data set")
    short = [f"{name!r} ({count})" for name, count in counts["train"].items() if count < min_per_class]
    if short:
        raise UserError(
            f"fewer than --min_per_class={min_per_class} training images in class {_some(short)}{after}",
            "add images, remove the class, or lower --min_per_class",
        )


def _content_warnings(
    listed: int,
    readable: Sequence[tuple[Example, bytes]],
    dropped: Sequence[tuple[str, str]],
    duplicates: Sequence[tuple[str, str]],
    leaked: Sequence[tuple[str, str]],
    keep_leaks: bool,
) -> tuple[str, ...]:
    lines = []
    if dropped:
        lines.append(
            f"{len(dropped)} of {_images(listed)} cannot be read and were left out: {_reasons(dropped)}"
        )
    if leaked:
        names = _some([f"{name!r} = {test!r}" for name, test in leaked])
        kept = "were kept" if keep_leaks else "were left out of training"
        lines.append(f"{_images(len(leaked))} of train or validation also in test {kept}: {names}")
    trained = {digest for example, digest in readable if example.split == "train"}
    overlap = [
        repr(example.id)
        for example, digest in readable
        if example.split == "validation" and digest in trained
    ]
    if overlap:
        lines.append(f"{_images(len(overlap))} of validation also in train: {_some(overlap)}")
    if duplicates:
        names = _some([f"{name!r} = {again!r}" for name, again in duplicates])
        lines.append(f"{_images(len(duplicates))} repeated within a split: {names}")
    first: dict[bytes, Example] = {}
    conflicts = [
        f"{original.id!r} = {example.id!r}"
        for example, digest in readable
        if (original := first.setdefault(digest, example)).class_name != example.class_name
    ]
    if conflicts:
        lines.append(f"{_images(len(conflicts))} with the same pixels in two classes: {_some(conflicts)}")
    return tuple(lines)


def _count_warnings(counts: dict[str, dict[str, int]]) -> tuple[str, ...]:
    train = counts["train"]
    lines = []
    few = [f"{name!r} ({count})" for name, count in train.items() if count < FEW_IMAGES]
    if few:
        lines.append(f"fewer than {FEW_IMAGES} training images in class {_some(few)}")
    largest, smallest = max(train, key=train.__getitem__), min(train, key=train.__getitem__)
    if train[largest] >= IMBALANCE * train[smallest]:
        lines.append(
            f"strong imbalance: class {largest!r} has {_images(train[largest])} in train, "
            f"class {smallest!r} has {train[smallest]}"
        )
    for split in ("validation", "test"):
        absent = [repr(name) for name, count in counts[split].items() if not count]
        if absent:
            lines.append(f"no {split} images in class {_some(absent)}")
    return tuple(lines)


def _images(count: int) -> str:
    return f"{count} image" if count == 1 else f"{count} images"


def _reasons(dropped: Sequence[tuple[str, str]]) -> str:
    return _some([f"{name!r} ({reason})" for name, reason in dropped])


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more
