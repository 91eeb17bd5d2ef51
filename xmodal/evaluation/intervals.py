"""Intervals of proportions (Wilson) and of their paired differences (Newcombe)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

CONFIDENCE = 0.95
Z95 = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
# Findings of one run from which on it says how many are to be expected by chance.
MANY = 5


@dataclass(frozen=True)
class Comparison:
    """The difference in accuracy between two ways, a and b, to answer for the same examples.

    Attributes:
        difference: accuracy of a minus accuracy of b.
        ci95: 95% interval of the difference.
        n: the number of examples N.
        only_a, only_b: examples that only one of them answers rightly.
        sentence: the finding in plain words.
    """

    difference: float
    ci95: tuple[float, float]
    n: int
    only_a: int
    only_b: int
    sentence: str


def findings(sentences: Sequence[str]) -> tuple[str, ...]:
    """Returns what was found, each with a 95% interval of its own, and of many what chance has to do with it.

    The intervals are not made wider for being many, so that each can be read alone.

    Example:
        >>> findings(["a helped"] * 40)[-1]
        'of 40 differences that are none, 2 would be told as help or hurt by chance: each interval is at 95%'
    """
    count = len(sentences)
    if count < MANY:
        return tuple(sentences)
    by_chance = f"{count * (1 - CONFIDENCE):.2g} would be told as help or hurt by chance"
    return (
        *sentences,
        f"of {count} differences that are none, {by_chance}: each interval is at {CONFIDENCE:.0%}",
    )


def wilson_interval(right: int, n: int) -> tuple[float, float]:
    """Returns the 95% score interval of the share right/n (Wilson 1927, JASA 22, 209-212).

    It stays within 0 and 1 and has a width also where every example is right.
    """
    share = right / n
    centre = (share + Z95**2 / (2 * n)) / (1 + Z95**2 / n)
    half_width = Z95 * math.sqrt(share * (1 - share) / n + Z95**2 / (4 * n**2)) / (1 + Z95**2 / n)
    # Exactly 0 and 1 at the ends, where rounding would leave a trace.
    return (0.0 if right == 0 else centre - half_width, 1.0 if right == n else centre + half_width)


def compare_paired(
    a_right: np.ndarray, b_right: np.ndarray, *, what: str = "transfer", unit: str = "images"
) -> Comparison:
    """Compares the accuracy of two ways to answer for the same examples.

    The interval is method 10 of Newcombe 1998 ("Improved confidence intervals for the difference
    between binomial proportions based on paired data", Statistics in Medicine 17, 2635-2650): the Wilson
    intervals of both accuracies, combined by their correlation. It needs no random numbers, and it
    holds where one of them is always right.

    Args:
        a_right: (N,), whether each example was answered rightly with what is tried.
        b_right: (N,), the same without it.
        what, unit: words of the sentence: what was tried, and what the examples are.

    Returns:
        A `Comparison`: the difference of the accuracies and its 95% interval, both as shares from -1 to 1,
        and the finding as a sentence, in points (hundredths).

    Raises:
        ValueError: for no examples, or arrays that are not (N,) booleans of the same N.

    Example:
        >>> with_transfer = np.array([True] * 95 + [False] * 5)
        >>> without = np.array([True] * 80 + [False] * 20)
        >>> compare_paired(with_transfer, without).sentence
        'transfer helped: +15.0 points (95% 8.0 to 23.2)'
    """
    a_right, b_right = np.asarray(a_right), np.asarray(b_right)
    if a_right.ndim != 1 or a_right.shape != b_right.shape or not a_right.size:
        raise ValueError(
            f"expected two arrays (N,) with N > 0. Received: {a_right.shape} and {b_right.shape}"
        )
    if a_right.dtype != bool or b_right.dtype != bool:
        raise ValueError(f"expected booleans. Received: {a_right.dtype} and {b_right.dtype}")
    n = len(a_right)
    only_a, only_b = int((a_right & ~b_right).sum()), int((b_right & ~a_right).sum())
    difference = (only_a - only_b) / n
    ci95 = _newcombe_interval(int((a_right & b_right).sum()), only_a, only_b, n)
    return Comparison(
        difference, ci95, n, only_a, only_b, comparison_sentence(difference, ci95, n, what, unit)
    )


def comparison_sentence(difference: float, ci95: tuple[float, float], n: int, what: str, unit: str) -> str:
    """Says whether something helped, hurt or made no difference that can be shown.

    Args:
        difference: of the accuracies.
        ci95: its interval.
        n: the number of examples.
        what, unit: what was tried, and what the examples are.
    """
    figures = f"{100 * difference:+z.1f} points (95% {100 * ci95[0]:z.1f} to {100 * ci95[1]:z.1f})"
    if ci95[0] > 0:
        return f"{what} helped: {figures}"
    if ci95[1] < 0:
        return f"{what} hurt: {figures}"
    return f"{what} made no difference that {n:,} {unit} can show: {figures}"


def difference_interval(
    a: float,
    a_ci95: tuple[float, float],
    b: float,
    b_ci95: tuple[float, float],
    *,
    correlation: float = 0.0,
) -> tuple[float, float]:
    """Returns the 95% interval of the difference a - b of two accuracies, from their Wilson intervals.

    Method 10 of Newcombe 1998 (Statistics in Medicine 17, 873-890, for independent proportions; 2635-2650 for
    paired ones). Of two sets of answers for the same examples, no correlation gives an interval that is too
    wide, and not too narrow, as long as they err on the same examples.

    Args:
        a, b: the accuracies.
        a_ci95, b_ci95: their intervals.
        correlation: phi of the right answers.

    Example:
        >>> low, high = difference_interval(0.9, wilson_interval(90, 100), 0.8, wilson_interval(80, 100))
        >>> f"{low:.3f} to {high:.3f}"
        '0.000 to 0.199'
    """
    below_a, above_a = a - a_ci95[0], a_ci95[1] - a
    below_b, above_b = b - b_ci95[0], b_ci95[1] - b
    lower_width = math.sqrt(below_a**2 - 2 * correlation * below_a * above_b + above_b**2)
    upper_width = math.sqrt(above_a**2 - 2 * correlation * above_a * below_b + below_b**2)
    return a - b - lower_width, a - b + upper_width


def _newcombe_interval(both: int, only_a: int, only_b: int, n: int) -> tuple[float, float]:
    neither = n - both - only_a - only_b
    a, b = both + only_a, both + only_b
    covariance: float = both * neither - only_a * only_b
    # Newcombe's correction for continuity, for positive correlation only.
    if covariance > 0:
        covariance = max(covariance - n / 2, 0.0)
    scale = math.sqrt(a * (n - a) * b * (n - b))
    phi = covariance / scale if scale else 0.0
    return difference_interval(a / n, wilson_interval(a, n), b / n, wilson_interval(b, n), correlation=phi)
