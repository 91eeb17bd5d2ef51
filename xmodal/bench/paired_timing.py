"""Two ways to do the same, timed in turn on the same inputs."""

import statistics
import time
from collections.abc import Callable
from typing import Any

REPEATS = 3
# Share of the processors that others may take.
QUIET = 0.1
# Kinds of operations that are named as those that take the time.
MAX_SPENT = 8


def time_call(function: Callable[[], Any]) -> tuple[float, Any]:
    """Returns the wall seconds of a call, and what it gave."""
    started = time.perf_counter()
    result = function()
    return time.perf_counter() - started, result


def besides(row: dict[str, Any]) -> str:
    """Says what else is known of a row of --bench=speed."""
    notes = []
    if "share_of_limit" in row:
        notes.append(f"{row['share_of_limit']:.0%} of the machine's rate of convolutions")
    if "largest_difference" in row:
        notes.append(f"outputs differ by {row['largest_difference']:.1e} of the largest")
    if "megabytes" in row:
        notes.append(f"{row['megabytes']:,.0f} MB, the other {row['megabytes_of_peer']:,.0f}")
    for part, (ours, other) in row.get("parts", {}).items():
        notes.append(f"{part} {ours:.2f} s, the other {other:.2f} s")
    if "spent" in row:
        shares = (f"{kind} {share:.0%}" for kind, share in list(row["spent"].items())[:MAX_SPENT])
        notes.append(f"its operations' time goes to {', '.join(shares)}")
    for name, (ours, other) in row.get("accuracy", {}).items():
        notes.append(f"{name} {ours:.2%}, the other {other:.2%}")
    if row.get("reckoned"):
        notes.append(f"{row['reckoned']:.0%} of the other's seconds reckoned from the last epoch taken")
    if (row.get("others") or 0) > QUIET:
        notes.append(f"others used {row['others']:.0%} of the machine")
    return "; ".join(notes)


def compare_rates(
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
