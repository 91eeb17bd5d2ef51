"""A result of probabilities that were calibrated on the validation split, for the test split."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from xmodal.evaluation.calibration import fit_temperature, softmax
from xmodal.evaluation.metrics import HeldOut, Result, evaluate


@dataclass(frozen=True)
class CalibratedResult:
    """What a classifier answered for the test split, calibrated on the validation split.

    Attributes:
        result: metrics of the test split.
        logits: of both splits, as the classifier gave them.
        probabilities: calibrated, of the test examples (N, C).
        temperature: what logits were divided by.
        correct: which of the test examples were answered rightly (N,).
        thresholds: of labels of which an example may have several (C,): each is given from it on.
    """

    result: Result
    logits: HeldOut
    probabilities: np.ndarray
    temperature: float
    correct: np.ndarray
    thresholds: np.ndarray | None = None


def calibrated_result(
    name: str,
    logits: HeldOut,
    labels: HeldOut,
    class_names: Sequence[str],
    *,
    note: str = "",
    seconds: float | None = None,
) -> CalibratedResult:
    """Calibrates logits on the validation split, and evaluates those of the test split.

    Args:
        name: of the result.
        logits: (V, C) and (N, C).
        labels: the right classes (V,) and (N,).
        class_names: the C names.
        note: one sentence on where the logits come from.
        seconds: wall time that it took.
    """
    temperature = fit_temperature(logits.validation, labels.validation)
    probabilities = softmax(logits.test, temperature)
    result = evaluate(
        name,
        probabilities,
        labels.test,
        tuple(class_names),
        uncalibrated=softmax(logits.test),
        note=note,
        seconds=seconds,
    )
    correct = probabilities.argmax(axis=1) == labels.test
    return CalibratedResult(result, logits, probabilities, temperature, correct)
