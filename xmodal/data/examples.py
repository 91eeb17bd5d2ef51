"""Examples of any kind: as they came, and as the columns of a split."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from xmodal.data.shares import most_probable

# Names and texts may hold halves of surrogate pairs.
LOSSLESS = ("utf-8", "surrogatepass")
SPLITS = ("train", "validation", "test")


# The split of training examples from another source until the splits are cut.
FURTHER = "further"


class Example(NamedTuple):
    """One example: its content or its file's path, its name in reports, its class and its split.

    The audit adds the digest of its content. With a soft label it has shares of several classes, and its
    class is the most probable one, the first of equal ones. Those of one group, or with the same item
    where there is none, such as texts of one image, are cut into the same split.
    """

    item: str | bytes
    id: str
    class_name: str
    split: str
    digest: bytes = b""
    shares: Mapping[str, float] | None = None
    group: str | bytes = ""

    @property
    def named(self) -> tuple[str, ...]:
        """The classes that its label names, whatever their shares."""
        return (self.class_name,) if self.shares is None else tuple(self.shares)

    @property
    def exact(self) -> bool:
        """Whether its shares are 0 and 1 alone, as those of several labels are."""
        return self.shares is not None and set(self.shares.values()) <= {0.0, 1.0}

    @property
    def counted(self) -> tuple[str, ...]:
        """The classes that it counts for: each of several labels, and of a soft label the class."""
        if self.shares is None:
            return (self.class_name,)
        full_names = tuple(name for name, share in self.shares.items() if share == 1)
        return full_names or ((self.class_name,) if any(self.shares.values()) else ())

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes that it belongs to, wholly or in part."""
        return tuple(name for name in self.named if self.shares is None or self.shares[name])


class Labelled:
    """What N labelled examples have in common, in whatever form they are held.

    Attributes:
        labels: (N,), the class of each: of a soft label the most probable one, the first of equal ones.
        shares: (N, C) float32, the shares of the classes, None where no label is soft.
    """

    labels: np.ndarray
    shares: np.ndarray | None

    @property
    def targets(self) -> np.ndarray:
        """What is learned of the examples: the shares (N, C), or without these the classes (N,).

        Of several labels each the shares are 0 and 1.
        """
        return self.labels if self.shares is None else self.shares

    def shares_at(self, positions: np.ndarray) -> np.ndarray | None:
        """Returns the shares of the examples at some positions (n, C)."""
        return None if self.shares is None else self.shares[positions]


class ExampleSplit(Labelled):
    """N labelled examples of a data set, as they came.

    Attributes:
        ids: how reports name each.
    """

    ids: tuple[str, ...]

    @property
    def contents(self) -> Iterator[bytes]:
        """What each example consists of, or a digest of it."""
        raise NotImplementedError


@dataclass(frozen=True)
class ExampleKind:
    """What the examples of a data set are, in the words of messages.

    Attributes:
        noun: the singular.
        able: those that can be learned from, such as "readable"; with "un" before it, the others.
        cannot: what is said of these others.
        same: what two that are the same have in common.
    """

    noun: str
    able: str
    cannot: str
    same: str


IMAGES = ExampleKind("image", "readable", "cannot be read", "the same pixels")
DOCUMENTS = ExampleKind("document", "usable", "cannot be used", "the same words")
SOUNDS = ExampleKind("sound", "readable", "cannot be read", "the same samples")
VIDEOS = ExampleKind("video", "readable", "cannot be read", "the same frames")
PAIRS = ExampleKind("pair", "usable", "cannot be used", "the same pixels")


def digests_of(splits: Sequence[ExampleSplit], class_names: Sequence[str]) -> dict[str, str]:
    """Returns what tells whether data are the same as before, without a second look at any file.

    Args:
        splits: the examples.
        class_names: what the labels stand for.

    Returns:
        Digests of the "ids", the "labels" and the "contents", by these names.
    """

    def digest(parts: Iterable[bytes]) -> str:
        hasher = hashlib.blake2b(digest_size=16)
        for part in parts:
            hasher.update(len(part).to_bytes(8) + part)
        return hasher.hexdigest()

    names = [name for split in splits for name in (str(len(split.ids)), *split.ids)]
    targets = [split.targets.tobytes() for split in splits]
    return {
        "ids": digest(name.encode(*LOSSLESS) for name in names),
        "labels": digest([*(name.encode(*LOSSLESS) for name in class_names), *targets]),
        "contents": digest(content for split in splits for content in split.contents),
    }


class Columns(NamedTuple):
    """The N examples of one split.

    Attributes:
        items: (N,) objects.
        labels: (N,) int32, positions in the class names.
        ids: how reports name each.
        digests: of the content of each.
        shares: of the classes (N, C) float32, None where no label is soft.
    """

    items: np.ndarray
    labels: np.ndarray
    ids: tuple[str, ...]
    digests: tuple[bytes, ...]
    shares: np.ndarray | None

    @property
    def in_memory(self) -> bool:
        """Whether items are contents and not paths of files."""
        return any(isinstance(item, bytes) for item in self.items)


def columns(examples: Sequence[Example], split: str, class_names: Sequence[str]) -> Columns:
    """Returns the columns of one split.

    Args:
        examples: those of all splits.
        split: one of `SPLITS`.
        class_names: the classes in order; a label is a position in them.
    """
    label_by_name = {name: position for position, name in enumerate(class_names)}
    split_examples = [example for example in examples if example.split == split]
    items = np.empty(len(split_examples), object)
    items[:] = [example.item for example in split_examples]
    labels = np.array([label_by_name[example.class_name] for example in split_examples], np.int32)
    is_soft = any(example.shares is not None for example in split_examples)
    shares = (
        np.array([_shares_of(example, class_names) for example in split_examples], np.float32)
        if is_soft
        else None
    )
    ids, digests = (tuple(getattr(example, name) for example in split_examples) for name in ("id", "digest"))
    return Columns(items, labels, ids, digests, shares)


def _shares_of(example: Example, class_names: Sequence[str]) -> list[float]:
    if example.shares is None:
        return [float(name == example.class_name) for name in class_names]
    return [example.shares[name] for name in class_names]


def rename_classes(example: Example, names: Mapping[str, str]) -> Example:
    """Returns an example with other names of the classes.

    Args:
        example: with a class, or shares of several.
        names: old name -> new name of every class, in the order of the classes.
    """
    if example.shares is None:
        return example._replace(class_name=names[example.class_name])
    shares = {new: example.shares.get(old, 0.0) for old, new in names.items()}
    # Of several labels the class is not the first one.
    class_name = names[example.class_name] if example.exact else most_probable(shares)
    return example._replace(class_name=class_name, shares=shares)
