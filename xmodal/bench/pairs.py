"""Two ways to do the same, timed in turn on the same inputs."""

import statistics
import time
from collections.abc import Callable
from typing import Any

REPEATS = 3


def timed(function: Callable[[], Any]) -> tuple[float, Any]:
    """Returns the wall seconds of a call, and what it gave."""
    started = time.perf_counter()
    result = function()
    return time.perf_counter() - started, result


def compared(
    first: Callable[[], float], second: Callable[[], float], *, warm_up: bool = True
) -> dict[str, float]:
    """Compares two rates, measured in turn.

    Args:
        first, second: each does its work once and returns a rate, such as examples a second.
        warm_up: do each once before; not needed where each is done in new processes.

    Returns:
        The median rates, and of the ratios first/second of each pair the median, least and most.
    """
    if warm_up:
        first(), second()
    pairs = [(first(), second()) for _ in range(REPEATS)]
    ratios = [a / b for a, b in pairs]
    return {
        "first": statistics.median(a for a, _ in pairs),
        "second": statistics.median(b for _, b in pairs),
        "ratio": statistics.median(ratios),
        "ratio_least": min(ratios),
        "ratio_most": max(ratios),
    }
