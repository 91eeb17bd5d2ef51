"""Sets of answers that hold the right one as often as is promised, and answers that are withheld."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from xmodal.evaluation.calibration import check_scores

# A class has a threshold of its own where each has so many times the examples that the smallest error needs:
# what a class gets beyond the promise is at most 1 in n + 1, and so a fifth of the error here.
TIMES_NEEDED = 5
# What a second opinion weighs against the first, which a few sentences make equal for many examples.
TIE_BREAK = 0.01


@dataclass(frozen=True)
class AnswerSets:
    """Which answers belong into the set of an example.

    Split conformal prediction (Vovk et al. 2005; Angelopoulos and Bates 2021, arXiv:2107.07511, section 1):
    of examples that could as well be among the held-out ones, the set of at most a share of `error` lacks
    the right answer, whatever the classifier. A set may be empty: nothing is promised for the example then.

    Attributes:
        error: the share of sets, 0 to 1, that may lack the right answer.
        least: the log probability (C,) that each answer needs to belong to it; -inf where there were too
            few held-out examples to leave any answer out.
        by_class: every class has a threshold of its own, and so the promise holds for each (Mondrian).
        examples: held-out ones that the thresholds come from.
    """

    error: float
    least: np.ndarray
    by_class: bool
    examples: int

    def __call__(self, scores: np.ndarray) -> np.ndarray:
        """Tells which answers belong to the sets: scores (N, C), as they were fitted -> bool (N, C)."""
        return scores >= self.least


def log_shares(logits: np.ndarray) -> np.ndarray:
    """Returns the log softmax of logits (..., C), in float64."""
    logits = np.asarray(logits, np.float64)
    shifted_logits = logits - logits.max(axis=-1, keepdims=True)
    return shifted_logits - np.log(np.exp(shifted_logits).sum(axis=-1, keepdims=True))


def set_scores(logits: np.ndarray, second: np.ndarray | None = None) -> np.ndarray:
    """Returns what answers are put into sets by: log probabilities (N, C), equal ones told apart.

    They are those before calibration: a temperature that was fitted on the held-out examples would make
    these differ from others, and then half of them could not be used.

    Args:
        logits: (N, C).
        second: logits of another opinion (N, C), where many examples have equal ones; it decides among them.
    """
    scores = log_shares(logits)
    return scores if second is None else scores + TIE_BREAK * log_shares(second)


def fit_answer_sets(scores: np.ndarray, labels: np.ndarray, error: float) -> AnswerSets:
    """Finds the scores that answers need, so that at most a share of `error` of the sets lack the right one.

    The threshold is the ceil((n + 1) (1 - error))-th highest of the n right answers' scores
    (arXiv:2107.07511, equation 1). Of all sets with this promise those by log probabilities are the smallest
    (LAC: Sadinle et al. 2019, arXiv:1609.00451). Each class has a threshold of its own where each has
    enough examples, see `TIMES_NEEDED` (arXiv:2107.07511, section 4.2).

    Args:
        scores: (N, C) of held-out examples, see `set_scores`.
        labels: (N,), class indices.
        error: above 0 and below 1.

    Raises:
        ValueError: for shapes, labels or values that do not fit.

    Example:
        >>> scores = set_scores(np.array([[2.0, 0.0], [1.0, 0.0], [0.0, 3.0], [0.0, 1.0]]))
        >>> sets = fit_answer_sets(scores, np.array([0, 0, 1, 0]), error=0.4)
        >>> sets(set_scores(np.array([[4.0, 0.0], [0.2, 0.0]])))  # sure of the first; not sure enough
        array([[ True, False],
               [False, False]])
    """
    if not 0 < error < 1:
        raise ValueError(f"error must be above 0 and below 1. Received: {error}")
    scores, labels = check_scores(scores, labels)
    classes = scores.shape[1]
    right = scores[np.arange(len(labels)), labels]
    is_per_class = np.bincount(labels, minlength=classes).min() >= TIMES_NEEDED * fewest(error)
    if is_per_class:
        least = np.array([_threshold(right[labels == number], error) for number in range(classes)])
    else:
        least = np.full(classes, _threshold(right, error))
    return AnswerSets(error, least, bool(is_per_class), len(labels))


def fewest(error: float) -> int:
    """Returns how many held-out examples an error needs at least: with fewer, sets hold all answers."""
    return math.ceil(round(1 / error, 9)) - 1


def _threshold(right: np.ndarray, error: float) -> float:
    # Rounded, since 0.95 * 20 is a little more than 19 in floating point.
    rank = math.ceil(round((len(right) + 1) * (1 - error), 9))
    return -math.inf if rank > len(right) else float(np.sort(right)[::-1][rank - 1])


@dataclass(frozen=True)
class Withheld:
    """What is right when the least certain answers are withheld.

    Attributes:
        answered: shares of the examples (N,), rising to 1, that are answered.
        errors: the share of these that is wrong (N,).
    """

    answered: np.ndarray
    errors: np.ndarray

    def most_answered(self, right: float) -> float:
        """Returns the largest share of examples of which a share of `right` is answered rightly."""
        shares = self.answered[self.errors <= 1 - right + 1e-12]
        return float(shares.max(initial=0.0))


def risk_coverage(probabilities: np.ndarray, correct: np.ndarray) -> Withheld:
    """Measures errors over the share that is answered, most certain first.

    The risk-coverage curve: El-Yaniv and Wiener 2010; Geifman and El-Yaniv 2017, arXiv:1705.08500.

    Args:
        probabilities: (N, C), or exponents of `set_scores`; the certainty of an example is its highest.
        correct: bool (N,), whether its answer is right.
    """
    order = np.argsort(-probabilities.max(axis=1), kind="stable")
    count = np.arange(1, len(order) + 1)
    return Withheld(count / len(order), np.cumsum(~correct[order]) / count)


def certainty_for(probabilities: np.ndarray, correct: np.ndarray, right: float) -> float:
    """Returns the lowest certainty from which on a share of `right` of the answers is right; inf for none.

    Args:
        probabilities: (N, C), as `risk_coverage` takes them, of held-out examples.
        correct: bool (N,).
        right: from 0 to 1.
    """
    certainty = np.sort(probabilities.max(axis=1))[::-1]
    curve = risk_coverage(probabilities, correct)
    count = round(curve.most_answered(right) * len(certainty))
    return float(certainty[count - 1]) if count else math.inf
