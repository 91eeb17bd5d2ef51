"""Answers learned from what a classifier says in its own names: a linear map, by way of their words."""

from dataclasses import dataclass

import numpy as np

from xmodal.bridge.adaptation import fit_probe, opinions, standardiser
from xmodal.bridge.name_answers import name_weights, unit
from xmodal.evaluation.calibration import FLOOR


@dataclass(frozen=True)
class NamesHead:
    """Reads C answers from the probabilities of N names.

    Attributes:
        weights: how much each name speaks for each answer (N, C).
        bias: (C,).

    Example:
        >>> NamesHead(np.eye(2), np.zeros(2))(np.array([[0.9, 0.1]])).argmax(axis=1)
        array([0])
    """

    weights: np.ndarray
    bias: np.ndarray

    def __call__(self, shares: np.ndarray) -> np.ndarray:
        """Returns scores (B, C) from probabilities of the names (B, N)."""
        return shares @ self.weights + self.bias


def fit_names_head(
    shares: np.ndarray,
    labels: np.ndarray,
    names: np.ndarray,
    descriptions: np.ndarray,
    targets: np.ndarray,
) -> NamesHead:
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

    Example:
        >>> names, shares = np.eye(4, 3), np.eye(4)
        >>> head = fit_names_head(shares, np.array([0, 0, 1, 1]), names, names[[0, 2]], np.array([0, 1]))
        >>> head(shares).argmax(axis=1).tolist()
        [0, 0, 1, 1]
    """
    vectors, meant = unit(names), name_weights(names, descriptions, targets)
    standardise = standardiser(shares @ vectors)
    mixture = shares @ meant
    spread = np.maximum(mixture.std(axis=0), FLOOR)
    prior = NamesHead(meant / spread, -mixture.mean(axis=0) / spread)
    scores = prior(shares)
    probe = fit_probe(standardise(shares @ vectors), labels, opinions(scores))
    learned = probe.weights / standardise.scale[:, None]
    share = probe.offset / np.maximum((scores - scores.mean(axis=1, keepdims=True)).std(), FLOOR)
    return NamesHead(
        vectors @ learned + share * (prior.weights - prior.weights.mean(axis=1, keepdims=True)),
        share * (prior.bias - prior.bias.mean()) - standardise.mean @ learned,
    )
