"""Measurements that were repeated with several seeds, and what they show."""

import math
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from xmodal.evaluation.intervals import Z95, Comparison, comparison_sentence


@dataclass(frozen=True)
class Mean:
    """A mean over seeds and examples, with its 95% interval."""

    value: float
    ci95: tuple[float, float]


def mean_of(values: np.ndarray) -> Mean:
    """Returns the mean of what was measured with S seeds on the same N examples.

    There are two causes of doubt: other seeds would give other models, and other examples other answers.
    The interval's half width is the root of the sum of the squares of both: Student's over the S means,
    and the normal one over the N means. With one seed it is the second alone.

    Args:
        values: (S, N), such as whether each example was answered rightly, or a difference of these.
    """
    seeds, examples = values.shape
    seed_means, example_means = values.mean(axis=1), values.mean(axis=0)
    half_width = Z95 * example_means.std() / math.sqrt(examples)
    if seeds > 1:
        half_width = math.hypot(half_width, student95(seeds - 1) * seed_means.std(ddof=1) / math.sqrt(seeds))
    mean = float(values.mean())
    return Mean(mean, (mean - half_width, mean + half_width))


def compare_repeated(a_right: np.ndarray, b_right: np.ndarray, *, what: str, unit: str) -> Comparison:
    """Compares the accuracy of two ways to answer that were both tried with the same S seeds.

    Args:
        a_right: (S, N), whether each example was answered rightly with what is tried.
        b_right: (S, N), the same without it.
        what, unit: words of the sentence: what was tried, and what the examples are.
    """
    gain = mean_of(a_right.astype(float) - b_right.astype(float))
    seeds, examples = a_right.shape
    unit = f"{unit} and {_number(seeds)}"
    return Comparison(
        difference=gain.value,
        ci95=gain.ci95,
        n=examples,
        only_a=int((a_right & ~b_right).sum()),
        only_b=int((b_right & ~a_right).sum()),
        sentence=comparison_sentence(gain.value, gain.ci95, examples, what, unit),
    )


def beyond_chance(right: np.ndarray, chance: float, *, what: str, unit: str) -> Comparison:
    """Compares an accuracy that was measured with S seeds with that of answers drawn at random.

    Args:
        right: (S, N), whether each example was answered rightly.
        chance: the accuracy of such answers.
        what, unit: words of the sentence: what was tried, and what the examples are.

    Returns:
        The gain; its `only_a` and `only_b` count the right and the wrong answers.
    """
    gain = mean_of(right - chance)
    low, high = gain.ci95
    seeds, examples = right.shape
    verdict = f"cannot be told from chance with {examples:,} {unit} and {_number(seeds)}"
    if low > 0 or high < 0:
        verdict = f"was {'better' if low > 0 else 'worse'} than chance"
    points = f"{100 * gain.value:+z.1f} points (95% {100 * low:z.1f} to {100 * high:z.1f})"
    sentence = f"{what} {verdict}: {points} beyond {chance:.1%}"
    return Comparison(gain.value, gain.ci95, examples, int(right.sum()), int((~right).sum()), sentence)


def _number(seeds: int) -> str:
    return f"{seeds} seeds" if seeds > 1 else "one seed"


def student95(freedom: int) -> float:
    """Returns the 97.5% quantile of Student's distribution, found by halving an interval.

    P(|T| > t) is the regularised incomplete beta function I_x(v/2, 1/2) at x = v / (v + t^2).

    Args:
        freedom: degrees of freedom v.
    """
    low, high = 0.0, 100.0
    for _ in range(100):
        middle = (low + high) / 2
        tail = float(
            tf.math.betainc(
                tf.constant(freedom / 2, tf.float64),
                tf.constant(0.5, tf.float64),
                tf.constant(freedom / (freedom + middle**2), tf.float64),
            )
        )
        low, high = (middle, high) if tail > 0.05 else (low, middle)
    return low
