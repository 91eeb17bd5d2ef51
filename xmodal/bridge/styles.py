"""The styles of the bridge: how probabilities are put into words. A new one is a row of `STYLES`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

# Least probabilities of the class that the hedged style names first, for all but its weakest words. Compared
# with float32, Python's numbers become float32 themselves, in NumPy and in TensorFlow.
SURE, LIKELY, PROBABLE = 0.99, 0.95, 0.7
# TensorFlow's threads take subnormal numbers for zero, NumPy does not: below this, all are ties.
SMALLEST = 2.0**-126
# In the order of `_hedge`. They name two classes at most, so there are never more than 3 C^2 of these
# phrases, however many the images: equal sentences are merged, and BERT reads each once.
HEDGES = (
    "surely {}",
    "very likely {}, or else {}",
    "probably {}, perhaps {}",
    "possibly {} or {}",
)
# What a class in a list has of what those before it leave.
LISTED = 2 / 3


def _first_pattern(probabilities: Any, where: Callable) -> Any:
    return where(probabilities[..., 0] >= 0, 0, 0)


def _hedge(probabilities: Any, where: Callable) -> Any:
    first = probabilities[..., 0]
    return where(first >= SURE, 0, where(first >= LIKELY, 1, where(first >= PROBABLE, 2, 3)))


@dataclass(frozen=True)
class Style:
    """How the probabilities of a row become a phrase.

    Attributes:
        patterns: phrases with a `{}` for each class that they name, in descending order of probability;
            or a function that makes them of the number of classes that --top_k asks for.
        choose: probabilities in descending order (..., K), K the most classes that a pattern names, and
            `np.where` or `tf.where` -> the index of a pattern (...,). Both must come to the same: the
            probabilities are float32.
        shares: the probability of the class that each pattern names first, where no image says more.
        rival: what each class named later has of what those before it leave.

    Example:
        >>> from xmodal.bridge import Bridge
        >>> def doubted(ranked, where):
        ...     return where(ranked[..., 0] > 0.5, 0, 1)
        >>> STYLES["shouted"] = Style(("{}!", "{}?"), doubted, shares=(0.8, 0.4))
        >>> Bridge(("cat", "dog"), "shouted").describe([0.7, 0.3])
        ['a photo of a cat!']
        >>> del STYLES["shouted"]
    """

    patterns: Sequence[str] | Callable[[int], Sequence[str]]
    choose: Callable[[Any, Callable], Any] = _first_pattern
    shares: Sequence[float] = (LISTED,)
    rival: float = LISTED

    def patterns_for(self, top_k: int) -> tuple[str, ...]:
        """Returns the patterns that name `top_k` classes, or those that there are."""
        return tuple(self.patterns(top_k) if callable(self.patterns) else self.patterns)


STYLES = {
    "top1": Style(("{}",)),
    "topk": Style(lambda top_k: (", or ".join(["{}"] * top_k),)),
    # The shares are the middles of what each of the words is said for.
    "hedged": Style(HEDGES, _hedge, shares=(0.995, 0.97, 0.825, 0.52), rival=0.8),
}
