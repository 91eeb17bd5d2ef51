"""Results whose probabilities are calibrated on the validation split alone."""

import numpy as np
import pytest

from xmodal.evaluation.calibrated_result import calibrated_result
from xmodal.evaluation.calibration import fit_temperature, softmax
from xmodal.evaluation.metrics import HeldOut, log_loss


def test_the_validation_split_calibrates_and_the_test_split_is_measured():
    rng = np.random.default_rng(0)
    labels = HeldOut(rng.integers(0, 3, 400), rng.integers(0, 3, 300))
    # Right in two of three cases, and much too sure.
    logits = HeldOut(
        *(
            8 * np.eye(3)[np.where(rng.random(len(part)) < 2 / 3, part, (part + 1) % 3)]
            for part in (labels.validation, labels.test)
        )
    )
    measured = calibrated_result("text", logits, labels, ["a", "b", "c"], note="Why.", seconds=2.0)
    assert measured.temperature == fit_temperature(logits.validation, labels.validation) > 2
    np.testing.assert_array_equal(measured.probabilities, softmax(logits.test, measured.temperature))
    np.testing.assert_array_equal(measured.correct, logits.test.argmax(axis=1) == labels.test)
    result = measured.result
    assert (result.name, result.note, result.seconds) == ("text", "Why.", 2.0)
    assert result.accuracy == pytest.approx(measured.correct.mean())
    assert result.log_loss < log_loss(softmax(logits.test), labels.test)
    assert result.ece < result.ece_uncalibrated
    assert measured.logits is logits
