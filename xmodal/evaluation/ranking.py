"""Ranks of matches, and scores of classes, from similarities."""

from dataclasses import dataclass

import numpy as np

TOP = (1, 5, 10)


@dataclass(frozen=True)
class Ranking:
    """How well queries find what is relevant to them.

    Attributes:
        queries: their number Q.
        recall: k -> share of the queries with something relevant among the first k.
        median_rank: median over the queries of the rank of the first relevant one, from 1.
        mean_average_precision: mean over the queries of the average precision, see `rank`.
    """

    queries: int
    recall: dict[int, float]
    median_rank: float
    mean_average_precision: float


def rank(scores: np.ndarray, relevant: np.ndarray) -> Ranking:
    """Ranks candidates by their scores, see `rank_each`."""
    first, precision = rank_each(scores, relevant)
    return Ranking(
        queries=len(scores),
        recall={k: float(np.mean(first <= k)) for k in TOP},
        median_rank=float(np.median(first)),
        mean_average_precision=float(np.mean(precision)),
    )


def rank_each(scores: np.ndarray, relevant: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ranks candidates by their scores, of equal ones the first first.

    The average precision of a query is the mean, over what is relevant to it, of the share of relevant
    ones among all down to that rank (Manning, Raghavan and Schuetze 2008, section 8.4).

    Args:
        scores: (Q, N), the higher the better.
        relevant: (Q, N) booleans, at least one true in each row.

    Returns:
        For each query the rank of the first relevant one, from 1, and the average precision; (Q,) each.

    Example:
        >>> first, precision = rank_each(np.array([[0.9, 0.5, 0.1]]), np.array([[False, True, True]]))
        >>> first.tolist(), precision.round(3).tolist()
        ([2], [0.583])
    """
    if scores.shape != relevant.shape or not scores.size or not relevant.any(axis=1).all():
        raise ValueError(
            "expected scores and relevance (Q, N), with something relevant to each query. "
            f"Received: {scores.shape} and {relevant.shape}"
        )
    order = np.argsort(-scores, axis=1, kind="stable")
    hits = np.take_along_axis(relevant, order, axis=1)
    ranks = np.arange(1, hits.shape[1] + 1)
    precision = np.cumsum(hits, axis=1) / ranks
    return hits.argmax(axis=1) + 1, (precision * hits).sum(axis=1) / hits.sum(axis=1)


def class_scores(scores: np.ndarray, labels: np.ndarray, classes: int) -> np.ndarray:
    """Returns the probability of each class (Q, C), the sum over its candidates of their softmax.

    Args:
        scores: scaled cosines (Q, N).
        labels: the class of each candidate (N,), every class at least once.
        classes: C.
    """
    weights = np.exp(scores - scores.max(axis=1, keepdims=True)).astype(np.float64)
    sums = weights @ np.eye(classes)[labels]
    # A class with more candidates is not for that the more probable one.
    sums /= np.bincount(labels, minlength=classes)
    return sums / sums.sum(axis=1, keepdims=True)
