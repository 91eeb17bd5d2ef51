"""Trackers of experiments, MLflow and Weights & Biases: told of flags, epochs and results as they come."""

import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from xmodal.core.errors import UserError
from xmodal.core.files import write_json
from xmodal.core.records import read_record
from xmodal.report.records import Run
from xmodal.report.tensorboard.events import flag_values

PROJECT = "xmodal"
TRACKED = "tracker.json"
# What MLflow takes in the name of a metric.
FOREIGN = re.compile(r"[^\w\-. /]")
QUANTITIES = ("loss", "accuracy", "val_loss", "val_accuracy")
FILES = ("report.html", "metrics.json", "config.cfg")


class Tracker(Protocol):
    """What a run tells a tracker."""

    #: The number of the run there.
    number: str

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Takes quantities of an epoch, by name."""

    def finish(self, results: Mapping[str, float], files: list[Path]) -> None:
        """Takes what was measured, and the files to keep."""


@dataclass(frozen=True)
class Tracked:
    """What is kept in the folder of a run, so that one that goes on is the same there.

    Attributes:
        tracker: one of `TRACKERS`.
        number: that it gave to the run.
    """

    tracker: str
    number: str


class RunTracker:
    """Tells a tracker of a run; what goes wrong there never stops the run.

    Args:
        name: one of `TRACKERS`.
        folder: of the run.
        flags: the text of config.cfg.
        log: where warnings go.

    Raises:
        UserError: when the tracker's package is not installed, or it does not begin.

    Example:
        >>> tracker = RunTracker("mlflow", Path("runs/photos"), "--seed=0\\n", print)  # doctest: +SKIP
        >>> tracker.epoch("text head", {"epoch": 0, "loss": 0.5, "seconds": 1.0})  # doctest: +SKIP
    """

    def __init__(self, name: str, folder: Path, flags: str, log: Callable[[str], None]):
        self._folder, self._log, self._name = folder, log, name
        number = _number_of(folder, name)
        try:
            self._tracker: Tracker | None = TRACKERS[name](folder, flag_values(flags), number)
        except ImportError as error:
            raise UserError(
                f"`track={name}` needs the package {name} ({error})",
                f"pip install -c constraints.txt -e '.[{name}]', or leave it out",
            ) from error
        # Their failures (network, accounts, servers) have no class in common.
        except Exception as error:
            raise UserError(
                f"`track={name}` does not begin: {_line(error)}", f"see to {name}, or leave it out"
            ) from error
        write_json(folder / TRACKED, asdict(Tracked(name, self._tracker.number)))

    def epoch(self, stage: str, epoch: Mapping[str, float]) -> None:
        """Tells of an epoch, as `EpochWriter` is called."""
        values = {f"{stage}/{name}": float(epoch[name]) for name in QUANTITIES if name in epoch}
        self._tell(lambda tracker: tracker.log(values, int(epoch["epoch"])))

    def finish(self, run: Run) -> None:
        """Tells of the results of a run whose files are written."""
        results = {
            f"{name}/{what}": value
            for name, result in run.results.items()
            for what, value in (
                ("accuracy", result.accuracy),
                ("log_loss", result.log_loss),
                ("macro_f1", result.macro_f1),
            )
        }
        files = [path for name in FILES if (path := self._folder / name).is_file()]
        self._tell(lambda tracker: tracker.finish(results, files))

    def _tell(self, tell: Callable[[Tracker], None]) -> None:
        if self._tracker is None:
            return
        try:
            tell(self._tracker)
        except Exception as error:
            self._tracker = None
            self._log(f"warning: {self._name}: {_line(error)}; nothing more is sent, the run goes on")


class MlflowTracker:
    """A run in the experiment "xmodal" of MLflow; MLFLOW_TRACKING_URI says where."""

    def __init__(self, folder: Path, flags: Mapping[str, Any], number: str | None):
        from mlflow import MlflowClient

        self._client = MlflowClient()
        self.number = number or self._create_run(str(folder), flags)

    def _create_run(self, name: str, flags: Mapping[str, Any]) -> str:
        experiment = self._client.get_experiment_by_name(PROJECT)
        experiment_id = experiment.experiment_id if experiment else self._client.create_experiment(PROJECT)
        number = self._client.create_run(experiment_id, run_name=name).info.run_id
        for flag, value in flags.items():
            self._client.log_param(number, flag, value)
        return number

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Logs metrics; in their names "_" stands for what MLflow does not take."""
        for name, value in values.items():
            self._client.log_metric(self.number, FOREIGN.sub("_", name), value, step=step)

    def finish(self, results: Mapping[str, float], files: list[Path]) -> None:
        """Logs results and artifacts, and marks the run as finished."""
        self.log(results, 0)
        for file in files:
            self._client.log_artifact(self.number, str(file))
        self._client.set_terminated(self.number)


class WandbTracker:
    """A run in the project "xmodal" of Weights & Biases; WANDB_MODE=offline keeps it on this machine."""

    def __init__(self, folder: Path, flags: Mapping[str, Any], number: str | None):
        import wandb

        self._run = wandb.init(
            project=PROJECT, name=str(folder), dir=str(folder), config=dict(flags), id=number, resume="allow"
        )
        self.number = self._run.id

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Logs quantities beside the number of the epoch: the tracker's own steps count all stages."""
        self._run.log(dict(values) | {"epoch": step})

    def finish(self, results: Mapping[str, float], files: list[Path]) -> None:
        """Puts results into the summary and uploads the files."""
        self._run.summary.update(dict(results))
        for file in files:
            self._run.save(str(file), base_path=str(file.parent), policy="now")
        self._run.finish()


TRACKERS: dict[str, Callable[[Path, Mapping[str, Any], str | None], Tracker]] = {
    "mlflow": MlflowTracker,
    "wandb": WandbTracker,
}


def _number_of(folder: Path, name: str) -> str | None:
    """Returns the number that the tracker gave to the run before it was interrupted."""
    if not (folder / TRACKED).exists():
        return None
    record = read_record(Tracked, folder / TRACKED)
    return record.number if record.tracker == name else None


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
