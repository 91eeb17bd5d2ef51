"""Examples of any kind, cut into splits: which ones follows from the seed and their ids alone."""

import hashlib
import re
from collections.abc import Mapping, Sequence

import numpy as np

from xmodal.config.data import SplitConfig
from xmodal.core.errors import UserError
from xmodal.core.formatting import first_few
from xmodal.data.examples import FURTHER, Example, ExampleKind, rename_classes


def with_groups(examples: list[Example], pattern: str) -> list[Example]:
    """Puts the examples into the groups that a pattern finds in their names, in its first parentheses.

    Raises:
        UserError: when it finds none in one of them.
    """
    if not pattern:
        return examples
    matches = [re.search(pattern, example.id) for example in examples]
    other_ids = [
        example.id
        for example, match in zip(examples, matches, strict=True)
        if not (match and match[1]) and example.split != FURTHER
    ]
    if other_ids:
        raise UserError(
            f"`group_pattern={pattern}` finds no group in {len(other_ids)} of {len(examples)} names, such as "
            f"{other_ids[0]!r}",
            "change it, or move these files",
        )
    return [
        example._replace(group=match[1]) if match else example
        for example, match in zip(examples, matches, strict=True)
    ]


def divided_groups(examples: Sequence[Example]) -> tuple[str, ...]:
    """Returns a warning of groups that the data itself has in test and in another split, or nothing."""
    groups: dict[bool, set[str | bytes]] = {True: set(), False: set()}
    for example in examples:
        if example.group:
            groups[example.split == "test"].add(example.group)
    shared_groups = sorted(map(str, groups[True] & groups[False]))
    return (
        (f"groups of test also in train or validation: {first_few(list(map(repr, shared_groups)))}",)
        if shared_groups
        else ()
    )


def divide(
    examples: list[Example],
    config: SplitConfig,
    *,
    dataset: str,
    kind: ExampleKind,
    own_names: Sequence[str],
    seed: int,
) -> tuple[list[Example], tuple[str, ...]]:
    """Names the classes and cuts the splits that the data comes without, see `split_and_audit`.

    Args:
        examples: those that the data came with.
        config: what is cut.
        dataset: how messages name the data.
        kind: what the examples are.
        own_names: the classes in the data's own order; empty for `class_order`.
        seed: of the cuts and of the limits.

    Returns:
        The examples with their splits and class names, and the names of the C classes in order.

    Raises:
        UserError: when the data cannot be learned from, or the names or the limit do not fit it.
    """
    original_names = tuple(own_names) or class_order({name for example in examples for name in example.named})
    if not config.class_names:
        _require_text(original_names)
    _require_learnable(dataset, examples, original_names, kind)
    names = _rename_classes(original_names, config.class_names)
    new_names = dict(zip(original_names, names, strict=True))
    examples = [rename_classes(example, new_names) for example in examples]
    examples = _cut(examples, "test", config.test_fraction, seed, kind)
    minimums = {"train": config.min_per_class}
    if config.train_examples:
        examples = _limit(examples, config.train_examples, minimums, kind, seed, flag="train_examples")
    examples = _cut(examples, "validation", config.validation_fraction, seed, kind)
    if config.limit:
        minimums |= {"validation": 1, "test": 1}
        examples = _limit(examples, config.limit, minimums, kind, seed, flag="limit")
    return examples, names


def class_order(names: set[str]) -> tuple[str, ...]:
    """Returns class names in order: by value when all are whole numbers, else alphabetical."""
    return tuple(sorted(names, key=int) if all(name.isdecimal() for name in names) else sorted(names))


def _require_text(class_names: Sequence[str]) -> None:
    """Refuses names that no text model could read: of folders on disks that are not in UTF-8."""
    for name in class_names:
        try:
            name.encode()
        except UnicodeEncodeError as error:
            printable_name = name.encode("utf-8", "backslashreplace").decode()
            raise UserError(
                f"the class name {printable_name!r} is not in UTF-8", "rename it, or give `class_names`"
            ) from error


def _require_learnable(
    dataset: str, examples: Sequence[Example], class_names: Sequence[str], kind: ExampleKind
) -> None:
    train_classes = {name for example in examples if example.split == "train" for name in example.classes}
    if not train_classes:
        raise UserError(f"{dataset!r} holds no training {kind.noun}s", "add some")
    for example in examples:
        for name in example.classes:
            if name not in train_classes:
                raise UserError(
                    f"class {name!r} stands in {example.split} ({example.id!r}) but not in train",
                    f"add training {kind.noun}s of it, or remove it",
                )
    for name in class_names:
        if name not in train_classes:
            raise UserError(
                f"{dataset!r} holds no training {kind.noun}s of class {name!r}",
                "add some, or remove the class",
            )
    if len(class_names) < 2:
        raise UserError(
            f"{dataset!r} holds one class only, {class_names[0]!r}", "there must be two to tell apart"
        )


def _rename_classes(names: tuple[str, ...], new_names: Sequence[str]) -> tuple[str, ...]:
    if not new_names:
        return names
    if len(new_names) != len(names):
        raise UserError(
            f"`class_names` gives {len(new_names)} names, the data has {len(names)} classes "
            f"({first_few(names, 10)})",
            "give one name a class, in this order",
        )
    repeated_names = [name for name in new_names if new_names.count(name) > 1]
    if repeated_names:
        raise UserError(f"`class_names` repeats {repeated_names[0]!r}", "give each class a name of its own")
    return tuple(new_names)


def _cut(examples: list[Example], split: str, fraction: float, seed: int, kind: ExampleKind) -> list[Example]:
    """Moves a stratified share of train to `split`, unless the data came with that split."""
    if any(example.split == split for example in examples):
        return examples
    positions = _stratify(
        examples, "train", fraction, seed, purpose=split, minimum=1, reserve=1, keep_groups=True
    )
    if fraction and not positions:
        raise UserError(
            f"no {split} {kind.noun}s can be cut from train: one of each class has to stay there, and no "
            "class has more",
            f"add {kind.noun}s, such as three of each class",
        )
    return [
        example._replace(split=split) if position in positions else example
        for position, example in enumerate(examples)
    ]


def _limit(
    examples: list[Example],
    count: int,
    minimums: Mapping[str, int],
    kind: ExampleKind,
    seed: int,
    *,
    flag: str,
) -> list[Example]:
    """Keeps `count` training examples, the same share of the other splits of `minimums`, and the rest whole.

    Of each class, so many are kept in a split; with a smaller count, some of the same examples.
    """
    train_labels = [example.class_name for example in examples if example.split == "train"]
    if count >= len(train_labels):
        return examples
    class_count = len(set(train_labels))
    if count < class_count * minimums["train"]:
        raise UserError(
            f"`{flag}={count}` is too few for {class_count} classes "
            f"of `min_per_class={minimums['train']}` {kind.noun}s",
            f"give at least {class_count * minimums['train']}",
        )
    positions = {position for position, example in enumerate(examples) if example.split not in minimums}
    for split, minimum in minimums.items():
        positions |= _stratify(
            examples, split, count / len(train_labels), seed, purpose=flag, minimum=minimum
        )
    return [examples[position] for position in sorted(positions)]


def _stratify(
    examples: Sequence[Example],
    split: str,
    fraction: float,
    seed: int,
    *,
    purpose: str,
    minimum: int,
    reserve: int = 0,
    keep_groups: bool = False,
) -> set[int]:
    """Returns the positions of a share of a split, classes in proportion.

    A class gives at least `minimum` examples but keeps `reserve`. Those of a class are ranked by a hash of
    the seed and their id: unlike a random generator's stream, it never changes with a library's version,
    and files that come or go do not reshuffle the others. With `keep_groups`, no group is cut in two.
    """
    groups: dict[object, list[int]] = {}
    for position, example in enumerate(examples):
        if example.split == split:
            groups.setdefault(
                (example.group or example.item or position) if keep_groups else position, []
            ).append(position)
    # A group belongs to the class of its first example.
    members: dict[str, list[list[int]]] = {}
    for group in groups.values():
        members.setdefault(examples[group[0]].class_name, []).append(group)

    def rank(group: list[int]) -> bytes:
        return hashlib.blake2b(f"{purpose}/{seed}/{examples[group[0]].id}".encode()).digest()

    counts = np.array([sum(map(len, parts)) for parts in members.values()], int)
    shares = _shares(counts, fraction, minimum, reserve)
    return {
        position
        for parts, share, count in zip(members.values(), shares, counts, strict=True)
        for group in _fit_groups(sorted(parts, key=rank), share, count - reserve)
        for position in group
    }


def _fit_groups(groups: Sequence[list[int]], share: int, limit: int) -> list[list[int]]:
    """Returns groups, in their order, that make a share; where all are too large, the smallest one."""
    fitting_groups: list[list[int]] = []
    capacity = share
    for group in groups:
        if len(group) <= capacity:
            fitting_groups.append(group)
            capacity -= len(group)
    small_groups = [group for group in groups if len(group) <= limit]
    return fitting_groups if fitting_groups or not share or not small_groups else [min(small_groups, key=len)]


def _shares(counts: np.ndarray, fraction: float, minimum: int, reserve: int) -> np.ndarray:
    """Divides a share of a whole among its (C,) parts; the sum is exact unless `minimum` makes it larger."""
    if not fraction:
        return np.zeros_like(counts)
    quotas = counts * fraction
    shares = np.minimum(minimum, counts - reserve)
    for _ in range(int(quotas.sum() + 0.5) - shares.sum()):
        deficits = np.where(shares < counts - reserve, quotas - shares, -np.inf)
        shares[deficits.argmax()] += 1
    return shares
