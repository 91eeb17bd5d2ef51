"""Groups of channels that are chosen together: those that one layer makes, and those added to them."""

from __future__ import annotations

import numpy as np

from xmodal.core.errors import UserError

# Shares of what channels have in common lie between these before they are divided by their sum: never equal,
# or the channels would learn the same (arXiv:1511.05641, section 2.4), and none of them near 0.
SHARES = (0.5, 1.5)


class Group:
    """Channels of a tensor, in the source and in the target.

    Args:
        source: how many the source has, None where new layers alone make them.
        target: how many the target has.
    """

    def __init__(self, source: int | None, target: int):
        self.source = source
        self.target = target
        self.norms: np.ndarray | float = 0.0
        self.joined: Group | None = None

    def root(self) -> Group:
        """Returns the group that stands for this one and all that it was joined with."""
        return self if self.joined is None else self.joined.root()

    def join(self, other: Group) -> None:
        """Lets two groups be chosen together.

        Raises:
            UserError: when they are of different sizes.
        """
        one, other = self.root(), other.root()
        if one is other:
            return
        if None not in (one.source, other.source) and one.source != other.source:
            raise UserError(
                f"channels that are joined are {one.source} and {other.source} in the source, {one.target} "
                "in the target",
                "choose widths that go together, or `growth=random`",
            )
        parent, child = (other, one) if one.source is None else (one, other)
        parent.norms = parent.norms + child.norms
        child.joined = parent

    def index(self) -> np.ndarray:
        """Returns the channel of the source that each one of the target stands for.

        In a wider target those of the source are repeated in turn; in a narrower one those with the largest
        L1 norms of weights stay (Li et al. 2017, arXiv:1608.08710, section 3.1), in their order.
        """
        source = self.target if self.source is None else self.source
        if self.target >= source:
            return np.arange(self.target) % source
        return np.sort(np.argsort(-np.broadcast_to(self.norms, source), kind="stable")[: self.target])


# Of a tensor: a concatenation has several groups.
Channels = tuple[Group, ...]


def size(channels: Channels) -> int:
    """Returns how many channels the target has."""
    return sum(group.target for group in channels)


def source_size(channels: Channels) -> int:
    """Returns how many channels the source has."""
    return sum(group.source or group.target for group in map(Group.root, channels))


def merge(one: Channels, other: Channels) -> None:
    """Lets the channels of two tensors be chosen together, as those of the terms of a sum are.

    Raises:
        UserError: when they are put together from groups of different sizes.
    """
    if [group.target for group in one] == [group.target for group in other]:
        for first, second in zip(one, other, strict=True):
            first.join(second)
    elif any(group.root().source not in (None, group.target) for group in (*one, *other)):
        raise UserError(
            f"a sum of concatenations of {[group.target for group in one]} and "
            f"{[group.target for group in other]} channels cannot be of another width than in the source",
            "use `growth=random`, or networks that are as wide up to there",
        )


def index(channels: Channels) -> np.ndarray:
    """Returns the channel of the source that each one of the target stands for.

    Example:
        >>> index((Group(2, 3), Group(2, 2)))
        array([0, 1, 0, 2, 3])
    """
    parts, start = [], 0
    for group in map(Group.root, channels):
        parts.append(group.index() + start)
        start += group.source or group.target
    return np.concatenate(parts)


def shares(places: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Returns how much of what a channel of the source gave each one of the target gives.

    Args:
        places: see `index`.
        rng: draws the shares of those that stand for the same channel; they add up to 1.
    """
    samples = np.where(np.bincount(places)[places] > 1, rng.uniform(*SHARES, len(places)), 1.0)
    return samples / np.bincount(places, samples)[places]


def add_norms(channels: Channels, norms: np.ndarray) -> None:
    """Adds to the norms of channels, (C,) as many as the source has."""
    start = 0
    for group in map(Group.root, channels):
        count = group.source or group.target
        group.norms = group.norms + norms[start : start + count]
        start += count


def is_uniform(places: np.ndarray, source: int) -> bool:
    """Tells whether each channel of the source is stood for as often as the others."""
    counts = np.bincount(places, minlength=source)
    return bool((counts == counts[0]).all())
