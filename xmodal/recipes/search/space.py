"""What a search may choose, and the words for what it found."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from xmodal.config.config import GROUPS
from xmodal.config.fields import options_of
from xmodal.config.flagfiles import Choice, flag_line
from xmodal.recipes.search.ledger import Trial

# Validation examples that trainings are compared by, at most.
COMPARED = 1000
# Passes of a frozen network over as many examples that an epoch takes in which it learns.
LEARNING = 3.0
# Epochs of the rounds of trainings. A single one shows little, and most of its time is its start.
RUNGS = (2, 4, 8)

Values = Mapping[str, Any]
T = TypeVar("T")


@dataclass(frozen=True)
class Arm:
    """Options that are trained together.

    Attributes:
        values: of those that are others than in the flags.
        passes: what an epoch takes, in passes of the frozen network over as many examples.
        look: what was found of its features.
    """

    values: Values
    passes: float
    look: Trial


@dataclass(frozen=True)
class Space:
    """What may be chosen, and how it is tried.

    Attributes:
        noun: what the examples are called, in the plural.
        examples: how many there are to learn from.
        validation: how many validation examples trainings are compared by.
        start: the options that may be chosen -> their values in the flags.
        fixed: those that stay.
        looks: further values of what is looked at, after the flags as they are.
        cost: values -> the network, and what reading an example costs as long as that is the same.
        look: values, how many examples -> seconds that reading one takes, and each set of features that may
            be read: further values, LogME.
        arms: looks, the best first -> what is trained, the most promising first.
        train: values, epochs, how many examples -> accuracy and loss on the validation examples, and what an
            epoch takes for each example to learn from, in seconds; 0 for no more than to read it.
        epochs: the option that has the number of epochs.
        rungs: epochs of each round of trainings.
        most_epochs: that are worth their time.
        groups: options that are explained together.
        unread: values -> options that change nothing with them.
    """

    noun: str
    examples: int
    validation: int
    start: Values
    fixed: frozenset[str]
    looks: Sequence[Values]
    cost: Callable[[Values], tuple[Any, float]]
    look: Callable[[Values, int], tuple[float, list[tuple[Values, float]]]]
    arms: Callable[[Sequence[Trial]], Sequence[Arm]]
    train: Callable[[Values, int, int], tuple[float, float, float]]
    epochs: str
    rungs: Sequence[int]
    most_epochs: int
    groups: Sequence[tuple[str, ...]]
    unread: Callable[[Values], Iterable[str]] = lambda values: ()

    def lines(self, values: Values) -> tuple[str, ...]:
        """Returns the flags of the values that are others than those of the start."""
        return tuple(flag_line(name, value) for name, value in values.items() if value != self.start[name])

    def whole(self, lines: Iterable[str]) -> dict[str, Any]:
        """Returns all values, those of such lines among them."""
        return {**self.start, **values_of(lines)}

    def is_open(self, values: Values) -> bool:
        """Tells whether values leave alone what is fixed."""
        return not self.fixed & set(values_of(self.lines(values)))


def first_of_each(items: Iterable[T], key: Callable[[T], Any]) -> list[T]:
    """Returns the first of those items that have the same key."""
    first_items: dict[Any, T] = {}
    for item in items:
        first_items.setdefault(key(item), item)
    return list(first_items.values())


def values_of(lines: Iterable[str]) -> dict[str, Any]:
    """Returns the values that lines of a flagfile give, each as its option has it."""
    options = {name: option for group in GROUPS.values() for name, option in options_of(group)}
    values: dict[str, Any] = {}
    for line in lines:
        name, _, text = line.removeprefix("--").partition("=")
        option = options[name]
        kind = option.kind if option.kind in (int, float) else str
        values[name] = tuple(filter(None, text.split(","))) if option.several else kind(text)
    return values


def reason(space: Space, group: Sequence[str], values: Values, trials: Iterable[Trial]) -> Choice:
    """Returns the flags of options that are explained together, and what was found of others in their place.

    Args:
        space: what could be chosen.
        group: the options, of which the first tells what it is; those that change nothing have no flag.
        values: that were chosen.
        trials: of the search.
    """
    unread_names = space.unread(values)
    names = [name for name in group if name in space.start and name not in unread_names]
    lines = tuple(flag_line(name, values[name]) for name in names)
    if not names or set(names) <= space.fixed:
        return Choice("As it was given.", lines)
    best_scores: dict[str, float] = {}
    best_accuracies: dict[str, float] = {}
    left_out_notes: dict[str, str] = {}
    for trial in trials:
        trial_values = space.whole(trial.flags)
        label = _word(trial_values[names[0]])
        if trial.note:
            left_out_notes.setdefault(label, trial.note)
        for best_values, value in ((best_scores, trial.score), (best_accuracies, trial.accuracy)):
            if value is not None:
                best_values[label] = max(value, best_values.get(label, -math.inf))
    sentences = []
    if len(best_scores) > 1:
        scores = ", ".join(f"{label} {score:.3f}" for label, score in best_scores.items())
        sentences.append(f"LogME of features without training, higher is better: {scores}.")
    if len(best_accuracies) > 1:
        shares = ", ".join(f"{label} {share:.2%}" for label, share in best_accuracies.items())
        sentences.append(f"Validation accuracy of short trainings, the best of each: {shares}.")
    notes = [
        f"{label} ({note})"
        for label, note in left_out_notes.items()
        if label not in best_scores | best_accuracies
    ]
    if notes:
        sentences.append(f"Left out: {', '.join(notes)}.")
    return Choice(" ".join(sentences) or "No other was tried.", lines)


def named(lines: Sequence[str]) -> str:
    """Returns flags in a line, or what stands for none."""
    return " ".join(lines) or "the flags as they are"


def line_of(trial: Trial, noun: str) -> str:
    """Returns a line about what was tried."""
    flags = named(trial.flags)
    if trial.note:
        return f"search: left out {flags}: {trial.note}"
    if trial.accuracy is None:
        return f"search: LogME {trial.score:.3f}, {flags}"
    effort = f"{trial.epochs} epochs of {trial.examples:,} {noun}"
    return f"search: {trial.accuracy:.2%} on validation after {effort}, {flags}"


def _word(value: Any) -> str:
    return (",".join(value) or "none") if isinstance(value, tuple) else str(value)
