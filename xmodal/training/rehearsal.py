"""A rehearsal of a run: its loops stop after a few steps, and note how long the rest would have taken.

Every loop over batches asks here how far to go. Without a rehearsal it goes to its end, and nothing is noted.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

# The steps that a loop takes: the first ones build its graph and compile, and the fastest ones show its pace.
TAKEN, FASTEST = 4, 2

T = TypeVar("T")


@dataclass
class Rehearsal:
    """What was left out so far.

    Attributes:
        seconds: that it would have taken.
        repeats: how often the run goes through a loop for each time that the rehearsal does.
    """

    seconds: float = 0.0
    repeats: float = 1.0


_under_way: ContextVar[Rehearsal | None] = ContextVar("rehearsal", default=None)


@contextmanager
def rehearsal() -> Iterator[Rehearsal]:
    """Shortens every loop within a block."""
    rehearsal = Rehearsal()
    token = _under_way.set(rehearsal)
    try:
        yield rehearsal
    finally:
        _under_way.reset(token)


def under_way() -> bool:
    """Tells whether loops are shortened."""
    return _under_way.get() is not None


def shorten(steps: int, epochs: int, at_once: int = 1) -> tuple[int, int]:
    """Returns the steps of an epoch, and the epochs, that a training takes: all of them but in a rehearsal.

    Args:
        steps: of an epoch of the run.
        epochs: of the run.
        at_once: steps that are taken in one call.
    """
    if not under_way():
        return steps, epochs
    steps_taken = min(steps, TAKEN * at_once)
    return steps_taken, min(epochs, -(-TAKEN * at_once // steps_taken))


def representatives(items: Sequence[T], most: int) -> list[tuple[T, float]]:
    """Returns items with how often the run does what is done for them: once, for each of them.

    In a rehearsal there are `most` of them, of which the last one stands for all that are left out.
    """
    if not under_way() or len(items) <= most:
        return [(item, 1.0) for item in items]
    return [*((item, 1.0) for item in items[: most - 1]), (items[most - 1], 1.0 + len(items) - most)]


@contextmanager
def repeated(times: float) -> Iterator[None]:
    """Counts each loop within a block as often as the run goes through it, such as once an epoch."""
    rehearsal = _under_way.get()
    if rehearsal is None:
        yield
        return
    rehearsal.repeats *= times
    try:
        yield
    finally:
        rehearsal.repeats /= times


def stopwatch() -> Callable[[], float]:
    """Returns what tells the seconds since now, those that a rehearsal left out meanwhile among them."""
    rehearsal, start = _under_way.get(), time.perf_counter()
    seconds_before = rehearsal.seconds if rehearsal else 0.0
    return lambda: time.perf_counter() - start + (rehearsal.seconds - seconds_before if rehearsal else 0.0)


class Steps:
    """The steps of a loop.

    Attributes:
        planned: how many the run takes.
    """

    def __init__(self, planned: int):
        self._rehearsal = _under_way.get()
        self.planned = planned
        self._seconds: list[float] = []

    @contextmanager
    def timed(self, count: int = 1) -> Iterator[None]:
        """Times a block that takes so many steps; it has to wait for its results."""
        start = time.perf_counter()
        yield
        if self._rehearsal is not None:
            self._seconds += [(time.perf_counter() - start) / count] * count

    def few(self, items: Iterable[T]) -> Iterator[T]:
        """Yields what a step is taken for; in a rehearsal the first ones alone, over all calls."""
        if self._rehearsal is None:
            yield from items
            return
        iterator = iter(items)
        while len(self._seconds) < TAKEN:
            start = time.perf_counter()
            for item in islice(iterator, 1):
                yield item
                self._seconds.append(time.perf_counter() - start)
                break
            else:
                return

    @property
    def most(self) -> int:
        """How many are taken."""
        return self.planned if self._rehearsal is None else min(self.planned, TAKEN)

    @property
    def taken(self) -> int:
        """How many were taken so far, in a rehearsal."""
        return len(self._seconds)

    def close(self) -> None:
        """Notes the steps that were left out, at the pace of those that were taken."""
        if self._rehearsal is None or not self._seconds:
            return
        fastest_seconds = sorted(self._seconds)[:FASTEST]
        steps_left_out = self.planned * self._rehearsal.repeats - len(self._seconds)
        self._rehearsal.seconds += max(0.0, steps_left_out) * sum(fastest_seconds) / len(fastest_seconds)
