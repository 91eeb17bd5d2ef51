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
from xmodal.evaluation.metrics import FLOOR, HeldOut, Result, binned, counted_curves

# Samples of the examples with replacement, of which intervals are taken, and those at a time.
RESAMPLES, AT_ONCE = 1000, 100


def sigmoid(logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """Returns the sigmoid of logits divided by a temperature, in float64."""
    # Of a negative number the exponential does not overflow.
    scaled = np.asarray(logits, np.float64) / temperature
    small = np.exp(-np.abs(scaled))
    return np.where(scaled >= 0, 1, small) / (1 + small)


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
    falling = probabilities[order]
    f1 = 2 * np.cumsum(targets[order]) / (np.arange(1, len(order) + 1) + targets.sum())
    # Equal probabilities are given a label together.
    last = np.append(falling[:-1] > falling[1:], True)
    best = int(np.argmax(np.where(last, f1, -1)))
    below = falling[best + 1] if best + 1 < len(falling) else 0.0
    return float((falling[best] + below) / 2)


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
    given = probabilities >= thresholds
    every = np.ones((1, len(targets)))
    values = _scores(every, probabilities, targets, given)
    chance = np.random.default_rng(seed)
    even = np.full(len(targets), 1 / len(targets))
    parts = [
        _scores(chance.multinomial(len(targets), even, AT_ONCE), probabilities, targets, given)
        for _ in range(RESAMPLES // AT_ONCE)
    ]
    samples = {name: np.concatenate([part[name] for part in parts]) for name in values}
    shown = {name: _with_interval(float(value[0]), samples[name]) for name, value in values.items()}
    return LabelScores(**shown, samples=samples)


def _with_interval(value: float, samples: np.ndarray) -> tuple[float, float, float]:
    low, high = np.nanpercentile(samples, [2.5, 97.5])
    return value, float(low), float(high)


def _scores(
    weights: np.ndarray, probabilities: np.ndarray, targets: np.ndarray, given: np.ndarray
) -> dict[str, np.ndarray]:
    """Returns the scores (R,) of examples that count by weights (R, N)."""
    weights = weights.astype(np.float64)
    hits, all_given, all_true = (weights @ part for part in (given * targets, given, targets))
    f1 = _share(2 * hits, all_given + all_true)
    micro = _share(2 * hits.sum(axis=1), (all_given + all_true).sum(axis=1))
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
    every = np.ones((1, len(targets)))
    columns = zip(probabilities.T, targets.T, strict=True)
    return np.concatenate([_average_precisions(every, *column) for column in columns])


def _average_precisions(weights: np.ndarray, probabilities: np.ndarray, targets: np.ndarray) -> np.ndarray:
    order = np.argsort(-probabilities, kind="stable")
    falling = probabilities[order]
    # Equal probabilities are picked out together.
    ends = np.flatnonzero(np.append(falling[:-1] > falling[1:], True))
    picked = np.cumsum(weights[:, order], axis=1)[:, ends]
    hits = np.cumsum(weights[:, order] * targets[order], axis=1)[:, ends]
    steps = np.diff(hits, axis=1, prepend=0)
    return _share((steps * hits / np.maximum(picked, 1)).sum(axis=1), hits[:, -1])


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.full(whole.shape, np.nan), where=whole > 0)


def _mean(values: np.ndarray) -> np.ndarray:
    """Returns the mean of each row (R, C) -> (R,) over what is a number; NaN where nothing is."""
    known = np.isfinite(values)
    return _share(np.where(known, values, 0).sum(axis=1), known.sum(axis=1).astype(np.float64))


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
    probabilities, wanted = sigmoid(logits.test, temperature), targets.test > 0
    given = probabilities >= thresholds
    correct = (given == wanted).all(axis=1)
    reliability = binned(probabilities.ravel(), wanted.ravel())
    f1 = _share(2.0 * (given & wanted).sum(axis=0), given.sum(axis=0) + wanted.sum(axis=0))
    result = Result(
        name=name,
        n=len(wanted),
        accuracy=float(correct.mean()),
        ci95=wilson_interval(int(correct.sum()), len(wanted)),
        macro_f1=float(_mean(f1[None])[0]),
        log_loss=binary_log_loss(probabilities, wanted),
        ece=reliability.ece,
        ece_uncalibrated=binned(sigmoid(logits.test).ravel(), wanted.ravel()).ece,
        confusion=(),
        class_names=tuple(class_names),
        reliability=reliability,
        precision_recall=counted_curves(probabilities, wanted),
        note=note,
        seconds=seconds,
    )
    return CalibratedResult(result, logits, probabilities, temperature, correct, thresholds)
