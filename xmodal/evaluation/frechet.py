"""How far apart two sets of pictures are, by what a network sees in them."""

import numpy as np


def frechet_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Returns the squared Fréchet distance of two normal distributions, fitted to features (N, D) and (M, D).

    |mean_a - mean_b|^2 + trace(A + B - 2 (A B)^(1/2)), with covariances A and B (Heusel et al. 2017,
    arXiv:1706.08500, equation 6). The trace of the root is the sum of the singular values of R_a R_b^T,
    where A = R_a^T R_a: exact also for fewer examples than dimensions, and without a root of a matrix
    that may not have one. The figure falls with the number of examples: compare sets of equal size.

    Raises:
        ValueError: for fewer than two examples, or features of different width.
    """
    if min(len(a), len(b)) < 2 or a.shape[1:] != b.shape[1:] or a.ndim != 2:
        raise ValueError(f"expected (N, D) and (M, D), N and M at least 2. Received: {a.shape} and {b.shape}")
    roots = [_root(np.asarray(part, np.float64)) for part in (a, b)]
    cross_term = np.linalg.svd(roots[0] @ roots[1].T, compute_uv=False).sum()
    mean_distance = float(np.sum((a.mean(axis=0, dtype=np.float64) - b.mean(axis=0, dtype=np.float64)) ** 2))
    traces = sum(float(np.sum(root**2)) for root in roots)
    return mean_distance + traces - 2 * float(cross_term)


def _root(features: np.ndarray) -> np.ndarray:
    """Returns R with R^T R the covariance of features (N, D); it has at most D rows."""
    centred_features = (features - features.mean(axis=0)) / np.sqrt(len(features) - 1)
    if len(features) <= features.shape[1]:
        return centred_features
    return np.asarray(np.linalg.qr(centred_features, mode="r"))
