"""What answers promise: fitted on validation examples, and measured on test examples."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from xmodal import report
from xmodal.core.formatting import format_number
from xmodal.evaluation.answer_sets import AnswerSets, certainty_for, fewest, fit_answer_sets, risk_coverage
from xmodal.evaluation.calibrated_result import CalibratedResult
from xmodal.evaluation.limits import AnswerLimits
from xmodal.evaluation.metrics import HeldOut
from xmodal.evaluation.open_set import KnownInputs

# The most training inputs that neighbours are looked for in, and held-out ones that are ranked.
SAMPLED = 2000
# Shares of right answers that are asked for when others are withheld, and points of a drawn curve.
RIGHT, POINTS = (0.9, 0.95, 0.99, 0.999), 100
# What tables tell of sets.
SHARES = ("share with the right answer", "answers in a set", "share of one answer")


def sample_positions(examples: int, most: int = SAMPLED) -> np.ndarray:
    """Returns the positions of so many examples at most, evenly from the first to the last."""
    return np.linspace(0, examples - 1, min(most, examples)).round().astype(int)


@dataclass(frozen=True)
class Part:
    """Examples of which some modalities are seen, for answer sets of their own.

    Attributes:
        scores: of examples that have all of these, and show nothing else: as `measure_limits` takes them.
        labels: their right answers.
        tested: which of all test examples have these and no others, bool (N,).
    """

    scores: HeldOut
    labels: HeldOut
    tested: np.ndarray


@dataclass(frozen=True)
class MeasuredLimits:
    """What is promised of a model's answers, and how it was kept on the test split.

    Attributes:
        limits: as an export takes them.
        facts, tables, plots: as in `report.Run`.
    """

    limits: AnswerLimits
    facts: dict[str, float | int | str]
    tables: tuple[report.Table, ...]
    plots: tuple[report.Plot, ...]

    def added_to(self, run: report.Run) -> report.Run:
        """Returns a run that tells them too."""
        return replace(
            run,
            facts=run.facts | self.facts,
            tables=run.tables + self.tables,
            plots=run.plots + self.plots,
        )


def measure_limits(
    known: KnownInputs,
    strangeness: np.ndarray,
    scores: HeldOut,
    labels: HeldOut,
    class_names: Sequence[str],
    results: Mapping[str, CalibratedResult],
    *,
    max_error: float,
    of_class: np.ndarray | None = None,
    parts: Mapping[tuple[str, ...], Part] | None = None,
) -> MeasuredLimits:
    """Fits the sets of answers, and measures all that is promised.

    Args:
        known: how strange an input is.
        strangeness: of test inputs (n,), see `KnownInputs.unknown`.
        scores: what answers are put into sets by, (V, C) and (N, C), see `set_scores`.
        labels: the right answers (V,) and (N,).
        class_names: the C answers.
        results: of which errors are drawn over the share that is answered; the first one is served.
        max_error: how often a set may lack the right answer, and a known input may be called none of these.
        of_class: as in `AnswerLimits`.
        parts: examples by the modalities that are seen of them. Of those with enough validation examples the
            answer sets are their own.
    """
    sets = fit_answer_sets(scores.validation, labels.validation, max_error)
    members = sets(scores.test)
    enough = {
        name: part for name, part in (parts or {}).items() if len(part.labels.validation) >= fewest(max_error)
    }
    sets_of_parts = {
        name: fit_answer_sets(part.scores.validation, part.labels.validation, max_error)
        for name, part in enough.items()
    }
    for name, part in enough.items():
        members[part.tested] = sets_of_parts[name](scores.test[part.tested])
    served_result = next(iter(results.values()))
    facts = _facts(sets, members, labels.test, float((strangeness > 1 - max_error).mean()))
    facts |= {
        f"answer sets where {' and '.join(name)} alone is there": (
            f"as of all together: {len(part.labels.validation)} validation examples are too few"
        )
        for name, part in (parts or {}).items()
        if name not in enough
    }
    tables = (
        _class_table(sets, members, labels.test, class_names),
        _withheld_table(served_result, scores, labels),
        *([_part_table(enough, sets_of_parts)] if enough else []),
    )
    plot = _withheld_plot(results, scores.test, labels.test)
    return MeasuredLimits(AnswerLimits(sets, known, of_class, sets_of_parts), facts, tables, (plot,))


def _facts(
    sets: AnswerSets, members: np.ndarray, labels: np.ndarray, unknown_share: float
) -> dict[str, float | int | str]:
    hits, sizes = members[np.arange(len(labels)), labels], members.sum(axis=1)
    facts: dict[str, float | int | str] = {
        "promised share of answer sets with the right answer": 1 - sets.error,
        "seen share of answer sets with the right answer": float(hits.mean()),
        "answers in a set, mean": float(sizes.mean()),
        "share of sets of one answer": float((sizes == 1).mean()),
        "share of test examples called none of these": unknown_share,
    }
    if np.isneginf(sets.least).any():
        facts["answer sets"] = (
            f"hold all answers: {sets.examples} validation examples are too few for an error of "
            f"{format_number(sets.error)}"
        )
    return facts


def _class_table(
    sets: AnswerSets, members: np.ndarray, labels: np.ndarray, class_names: Sequence[str]
) -> report.Table:
    def row(name: str, mask: np.ndarray) -> tuple[str | int | float, ...]:
        return name, int(mask.sum()), *_shares(members[mask], labels[mask])

    rows = [row(name, labels == number) for number, name in enumerate(class_names)]
    of_whom = "each class" if sets.by_class else "all classes together"
    return report.Table(
        f"Answer sets meant to hold the right answer in {100 * (1 - sets.error):g}% of cases, for {of_whom}",
        ("class", "test examples", *SHARES),
        (*rows, row("all", np.ones(len(labels), bool))),
    )


def _shares(members: np.ndarray, labels: np.ndarray) -> tuple[str | float, ...]:
    """Returns what `SHARES` names, of sets (N, C) and right answers (N,)."""
    if not len(labels):
        return ("-",) * len(SHARES)
    right, sizes = members[np.arange(len(labels)), labels], members.sum(axis=1)
    return float(right.mean()), float(sizes.mean()), float((sizes == 1).mean())


def _part_table(
    parts: Mapping[tuple[str, ...], Part], sets_of_parts: Mapping[tuple[str, ...], AnswerSets]
) -> report.Table:
    rows = []
    for name, part in parts.items():
        sets, labels = sets_of_parts[name], part.labels.test
        shares = _shares(sets(part.scores.test), labels)
        rows.append((" and ".join(name), sets.examples, len(labels), *shares))
    share = f"{100 * (1 - next(iter(sets_of_parts.values())).error):g}%"
    return report.Table(
        f"Answer sets meant to hold the right answer in {share} of cases, by what is there",
        ("there", "validation examples", "test examples", *SHARES),
        tuple(rows),
    )


def _withheld_table(result: CalibratedResult, scores: HeldOut, labels: HeldOut) -> report.Table:
    """What is right of the answers above certainties that the validation split tells."""
    certainty = HeldOut(np.exp(scores.validation), np.exp(scores.test))
    correct = result.logits.validation.argmax(axis=1) == labels.validation
    top_certainty = certainty.test.max(axis=1)
    rows: list[tuple[str | float, ...]] = []
    for right in RIGHT:
        threshold = certainty_for(certainty.validation, correct, right)
        mask = top_certainty >= threshold
        accuracy = float(result.correct[mask].mean()) if mask.any() else "-"
        target = f"{right:.1%}"
        rows.append((target, threshold if np.isfinite(threshold) else "-", float(mask.mean()), accuracy))
    return report.Table(
        f"Answers of {result.result.name} that are right when the least certain ones are withheld",
        ("wanted", "least certainty", "share answered", "share of these right"),
        tuple(rows),
    )


def _withheld_plot(
    results: Mapping[str, CalibratedResult], scores: np.ndarray, labels: np.ndarray
) -> report.Plot:
    """Draws errors; the first result, which is served, has scores (N, C) that tell equal answers apart."""
    served_name, series = next(iter(results)), []
    for name, item in results.items():
        certainty = np.exp(scores) if name == served_name else item.probabilities
        curve = risk_coverage(certainty, item.correct)
        indices = np.unique(np.linspace(0, len(labels) - 1, POINTS).astype(int))
        shares, errors = 100 * curve.answered[indices], 100 * curve.errors[indices]
        series.append(report.Series(name, tuple(shares.tolist()), tuple(errors.tolist())))
    return report.Plot(
        "Errors over the share of test examples that is answered, the most certain ones first",
        "answered in %",
        "wrong of these in %",
        tuple(series),
    )
