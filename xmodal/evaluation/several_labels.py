"""Answers with several labels: probabilities of each, thresholds, average precision, F1 and their intervals.

An example has any of C labels; each is a question of its own, answered by a sigmoid.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from xmodal.evaluation.calibrated_result import CalibratedResult
from xmodal.evaluation.calibration import TEMPERATURES, root
from xmodal.evaluation.intervals import wilson_interval
from xmodal.evaluation.metrics import FLOOR, HeldOut, Result, bin_confidences, precision_recall_counts

# Samples of the examples with replacement, of which intervals are taken, and those at a time.
RESAMPLES, AT_ONCE = 1000, 100


def sigmoid(logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """Returns the sigmoid of logits divided by a temperature, in float64."""
    # Of a negative number the exponential does not overflow.
    scaled_logits = np.asarray(logits, np.float64) / temperature
    small = np.exp(-np.abs(scaled_logits))
    return np.where(scaled_logits >= 0, 1, small) / (1 + small)


def binary_log_loss(probabilities: np.ndarray, targets: np.ndarray) -> float:
    """Returns the mean negative log likelihood, in nats, of targets (N, C) of 0 and 1, over all decisions."""
    right = np.where(targets > 0, probabilities, 1 - probabilities)
    return float(-np.log(np.maximum(right, FLOOR)).mean())


def fit_sigmoid_temperature(logits: np.ndarray, targets: np.ndarray) -> float:
    """Finds the temperature T of sigmoid(logits / T) with the least log loss on held-out examples.

    It is convex in 1/T, as that of `fit_temperature`, and so one example has half of every label here.

    Args:
        logits: (N, C), of examples that the classifier was not trained on.
        targets: (N, C), 0 and 1.
    """
    logits, count = np.asarray(logits, np.float64), len(targets)
    target = (count * (targets * logits).mean() + 0.5 * logits.mean()) / (count + 1)

    def slope(log_inverse: float) -> float:
        return float((sigmoid(logits, math.exp(-log_inverse)) * logits).mean()) - target

    coldest, hottest = map(math.log, TEMPERATURES)
    return math.exp(-root(slope, -hottest, -coldest)) if logits.any() else 1.0


def fit_thresholds(probabilities: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Finds of each label the threshold with the highest F1 on held-out examples.

    It stands in the middle between two probabilities, and of equally good ones the highest is taken. It is
    0.5 for a label that none of the examples has.

    Args:
        probabilities: (N, C).
        targets: (N, C), 0 and 1.

    Returns:
        Thresholds (C,): a label is given where its probability reaches them.

    Example:
        >>> probabilities = np.array([[0.9], [0.6], [0.5], [0.1]])
        >>> fit_thresholds(probabilities, np.array([[1], [0], [1], [0]])).round(2).tolist()
        [0.3]
    """
    return np.array([_threshold(*column) for column in zip(probabilities.T, targets.T, strict=True)])


def _threshold(probabilities: np.ndarray, targets: np.ndarray) -> float:
    if not targets.any():
        return 0.5
    order = np.argsort(-probabilities, kind="stable")
    sorted_probabilities = probabilities[order]
    f1 = 2 * np.cumsum(targets[order]) / (np.arange(1, len(order) + 1) + targets.sum())
    # Equal probabilities are given a label together.
    last = np.append(sorted_probabilities[:-1] > sorted_probabilities[1:], True)
    best = int(np.argmax(np.where(last, f1, -1)))
    next_probability = sorted_probabilities[best + 1] if best + 1 < len(sorted_probabilities) else 0.0
    return float((sorted_probabilities[best] + next_probability) / 2)


@dataclass(frozen=True)
class LabelScores:
    """How well labels are given, each as (value, low, high) with a 95% interval of the examples' bootstrap.

    Attributes:
        mean_average_precision: the mean of the average precision of the labels that occur; thresholds play
            no part.
        micro_f1: of all decisions together.
        macro_f1: the mean of the F1 of the labels that occur or are given.
        samples: name of each of these -> its values in the resamples (R,), the same ones for other answers
            for the same examples.
    """

    mean_average_precision: tuple[float, float, float]
    micro_f1: tuple[float, float, float]
    macro_f1: tuple[float, float, float]
    samples: Mapping[str, np.ndarray]

    def difference(self, other: "LabelScores", name: str) -> tuple[float, float, float]:
        """Returns what a score is above that of other answers for the same examples, with a 95% interval."""
        return _with_interval(
            getattr(self, name)[0] - getattr(other, name)[0], self.samples[name] - other.samples[name]
        )


def label_scores(
    probabilities: np.ndarray, targets: np.ndarray, thresholds: np.ndarray, seed: int = 0
) -> LabelScores:
    """Measures labels (N, C) of 0 and 1 that probabilities (N, C) and thresholds (C,) give.

    Args:
        probabilities, targets, thresholds: see above.
        seed: of the resamples.

    Example:
        >>> probabilities = np.array([[0.9, 0.2], [0.8, 0.7], [0.3, 0.6]])
        >>> scores = label_scores(probabilities, np.array([[1, 0], [0, 1], [1, 1]]), np.array([0.5, 0.5]))
        >>> [round(score[0], 3) for score in (scores.mean_average_precision, scores.micro_f1)]
        [0.917, 0.75]
    """
    answers = probabilities >= thresholds
    unit_weights = np.ones((1, len(targets)))
    values = _scores(unit_weights, probabilities, targets, answers)
    chance = np.random.default_rng(seed)
    uniform_shares = np.full(len(targets), 1 / len(targets))
    parts = [
        _scores(chance.multinomial(len(targets), uniform_shares, AT_ONCE), probabilities, targets, answers)
        for _ in range(RESAMPLES // AT_ONCE)
    ]
    samples = {name: np.concatenate([part[name] for part in parts]) for name in values}
    scores = {name: _with_interval(float(value[0]), samples[name]) for name, value in values.items()}
    return LabelScores(**scores, samples=samples)


def _with_interval(value: float, samples: np.ndarray) -> tuple[float, float, float]:
    low, high = np.nanpercentile(samples, [2.5, 97.5])
    return value, float(low), float(high)


def _scores(
    weights: np.ndarray, probabilities: np.ndarray, targets: np.ndarray, answers: np.ndarray
) -> dict[str, np.ndarray]:
    """Returns the scores (R,) of examples that count by weights (R, N)."""
    weights = weights.astype(np.float64)
    hits, answer_counts, target_counts = (weights @ part for part in (answers * targets, answers, targets))
    f1 = _share(2 * hits, answer_counts + target_counts)
    micro = _share(2 * hits.sum(axis=1), (answer_counts + target_counts).sum(axis=1))
    precisions = [
        _average_precisions(weights, *column) for column in zip(probabilities.T, targets.T, strict=True)
    ]
    return {
        "mean_average_precision": _mean(np.stack(precisions, axis=1)),
        "micro_f1": micro,
        "macro_f1": _mean(f1),
    }


def average_precisions(probabilities: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Returns the average precision of each label (C,): the mean precision over the steps of the recall."""
    unit_weights = np.ones((1, len(targets)))
    columns = zip(probabilities.T, targets.T, strict=True)
    return np.concatenate([_average_precisions(unit_weights, *column) for column in columns])


def _average_precisions(weights: np.ndarray, probabilities: np.ndarray, targets: np.ndarray) -> np.ndarray:
    order = np.argsort(-probabilities, kind="stable")
    sorted_probabilities = probabilities[order]
    # Equal probabilities are picked out together.
    ends = np.flatnonzero(np.append(sorted_probabilities[:-1] > sorted_probabilities[1:], True))
    counts = np.cumsum(weights[:, order], axis=1)[:, ends]
    hits = np.cumsum(weights[:, order] * targets[order], axis=1)[:, ends]
    steps = np.diff(hits, axis=1, prepend=0)
    return _share((steps * hits / np.maximum(counts, 1)).sum(axis=1), hits[:, -1])


def _share(part: np.ndarray, total: np.ndarray) -> np.ndarray:
    return np.divide(part, total, out=np.full(total.shape, np.nan), where=total > 0)


def _mean(values: np.ndarray) -> np.ndarray:
    """Returns the mean of each row (R, C) -> (R,) over what is a number; NaN where nothing is."""
    is_finite = np.isfinite(values)
    return _share(np.where(is_finite, values, 0).sum(axis=1), is_finite.sum(axis=1).astype(np.float64))


def best_labels_on_validation(logits: Mapping[str, np.ndarray], targets: np.ndarray) -> str:
    """Returns which of several answers (V, C) is best: by mean average precision, then by log loss."""

    def merit(name: str) -> tuple[float, float]:
        probabilities = sigmoid(logits[name], fit_sigmoid_temperature(logits[name], targets))
        precision = _mean(average_precisions(probabilities, targets)[None])[0]
        return float(np.nan_to_num(precision)), -binary_log_loss(probabilities, targets)

    return max(logits, key=merit)


def calibrated_labels(
    name: str,
    logits: HeldOut,
    targets: HeldOut,
    class_names: Sequence[str],
    *,
    note: str = "",
    seconds: float | None = None,
) -> CalibratedResult:
    """As `calibrated_result`, of labels of which an example may have several.

    An example is answered rightly where it is given all its labels and no other. The calibration error and
    the log loss are those of all decisions. There is no confusion matrix.

    Args:
        name: of the result.
        logits: (V, C) and (N, C).
        targets: (V, C) and (N, C), 0 and 1.
        class_names: the C names.
        note: one sentence on where the logits come from.
        seconds: wall time that it took.
    """
    temperature = fit_sigmoid_temperature(logits.validation, targets.validation)
    thresholds = fit_thresholds(sigmoid(logits.validation, temperature), targets.validation)
    probabilities, truth = sigmoid(logits.test, temperature), targets.test > 0
    answers = probabilities >= thresholds
    correct = (answers == truth).all(axis=1)
    reliability = bin_confidences(probabilities.ravel(), truth.ravel())
    f1 = _share(2.0 * (answers & truth).sum(axis=0), answers.sum(axis=0) + truth.sum(axis=0))
    result = Result(
        name=name,
        n=len(truth),
        accuracy=float(correct.mean()),
        ci95=wilson_interval(int(correct.sum()), len(truth)),
        macro_f1=float(_mean(f1[None])[0]),
        log_loss=binary_log_loss(probabilities, truth),
        ece=reliability.ece,
        ece_uncalibrated=bin_confidences(sigmoid(logits.test).ravel(), truth.ravel()).ece,
        confusion=(),
        class_names=tuple(class_names),
        reliability=reliability,
        precision_recall=precision_recall_counts(probabilities, truth),
        note=note,
        seconds=seconds,
    )
    return CalibratedResult(result, logits, probabilities, temperature, correct, thresholds)
