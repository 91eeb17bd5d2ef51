"""How well features of a network that was not trained on them tell classes apart, without training a head."""

import numpy as np

# Rounds of the fixed point at most, and the change of the ratio of both precisions that ends it.
ROUNDS, CLOSE = 200, 1e-4
# In the place of a sum of squares that is nothing.
TINY = 1e-10


def log_evidence(features: np.ndarray, labels: np.ndarray) -> float:
    """Returns LogME: the log evidence per example of Bayesian linear regression from features to classes.

    For each class y is 1 for its examples and 0 for others, y ~ N(F w, 1 / beta), w ~ N(0, 1 / alpha), and
    alpha and beta are those of the largest evidence p(y | F), found by MacKay's fixed point; the score is the
    mean over the classes. You et al. 2021 (arXiv:2102.11005), algorithm 3. Unlike there the features are
    standardised and y is centred, as `image_head` has a bias and reads what is standardised.

    Args:
        features: (N, D).
        labels: (N,), of two classes or more.

    Returns:
        The score; higher is better. Scores of the same labels can be compared.

    Raises:
        ValueError: for labels of a single class.

    Example:
        >>> labels = np.arange(60) % 2
        >>> telling = labels[:, None] + 0.1 * np.random.default_rng(0).normal(size=(60, 3))
        >>> log_evidence(telling, labels) > log_evidence(np.roll(telling, 1), labels)
        True
    """
    classes = np.unique(labels)
    if len(classes) < 2:
        raise ValueError(f"labels must be of two classes or more. Received: {classes.tolist()}")
    targets = (labels[:, None] == classes).astype(np.float64)
    targets -= targets.mean(axis=0)
    standard = _standardise(np.asarray(features, np.float64))
    values, vectors = np.linalg.eigh(standard @ standard.T)
    energy = (vectors.T @ targets) ** 2
    # What was centred has no part along the constant, whose eigenvalue is the first of those that are 0.
    energy[1] += energy[0]
    evidence = _largest_evidence(np.maximum(values, 0.0)[1:, None], energy[1:])
    return float(evidence.mean() / len(labels))


def _standardise(features: np.ndarray) -> np.ndarray:
    """Returns features (N, D) with means of 0; rare ones are not blown up, see `heads.standardisation`."""
    variance = features.var(axis=0)
    floor = np.median(variance[variance > 0]) if variance.any() else 1.0
    return (features - features.mean(axis=0)) / np.sqrt(np.maximum(variance, floor))


def _largest_evidence(spectrum: np.ndarray, energy: np.ndarray) -> np.ndarray:
    """Returns the log evidence of each class (C,) at the fixed point of its alpha and beta.

    Args:
        spectrum: eigenvalues of the Gram matrix F F' (N, 1).
        energy: squares of what the labels of each class are along its eigenvectors (N, C).
    """
    count = len(energy)
    alpha = beta = np.ones(energy.shape[1])
    for _ in range(ROUNDS):
        precisions = alpha + beta * spectrum
        effective = (beta * spectrum / precisions).sum(axis=0)
        weight, error = _sums(spectrum, energy, alpha, beta)
        previous_ratio = alpha / beta
        alpha = np.maximum(effective, TINY) / np.maximum(weight, TINY)
        beta = (count - effective) / np.maximum(error, TINY)
        if np.allclose(alpha / beta, previous_ratio, rtol=CLOSE, atol=0.0):
            break
    return _evidence(spectrum, energy, alpha, beta)


def _sums(
    spectrum: np.ndarray, energy: np.ndarray, alpha: np.ndarray, beta: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the squared norms (C,) of the most likely weights and of the errors that they leave."""
    precisions = alpha + beta * spectrum
    weight = (beta**2 * spectrum * energy / precisions**2).sum(axis=0)
    return weight, ((alpha / precisions) ** 2 * energy).sum(axis=0)


def _evidence(spectrum: np.ndarray, energy: np.ndarray, alpha: np.ndarray, beta: np.ndarray) -> np.ndarray:
    """Returns the log evidence (C,), which is that of y ~ N(0, 1 / beta + F F' / alpha)."""
    weight, error = _sums(spectrum, energy, alpha, beta)
    scales = np.log(alpha) + np.log(beta) - np.log(2 * np.pi)
    log_determinant = np.log(alpha + beta * spectrum).sum(axis=0)
    return 0.5 * (len(energy) * scales - log_determinant - beta * error - alpha * weight)
