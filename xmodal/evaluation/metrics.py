"""Metrics of probabilities (N, C) and labels (N,): accuracy, F1, log loss, calibration, precision, recall."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from xmodal.evaluation.intervals import wilson_interval

# Below float32's resolution a probability says nothing, and one exact zero would make a log loss infinite.
FLOOR = float(np.finfo(np.float32).eps)


@dataclass(frozen=True)
class HeldOut:
    """Something for each validation example and each test example: logits (V, C) and (N, C), or sentences."""

    validation: np.ndarray
    test: np.ndarray


@dataclass(frozen=True)
class Result:
    """How well probabilities answer a question.

    Attributes:
        name: what was measured, such as "image_only".
        n: the number of examples N.
        accuracy: share of examples whose most probable class (of equal ones, the first) is the label.
        ci95: 95% interval of the accuracy (`wilson_interval`).
        macro_f1: mean F1 over the classes that occur, see `macro_f1`.
        log_loss: mean negative log likelihood in nats; probabilities below 1.2e-7 count as that.
        ece: expected calibration error, see `expected_calibration_error`.
        ece_uncalibrated: the same before calibration, None when that was not measured.
        confusion: (C, C) counts, rows the labels, columns the predictions; () where an example has several.
        class_names: the C names.
        reliability: confidence against accuracy.
        precision_recall: of each class against the rest.
        note: one sentence on how the probabilities were obtained.
        seconds: wall time to obtain them, None when that was not measured.
    """

    name: str
    n: int
    accuracy: float
    ci95: tuple[float, float]
    macro_f1: float
    log_loss: float
    ece: float
    ece_uncalibrated: float | None
    confusion: tuple[tuple[int, ...], ...]
    class_names: tuple[str, ...]
    reliability: Reliability
    precision_recall: PrecisionRecall
    note: str = ""
    seconds: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Returns the entry of metrics.json under `name`: plain JSON values, the log loss as "loss"."""
        return {
            "accuracy": self.accuracy,
            "n": self.n,
            "ci95": list(self.ci95),
            "loss": self.log_loss,
            "macro_f1": self.macro_f1,
            "ece": self.ece,
            "ece_uncalibrated": self.ece_uncalibrated,
            "confusion": [list(row) for row in self.confusion],
            "class_names": list(self.class_names),
            "reliability": {
                "count": list(self.reliability.count),
                "confidence": list(self.reliability.confidence),
                "accuracy": list(self.reliability.accuracy),
            },
            "average_precision": self.precision_recall.mean_average_precision,
            "note": self.note,
            "seconds": self.seconds,
        }


@dataclass(frozen=True)
class Reliability:
    """A reliability diagram: M equal bins of confidence, bin m for confidences in (m/M, (m+1)/M].

    Attributes:
        edges: the M + 1 limits of the bins, from 0 to 1.
        count: (M,) examples in each bin.
        confidence: (M,) mean confidence, None in an empty bin.
        accuracy: (M,) share of right answers, None in an empty bin.
    """

    edges: tuple[float, ...]
    count: tuple[int, ...]
    confidence: tuple[float | None, ...]
    accuracy: tuple[float | None, ...]

    @property
    def ece(self) -> float:
        """The mean gap between confidence and accuracy, each bin weighted by its examples."""
        gaps = (
            count * abs(confidence - accuracy)
            for count, confidence, accuracy in zip(self.count, self.confidence, self.accuracy, strict=True)
            if confidence is not None and accuracy is not None
        )
        return math.fsum(gaps) / sum(self.count)


@dataclass(frozen=True)
class PrecisionRecall:
    """How many examples each class's probability picks out at M thresholds, and how many of them rightly.

    Attributes:
        thresholds: (M,), rising from 0 to 1; an example is picked out where the probability reaches it.
        true_positives, false_positives: (C, M) counts.
        positives: (C,) examples of each class.
        n: the number of examples N.
    """

    thresholds: tuple[float, ...]
    true_positives: tuple[tuple[int, ...], ...]
    false_positives: tuple[tuple[int, ...], ...]
    positives: tuple[int, ...]
    n: int

    @property
    def mean_average_precision(self) -> float:
        """The mean, over the classes that occur, of the precision averaged over the recall, in its steps."""
        precisions = [
            _average_precision(np.array(hits), np.array(misses), positives)
            for hits, misses, positives in zip(
                self.true_positives, self.false_positives, self.positives, strict=True
            )
            if positives
        ]
        return float(np.mean(precisions))

    def pooled(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns recall and precision (M,) of all classes' decisions together (micro-average)."""
        hits = np.sum(self.true_positives, axis=0)
        decisions = hits + np.sum(self.false_positives, axis=0)
        # Where nothing is picked out, nothing is wrong.
        return hits / sum(self.positives), np.where(decisions, hits / np.maximum(decisions, 1), 1.0)


def evaluate(
    name: str,
    probabilities: np.ndarray,
    labels: np.ndarray,
    class_names: tuple[str, ...],
    *,
    uncalibrated: np.ndarray | None = None,
    note: str = "",
    seconds: float | None = None,
) -> Result:
    """Measures probabilities against labels.

    Args:
        name: what is measured.
        probabilities: (N, C), rows that sum to 1.
        labels: (N,), class indices.
        class_names: the C names.
        uncalibrated: (N, C), the probabilities before calibration.
        note, seconds: kept in the result.

    Returns:
        A `Result`: accuracy and its 95% interval, macro F1, log loss in nats, calibration error, confusion
        matrix and more; accuracies and errors are shares from 0 to 1.

    Raises:
        ValueError: for no examples, shapes or labels that do not fit, and probabilities that are not.

    Example:
        >>> probabilities = np.array([[0.9, 0.1], [0.4, 0.6], [0.2, 0.8]])
        >>> result = evaluate("mine", probabilities, np.array([0, 1, 0]), ("cat", "dog"))
        >>> round(result.accuracy, 3), [round(limit, 3) for limit in result.ci95], round(result.log_loss, 3)
        (0.667, [0.208, 0.939], 0.742)
        >>> result.confusion  # rows are the labels
        ((1, 1), (0, 1))
    """
    probabilities, labels = check_probabilities(probabilities, labels)
    n, classes = probabilities.shape
    if len(class_names) != classes:
        raise ValueError(f"class_names must hold {classes} names. Received: {len(class_names)}")
    confusion = confusion_matrix(labels, probabilities.argmax(axis=1), classes)
    right = int(confusion.trace())
    return Result(
        name=name,
        n=n,
        accuracy=right / n,
        ci95=wilson_interval(right, n),
        macro_f1=macro_f1(confusion),
        log_loss=log_loss(probabilities, labels),
        ece=expected_calibration_error(probabilities, labels),
        ece_uncalibrated=(None if uncalibrated is None else expected_calibration_error(uncalibrated, labels)),
        confusion=tuple(tuple(row) for row in confusion.tolist()),
        class_names=tuple(class_names),
        reliability=reliability(probabilities, labels),
        precision_recall=precision_recall(probabilities, labels),
        note=note,
        seconds=seconds,
    )


def confusion_matrix(labels: np.ndarray, predictions: np.ndarray, classes: int) -> np.ndarray:
    """Counts labels (N,) against predictions (N,): (C, C), rows the labels, columns the predictions."""
    return np.bincount(labels * classes + predictions, minlength=classes**2).reshape(classes, classes)


def macro_f1(confusion: np.ndarray) -> float:
    """Returns the mean over classes of F1, see `class_scores`.

    A class that neither a label nor a prediction names has no F1 and is left out of the mean; one that
    only labels or only predictions name counts with 0.
    """
    return float(np.nanmean(class_scores(confusion).f1))


class ClassScores(NamedTuple):
    """Of each class (C,): NaN where there is nothing to divide by.

    Attributes:
        precision: TP / (TP + FP).
        recall: TP / (TP + FN).
        f1: 2 TP / (2 TP + FP + FN).
        examples: of the class.
    """

    precision: np.ndarray
    recall: np.ndarray
    f1: np.ndarray
    examples: np.ndarray


def class_scores(confusion: np.ndarray) -> ClassScores:
    """Returns precision, recall and F1 of each class, from a confusion matrix (C, C)."""
    right, labels, predictions = confusion.diagonal(), confusion.sum(axis=1), confusion.sum(axis=0)

    def share(part: np.ndarray, total: np.ndarray) -> np.ndarray:
        return np.divide(part, total, out=np.full(len(total), np.nan), where=total > 0)

    return ClassScores(
        share(right, predictions), share(right, labels), share(2 * right, labels + predictions), labels
    )


def log_loss(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Returns the mean negative log likelihood, in nats, of labels (N,) under probabilities (N, C)."""
    probabilities, labels = check_probabilities(probabilities, labels)
    return float(-np.log(np.maximum(of_label(probabilities, labels), FLOOR)).mean())


def reliability(probabilities: np.ndarray, labels: np.ndarray, bins: int = 15) -> Reliability:
    """Compares confidence with accuracy in equal bins of confidence.

    Args:
        probabilities: (N, C).
        labels: (N,), class indices.
        bins: the number of bins M.

    Raises:
        ValueError: as `evaluate` does, and for less than one bin.
    """
    probabilities, labels = check_probabilities(probabilities, labels)
    return bin_confidences(probabilities.max(axis=1), probabilities.argmax(axis=1) == labels, bins)


def bin_confidences(confidence: np.ndarray, right: np.ndarray, bins: int = 15) -> Reliability:
    """Compares confidences (N,) with what was right (N,), as `reliability` does."""
    if bins < 1:
        raise ValueError(f"bins must be at least 1. Received: {bins}")
    edges = np.linspace(0, 1, bins + 1)
    # The inner edges only: a confidence that rounding has put a little over 1 is in the last bin.
    index = np.searchsorted(edges[1:-1], confidence, side="left")
    count = np.bincount(index, minlength=bins)

    def means(values: np.ndarray) -> tuple[float | None, ...]:
        sums = np.bincount(index, values, bins)
        return tuple(float(total / size) if size else None for total, size in zip(sums, count, strict=True))

    return Reliability(tuple(edges.tolist()), tuple(count.tolist()), means(confidence), means(right))


def precision_recall(probabilities: np.ndarray, labels: np.ndarray, steps: int = 200) -> PrecisionRecall:
    """Counts, for each class against the rest, what thresholds 0, 1/steps, ..., 1 pick out.

    Args:
        probabilities: (N, C).
        labels: (N,), class indices.
        steps: M - 1.

    Raises:
        ValueError: as `evaluate` does.
    """
    probabilities, labels = check_probabilities(probabilities, labels)
    return precision_recall_counts(probabilities, labels[:, None] == np.arange(probabilities.shape[1]), steps)


def precision_recall_counts(
    probabilities: np.ndarray, belongs: np.ndarray, steps: int = 200
) -> PrecisionRecall:
    """Counts as `precision_recall`, of examples that belong (N, C) to any number of classes."""
    n, classes = probabilities.shape
    thresholds = np.linspace(0, 1, steps + 1)
    # The highest threshold that each probability reaches.
    threshold_indices = np.searchsorted(thresholds, probabilities, side="right") - 1

    def count_above(column: int, mask: np.ndarray) -> tuple[int, ...]:
        counts = np.bincount(threshold_indices[mask, column], minlength=steps + 1)
        return tuple(counts[::-1].cumsum()[::-1].tolist())

    return PrecisionRecall(
        thresholds=tuple(thresholds.tolist()),
        true_positives=tuple(count_above(column, belongs[:, column]) for column in range(classes)),
        false_positives=tuple(count_above(column, ~belongs[:, column]) for column in range(classes)),
        positives=tuple(belongs.sum(axis=0).tolist()),
        n=n,
    )


def _average_precision(hits: np.ndarray, misses: np.ndarray, positives: int) -> float:
    # From the highest threshold to the lowest, so that recall rises.
    recall = np.concatenate([[0.0], hits[::-1] / positives])
    precision = hits[::-1] / np.maximum(hits + misses, 1)[::-1]
    return float((np.diff(recall) * precision).sum())


def expected_calibration_error(probabilities: np.ndarray, labels: np.ndarray, bins: int = 15) -> float:
    """Returns the expected calibration error (Guo et al. 2017, arXiv:1706.04599, equation 3).

    It is the mean absolute difference between the confidence in the predicted class and the accuracy,
    over equal bins of confidence, weighted by the examples in each.

    Args:
        probabilities: (N, C).
        labels: (N,), class indices.
        bins: the number of bins M.
    """
    return reliability(probabilities, labels, bins).ece


def check_probabilities(probabilities: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns probabilities (N, C) and labels (N,) as arrays; a ValueError says what is wrong with them."""
    probabilities, labels = np.asarray(probabilities, np.float64), np.asarray(labels)
    if probabilities.ndim != 2 or labels.shape != probabilities.shape[:1]:
        raise ValueError(
            "expected probabilities (N, C) and labels (N,). "
            f"Received: {probabilities.shape} and {labels.shape}"
        )
    n, classes = probabilities.shape
    if n == 0:
        raise ValueError("there are no examples to evaluate")
    if not np.isfinite(probabilities).all():
        row = int(np.flatnonzero(~np.isfinite(probabilities).all(axis=1))[0])
        raise ValueError(f"probabilities must be finite. Received, in row {row}: {probabilities[row]}")
    if probabilities.min() < 0:
        row = int(np.flatnonzero((probabilities < 0).any(axis=1))[0])
        raise ValueError(f"probabilities must not be negative. Received, in row {row}: {probabilities[row]}")
    wrong_sums = np.flatnonzero(np.abs(probabilities.sum(axis=1) - 1) > 1e-3)
    if wrong_sums.size:
        row = int(wrong_sums[0])
        raise ValueError(
            f"each row of probabilities must sum to 1. Row {row} sums to {probabilities[row].sum():.6g}"
        )
    if not np.issubdtype(labels.dtype, np.integer) or labels.min() < 0 or labels.max() >= classes:
        raise ValueError(
            f"labels must be class indices from 0 to {classes - 1}. "
            f"Received: {labels.dtype} from {labels.min()} to {labels.max()}"
        )
    return probabilities, labels.astype(np.int64)


def of_label(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Returns the probability (N,) of each example's label."""
    return probabilities[np.arange(len(labels)), labels]
