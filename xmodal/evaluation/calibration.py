"""Calibration: temperature scaling, and mixtures of two opinions, fitted on a validation split."""

import math
from collections.abc import Callable

import numpy as np

# Temperatures outside are of no use, and a bracket makes the search safe.
TEMPERATURES = (1e-3, 1e3)
# No float32 probability is to be trusted below its resolution; above all, a zero must not veto.
FLOOR = float(np.finfo(np.float32).eps)


def softmax(logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """Returns the softmax of logits (..., C) divided by a temperature, in float64."""
    scaled_logits = np.asarray(logits, np.float64) / temperature
    exponents = np.exp(scaled_logits - scaled_logits.max(axis=-1, keepdims=True))
    return exponents / exponents.sum(axis=-1, keepdims=True)


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """Finds the temperature T that calibrates softmax(logits / T) on held-out examples.

    T minimises the negative log likelihood, which is convex in 1/T (Guo et al. 2017, arXiv:1706.04599,
    section 4.2). Where every example is right the likelihood has no maximum and T falls to zero, so one
    example's weight is given to all classes alike, as Platt did ("Probabilistic Outputs for Support
    Vector Machines", 1999, section 2.2): N right answers of N make the confidence about 1 - 1/N, not 1.

    Args:
        logits: (N, C), of examples that the classifier was not trained on.
        labels: (N,), class indices.

    Returns:
        T, within `TEMPERATURES`; 1.0 when the logits of every row are equal, where any T would do.

    Raises:
        ValueError: for shapes, labels or values that do not fit.

    Example:
        >>> logits = np.array([[9.0, 0.0], [8.0, 0.0], [7.0, 0.0], [9.0, 0.0]])  # sure of the first class,
        >>> round(fit_temperature(logits, np.array([0, 0, 0, 1])), 1)  # which is right in three of four
        10.9
    """
    logits, labels = check_scores(logits, labels)
    logits = logits - logits.max(axis=1, keepdims=True)
    if not logits.any():
        return 1.0
    n = len(labels)
    target = (n * logits[np.arange(n), labels] + logits.mean(axis=1)).mean() / (n + 1)

    def slope(log_inverse: float) -> float:
        mean_logit = (softmax(logits, math.exp(-log_inverse)) * logits).sum(axis=1).mean()
        return mean_logit - target

    coldest, hottest = map(math.log, TEMPERATURES)
    return math.exp(-root(slope, -hottest, -coldest))


def match_temperature(logits: np.ndarray, probabilities: np.ndarray) -> float:
    """Finds the temperature T at which softmax(logits / T) is as doubtful as other probabilities are.

    A network is surer of the examples that it learned from than of others. With this temperature what it says
    of them can stand for what it says of others: the mean entropies are equal.

    Args:
        logits: (N, C).
        probabilities: (M, C).

    Returns:
        T, within `TEMPERATURES`; 1.0 when the logits of every row are equal, where any T would do.

    Example:
        >>> round(match_temperature(np.array([[6.0, 0.0]]), np.array([[0.95, 0.05]])), 1)  # ln(19) is 2.9
        2.0
    """
    logits, wanted = np.asarray(logits, np.float64), mean_entropy(probabilities)
    if not (logits - logits.max(axis=1, keepdims=True)).any():
        return 1.0

    def excess(log_temperature: float) -> float:
        return mean_entropy(softmax(logits, math.exp(log_temperature))) - wanted

    return math.exp(root(excess, *map(math.log, TEMPERATURES)))


def mean_entropy(probabilities: np.ndarray) -> float:
    """Returns the mean entropy of probabilities (N, C), in nats."""
    return float(-(probabilities * _logs(probabilities)).sum(axis=-1).mean())


def mix(p_a: np.ndarray, p_b: np.ndarray, weight: float) -> np.ndarray:
    """Pools two sets of probabilities (N, C): softmax(w log p_a + (1 - w) log p_b).

    Log-linear, not linear, because the sources are not independent (the sentence was made from the
    image): it adds scores s(x, c) with weights that sum to one, so that evidence is not counted twice,
    and what both agree on keeps its confidence, where a linear pool of calibrated sources is always
    under-confident (Genest and Zidek 1986; Ranjan and Gneiting 2010).

    Args:
        p_a, p_b: probabilities (N, C).
        weight: w in [0, 1], the share of `p_a`.

    Returns:
        Probabilities (N, C) in float64.
    """
    return softmax(weight * _logs(p_a) + (1 - weight) * _logs(p_b))


def fit_mixture(p_a: np.ndarray, p_b: np.ndarray, labels: np.ndarray) -> float:
    """Finds the weight for `mix` that minimises the negative log likelihood, which is convex in it.

    Args:
        p_a, p_b: probabilities (N, C) of held-out examples.
        labels: (N,), class indices.

    Returns:
        w in [0, 1], the share of `p_a`; 0.0 where any w would do.

    Raises:
        ValueError: for shapes, labels or values that do not fit.
    """
    p_a, labels = check_scores(p_a, labels)
    p_b, labels = check_scores(p_b, labels)
    if p_a.shape != p_b.shape:
        raise ValueError(f"p_a and p_b must have one shape. Received: {p_a.shape} and {p_b.shape}")
    logs_b = _logs(p_b)
    difference = _logs(p_a) - logs_b
    target = difference[np.arange(len(labels)), labels].mean()

    def slope(weight: float) -> float:
        return (softmax(logs_b + weight * difference) * difference).sum(axis=1).mean() - target

    return root(slope, 0.0, 1.0)


def _logs(probabilities: np.ndarray) -> np.ndarray:
    return np.log(np.maximum(np.asarray(probabilities, np.float64), FLOOR))


def check_scores(scores: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns scores (N, C) in float64 and labels (N,); raises a `ValueError` for what does not fit."""
    scores, labels = np.asarray(scores, np.float64), np.asarray(labels)
    if scores.ndim != 2 or labels.shape != scores.shape[:1] or not scores.size:
        raise ValueError(
            f"expected scores (N, C) and labels (N,) with N > 0. Received: {scores.shape} and {labels.shape}"
        )
    if not np.isfinite(scores).all():
        raise ValueError("scores must be finite")
    if not np.issubdtype(labels.dtype, np.integer) or labels.min() < 0 or labels.max() >= scores.shape[1]:
        raise ValueError(f"labels must be class indices below {scores.shape[1]}")
    return scores, labels


def root(rising: Callable[[float], float], low: float, high: float) -> float:
    """Returns where a rising function is zero on [low, high], or the end nearest to that."""
    if rising(low) >= 0:
        return low
    if rising(high) <= 0:
        return high
    while high - low > 1e-7:
        middle = (low + high) / 2
        if rising(middle) < 0:
            low = middle
        else:
            high = middle
    return (low + high) / 2
