"""What a transfer is compared with: the same protocol without it, and the best that its budget allows.

A sceptic asks two things of a baseline: was it treated as the candidate was, and was it given its best?
`random_frozen` answers the first question, `from_scratch` the second one; which of them is called
`no_transfer` is decided on the validation split.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

from xmodal.evaluation.calibration import fit_temperature, softmax
from xmodal.evaluation.metrics import log_loss
from xmodal.training.checkpoint import State
from xmodal.training.progress import History
from xmodal.training.replicas import from_chief
from xmodal.training.trainer import Trainer

T = TypeVar("T")

# What results are called: the candidate's protocol from random weights, of a frozen network and of one that
# learns as a whole; the best that the budget allows; and the better of both on validation.
RANDOM_FROZEN, RANDOM_WEIGHTS, FROM_SCRATCH = "random_frozen", "random_weights", "from_scratch"
NO_TRANSFER = "no_transfer"


@dataclass(frozen=True)
class Attempt(Generic[T]):
    """A training from random weights.

    Attributes:
        rate: its peak learning rate.
        passes: over the training examples.
        history: with validation; an entry for each part of a pass.
        trained: what came of it.
    """

    rate: float
    passes: int
    history: History
    trained: T

    @property
    def best(self) -> dict[str, float]:
        """val_loss and val_accuracy of the weights that were kept."""
        return self.history.best


def from_scratch(
    attempt: Callable[[float, int], tuple[History, T]],
    *,
    rates: Sequence[float],
    passes: int,
    seconds: float,
    trainer: Trainer,
    parts: int = 1,
    searched: int = 1,
) -> tuple[Attempt[T], tuple[Attempt[T], ...]]:
    """Trains from random weights, with the rate and the number of passes that are best on validation.

    Each rate is tried with `searched` passes. With the one of the lowest validation loss the network is
    trained for as many passes as the candidate had and, where more fit into the candidate's seconds, for
    these too.

    Args:
        attempt: a peak rate, a number of passes -> the history of a training with validation, and what came
            of it. It builds a network of its own each time, and names its stage by these two.
        rates: that are tried; a single one is taken as it is.
        passes: that the candidate had.
        seconds: that the candidate took, training of what it started from included.
        trainer: its processes agree on the passes.
        parts: entries of the history for each pass.
        searched: passes that each rate is tried with; of few examples one pass says nothing.

    Returns:
        The attempt with the lowest validation loss, and all of them in the order in which they were made.
    """

    def run_attempt(rate: float, passes: int) -> Attempt[T]:
        return Attempt(rate, passes, *attempt(rate, passes))

    attempts = [run_attempt(rate, searched) for rate in rates] if len(rates) > 1 else []
    rate = _best(attempts).rate if attempts else rates[0]
    if passes > searched or not attempts:
        attempts.append(run_attempt(rate, passes))
    entries = [entry for item in attempts for entry in item.history.epochs]
    a_pass = parts * sum(entry["seconds"] for entry in entries) / max(1, len(entries))
    fitting_passes = seconds / a_pass if a_pass else 0.0
    fitting_passes = int(from_chief(np.array([fitting_passes], np.float32), trainer.strategy)[0])
    if fitting_passes > passes:
        attempts.append(run_attempt(rate, fitting_passes))
    return _best(attempts), tuple(attempts)


def _best(attempts: Sequence[Attempt[T]]) -> Attempt[T]:
    return min(attempts, key=lambda attempt: attempt.best["val_loss"])


def kept_seconds(seconds: float, name: str, trainer: Trainer) -> float:
    """Returns the seconds of a candidate as first measured, so that a run that goes on decides the same.

    Args:
        seconds: that it took; those of an interrupted run have grown by what was read again.
        name: of the baseline.
        trainer: keeps them.
    """
    state = trainer.once(f"{name}: budget", lambda: State({}, {"seconds": seconds}))
    return float(state.facts["seconds"])


def best_of_trainings(histories: Mapping[T, Sequence[History]]) -> T:
    """Returns which of several ways to train was best on validation: by accuracy, then by loss.

    Args:
        histories: a way -> the histories of its trainings with validation, one for each seed.
    """

    def merit(way: T) -> tuple[float, float]:
        best_epochs = [history.best for history in histories[way]]
        accuracy, loss = (
            np.mean([entry[name] for entry in best_epochs]) for name in ("val_accuracy", "val_loss")
        )
        return float(accuracy), -float(loss)

    return max(histories, key=merit)


def best_on_validation(logits: Mapping[str, np.ndarray], labels: np.ndarray) -> str:
    """Returns which of several answers the validation split best: by accuracy, then by calibrated log loss.

    Args:
        logits: name -> (V, C).
        labels: (V,).
    """

    def merit(name: str) -> tuple[float, float]:
        accuracy = float((logits[name].argmax(axis=1) == labels).mean())
        calibrated = softmax(logits[name], fit_temperature(logits[name], labels))
        return accuracy, -log_loss(calibrated, labels)

    return max(logits, key=merit)


def scratch_note(name: str, best: Attempt, tried: Sequence[Attempt]) -> str:
    """Says what was trained from scratch, and how it was chosen."""
    passes = "1 pass" if best.passes == 1 else f"{best.passes} passes"
    rates = dict.fromkeys(f"{attempt.rate:g}" for attempt in tried)
    rates_text = f" of {', '.join(rates)}" if len(rates) > 1 else ""
    return f"{name} of random weights, every layer trained: {passes}, peak rate {best.rate:g}{rates_text}"


def better_note(name: str, unit: str) -> str:
    """Says which of two baselines is called `no_transfer`."""
    return f"the one of both that is better on the validation {unit}: {name}"
