"""How well an order of the parts of an input tells what its answer hangs on."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

# How many times parts are taken away until none is left, and random orders that are compared with.
STEPS, RANDOM_ORDERS = 8, 3

# Which parts are there, bool (K, n) -> the probability of the answer (K,).
Ask = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class PartCurves:
    """How the probability of an answer falls and rises with its parts, as means over the curves, 0 to 1.

    Deletion takes the most important parts away first, and insertion puts them back first (Petsiuk et al.
    2018, arXiv:1806.07421, section 4): a map that found what counts has a low deletion and a high insertion,
    against those of parts in random order.

    Attributes:
        deletion, insertion: of the parts in the order of their importance.
        random_deletion, random_insertion: the means of random orders.
    """

    deletion: float
    insertion: float
    random_deletion: float
    random_insertion: float

    @property
    def line(self) -> str:
        """The four numbers in words."""
        return (
            f"deletion {self.deletion:.2f} (random {self.random_deletion:.2f}), "
            f"insertion {self.insertion:.2f} (random {self.random_insertion:.2f})"
        )


def part_curves(ask: Ask, importances: Sequence[np.ndarray], seed: int) -> tuple[PartCurves, ...]:
    """Measures several rankings of the same parts, each beside the same random orders.

    Args:
        ask: which parts are there, bool (K, n) -> the probability of the answer (K,).
        importances: of the parts (n,), by each ranking.
        seed: of the random orders.

    Example:
        >>> first_part = lambda there: there[:, 0].astype(float)
        >>> (right, wrong) = part_curves(first_part, [np.array([2, 1, 0]), np.array([0, 1, 2])], seed=0)
        >>> right.deletion < wrong.deletion, right.insertion > wrong.insertion
        (True, True)
    """
    random, parts = np.random.default_rng(seed), len(importances[0])
    orders = [np.argsort(-importance, kind="stable") for importance in importances]
    orders += [random.permutation(parts) for _ in range(RANDOM_ORDERS)]
    removed_counts = np.linspace(0, parts, min(STEPS, parts) + 1).round().astype(int)
    removed_masks = np.zeros((len(orders), len(removed_counts), parts), bool)
    for masks, order in zip(removed_masks, orders, strict=True):
        for mask, count in zip(masks, removed_counts, strict=True):
            mask[order[:count]] = True
    flat = removed_masks.reshape(-1, parts)
    deletion, insertion = (
        ask(present_parts).reshape(len(orders), -1).mean(axis=1) for present_parts in (~flat, flat)
    )
    chance = float(deletion[-RANDOM_ORDERS:].mean()), float(insertion[-RANDOM_ORDERS:].mean())
    return tuple(
        PartCurves(float(deletion[index]), float(insertion[index]), *chance)
        for index in range(len(importances))
    )
