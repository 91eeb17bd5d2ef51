"""What a search has done so far, kept so that one that was interrupted decides the same again."""

import json
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import tensorflow as tf

from xmodal import report
from xmodal.core.errors import UserError
from xmodal.core.files import write_json
from xmodal.core.records import Amount, Count, Share, parse_record, read_record
from xmodal.training.checkpoint import RESTART
from xmodal.training.replicas import bytes_from_chief
from xmodal.training.strategy import workers


@dataclass(frozen=True)
class Trial:
    """What was tried, or left out: a look at features has a score, a training has an accuracy.

    Attributes:
        flags: that were others than at the start, each as a flagfile has it.
        epochs: of the training.
        examples: that were looked at or learned from.
        pace: seconds in which the frozen network reads an example, or those of an example in an epoch.
        score: LogME.
        accuracy, loss: on the validation split.
        note: why it was left out.
        step: the step of the search that it belongs to; some look at several sets of features.
        seconds: that it took, or its share of these.
        elapsed: seconds of the search when it ended.
    """

    flags: tuple[str, ...]
    epochs: Count = 0
    examples: Count = 0
    pace: Amount = 0.0
    score: float | None = None
    accuracy: Share | None = None
    loss: float | None = None
    note: str = ""
    step: str = ""
    seconds: Amount = 0.0
    elapsed: Amount = 0.0


@dataclass(frozen=True)
class Trials:
    """The content of search.json."""

    trials: tuple[Trial, ...] = ()


class Ledger:
    """Takes the steps of a search in order, and keeps what each of them found.

    A search that is begun again takes the same steps, as long as it decides by what they found alone, and by
    `elapsed`: those that are kept are not taken again. Of several processes the chief measures and keeps, and
    all find what it found.

    Args:
        path: the file, search.json.
        strategy: whose processes search.
        now: tells the seconds since some moment.

    Attributes:
        trials: of the steps so far.

    Raises:
        UserError: when the file is broken.
    """

    def __init__(
        self, path: Path, strategy: tf.distribute.Strategy, now: Callable[[], float] = time.perf_counter
    ):
        self._path, self._strategy, self._now = path, strategy, now
        self._writes = workers(strategy).is_chief
        self._kept_trials = list(self._from_chief(self._read() if self._writes else ()))
        self.trials: list[Trial] = []
        self._started = now() - (self._kept_trials[-1].elapsed if self._kept_trials else 0.0)

    @property
    def elapsed(self) -> float:
        """Seconds of the search when the last step ended."""
        return self.trials[-1].elapsed if self.trials else 0.0

    def once(self, step: str, take: Callable[[], Iterable[Trial]]) -> list[Trial]:
        """Takes a step, or returns what was found when it was taken.

        Args:
            step: its name.
            take: returns what is found, at least one; the times are filled in.

        Raises:
            UserError: when another step was taken here.
        """
        if self._kept_trials and self._kept_trials[0].step != step:
            raise UserError(f"{str(self._path)!r} is of another search than that for {step}", RESTART)
        if self._kept_trials:
            trials = [trial for trial in self._kept_trials if trial.step == step]
            self._kept_trials = self._kept_trials[len(trials) :]
        else:
            trials = self._take_step(step, take)
        self.trials += trials
        return trials

    def discard(self) -> None:
        """Forgets all steps: the search came to nothing."""
        if self._writes:
            self._path.unlink(missing_ok=True)

    def _take_step(self, step: str, take: Callable[[], Iterable[Trial]]) -> list[Trial]:
        start = self._now() - self._started
        trials = list(take())
        elapsed = self._now() - self._started
        seconds = round((elapsed - start) / len(trials), 3)
        timed_trials = [
            replace(trial, step=step, seconds=seconds, elapsed=round(elapsed, 3)) for trial in trials
        ]
        timed_trials = list(self._from_chief(timed_trials))
        if self._writes:
            records = [asdict(trial) for trial in (*self.trials, *timed_trials)]
            write_json(self._path, {"trials": records})
        return timed_trials

    def _from_chief(self, trials: Iterable[Trial]) -> tuple[Trial, ...]:
        text = json.dumps({"trials": [asdict(trial) for trial in trials]}).encode()
        return parse_record(Trials, bytes_from_chief(text, self._strategy)).trials

    def _read(self) -> tuple[Trial, ...]:
        try:
            return read_record(Trials, self._path).trials
        except FileNotFoundError:
            return ()
        except (OSError, ValueError) as error:
            raise UserError(f"{str(self._path)!r} is broken ({error})", RESTART) from error


def tried_table(trials: Iterable[Trial], noun: str) -> report.Table:
    """Returns what a search tried, in order, and why it left out what it did not.

    Args:
        trials: of the search.
        noun: what the examples are called, in the plural.
    """
    head = ("flags", "epochs", noun, "LogME", "validation accuracy", "validation loss", "seconds", "note")
    rows = tuple(
        (
            " ".join(trial.flags) or "as they are",
            trial.epochs or "",
            trial.examples or "",
            "" if trial.score is None else f"{trial.score:.4f}",
            "" if trial.accuracy is None else f"{trial.accuracy:.2%}",
            "" if trial.loss is None else trial.loss,
            trial.seconds,
            trial.note,
        )
        for trial in trials
    )
    return report.Table("What the search tried, in order", head, rows)
