"""How strange an input is to a classifier: a rank among inputs of its own kind, from what is known alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

# The neighbour whose distance counts; of 1,000 to 5,000 kept rows it stands for what the paper's k is of all.
NEIGHBOUR = 10
ENERGY = "energy"
_ROWS = 512


@dataclass(frozen=True)
class KnownInputs:
    """What inputs of the known kind look like.

    Several measures of strangeness each become a p-value, the share of known held-out inputs that are at
    least as strange; Fisher's method joins these (1925; for this use: Haroush et al. 2021,
    arXiv:2102.12967), and the sum is ranked among the known ones again, since they depend on each other. No
    input of another kind is needed, and none chooses anything.

    Attributes:
        kept: name of a measure -> directions of training inputs (M, D) that neighbours are looked for in.
        values: name of a measure -> its values for known held-out inputs, rising (V,).
        evidence: the joined ones of these inputs, rising (V,).
    """

    kept: Mapping[str, np.ndarray]
    values: Mapping[str, np.ndarray]
    evidence: np.ndarray

    def unknown(self, logits: np.ndarray, rows: Mapping[str, np.ndarray]) -> np.ndarray:
        """Returns the share of known inputs that are less strange (N,), from 0 to 1.

        Args:
            logits: (N, C), as they were fitted.
            rows: name of a measure -> what stands for the inputs (N, D); zeros for one that lacks it.
        """
        measures = _measures(logits, rows, self.kept)
        return _rank(self.evidence, _combine(measures, self.values))


def fit_known_inputs(
    kept: Mapping[str, np.ndarray], logits: np.ndarray, rows: Mapping[str, np.ndarray]
) -> KnownInputs:
    """Measures how strange known inputs are.

    The measures are the energy of the logits (Liu et al. 2020, arXiv:2010.03759) and the distance to the
    k-th nearest direction among those of training inputs (Sun et al. 2022, arXiv:2204.06507).

    Args:
        kept: name of a measure -> what stands for training inputs (M, D), such as a backbone's features;
            rows of zeros are left out.
        logits: (V, C), before calibration, of held-out inputs.
        rows: name of a measure -> what stands for these (V, D), zeros for what one of them lacks.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> known = rng.normal([5, 0, 0], 1, (200, 3))
        >>> fitted = fit_known_inputs({"features": known[:100]}, known[100:], {"features": known[100:]})
        >>> strange = np.array([[-5.0, 0.0, 0.0]])
        >>> fitted.unknown(strange, {"features": strange})[0] > 0.95
        np.True_
    """
    directions = {name: _directions(part[part.any(axis=1)]) for name, part in kept.items() if part.any()}
    measures = _measures(logits, rows, directions)
    values = {name: np.sort(value[~np.isnan(value)]) for name, value in measures.items()}
    return KnownInputs(directions, values, np.sort(_combine(measures, values)))


def auroc(known: np.ndarray, unknown: np.ndarray) -> float:
    """Returns how often an unknown input has a higher score than a known one, ties for half: 0 to 1."""
    known, unknown = np.sort(known), np.asarray(unknown)
    lower_ranks, upper_ranks = (np.searchsorted(known, unknown, side=side) for side in ("left", "right"))
    return float((lower_ranks + upper_ranks).mean() / (2 * len(known)))


def _measures(
    logits: np.ndarray, rows: Mapping[str, np.ndarray], directions: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    energy = -np.logaddexp.reduce(np.asarray(logits, np.float64), axis=1)
    return {ENERGY: energy} | {name: _distances(rows[name], part) for name, part in directions.items()}


def _distances(rows: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """One less the cosine to the k-th nearest direction (N,), NaN for a row of zeros."""
    nearest = min(NEIGHBOUR, len(directions))
    units = _directions(rows)
    parts = [
        np.partition(units[start : start + _ROWS] @ directions.T, -nearest, axis=1)[:, -nearest]
        for start in range(0, len(units), _ROWS)
    ]
    return np.where(rows.any(axis=1), 1.0 - np.concatenate(parts), np.nan)


def _directions(rows: np.ndarray) -> np.ndarray:
    rows = np.asarray(rows, np.float32)
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)


def _combine(measures: Mapping[str, np.ndarray], values: Mapping[str, np.ndarray]) -> np.ndarray:
    """Fisher's sum of -log p; what is not there counts as what is to be expected, 1."""
    parts = [-np.log1p(-_rank(values[name], value)) for name, value in measures.items()]
    return np.where(np.isnan([*measures.values()]), 1.0, parts).sum(axis=0)


def _rank(known_values: np.ndarray, values: np.ndarray) -> np.ndarray:
    return np.searchsorted(known_values, values) / (len(known_values) + 1)
