"""Amounts of labelled examples that trainings are compared at."""

import numpy as np


def counts_of(labels: np.ndarray, per_class: tuple[int, ...]) -> tuple[int, ...]:
    """Returns the counts that are less than all examples of some class, in rising order, and 0 for all.

    Args:
        labels: of the training examples (N,).
        per_class: the counts that are asked for.
    """
    largest = np.bincount(labels).max()
    return (*sorted({count for count in per_class if 0 < count < largest}), 0)


def amount(count: int) -> str:
    """Returns a count of examples a class in words; 0 is all."""
    return str(count) if count else "all"
