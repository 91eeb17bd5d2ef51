"""The styles of the bridge: how probabilities are put into words. A new one is a row of `STYLES`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

# Least probabilities of the class that the hedged style names first, for all but its weakest words. Compared
# with float32, Python's numbers become float32 themselves, in NumPy and in TensorFlow.
SURE, LIKELY, PROBABLE = 0.99, 0.95, 0.7
# TensorFlow's threads take subnormal numbers for zero, NumPy does not: below this, all are ties.
SMALLEST = 2.0**-126
# For the class named first, from sure to doubtful, and for the one named with it.
HEDGES = ("surely {}", "very likely {}", "probably {}", "possibly {}")
RIVAL_HEDGES = ("", ", or else {}", ", perhaps {}", " or {}")
# The least probabilities that the percent style tells apart, with what it says of those that are higher and
# not in the range before. Ranges are narrow where a little changes the odds much. A class below the last one
# is named only where it is the most probable.
PERCENT = {
    0.999: "99.9",
    0.997: "99.8",
    0.99: "99.4",
    0.98: "98.5",
    0.96: "97",
    0.93: "94",
    0.88: "90",
    0.8: "84",
    0.7: "75",
    0.5: "60",
    0.35: "42",
    0.2: "27",
    0.12: "16",
    0.06: "9",
    0.03: "4",
    0.01: "2",
    0.003: "0.6",
}
# What a class in a list has of what those before it leave.
LISTED = 2 / 3


def _after_first(ranked: Any, offset: int) -> list[int]:
    """Returns zero for the first class and `offset` for each after it (K,)."""
    return [0, *[offset] * (ranked.shape[-1] - 1)]


def _list(ranked: Any, where: Callable) -> Any:
    return where(ranked >= 0, 0, 0) + _after_first(ranked, 1)


def _hedge(ranked: Any, where: Callable) -> Any:
    first = ranked[..., :1]
    hedge = where(first >= SURE, 0, where(first >= LIKELY, 1, where(first >= PROBABLE, 2, 3)))
    return hedge + _after_first(ranked, len(HEDGES))


def _percent(ranked: Any, where: Callable) -> Any:
    level = sum(where(ranked < least, 1, 0) for least in PERCENT)
    return level + _after_first(ranked, len(PERCENT) + 1)


@dataclass(frozen=True)
class Style:
    """How the probabilities of a row become a phrase: by words around each class that is named.

    Attributes:
        words: texts with a `{}` for a class, and "" for one that is not named, as none after it is.
        choose: probabilities in descending order (..., K), K the most classes that are named, and `np.where`
            or `tf.where` -> for each class the index of its words (..., K). Both must come to the same: the
            probabilities are float32.
        places: the most classes that are named; None for the number that --top_k asks for.
        fewer: whether fewer classes than these may be there.
        shares: probabilities of the class that is named first, of which sentences are written without images.
        rivals: what each class after it has in these of what those before it leave.

    Example:
        >>> from xmodal.bridge import Bridge
        >>> def doubted(ranked, where):
        ...     return where(ranked > 0.5, 0, 1)
        >>> STYLES["shouted"] = Style(("{}!", "{}?"), doubted, places=1, shares=(0.8, 0.4))
        >>> Bridge(("cat", "dog"), "shouted").describe([0.7, 0.3])
        ['a photo of a cat!']
        >>> del STYLES["shouted"]
    """

    words: Sequence[str]
    choose: Callable[[Any, Callable], Any] = _list
    places: int | None = 1
    fewer: bool = False
    shares: Sequence[float] = (LISTED,)
    rivals: Sequence[float] = (LISTED,)


STYLES = {
    "top1": Style(("{}",)),
    "topk": Style(("{}", ", or {}"), places=None),
    # The shares are the middles of what each of the words is said for.
    "hedged": Style(
        (*HEDGES, *RIVAL_HEDGES), _hedge, places=2, shares=(0.995, 0.97, 0.825, 0.52), rivals=(0.8,)
    ),
    "percent": Style(
        (
            *(f"{percent}% {{}}" for percent in (*PERCENT.values(), "under 0.3")),
            *(f", {percent}% {{}}" for percent in PERCENT.values()),
            "",
        ),
        _percent,
        places=5,
        fewer=True,
        shares=tuple(float(percent) / 100 for percent in PERCENT.values()),
        rivals=(0.9, 0.6, 0.4),
    ),
}
