"""Benchmarks."""

from dataclasses import dataclass
from pathlib import Path

from xmodal.config.fields import Group, option

BENCHES = (
    *("speed", "growth", "larger_networks", "engine", "text_stage", "scrub", "serving", "ask", "open_set"),
)
SPEED_ROWS = ("forward", "train", "bert", "input", "sound", "text", "start", "run")


@dataclass(frozen=True)
class BenchConfig(Group):
    """Benchmarks, for python -m xmodal.bench alone."""

    bench: str = option("speed", "What to measure.", choices=BENCHES)
    rows: tuple[str, ...] = option(SPEED_ROWS, "What --bench=speed compares.", choices=SPEED_ROWS)
    model: Path | None = option(None, "The export that --bench=open_set asks.")
    outside: tuple[str, ...] = option(
        ("noise",),
        "What --bench=open_set takes for inputs of another kind: images as --dataset has them, "
        "unlabelled:PATH, or noise; repeat, or take back by an empty one.",
        repeat=True,
    )
    peer_epochs: int = option(
        0,
        "Epochs that the plain Keras code of --rows=run trains; the time of the others is "
        "extrapolated. 0 trains all.",
        least=0,
    )
