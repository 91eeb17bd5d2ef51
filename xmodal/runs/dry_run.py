"""A run that takes a few steps of every loop, says how long it would take, and leaves nothing behind."""

import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from xmodal.config.config import Config
from xmodal.core.clock import Clock
from xmodal.core.console import log
from xmodal.core.formatting import duration
from xmodal.core.machine import hardware
from xmodal.runs.folder import goes_on
from xmodal.training import cluster
from xmodal.training.rehearsal import FASTEST, TAKEN, Rehearsal, rehearsal


@dataclass(frozen=True)
class Stage:
    """A stage of a run: seconds that it took in the rehearsal, and those that it would take in the run."""

    seen: float
    expected: float


class RehearsalClock(Clock):
    """Times the stages of a rehearsal, and adds up what was left out of them.

    Args:
        rehearsal: that is under way.
        log: where lines about progress go.

    Attributes:
        stages: name -> what a stage took, and would take.
    """

    def __init__(self, rehearsal: Rehearsal, log: Callable[[str], None]):
        # What a rehearsal measures is nothing to go by, and not said; what is doubtful about the data is.
        super().__init__(log=lambda line: log(line) if line.startswith("warning:") else None)
        self._tell = log
        self._rehearsal = rehearsal
        self.stages: dict[str, Stage] = {}

    @contextmanager
    def stage(self, name: str, repeats: float = 1.0) -> Iterator[None]:
        """Times a block under a name, and tells what it would take as often as the run does it."""
        seconds_left_out = self._rehearsal.seconds
        with super().stage(name):
            yield
        seconds = self.seconds[name]
        expected = seconds + self._rehearsal.seconds - seconds_left_out
        self.stages[name] = Stage(seconds, repeats * expected)
        # Budgets go by what a stage takes in the run.
        self.seconds[name] = expected
        self._tell(f"{name:<28} {duration(seconds):>12} here, about {duration(self.stages[name].expected)}")


def dry_run(
    config: Config, recipe: Callable[[Config, Clock], None], log: Callable[[str], None] = log
) -> None:
    """Goes through every stage of a run, and says how long the run would take and how much memory.

    All data is read and checked, and all arrays have the size that they have in the run; of each loop over
    batches a few steps are taken. Files go to a temporary folder, which is removed.

    Args:
        config: that of the run.
        recipe: runs a configuration with a clock.
        log: where its lines go.

    Raises:
        UserError: for what the run itself would not do.
    """
    run = config.run
    log = log if cluster.current_worker(run.strategy).is_chief else lambda line: None
    goes_on(run.output_dir, config.flagfile, overwrite=run.overwrite, restart=run.restart)
    with tempfile.TemporaryDirectory(prefix="xmodal-dry-run-") as folder, rehearsal() as active_rehearsal:
        clock = RehearsalClock(active_rehearsal, log)
        recipe(shrunk(config, Path(folder)), clock)
    log(summary(config, clock.stages))


def shrunk(config: Config, folder: Path) -> Config:
    """Returns what a rehearsal is run with: it writes into `folder` alone, and repeats nothing."""
    return replace(
        config,
        run=replace(
            config.run,
            output_dir=folder / "run",
            saved_models_dir=folder / "saved_models",
            record=None,
            small=False,
            feature_cache_gb=0.0,
        ),
        train=replace(config.train, profile_steps=()),
    )


def summary(config: Config, stages: dict[str, Stage]) -> str:
    """Returns what a dry run says at its end."""
    seconds, total = (sum(getattr(stage, name) for stage in stages.values()) for name in ("seen", "expected"))
    lines = [
        "",
        f"{config.run.experiment} would take about {duration(total)}; this dry run took {duration(seconds)}.",
        f"Peak memory: {peak_gigabytes():.1f} of {hardware()['memory_gb']:.1f} GB.",
        "",
        f"Loops took {TAKEN} steps at most; those left out count at the pace of the {FASTEST} fastest ones.",
        "All else was done in full, once: reading and checking the data, building graphs, the export. Arrays",
        "had their real size. Trainings that may stop early count to their last epoch, and features that the",
        "cache holds count as if they were to be computed.",
    ]
    if config.run.small:
        lines.append("Not tried: the small forms of --small.")
    return "\n".join([*lines, "", "Nothing is left of it but what had to be fetched."])


def peak_gigabytes() -> float:
    """Returns the most memory, in GB (10^9 bytes), that this process has held, or one that it started."""
    import resource

    peaks = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    # In kilobytes, but on macOS in bytes.
    return max(peaks) * (1 if sys.platform == "darwin" else 1024) / 1e9
