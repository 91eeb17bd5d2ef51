"""Examples that are worth a look: the hardest ones, and a few right and wrong of each class."""

from __future__ import annotations

from typing import Literal

import numpy as np

from xmodal.evaluation.metrics import check_probabilities, of_label

Kind = Literal["wrong", "right", "unsure", "unknown"]


def hardest(probabilities: np.ndarray, labels: np.ndarray, k: int) -> np.ndarray:
    """Returns the indices (at most k) of the examples whose label got the least probability, worst first."""
    probabilities, labels = check_probabilities(probabilities, labels)
    return np.argsort(of_label(probabilities, labels), kind="stable")[:k]


def gallery_indices(
    probabilities: np.ndarray, labels: np.ndarray, per_kind: int, seed: int
) -> dict[Kind, np.ndarray]:
    """Picks examples to look at.

    Args:
        probabilities: (N, C).
        labels: (N,), class indices.
        per_kind: the most examples of a kind.
        seed: chooses among the right and the wrong ones.

    Returns:
        Indices by kind, none of them twice: "wrong" and "right", a random choice that takes the classes
        in turn, and "unsure", of the rest those with the least between their two highest probabilities.
    """
    probabilities, labels = check_probabilities(probabilities, labels)
    random = np.random.default_rng(seed)
    right = probabilities.argmax(axis=1) == labels
    indices_by_kind: dict[Kind, np.ndarray] = {
        "wrong": _classes_in_turn(np.flatnonzero(~right), labels, random)[:per_kind],
        "right": _classes_in_turn(np.flatnonzero(right), labels, random)[:per_kind],
    }
    rest = np.setdiff1d(np.arange(len(labels)), np.concatenate(list(indices_by_kind.values())))
    highest = np.sort(probabilities[rest], axis=1)
    margin = highest[:, -1] - highest[:, -2:].min(axis=1)
    return {**indices_by_kind, "unsure": rest[np.argsort(margin, kind="stable")][:per_kind]}


def _classes_in_turn(indices: np.ndarray, labels: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Shuffles indices, and brings the first of every class to the front, then the second."""
    indices = random.permutation(indices)
    turn = np.zeros(len(indices), np.int64)
    for label in np.unique(labels[indices]):
        of_class = labels[indices] == label
        turn[of_class] = np.arange(of_class.sum())
    return indices[np.argsort(turn, kind="stable")]
