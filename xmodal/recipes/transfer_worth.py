"""What transfer is worth: accuracy with and without it, at several amounts of labelled examples."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from xmodal import report
from xmodal.evaluation.intervals import compare_paired, wilson_interval
from xmodal.recipes.amounts import amount
from xmodal.training.baselines import Attempt

TRIED = "Trainings from scratch, of which the lowest validation loss counts"
TRIED_HEAD = ("peak rate", "passes", "validation loss", "validation accuracy")
HEAD = ("examples a class", "examples", "with transfer", "without", "difference")


@dataclass(frozen=True)
class Worth:
    """Which of N test examples are answered rightly after training on some of the training examples.

    Attributes:
        count: the most of them a class, 0 for all.
        examples: how many they are.
        with_transfer, without: bool (N,).
        baseline: the name of what answers without transfer.
    """

    count: int
    examples: int
    with_transfer: np.ndarray
    without: np.ndarray
    baseline: str = "no_transfer"


def worth_table(amounts: Sequence[Worth], unit: str) -> report.Table:
    """Puts accuracy with and without transfer, and their difference in points, side by side.

    Args:
        amounts: from few examples to all.
        unit: what the examples are, such as "documents".
    """
    caption = (
        f"What transfer is worth: accuracy on {len(amounts[0].without):,} test {unit}, with 95% intervals"
    )
    return report.Table(caption, HEAD, tuple(map(_row, amounts)))


def worth_plot(amounts: Sequence[Worth], classes: int, unit: str) -> report.Plot:
    """Draws accuracy with and without transfer over the mean number of examples a class.

    Args:
        amounts: from few examples to all.
        classes: the number of classes C.
        unit: what the examples are.
    """
    x = tuple(item.examples / classes for item in amounts)
    return report.Plot(
        f"What transfer is worth: accuracy on test {unit}, with 95% intervals",
        f"training {unit} a class",
        "accuracy, %",
        (
            _series("with transfer", x, [item.with_transfer for item in amounts]),
            _series("without", x, [item.without for item in amounts]),
        ),
        log_x=True,
    )


def tried_table(attempts: Sequence[Attempt]) -> report.Table:
    """Shows what was tried from scratch, and how the validation split found it."""
    return report.Table(TRIED, TRIED_HEAD, tuple(map(_attempt_row, attempts)))


def tried_by_name(tried: Mapping[str, Sequence[Attempt]], caption: str = TRIED) -> report.Table:
    """Shows what was tried from scratch of several things.

    Args:
        tried: what was trained -> all attempts.
        caption: of the table.
    """
    rows = tuple((name, *_attempt_row(item)) for name, attempts in tried.items() for item in attempts)
    return report.Table(caption, ("training", *TRIED_HEAD), rows)


def _attempt_row(item: Attempt) -> tuple[str | int | float, ...]:
    # Of several labels there is no accuracy.
    accuracy = item.best.get("val_accuracy", "-")
    return (f"{item.rate:g}", item.passes, item.best["val_loss"], accuracy)


def _row(item: Worth) -> tuple[str, ...]:
    gain = compare_paired(item.with_transfer, item.without)
    low, high = gain.ci95
    return (
        amount(item.count),
        f"{item.examples:,}",
        _accuracy(item.with_transfer),
        _accuracy(item.without),
        f"{100 * gain.difference:+z.1f} ({100 * low:+z.1f} to {100 * high:+z.1f})",
    )


def _accuracy(right: np.ndarray) -> str:
    low, high = wilson_interval(int(right.sum()), len(right))
    return f"{right.mean():.1%} ({low:.1%} to {high:.1%})"


def _series(name: str, x: tuple[float, ...], rights: Sequence[np.ndarray]) -> report.Series:
    intervals = [wilson_interval(int(right.sum()), len(right)) for right in rights]
    return report.Series(
        name,
        x,
        tuple(100 * float(right.mean()) for right in rights),
        low=tuple(100 * low for low, _ in intervals),
        high=tuple(100 * high for _, high in intervals),
    )
