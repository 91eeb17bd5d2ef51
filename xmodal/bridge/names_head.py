"""Answers learned from what a classifier says in its own names: a linear map, by way of their words."""

import numpy as np

from xmodal.bridge.adaptation import LinearMap, fit_probe, on_raw_features, opinions, standardiser
from xmodal.bridge.name_answers import name_weights, unit
from xmodal.evaluation.calibration import FLOOR


def fit_names_head(
    shares: np.ndarray,
    labels: np.ndarray,
    names: np.ndarray,
    descriptions: np.ndarray,
    targets: np.ndarray,
) -> LinearMap:
    """Learns from labelled images what a classifier that never learned the answers means by its names.

    What it says of an image is where the vectors of its names' sentences are on average, weighted by their
    probabilities (ConSE: Norouzi et al. 2014, arXiv:1312.5650). Ridge regression reads the answers there,
    and starts from what the names mean by their words alone, see `fit_probe`: names whose words are alike
    learn together. All of it is linear in the probabilities, and so is one table of names and answers.

    Args:
        shares: probabilities of the names (n, N).
        labels: the right answers (n,).
        names: vectors of the names' sentences (N, D).
        descriptions: vectors of the answers' descriptions (M, D).
        targets: the answer of each (M,), from 0 to C - 1, every answer at least once.

    Returns:
        A map of probabilities of the names (B, N) to scores of the answers (B, C).

    Example:
        >>> names, shares = np.eye(4, 3), np.eye(4)
        >>> head = fit_names_head(shares, np.array([0, 0, 1, 1]), names, names[[0, 2]], np.array([0, 1]))
        >>> head(shares).argmax(axis=1).tolist()
        [0, 0, 1, 1]
    """
    vectors, meanings = unit(names), name_weights(names, descriptions, targets)
    standardise = standardiser(shares @ vectors)
    mixture = shares @ meanings
    deviation = np.maximum(mixture.std(axis=0), FLOOR)
    prior = LinearMap(meanings / deviation, -mixture.mean(axis=0) / deviation)
    scores = prior(shares)
    probe = fit_probe(standardise(shares @ vectors), labels, opinions(scores))
    learned_map = on_raw_features(standardise, probe.weights)
    share = probe.offset / np.maximum((scores - scores.mean(axis=1, keepdims=True)).std(), FLOOR)
    return LinearMap(
        vectors @ learned_map.weights + share * (prior.weights - prior.weights.mean(axis=1, keepdims=True)),
        share * (prior.bias - prior.bias.mean()) + learned_map.bias,
    )
