"""What is reported where an example may have several labels, or none."""

from collections.abc import Mapping, Sequence

import numpy as np

from xmodal import report
from xmodal.core.formatting import first_few
from xmodal.data.documents import DocumentData, DocumentSplit
from xmodal.data.images import ImageData
from xmodal.evaluation.calibrated_result import CalibratedResult
from xmodal.evaluation.several_labels import LabelScores, average_precisions, label_scores

SCORES = {
    "mean_average_precision": "mean average precision",
    "micro_f1": "micro F1",
    "macro_f1": "macro F1",
}
NO_LABEL = "none"
HARDEST, SHOWN_CHARACTERS = 20, 160


def label_tables(
    measured: Mapping[str, CalibratedResult], shipped: str, data: DocumentData | ImageData, seed: int
) -> tuple[dict[str, float | int | str], tuple[report.Table, ...]]:
    """Returns facts and tables of labels that were given to the test examples.

    Args:
        measured: answers by name; others are compared with the exported ones.
        shipped: the name of these.
        data: the examples.
        seed: of the intervals' resamples.
    """
    targets = data.test.targets
    scores = {
        name: label_scores(item.probabilities, targets, _thresholds(item), seed)
        for name, item in measured.items()
    }
    facts: dict[str, float | int | str] = {
        f"{title} of {shipped}": _with_interval(getattr(scores[shipped], name))
        for name, title in SCORES.items()
    }
    facts["a right answer"] = "exactly the labels of the example"
    tables = (
        _scores_table(scores),
        _differences(scores, shipped),
        _each_label(measured[shipped], targets),
        _hardest(measured[shipped], data),
    )
    return facts, tables


def _thresholds(item: CalibratedResult) -> np.ndarray:
    assert item.thresholds is not None
    return item.thresholds


def _with_interval(score: tuple[float, float, float]) -> str:
    value, low, high = score
    return f"{value:.3f} (95% {low:.3f} to {high:.3f})"


def _scores_table(scores: Mapping[str, LabelScores]) -> report.Table:
    return report.Table(
        "Labels given to the test examples, with 95% intervals",
        ("", *SCORES.values()),
        tuple(
            (name, *(_with_interval(getattr(item, score)) for score in SCORES))
            for name, item in scores.items()
        ),
    )


def _differences(scores: Mapping[str, LabelScores], shipped: str) -> report.Table:
    def difference(other: str, score: str) -> str:
        value, low, high = scores[shipped].difference(scores[other], score)
        return f"{value:+.3f} (95% {low:+.3f} to {high:+.3f})"

    return report.Table(
        f"What {shipped} is above the others, for the same examples",
        ("", *SCORES.values()),
        tuple((name, *(difference(name, score) for score in SCORES)) for name in scores if name != shipped),
    )


def _each_label(item: CalibratedResult, targets: np.ndarray) -> report.Table:
    target_mask, answer_mask = targets > 0, item.probabilities >= _thresholds(item)
    hits, answer_counts, target_counts = (
        (part).sum(axis=0) for part in (target_mask & answer_mask, answer_mask, target_mask)
    )
    precisions = average_precisions(item.probabilities, targets)
    rows = tuple(
        (
            name,
            int(target_counts[label]),
            float(_thresholds(item)[label]),
            float(np.nan_to_num(precisions[label])),
            float(hits[label] / max(1, answer_counts[label])),
            float(hits[label] / max(1, target_counts[label])),
            float(2 * hits[label] / max(1, answer_counts[label] + target_counts[label])),
        )
        for label, name in enumerate(item.result.class_names)
    )
    head = ("label", "test examples", "threshold", "average precision", "precision", "recall", "F1")
    caption = f"The labels, {item.result.name}, each from a threshold on that was chosen on validation"
    return report.Table(caption, head, rows)


def named_labels(labels: np.ndarray, names: Sequence[str]) -> str:
    """Returns the names of the labels (C,) that are not 0."""
    return first_few([names[label] for label in np.flatnonzero(labels).tolist()], 10) or NO_LABEL


def _hardest(item: CalibratedResult, data: DocumentData | ImageData) -> report.Table:
    """The test examples whose labels together got the least probability."""
    targets = data.test.targets
    answer_mask = item.probabilities >= _thresholds(item)
    right = np.where(targets > 0, item.probabilities, 1 - item.probabilities)
    likelihood = np.log(np.maximum(right, np.finfo(np.float64).tiny)).sum(axis=1)

    texts = data.test.texts if isinstance(data.test, DocumentSplit) else None
    rows = tuple(
        (
            data.test.ids[index],
            named_labels(targets[index], data.class_names),
            named_labels(answer_mask[index], data.class_names),
            *(() if texts is None else (str(texts[index])[:SHOWN_CHARACTERS],)),
        )
        for index in np.argsort(likelihood, kind="stable")[:HARDEST].tolist()
    )
    head = ("example", "labels", f"answer of {item.result.name}", *(() if texts is None else ("begins",)))
    return report.Table("The hardest test examples", head, rows)
