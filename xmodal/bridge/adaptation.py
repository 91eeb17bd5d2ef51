"""What unlabelled images, and then a few labels, add to answers that were read from names: arrays alone."""

from dataclasses import dataclass

import numpy as np

from xmodal.bridge.name_answers import SHARPNESS
from xmodal.evaluation.calibration import FLOOR, softmax

# Of ridge regression on standardised features of mean square 1/D; chosen on training images of CIFAR-10, of
# which others measured (0.3 to 100, 1 to 16 rounds).
RIDGE = 3.0
ROUNDS = 8
RIDGES = tuple(10.0**power for power in (-2, -1, 0, 1, 2, 3))
# How much of a label, 0 or 1, one standard deviation of the names' opinion is; chosen on the same images.
OFFSETS = (0.0, 0.05, 0.15)
STEADY = 1e-6


def class_prior(probabilities: np.ndarray, rounds: int = 1000) -> tuple[np.ndarray, np.ndarray]:
    """Finds how frequent answers are among images without labels, by EM.

    Saerens, Latinne and Decaestecker 2002 ("Adjusting the outputs of a classifier to new a priori
    probabilities", Neural Computation 14, 21-41), for a reader that takes all answers for equally frequent.

    Args:
        probabilities: of the answers (B, C).
        rounds: the most.

    Returns:
        The prior (C,), and the probabilities (B, C) with it.
    """
    prior = np.full(probabilities.shape[1], 1 / probabilities.shape[1])
    posterior = probabilities
    for _ in range(rounds):
        posterior = probabilities * (prior * len(prior))
        posterior = posterior / np.maximum(posterior.sum(axis=1, keepdims=True), FLOOR)
        previous_prior, prior = prior, posterior.mean(axis=0)
        if np.abs(prior - previous_prior).max() < STEADY:
            break
    return prior, posterior


@dataclass(frozen=True)
class Standardiser:
    """The mean (D,) and scale (D,) of features; makes them of mean square 1/D."""

    mean: np.ndarray
    scale: np.ndarray

    def __call__(self, features: np.ndarray) -> np.ndarray:
        return (np.asarray(features, np.float64) - self.mean) / self.scale


def standardiser(features: np.ndarray) -> Standardiser:
    """Returns what standardises features (B, D) like these."""
    features = np.asarray(features, np.float64)
    return Standardiser(
        features.mean(axis=0), np.maximum(features.std(axis=0), FLOOR) * np.sqrt(features.shape[1])
    )


@dataclass(frozen=True)
class LinearMap:
    """A linear map with a bias: (B, D) -> (B, C).

    Attributes:
        weights: (D, C).
        bias: (C,).

    Example:
        >>> LinearMap(np.eye(2), np.ones(2))(np.array([[1.0, 2.0]])).tolist()
        [[2.0, 3.0]]
    """

    weights: np.ndarray
    bias: np.ndarray

    def __call__(self, features: np.ndarray) -> np.ndarray:
        return features @ self.weights + self.bias


def on_raw_features(
    standardise: Standardiser, weights: np.ndarray, bias: np.ndarray | float = 0.0
) -> LinearMap:
    """Returns the map of features (B, D) that is weights (D, C) and a bias of standardised ones."""
    weights = weights / standardise.scale[:, None]
    return LinearMap(weights, bias - standardise.mean @ weights)


def self_train(features: np.ndarray, logits: np.ndarray, *, rounds: int = ROUNDS) -> LinearMap:
    """Teaches a linear map of features the answers that the names gave, and then its own.

    Each round fits ridge regression to the answers' probabilities, in which sure ones weigh more, and takes
    its scores in standard deviations for new logits: where names err one by one, images that look alike
    agree. No label is used. It takes the answers for about equally frequent.

    Args:
        features: pooled features of B images (B, D).
        logits: the names' own (B, C), as `name_answers.read_names` returns them.
        rounds: how often.
    """
    standardise = standardiser(features)
    x = standardise(features)
    solve = np.linalg.solve(x.T @ x + RIDGE * np.eye(x.shape[1]), x.T)
    weights = np.zeros((x.shape[1], logits.shape[1]))
    for _ in range(rounds):
        targets = softmax(logits)
        weights = solve @ (targets - targets.mean(axis=0))
        deviation = np.maximum((x @ weights).std(axis=0), FLOOR)
        weights = SHARPNESS * weights / deviation
        logits = x @ weights
    return on_raw_features(standardise, weights)


def opinions(logits: np.ndarray, like: np.ndarray | None = None) -> np.ndarray:
    """Returns what names say beside labels: logits (B, C) less each row's mean, over the standard deviation.

    They stay linear: the names err too often for their probabilities to be labels. (Of 16 labels of each
    class of CIFAR-10, probabilities made a probe 0.9 points worse, and these make it 2.7 better.)

    Args:
        logits: of the answers (B, C).
        like: the logits (M, C) whose deviation counts, by default the same.
    """
    centred_logits = logits - logits.mean(axis=1, keepdims=True)
    deviation = centred_logits.std() if like is None else (like - like.mean(axis=1, keepdims=True)).std()
    return centred_logits / np.maximum(deviation, FLOOR)


def fit_probe(
    x: np.ndarray, labels: np.ndarray, names: np.ndarray, *, offsets: tuple[float, ...] = OFFSETS
) -> "Probe":
    """Fits a linear probe to a few labelled examples, with the names' opinion as what it starts from.

    It is ridge regression from features to what the names leave to explain, label - offset * opinion. The
    offset and the ridge are those with the smallest squared error on each label when it is left out, which
    ridge regression gives without another fit (Golub, Heath and Wahba 1979, Technometrics 21, 215-223).

    Args:
        x: standardised features (n, D).
        labels: of the examples (n,).
        names: the names' `opinions` of them (n, C).
        offsets: shares of the names to choose from; (0.0,) is a probe without names.
    """
    classes = names.shape[1]
    targets = np.eye(classes)[labels] - 1 / classes
    u, scale, vt = np.linalg.svd(x, full_matrices=False)
    best, best_settings = np.inf, (0.0, RIDGE)
    for ridge in RIDGES:
        shrinkage = scale**2 / (scale**2 + ridge)
        leverage = np.square(u) @ shrinkage
        for offset in offsets:
            rest = targets - offset * names
            residuals = (rest - u @ (shrinkage[:, None] * (u.T @ rest))) / (1 - leverage)[:, None]
            error = float(np.square(residuals).mean())
            if error < best:
                best, best_settings = error, (offset, ridge)
    offset, ridge = best_settings
    dual = (scale / (scale**2 + ridge))[:, None] * (u.T @ (targets - offset * names))
    return Probe(vt.T @ dual, offset)


@dataclass(frozen=True)
class Probe:
    """A linear reader of features beside the names.

    Attributes:
        weights: standardised features (D,) -> what to add to the names' opinion: (D, C).
        offset: the share of the names' opinion that is kept, 0 for none.
    """

    weights: np.ndarray
    offset: float

    def scores(self, x: np.ndarray, names: np.ndarray) -> np.ndarray:
        """Returns scores (B, C) from standardised features (B, D) and the names' `opinions` (B, C)."""
        return x @ self.weights + self.offset * names
