"""The record of something that was tried many times, as those of runs are in experiments/results/."""

from pathlib import Path
from typing import Any


def write_counts(path: Path, bench: str, seed: int, seconds: float, told: dict[str, Any]) -> None:
    """Writes what was counted, with where, when and how long.

    Args:
        path: of the record.
        bench: what it is called.
        seed: of what was drawn.
        seconds: that it took.
        told: the counts; "cases" is told as a flag too.
    """
    from xmodal import report
    from xmodal.core.files import write_json

    given = {"experiment": bench, "cases": told["cases"], "seed": seed}
    facts = {
        "flags": [f"--{name}={value}" for name, value in given.items()],
        "hardware": report.hardware(),
        "versions": report.versions(),
        "commit": report.commit(),
        "wall_seconds": round(seconds, 1),
    }
    write_json(path, {"bench": bench, **told, **facts}, report.RECORD)
