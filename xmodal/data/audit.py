"""What is wrong with a set of examples, found before training and not after it."""

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from xmodal.core.errors import UserError
from xmodal.core.formatting import first_few
from xmodal.core.reading import read_regular
from xmodal.data.decoding import why_not_decoded
from xmodal.data.examples import SPLITS, Example, ExampleKind
from xmodal.data.image_files import MAX_BYTES
from xmodal.data.personal_names import personal_warnings

# A class with fewer training examples than this is worth a warning, and so is a largest class with
# this many times the examples of the smallest.
FEW_EXAMPLES = 20
IMBALANCE = 10
# Levels of 256 between the darkest and the brightest pixel of an image in which there is little to see.
LITTLE_CONTRAST = 4
FEW_BITS = "of 16 bits of which the upper ones are not used, so that they are nearly black"


@dataclass(frozen=True)
class DataReport:
    """What was read, what was left out and what is doubtful; goes into metrics.json and report.html.

    Attributes:
        counts: split -> class name -> examples.
        dropped: (id, reason) of the examples that cannot be used and were left out.
        duplicates: (id, id) of two examples of one split with the same content.
        leaked: (train or validation id, test id) of two examples with the same content.
        warnings: one readable line each.
        digests: of what is learned from and tested on, see `digests_of`.
    """

    counts: dict[str, dict[str, int]]
    dropped: tuple[tuple[str, str], ...]
    duplicates: tuple[tuple[str, str], ...]
    leaked: tuple[tuple[str, str], ...]
    warnings: tuple[str, ...]
    digests: dict[str, str] = field(default_factory=dict)


class Scan(NamedTuple):
    """What looking at an example found: a digest of it, or why it cannot be used, and what is doubtful."""

    digest: bytes
    problem: str
    doubt: str = ""


def audit(
    examples: Sequence[Example],
    scans: Sequence[Scan],
    *,
    kind: ExampleKind,
    class_names: Sequence[str],
    min_per_class: int,
    keep_leaks: bool,
    bad_images: str = "skip",
) -> tuple[list[Example], DataReport]:
    """Leaves out what cannot be used, and reports on the rest.

    Args:
        examples: those of all splits, N of them.
        scans: what was found of each.
        kind: what the examples are.
        class_names: every class, in order.
        min_per_class: fewest usable training examples that a class may have.
        keep_leaks: keep train and validation examples that stand in test too; without it they are left
            out, and test stays as it is, comparable with other people's figures.
        bad_images: what to do with what cannot be used: "skip" or "fail".

    Returns:
        The examples that are left, in their order, and the report.

    Raises:
        UserError: for unusable examples with `bad_images="fail"`, a class with too few examples, or a
            split in which nothing is left.
    """
    usable, dropped = _drop_unusable(examples, scans, kind, bad_images)
    duplicates = _duplicates(usable)
    leaked = _leaks(usable)
    warnings = _content_warnings(len(examples), usable, dropped, duplicates, leaked, keep_leaks, kind)
    warnings += _doubts(examples, scans, kind)
    leaked_ids = set() if keep_leaks else {name for name, _ in leaked}
    kept_examples = [
        example._replace(digest=digest)
        for example, digest in usable
        if example.split == "test" or example.id not in leaked_ids
    ]
    counts = _counts(kept_examples, class_names)
    _require_enough(counts, {example.split for example in examples}, min_per_class, dropped, kind)
    warnings += _count_warnings(counts, kind)
    warnings += personal_warnings(class_names, [example.id for example in examples])
    return kept_examples, DataReport(counts, dropped, duplicates, leaked, warnings)


def audit_unlabelled(
    examples: Sequence[Example], scans: Sequence[Scan], *, kind: ExampleKind, bad_images: str = "skip"
) -> tuple[list[Example], DataReport]:
    """Leaves out what cannot be used of examples without labels, all of one split; as `audit` does.

    Raises:
        UserError: for unusable examples with `bad_images="fail"`, or when none is left.
    """
    usable, dropped = _drop_unusable(examples, scans, kind, bad_images)
    if not usable:
        raise UserError(f"no {kind.able} {kind.noun}s: {reasons(dropped)}", "give others")
    duplicates = _duplicates(usable)
    warnings = _content_warnings(len(examples), usable, dropped, duplicates, (), True, kind)
    warnings += _doubts(examples, scans, kind)
    usable_examples = [example._replace(digest=digest) for example, digest in usable]
    return usable_examples, DataReport(_counts(usable_examples, ("",)), dropped, duplicates, (), warnings)


def _drop_unusable(
    examples: Sequence[Example], scans: Sequence[Scan], kind: ExampleKind, bad_images: str
) -> tuple[list[tuple[Example, bytes]], tuple[tuple[str, str], ...]]:
    """Those that can be used, with their digests, and the ids of the others with the reasons."""
    example_scans = list(zip(examples, scans, strict=True))
    dropped = tuple(
        (example.id, scan_result.problem) for example, scan_result in example_scans if scan_result.problem
    )
    if dropped and bad_images == "fail":
        raise UserError(
            f"{_count(len(dropped), kind)} {kind.cannot}: {reasons(dropped)}",
            "fix or remove them, or pass `bad_images=skip`",
        )
    return [
        (example, scan_result.digest) for example, scan_result in example_scans if not scan_result.problem
    ], dropped


def scan(items: Sequence[str | bytes], pixels: Callable[[bytes], tf.Tensor]) -> list[Scan]:
    """Looks at images, see `scan_each`; `pixels` decodes the bytes of one."""
    return scan_each(items, partial(_look_at_image, pixels=pixels))


def scan_each(items: Sequence[str | bytes], look: Callable[[bytes], Scan]) -> list[Scan]:
    """Decodes every example on all cores, holding no more than one a core.

    Args:
        items: N file paths or encoded examples.
        look: decodes the bytes of one.

    Returns:
        N results, in the order of the items.
    """

    def scan_chunk(chunk: Sequence[str | bytes]) -> list[Scan]:
        return [_scan_one(item, look) for item in chunk]

    # One task a file would cost more than decoding a small file does.
    tasks = [items[start : start + 256] for start in range(0, len(items), 256)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return [result for results in pool.map(scan_chunk, tasks) for result in results]


def _scan_one(item: str | bytes, look: Callable[[bytes], Scan]) -> Scan:
    try:
        encoded = item if isinstance(item, bytes) else read_regular(item, MAX_BYTES)
    except (OSError, ValueError) as error:
        # A table may name a path that holds NUL.
        return Scan(b"", f"cannot be read: {getattr(error, 'strerror', error)}")
    return look(encoded)


def _look_at_image(encoded: bytes, pixels: Callable[[bytes], tf.Tensor]) -> Scan:
    try:
        image = pixels(encoded).numpy()
    except (tf.errors.InvalidArgumentError, tf.errors.UnimplementedError) as error:
        return Scan(b"", why_not_decoded(encoded, error))
    return Scan(content_digest(image), "", _doubt(encoded, image))


def content_digest(content: np.ndarray) -> bytes:
    """Returns what tells decoded contents apart."""
    # The shape counts: a 2x8 and a 4x4 image of one colour have the same bytes.
    return hashlib.blake2b(str(content.shape).encode() + content.tobytes(), digest_size=16).digest()


def _doubt(encoded: bytes, pixels: np.ndarray) -> str:
    """Says what is doubtful about an image (H, W, 3) that can be read; "" for nothing."""
    # Of 16 bits the upper 8 are kept: of 12 that a camera or a scanner fills, 4 are left, of 10 fewer.
    has_16_bits = encoded.startswith(b"\x89PNG") and encoded[24:25] == b"\x10"
    if has_16_bits and 0 < pixels.max() < 64:
        return FEW_BITS
    return "without contrast" if int(pixels.max()) - int(pixels.min()) <= LITTLE_CONTRAST else ""


def _duplicates(usable: Iterable[tuple[Example, bytes]]) -> tuple[tuple[str, str], ...]:
    first_by_digest: dict[tuple[str, bytes], Example] = {}
    pairs = []
    for example, digest in usable:
        original = first_by_digest.setdefault((example.split, digest), example)
        if original is not example:
            pairs.append((original.id, example.id))
    return tuple(pairs)


def _leaks(usable: Sequence[tuple[Example, bytes]]) -> tuple[tuple[str, str], ...]:
    test_ids = {digest: example.id for example, digest in reversed(usable) if example.split == "test"}
    return tuple(
        (example.id, test_ids[digest])
        for example, digest in usable
        if example.split != "test" and digest in test_ids
    )


def _counts(examples: Iterable[Example], class_names: Sequence[str]) -> dict[str, dict[str, int]]:
    counts = Counter((example.split, name) for example in examples for name in example.counted)
    return {split: {name: counts[split, name] for name in class_names} for split in SPLITS}


def _require_enough(
    counts: dict[str, dict[str, int]],
    listed_splits: Iterable[str],
    min_per_class: int,
    dropped: Sequence[tuple[str, str]],
    kind: ExampleKind,
) -> None:
    dropped_text = f" besides {len(dropped)} un{kind.able}, such as {reasons(dropped[:1])}" if dropped else ""
    for split in sorted(listed_splits):
        if not any(counts[split].values()):
            raise UserError(
                f"no {kind.able} {split} {kind.noun}s{dropped_text}", "check the files of the data set"
            )
    small_classes = [
        f"{name!r} ({count})" for name, count in counts["train"].items() if count < min_per_class
    ]
    if small_classes:
        raise UserError(
            f"fewer than `min_per_class={min_per_class}` training {kind.noun}s in class "
            f"{first_few(small_classes)}{dropped_text}",
            f"add {kind.noun}s, remove the class, or lower `min_per_class`",
        )


def _content_warnings(
    total: int,
    usable: Sequence[tuple[Example, bytes]],
    dropped: Sequence[tuple[str, str]],
    duplicates: Sequence[tuple[str, str]],
    leaked: Sequence[tuple[str, str]],
    keep_leaks: bool,
    kind: ExampleKind,
) -> tuple[str, ...]:
    lines = []
    if dropped:
        lines.append(
            f"{len(dropped)} of {_count(total, kind)} {kind.cannot} and were left out: {reasons(dropped)}"
        )
    if leaked:
        names = first_few([f"{name!r} = {test!r}" for name, test in leaked])
        action = "were kept" if keep_leaks else "were left out of training"
        lines.append(f"{_count(len(leaked), kind)} of train or validation also in test {action}: {names}")
    train_digests = {digest for example, digest in usable if example.split == "train"}
    overlap = [
        repr(example.id)
        for example, digest in usable
        if example.split == "validation" and digest in train_digests
    ]
    if overlap:
        lines.append(f"{_count(len(overlap), kind)} of validation also in train: {first_few(overlap)}")
    if duplicates:
        names = first_few([f"{name!r} = {duplicate!r}" for name, duplicate in duplicates])
        lines.append(f"{_count(len(duplicates), kind)} repeated within a split: {names}")
    first_by_digest: dict[bytes, Example] = {}
    conflicts = [
        f"{original.id!r} = {example.id!r}"
        for example, digest in usable
        if (original := first_by_digest.setdefault(digest, example)).class_name != example.class_name
    ]
    if conflicts:
        lines.append(
            f"{_count(len(conflicts), kind)} with {kind.same} in two classes: {first_few(conflicts)}"
        )
    return tuple(lines)


def _doubts(examples: Sequence[Example], scans: Sequence[Scan], kind: ExampleKind) -> tuple[str, ...]:
    groups: dict[str, list[str]] = {}
    for example, scan_result in zip(examples, scans, strict=True):
        if scan_result.doubt:
            groups.setdefault(scan_result.doubt, []).append(repr(example.id))
    return tuple(f"{_count(len(names), kind)} {doubt}: {first_few(names)}" for doubt, names in groups.items())


def _count_warnings(counts: dict[str, dict[str, int]], kind: ExampleKind) -> tuple[str, ...]:
    train = counts["train"]
    lines = []
    small_classes = [f"{name!r} ({count})" for name, count in train.items() if count < FEW_EXAMPLES]
    if small_classes:
        lines.append(f"fewer than {FEW_EXAMPLES} training {kind.noun}s in class {first_few(small_classes)}")
    largest, smallest = max(train, key=train.__getitem__), min(train, key=train.__getitem__)
    if train[largest] >= IMBALANCE * train[smallest]:
        lines.append(
            f"strong imbalance: class {largest!r} has {_count(train[largest], kind)} in train, "
            f"class {smallest!r} has {train[smallest]}"
        )
    for split in ("validation", "test"):
        absent_classes = [repr(name) for name, count in counts[split].items() if not count]
        if absent_classes:
            lines.append(f"no {split} {kind.noun}s in class {first_few(absent_classes)}")
    return tuple(lines)


def _count(count: int, kind: ExampleKind) -> str:
    return f"{count} {kind.noun}" if count == 1 else f"{count} {kind.noun}s"


def reasons(dropped: Sequence[tuple[str, str]]) -> str:
    """Returns the first few of (id, reason) in words, and how many more there are."""
    return first_few([f"{name!r} ({reason})" for name, reason in dropped])
