"""The progress of a training: how it is saved and restored."""

import io
import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from xmodal.core.errors import UserError
from xmodal.training.checkpoint import RESTART, Stage, State
from xmodal.training.replicas import bytes_from_chief
from xmodal.training.strategy import workers

SUMS = 5
FACTS = ("epoch", "step", "seconds", "waiting", "history", "start", "best", "wait", "stopped", "diverged")


@dataclass
class Progress:
    """The progress of a training.

    Attributes:
        epoch: the current epoch, from 0.
        step: its next step.
        sums: over its steps so far (5,): loss, hits and weights of the examples, their number, and
            processes that are to stop.
        seconds: of this epoch so far.
        waiting: seconds of these spent waiting for input, NaN when that is not known.
        history: of the epochs before it.
        start: what validation gave before the first step, empty when nothing was chosen on it.
        best: the lowest validation loss so far.
        best_weights: those that gave it.
        wait: epochs since then.
        stopped: no further epoch is to follow.
        diverged: the last epoch gave numbers that are not finite, and is not in the history.
    """

    epoch: int = 0
    step: int = 0
    sums: tf.Tensor = field(default_factory=lambda: tf.zeros(SUMS))
    seconds: float = 0.0
    waiting: float = 0.0
    history: list[dict[str, float]] = field(default_factory=list)
    start: dict[str, float] = field(default_factory=dict)
    best: float = float("inf")
    best_weights: list[np.ndarray] | None = None
    wait: int = 0
    stopped: bool = False
    diverged: bool = False
    _started: float = 0.0

    def begin(self) -> None:
        """Starts the epoch's clock, or goes on with it."""
        self._started = time.perf_counter() - self.seconds

    def tick(self) -> None:
        """Reads the epoch's clock."""
        self.seconds = time.perf_counter() - self._started

    def stop_asked(self) -> bool:
        """Returns whether any process is to stop."""
        return bool(self.sums[4] > 0)

    def means(self) -> dict[str, float]:
        """Returns the mean loss and accuracy of the epoch so far."""
        loss, hits, weight, *_ = self.sums.numpy()
        return {"loss": float(loss / weight), "accuracy": float(hits / weight)}

    def begin_with(self, logs: dict[str, float], model: keras.Model, until: float) -> None:
        """Takes the weights that the training begins with for the best so far."""
        self.start = logs
        if math.isfinite(logs["val_loss"]):
            self.best, self.best_weights = logs["val_loss"], model.get_weights()
            self.stopped = is_reached(until, logs)

    def end_epoch(
        self, logs: dict[str, float], model: keras.Model, patience: int | None, until: float
    ) -> None:
        """Enters an epoch into the history, remembers the best weights, and goes on to the next one.

        None follows after an epoch with numbers that are not finite, or one that reached what it was to.
        """
        self.tick()
        self.diverged = not all(map(math.isfinite, logs.values()))
        if self.diverged:
            self.stopped = True
            return
        waiting_entry = {"waiting": self.waiting} if math.isfinite(self.waiting) else {}
        self.history.append({"epoch": self.epoch, "seconds": self.seconds, **waiting_entry, **logs})
        if patience is not None and "val_loss" in logs:
            if logs["val_loss"] < self.best:
                self.best, self.best_weights, self.wait = logs["val_loss"], model.get_weights(), 0
            else:
                self.wait += 1
            self.stopped = self.wait >= patience
        if is_reached(until, logs):
            self.best_weights, self.stopped = model.get_weights(), True
        self.stopped |= bool(model.stop_training)
        self.epoch, self.step = self.epoch + 1, 0
        self.seconds, self.waiting, self.sums = 0.0, 0.0, tf.zeros(SUMS)
        self.begin()


def is_reached(until: float, logs: Mapping[str, float]) -> bool:
    """Tells whether validation gave the accuracy at which a training is to stop; 0 for none."""
    return bool(until) and logs.get("val_accuracy", 0.0) >= until


def progress_state(progress: Progress, model, optimizer, stage: str, size: tuple[int, int]) -> State:
    """Returns the state of a training of (steps an epoch, epochs), all that its exact continuation needs."""
    arrays = {
        **_named_arrays("model", [variable.numpy() for variable in model.variables]),
        **_named_arrays("optimizer", [variable.numpy() for variable in optimizer.variables]),
        **_named_arrays("best", progress.best_weights or []),
        # A wish to stop is not one of the process that goes on.
        "sums": progress.sums.numpy() * [1, 1, 1, 1, 0],
    }
    values = {name: getattr(progress, name) for name in FACTS}
    return State(arrays, {"stage": stage, "size": list(size), **values})


def take_progress(state: State, model, optimizer, strategy, stage: str, size: tuple[int, int]) -> Progress:
    """Restores a training: the inverse of `progress_state`.

    Raises:
        UserError: when the state is of another training.
    """
    facts = state.facts
    if facts.get("stage") != stage or facts.get("size") != list(size):
        raise foreign(
            stage,
            f"it is of {facts.get('stage')!r} with {facts.get('size')} steps an epoch and epochs, "
            f"not of {list(size)}",
        )
    _assign(model.variables, _arrays_of(state, "model"), strategy, stage)
    _assign(optimizer.variables, _arrays_of(state, "optimizer"), strategy, stage)
    return Progress(
        sums=tf.constant(state.arrays["sums"], tf.float32),
        best_weights=_arrays_of(state, "best") or None,
        **{name: facts[name] for name in FACTS if name in facts},
    )


def result_state(progress: Progress, model: keras.Model, stage: str) -> State:
    """Returns what a finished training leaves."""
    arrays = _named_arrays("model", [variable.numpy() for variable in model.variables])
    facts = {"history": progress.history, "start": progress.start, "diverged": progress.diverged}
    return State(arrays, {"stage": stage, **facts})


def take_result(
    state: State, model: keras.Model, strategy, stage: str
) -> tuple[tuple[dict[str, float], ...], dict[str, float], bool]:
    """Gives a model the weights of its finished training, and returns what `History` has of it but its name.

    Raises:
        UserError: when the state is of another training.
    """
    if state.facts.get("stage") != stage:
        raise foreign(stage, f"it is of {state.facts.get('stage')!r}")
    _assign(model.variables, _arrays_of(state, "model"), strategy, stage)
    facts = state.facts
    return tuple(facts["history"]), facts.get("start", {}), facts.get("diverged", False)


def newest(checkpoint: Stage, strategy: tf.distribute.Strategy) -> tuple[State, bool] | None:
    """Reads what the chief finds, in every process: only the chief needs to see the files.

    Returns:
        As `Stage.newest`.
    """
    worker = workers(strategy)
    state = checkpoint.newest() if worker.is_chief else None
    return state if worker.workers == 1 else state_from_chief(state, strategy)


def state_from_chief(
    newest_state: tuple[State, bool] | None, strategy: tf.distribute.Strategy
) -> tuple[State, bool] | None:
    """Returns the chief's state and truth value in every process."""
    text = b""
    if newest_state:
        file = io.BytesIO()
        np.savez(file, **dict[str, Any](newest_state[0].arrays))
        facts = json.dumps({"facts": newest_state[0].facts, "finished": newest_state[1]}).encode()
        text = len(facts).to_bytes(8) + facts + file.getvalue()
    text = bytes_from_chief(text, strategy)
    if not text:
        return None
    end = 8 + int.from_bytes(text[:8])
    message = json.loads(text[8:end])
    with np.load(io.BytesIO(text[end:])) as arrays:
        return State(dict(arrays), message["facts"]), message["finished"]


def foreign(stage: str, why: str) -> UserError:
    """Returns the error about a state that is of something else."""
    return UserError(f"the checkpoint of {stage!r} belongs to another training: {why}", RESTART)


def _named_arrays(kind: str, arrays: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    return {f"{kind}/{number}": array for number, array in enumerate(arrays)}


def _arrays_of(state: State, kind: str) -> list[np.ndarray]:
    count = sum(name.startswith(f"{kind}/") for name in state.arrays)
    return [state.arrays[f"{kind}/{number}"] for number in range(count)]


def _assign(variables, arrays: Sequence[np.ndarray], strategy, stage: str) -> None:
    if len(variables) != len(arrays):
        raise foreign(stage, f"it has {len(arrays)} arrays for {len(variables)} variables")
    for variable, array in zip(variables, arrays, strict=True):
        if tuple(variable.shape) != array.shape:
            raise foreign(stage, f"its {array.shape} stands for {variable.path} {tuple(variable.shape)}")
    with strategy.scope():
        for variable, array in zip(variables, arrays, strict=True):
            variable.assign(array)


@dataclass(frozen=True)
class History:
    """What a training left.

    Attributes:
        stage: its name.
        epochs: a dict for each epoch, with epoch, seconds, waiting (how many of them went by waiting for
            input; not with several steps a call), loss, accuracy, val_loss and val_accuracy.
        start: val_loss and val_accuracy before the first step, where weights were chosen on validation.
        diverged: it ended with an epoch whose numbers were not finite, and which is not among the epochs.
        until: the validation accuracy at which it was to stop, 0 for none.

    In a rehearsal it is as long as that of the run, and its seconds are those that the run would take.
    """

    stage: str
    epochs: tuple[dict[str, float], ...]
    start: dict[str, float] = field(default_factory=dict)
    diverged: bool = False
    until: float = 0.0

    @property
    def best(self) -> dict[str, float]:
        """val_loss and val_accuracy of the weights that were kept, where they were chosen on validation."""
        start_entries = [self.start] if self.start and math.isfinite(self.start["val_loss"]) else []
        entries = [*start_entries, *self.epochs]
        return entries[-1] if self.reached else min(entries, key=lambda entry: entry["val_loss"])

    @property
    def reached(self) -> bool:
        """Whether it stopped because its validation accuracy was high enough."""
        return is_reached(self.until, [self.start, *self.epochs][-1])

    @property
    def seconds(self) -> float:
        """Seconds of all epochs."""
        return sum(entry["seconds"] for entry in self.epochs)
