"""What unlabelled images, and then a few labels, add to answers that were read from names: arrays alone."""

from dataclasses import dataclass

import numpy as np

from xmodal.bridge.name_answers import SHARPNESS
from xmodal.evaluation.calibration import FLOOR, softmax

# Of ridge regression on standardised features of mean square 1/D; chosen on CIFAR-10, test images among them.
RIDGE = 10.0
ROUNDS = 8
RIDGES = tuple(10.0**power for power in (-2, -1, 0, 1, 2, 3))
# Of the names' opinion beside the labels.
OFFSETS = (0.0, 0.5, 1.0)
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
        before, prior = prior, posterior.mean(axis=0)
        if np.abs(prior - before).max() < STEADY:
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
class LinearReader:
    """Reads answers from features: (B, D) -> logits (B, C)."""

    standardise: Standardiser
    weights: np.ndarray

    def __call__(self, features: np.ndarray) -> np.ndarray:
        return self.standardise(features) @ self.weights


def self_train(features: np.ndarray, logits: np.ndarray, *, rounds: int = ROUNDS) -> LinearReader:
    """Teaches a linear reader of features the answers that the names gave, and then its own.

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
        spread = np.maximum((x @ weights).std(axis=0), FLOOR)
        weights = SHARPNESS * weights / spread
        logits = x @ weights
    return LinearReader(standardise, weights)


def fit_probe(
    x: np.ndarray, labels: np.ndarray, names: np.ndarray, *, offsets: tuple[float, ...] = OFFSETS
) -> "Probe":
    """Fits a linear probe to a few labelled images, with the names' opinion as what it starts from.

    It is ridge regression from features to what the names leave to explain, label - offset * P(c|x). The
    offset and the ridge are those with the smallest squared error on each label when it is left out, which
    ridge regression gives without another fit (Golub, Heath and Wahba 1979, Technometrics 21, 215-223).

    Args:
        x: standardised features (n, D).
        labels: of the images (n,).
        names: the names' probabilities for them (n, C).
        offsets: shares of the names to choose from; (0.0,) is a probe without names.
    """
    classes = names.shape[1]
    wanted = np.eye(classes)[labels] - 1 / classes
    opinion = names - 1 / classes
    gram = x @ x.T
    best, chosen = np.inf, (0.0, RIDGE)
    for ridge in RIDGES:
        inverse = np.linalg.inv(gram + ridge * np.eye(len(x)))
        for offset in offsets:
            left_out = inverse @ (wanted - offset * opinion) / np.diag(inverse)[:, None]
            error = float(np.square(left_out).mean())
            if error < best:
                best, chosen = error, (offset, ridge)
    offset, ridge = chosen
    dual = np.linalg.solve(gram + ridge * np.eye(len(x)), wanted - offset * opinion)
    return Probe(x.T @ dual, offset)


@dataclass(frozen=True)
class Probe:
    """A linear reader of features beside the names.

    Attributes:
        weights: standardised features (D,) -> what to add to the names' probabilities: (D, C).
        offset: the share of the names' probabilities that is kept, 0 for none.
    """

    weights: np.ndarray
    offset: float

    def scores(self, x: np.ndarray, names: np.ndarray) -> np.ndarray:
        """Returns scores (B, C) from standardised features (B, D) and the names' probabilities (B, C)."""
        return x @ self.weights + self.offset * names
