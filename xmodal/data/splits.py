"""Examples of any kind, cut into splits: which ones follows from the seed and their ids alone."""

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from xmodal.core.errors import UserError, nearest
from xmodal.core.formatting import first_few
from xmodal.data.shares import most_probable

# Names and texts may hold halves of surrogate pairs.
LOSSLESS = ("utf-8", "surrogatepass")
SPLITS = ("train", "validation", "test")
# What folders, files and columns call them, in any case.
SPLIT_WORDS = {
    **dict.fromkeys(("train", "training", "trn", "训练"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "validate", "dev", "devel", "development"), "validation"),
    **dict.fromkeys(("eval", "evaluation", "验证"), "validation"),
    **dict.fromkeys(("test", "testing", "tst", "holdout", "heldout", "测试"), "test"),
}
# What may follow them, as in "training_set".
SPLIT_ENDINGS = ("set", "data", "split", "images", "集")


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
        """What is learned of the examples: the shares (N, C), or without these the classes (N,)."""
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
class Things:
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


IMAGES = Things("image", "readable", "cannot be read", "the same pixels")
DOCUMENTS = Things("document", "usable", "cannot be used", "the same words")
PAIRS = Things("pair", "usable", "cannot be used", "the same pixels")


def divide(
    examples: list[Example],
    *,
    dataset: str,
    things: Things,
    own_names: Sequence[str],
    class_names: Sequence[str],
    validation_fraction: float,
    test_fraction: float,
    limit: int,
    train_examples: int,
    min_per_class: int,
    seed: int,
) -> tuple[list[Example], tuple[str, ...]]:
    """Names the classes and cuts the splits that the data comes without.

    Splits that the data comes with are taken as they are. Otherwise test, then validation, are cut from
    train: the same share of each class, and at least one example of each.

    Args:
        examples: those that the data came with.
        dataset: how messages name the data.
        things: what the examples are.
        own_names: the classes in the data's own order; empty for `class_order`.
        class_names: names in place of the data's own, in that order; empty to keep them.
        validation_fraction: share of train that becomes validation.
        test_fraction: share of train that becomes test.
        limit: most training examples, classes kept in proportion; the other splits shrink alike. 0 is all.
        train_examples: most examples that train has before validation is cut from it, classes kept in
            proportion; a split that the data comes with stays whole. 0 is all.
        min_per_class: fewest training examples of a class that both leave.
        seed: of the cuts and of both.

    Returns:
        The examples with their splits and class names, and the names of the C classes in order.

    Raises:
        UserError: when the data cannot be learned from, or the names or the limit do not fit it.
    """
    original = tuple(own_names) or class_order({name for example in examples for name in example.named})
    if not class_names:
        _require_text(original)
    _require_learnable(dataset, examples, original, things)
    names = _renamed(original, class_names)
    rename = dict(zip(original, names, strict=True))
    examples = [renamed(example, rename) for example in examples]
    examples = _cut(examples, "test", test_fraction, seed, things)
    if train_examples:
        least = {"train": min_per_class}
        examples = _limited(examples, train_examples, least, things, seed, flag="train_examples")
    examples = _cut(examples, "validation", validation_fraction, seed, things)
    if limit:
        least = {"train": min_per_class, "validation": 1, "test": 1}
        examples = _limited(examples, limit, least, things, seed, flag="limit")
    return examples, names


def digests_of(splits: Sequence[ExampleSplit], class_names: Sequence[str]) -> dict[str, str]:
    """Returns what tells whether data are the same as before, without a second look at any file.

    Args:
        splits: the examples.
        class_names: what the labels stand for.

    Returns:
        Digests of the "ids", the "labels" and the "contents", by these names.
    """

    def digest(parts: Iterable[bytes]) -> str:
        found = hashlib.blake2b(digest_size=16)
        for part in parts:
            found.update(len(part).to_bytes(8) + part)
        return found.hexdigest()

    names = [name for split in splits for name in (str(len(split.ids)), *split.ids)]
    targets = [split.targets.tobytes() for split in splits]
    return {
        "ids": digest(name.encode(*LOSSLESS) for name in names),
        "labels": digest([*(name.encode(*LOSSLESS) for name in class_names), *targets]),
        "contents": digest(content for split in splits for content in split.contents),
    }


def columns(
    examples: Sequence[Example], split: str, class_names: Sequence[str]
) -> tuple[np.ndarray, np.ndarray, tuple[str, ...], np.ndarray | None]:
    """Returns the items (N,) objects, labels (N,) int32, ids and, of soft labels, shares (N, C) of one split.

    Args:
        examples: those of all splits.
        split: one of `SPLITS`.
        class_names: the classes in order; a label is a position in them.
    """
    label = {name: position for position, name in enumerate(class_names)}
    chosen = [example for example in examples if example.split == split]
    items = np.empty(len(chosen), object)
    items[:] = [example.item for example in chosen]
    labels = np.array([label[example.class_name] for example in chosen], np.int32)
    soft = any(example.shares is not None for example in chosen)
    shares = np.array([_shares_of(example, class_names) for example in chosen], np.float32) if soft else None
    return items, labels, tuple(example.id for example in chosen), shares


def _shares_of(example: Example, class_names: Sequence[str]) -> list[float]:
    if example.shares is None:
        return [float(name == example.class_name) for name in class_names]
    return [example.shares[name] for name in class_names]


def renamed(example: Example, names: Mapping[str, str]) -> Example:
    """Returns an example with other names of the classes.

    Args:
        example: with a class, or shares of several.
        names: old name -> new name of every class, in the order of the classes.
    """
    if example.shares is None:
        return example._replace(class_name=names[example.class_name])
    shares = {new: example.shares.get(old, 0.0) for old, new in names.items()}
    return example._replace(class_name=most_probable(shares), shares=shares)


def split_of(word: str) -> str:
    """Returns the split that the name of a folder or file, or a word of a table, stands for; "" for none."""
    letters = re.sub(r"[\s_.-]", "", word.casefold())
    for ending in ("", *SPLIT_ENDINGS):
        if letters.endswith(ending) and (split := SPLIT_WORDS.get(letters.removesuffix(ending))):
            return split
    return ""


def with_splits(examples: Sequence[Example], where: str) -> tuple[list[Example], tuple[str, ...]]:
    """Puts splits in the place of the words that the rows of a table have for them.

    Args:
        examples: with the words as their splits.
        where: how messages name the table.

    Returns:
        The examples, and a warning of those without a word, which become train.

    Raises:
        UserError: for words that stand for no split: all of them at once.
    """
    unknown = Counter(example.split for example in examples if example.split and not split_of(example.split))
    if unknown:
        words = [f"{word!r} ({count})" for word, count in unknown.most_common()]
        first = next(example.id for example in examples if example.split in unknown)
        raise UserError(
            f"unknown splits in {where}: {first_few(words)}, the first in {first!r}",
            nearest(next(iter(unknown)), SPLITS) if len(unknown) == 1 else "write train, validation or test",
        )
    blank = [example.id for example in examples if not example.split]
    warning = f"rows of {where} without a split, which are taken for train: {len(blank)}, such as "
    named = [example._replace(split=split_of(example.split) or "train") for example in examples]
    return named, (f"{warning}{blank[0]!r}",) if blank else ()


def class_order(names: set[str]) -> tuple[str, ...]:
    """Returns class names in order: by value when all are whole numbers, else alphabetical."""
    return tuple(sorted(names, key=int) if all(name.isdecimal() for name in names) else sorted(names))


def _require_text(class_names: Sequence[str]) -> None:
    """Refuses names that no text model could read: of folders on disks that are not in UTF-8."""
    for name in class_names:
        try:
            name.encode()
        except UnicodeEncodeError as error:
            told = name.encode("utf-8", "backslashreplace").decode()
            raise UserError(
                f"the class name {told!r} is not in UTF-8", "rename it, or give `class_names`"
            ) from error


def _require_learnable(
    dataset: str, examples: Sequence[Example], class_names: Sequence[str], things: Things
) -> None:
    trained = {name for example in examples if example.split == "train" for name in example.classes}
    if not trained:
        raise UserError(f"{dataset!r} holds no training {things.noun}s", "add some")
    for example in examples:
        for name in example.classes:
            if name not in trained:
                raise UserError(
                    f"class {name!r} stands in {example.split} ({example.id!r}) but not in train",
                    f"add training {things.noun}s of it, or remove it",
                )
    for name in class_names:
        if name not in trained:
            raise UserError(
                f"{dataset!r} holds no training {things.noun}s of class {name!r}",
                "add some, or remove the class",
            )
    if len(class_names) < 2:
        raise UserError(
            f"{dataset!r} holds one class only, {class_names[0]!r}", "there must be two to tell apart"
        )


def _renamed(names: tuple[str, ...], given: Sequence[str]) -> tuple[str, ...]:
    if not given:
        return names
    if len(given) != len(names):
        raise UserError(
            f"`class_names` gives {len(given)} names, the data has {len(names)} classes "
            f"({first_few(names, 10)})",
            "give one name a class, in this order",
        )
    repeated = [name for name in given if given.count(name) > 1]
    if repeated:
        raise UserError(f"`class_names` repeats {repeated[0]!r}", "give each class a name of its own")
    return tuple(given)


def _cut(examples: list[Example], split: str, fraction: float, seed: int, things: Things) -> list[Example]:
    """Moves a stratified share of train to `split`, unless the data came with that split."""
    if any(example.split == split for example in examples):
        return examples
    chosen = _stratified(examples, "train", fraction, seed, purpose=split, least=1, spare=1, whole=True)
    if fraction and not chosen:
        raise UserError(
            f"no {split} {things.noun}s can be cut from train: one of each class has to stay there, and no "
            "class has more",
            f"add {things.noun}s, such as three of each class",
        )
    return [
        example._replace(split=split) if position in chosen else example
        for position, example in enumerate(examples)
    ]


def _limited(
    examples: list[Example], count: int, least: Mapping[str, int], things: Things, seed: int, *, flag: str
) -> list[Example]:
    """Keeps `count` training examples, the same share of the other splits of `least`, and the rest whole.

    Of each class, `least` are kept in a split; with a smaller count, some of the same examples.
    """
    trained = [example.class_name for example in examples if example.split == "train"]
    if count >= len(trained):
        return examples
    classes = len(set(trained))
    if count < classes * least["train"]:
        raise UserError(
            f"`{flag}={count}` is too few for {classes} classes "
            f"of `min_per_class={least['train']}` {things.noun}s",
            f"give at least {classes * least['train']}",
        )
    kept = {position for position, example in enumerate(examples) if example.split not in least}
    for split, fewest in least.items():
        kept |= _stratified(examples, split, count / len(trained), seed, purpose=flag, least=fewest)
    return [examples[position] for position in sorted(kept)]


def _stratified(
    examples: Sequence[Example],
    split: str,
    fraction: float,
    seed: int,
    *,
    purpose: str,
    least: int,
    spare: int = 0,
    whole: bool = False,
) -> set[int]:
    """Returns the positions of a share of a split, classes in proportion.

    A class gives at least `least` examples but keeps `spare`. Those of a class are ranked by a hash of
    the seed and their id: unlike a random generator's stream, it never changes with a library's version,
    and files that come or go do not reshuffle the others. With `whole`, no group is cut in two.
    """
    groups: dict[object, list[int]] = {}
    for position, example in enumerate(examples):
        if example.split == split:
            groups.setdefault((example.group or example.item or position) if whole else position, []).append(
                position
            )
    # A group belongs to the class of its first example.
    members: dict[str, list[list[int]]] = {}
    for group in groups.values():
        members.setdefault(examples[group[0]].class_name, []).append(group)

    def rank(group: list[int]) -> bytes:
        return hashlib.blake2b(f"{purpose}/{seed}/{examples[group[0]].id}".encode()).digest()

    counts = np.array([sum(map(len, parts)) for parts in members.values()], int)
    shares = _shares(counts, fraction, least, spare)
    return {
        position
        for parts, share, count in zip(members.values(), shares, counts, strict=True)
        for group in _fitting(sorted(parts, key=rank), share, count - spare)
        for position in group
    }


def _fitting(groups: Sequence[list[int]], share: int, most: int) -> list[list[int]]:
    """Returns groups, in their order, that make a share; where all are too large, the smallest one."""
    taken: list[list[int]] = []
    left = share
    for group in groups:
        if len(group) <= left:
            taken.append(group)
            left -= len(group)
    small = [group for group in groups if len(group) <= most]
    return taken if taken or not share or not small else [min(small, key=len)]


def _shares(counts: np.ndarray, fraction: float, least: int, spare: int) -> np.ndarray:
    """Divides a share of a whole among its (C,) parts; the sum is exact unless `least` makes it larger."""
    if not fraction:
        return np.zeros_like(counts)
    quotas = counts * fraction
    shares = np.minimum(least, counts - spare)
    for _ in range(int(quotas.sum() + 0.5) - shares.sum()):
        wanting = np.where(shares < counts - spare, quotas - shares, -np.inf)
        shares[wanting.argmax()] += 1
    return shares
