"""The styles of the bridge, and the thresholds of the hedged one."""

from collections.abc import Callable
from typing import Any, Literal, get_args

import numpy as np

Style = Literal["top1", "topk", "hedged"]
STYLES: tuple[str, ...] = get_args(Style)

# Least probabilities of the class that the hedged style names first, for all but its weakest words. They are
# float32 because the graph compares in float32.
SURE, LIKELY, PROBABLE = np.float32(0.99), np.float32(0.95), np.float32(0.7)
# TensorFlow's threads take subnormal numbers for zero, NumPy does not: below this, all are ties.
SMALLEST = np.finfo(np.float32).smallest_normal
# In the order of `hedge`. They name two classes at most, so there are never more than 3 C^2 of these
# phrases, however many the images: equal sentences are merged, and BERT reads each once.
HEDGES = (
    "surely {}",
    "very likely {}, or else {}",
    "probably {}, perhaps {}",
    "possibly {} or {}",
)
# What the class named first has where no image says more: the middle of what each of these is said for.
HEDGED_SHARES = (0.995, 0.97, 0.825, 0.52)
# What a class named later has of what those before it leave.
HEDGED_RIVAL, LISTED = 0.8, 2 / 3


def hedge(first: Any, where: Callable) -> Any:
    """The rule of the hedged style: the index in `HEDGES`, by `np.where` or by `tf.where`."""
    return where(first >= SURE, 0, where(first >= LIKELY, 1, where(first >= PROBABLE, 2, 3)))
