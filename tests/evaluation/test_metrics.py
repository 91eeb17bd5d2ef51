import json
import math

import numpy as np
import pytest

from xmodal.evaluation.intervals import compare_paired, wilson_interval
from xmodal.evaluation.metrics import (
    FLOOR,
    confusion_matrix,
    evaluate,
    expected_calibration_error,
    log_loss,
    macro_f1,
    precision_recall,
    reliability,
)
from xmodal.evaluation.selection import gallery_indices, hardest

# Predictions 0, 1, 0, 1; right, right, right, wrong.
PROBABILITIES = np.array([[0.9, 0.1, 0.0], [0.2, 0.8, 0.0], [0.6, 0.3, 0.1], [0.1, 0.7, 0.2]])
LABELS = np.array([0, 1, 0, 0])


def random_case(seed: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    n, classes = int(random.integers(1, 200)), int(random.integers(2, 8))
    probabilities = random.dirichlet(np.full(classes, 0.3), size=n)
    return probabilities, random.integers(0, classes, size=n)


def test_result_by_hand():
    result = evaluate("image_only", PROBABILITIES, LABELS, ("a", "b", "c"), note="By hand.", seconds=1.5)
    assert (result.name, result.n, result.accuracy) == ("image_only", 4, 0.75)
    assert result.confusion == ((2, 1, 0), (0, 1, 0), (0, 0, 0))
    # F1 of a: 4 / (4 + 0 + 1); of b: 2 / (2 + 1 + 0); c does not occur.
    assert result.macro_f1 == pytest.approx((0.8 + 2 / 3) / 2)
    assert result.log_loss == pytest.approx(-np.mean(np.log([0.9, 0.8, 0.6, 0.1])))
    # Each confidence in a bin of its own: gaps 0.1, 0.2, 0.4 and 0.7.
    assert result.ece == pytest.approx((0.1 + 0.2 + 0.4 + 0.7) / 4)
    assert result.ece_uncalibrated is None
    assert (result.note, result.seconds) == ("By hand.", 1.5)


def test_to_dict_is_json():
    uncalibrated = np.eye(3)[PROBABILITIES.argmax(axis=1)].astype(np.float32)
    result = evaluate(
        "text", PROBABILITIES.astype(np.float32), LABELS, ("a", "b", "c"), uncalibrated=uncalibrated
    )
    entry = result.to_dict()
    assert json.loads(json.dumps(entry, allow_nan=False)) == entry
    assert entry["loss"] == result.log_loss
    assert entry["ci95"] == list(result.ci95)
    assert entry["ece_uncalibrated"] == pytest.approx(0.25)
    assert "name" not in entry


def test_results_stay_in_their_ranges():
    for seed in range(200):
        probabilities, labels = random_case(seed)
        classes = probabilities.shape[1]
        result = evaluate("any", probabilities, labels, tuple(map(str, range(classes))))
        low, high = result.ci95
        assert 0 <= low <= result.accuracy <= high <= 1
        assert 0 <= result.macro_f1 <= 1
        assert 0 <= result.ece <= 1
        assert 0 <= result.log_loss <= -math.log(FLOOR)
        confusion = np.array(result.confusion)
        assert confusion.sum() == len(labels)
        np.testing.assert_array_equal(confusion.sum(axis=1), np.bincount(labels, minlength=classes))
        # Neither the order of examples nor that of classes matters.
        order, names = np.random.default_rng(seed).permutation(len(labels)), np.arange(classes)[::-1]
        other = evaluate("any", probabilities[order][:, names], names[labels[order]], result.class_names)
        for name in ("accuracy", "macro_f1", "log_loss", "ece"):
            assert getattr(other, name) == pytest.approx(getattr(result, name)), name


@pytest.mark.parametrize(
    ("right", "n", "low", "high"),
    [
        # Published: Newcombe 1998, Statistics in Medicine 17, 857-872, table I, method 3.
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
        (29, 29, 1 - 0.1170, 1.0),
    ],
)
def test_wilson_interval(right, n, low, high):
    assert wilson_interval(right, n) == pytest.approx((low, high), abs=5e-5)


def test_wilson_interval_covers():
    # The exact chance that the interval holds the true share, over all outcomes of 1,000 examples.
    for share in (0.5, 0.9, 0.98):
        n, covered = 1000, 0.0
        for right in range(n + 1):
            low, high = wilson_interval(right, n)
            if low <= share <= high:
                log_chance = math.lgamma(n + 1) - math.lgamma(right + 1) - math.lgamma(n - right + 1)
                covered += math.exp(log_chance + right * math.log(share) + (n - right) * math.log(1 - share))
        assert covered == pytest.approx(0.95, abs=0.015)


def test_macro_f1_counts_a_class_that_is_only_predicted():
    confusion = confusion_matrix(np.array([0, 0]), np.array([0, 1]), 3)
    assert macro_f1(confusion) == pytest.approx((2 / 3 + 0) / 2)


def test_log_loss_of_an_exact_zero_is_finite():
    assert log_loss(np.array([[1.0, 0.0]]), np.array([1])) == pytest.approx(-math.log(FLOOR))


def test_reliability_by_hand():
    probabilities = np.array([[0.5, 0.5], [0.6, 0.4], [0.75, 0.25], [0.2, 0.8], [1.0, 0.0]])
    diagram = reliability(probabilities, np.array([0, 1, 0, 1, 0]), bins=4)
    assert diagram.edges == (0.0, 0.25, 0.5, 0.75, 1.0)
    # A confidence on an edge belongs to the bin below: 0.5 and 0.75.
    assert diagram.count == (0, 1, 2, 2)
    assert diagram.confidence == (None, 0.5, pytest.approx(0.675), pytest.approx(0.9))
    assert diagram.accuracy == (None, 1.0, 0.5, 1.0)
    assert diagram.ece == pytest.approx((1 * 0.5 + 2 * 0.175 + 2 * 0.1) / 5)


def test_precision_and_recall_by_hand():
    probabilities = np.array([[0.9, 0.1], [0.5, 0.5], [0.4, 0.6], [0.29, 0.71]])
    curves = precision_recall(probabilities, np.array([0, 1, 0, 1]), steps=100)
    at = dict(
        zip(
            (round(100 * t) for t in curves.thresholds), zip(*curves.true_positives, strict=True), strict=True
        )
    )
    assert [at[t] for t in (0, 40, 41, 50, 60, 71, 72, 90, 91, 100)] == [
        (2, 2),
        (2, 2),
        (1, 2),
        (1, 2),
        (1, 1),
        (1, 1),
        (1, 0),
        (1, 0),
        (0, 0),
        (0, 0),
    ]
    # Class 0, from the surest: right, wrong, right, wrong; class 1: right, wrong, right, wrong.
    assert curves.mean_average_precision == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)
    recall, precision = curves.pooled()
    assert (recall[0], precision[0]) == (1, 0.5)
    assert (recall[-1], precision[-1]) == (0, 1)
    assert (recall[50], precision[50]) == (0.75, pytest.approx(3 / 5))


def test_average_precision_of_noise_is_the_share_of_the_class_and_of_knowledge_is_one():
    labels = np.repeat([0, 1, 1, 1], 1000)
    noise = np.random.default_rng(0).uniform(size=4000)
    chance = precision_recall(np.stack([noise, 1 - noise], axis=1), labels)
    assert chance.mean_average_precision == pytest.approx((0.25 + 0.75) / 2, abs=0.02)
    assert precision_recall(np.eye(2)[labels], labels).mean_average_precision == 1


def test_calibration_error_of_calibrated_probabilities_vanishes():
    random = np.random.default_rng(0)
    probabilities = random.dirichlet(np.ones(4), size=50_000)
    labels = (probabilities.cumsum(axis=1) < random.random((50_000, 1))).sum(axis=1)
    assert expected_calibration_error(probabilities, labels) < 0.01
    sharpened = probabilities**3 / (probabilities**3).sum(axis=1, keepdims=True)
    assert expected_calibration_error(sharpened, labels) > 0.1


def outcomes(both: int, only_a: int, only_b: int, neither: int) -> tuple[np.ndarray, np.ndarray]:
    a = np.repeat([True, True, False, False], [both, only_a, only_b, neither])
    b = np.repeat([True, False, True, False], [both, only_a, only_b, neither])
    return a, b


@pytest.mark.parametrize(
    ("counts", "low", "high"),
    [
        # Published by Fagerland, Lydersen and Laake, "Statistical Analysis of Contingency Tables" (2017),
        # chapter 8, and its R package contingencytables.
        ((59, 6, 16, 80), -0.1186, -0.0046),
        ((1, 1, 7, 12), -0.507, -0.0256),
    ],
)
def test_paired_interval(counts, low, high):
    gain = compare_paired(*outcomes(*counts))
    assert gain.ci95 == pytest.approx((low, high), abs=1e-4)
    assert (gain.n, gain.only_a, gain.only_b) == (sum(counts), counts[1], counts[2])
    assert gain.difference == pytest.approx((counts[1] - counts[2]) / sum(counts))


def test_paired_interval_covers():
    # Pairs as they are here: both mostly right, on mostly the same examples.
    random = np.random.default_rng(0)
    chances, truth, covered = [0.95, 0.03, 0.01, 0.01], 0.02, 0
    for counts in random.multinomial(1000, chances, size=1000):
        low, high = compare_paired(*outcomes(*counts)).ci95
        covered += low <= truth <= high
    assert 0.93 <= covered / 1000 <= 0.985


def test_gain_turns_with_its_arguments():
    for seed in range(100):
        random = np.random.default_rng(seed)
        a, b = random.random((2, int(random.integers(1, 60)))) < random.random((2, 1))
        gain, turned = compare_paired(a, b), compare_paired(b, a)
        assert -1 <= gain.ci95[0] <= gain.difference <= gain.ci95[1] <= 1
        assert turned.difference == -gain.difference
        assert turned.ci95 == pytest.approx((-gain.ci95[1], -gain.ci95[0]))


@pytest.mark.parametrize(
    ("counts", "sentence"),
    [
        ((870, 100, 22, 8), "transfer helped: +7.8 points (95% 5.7 to 10.0)"),
        ((870, 22, 100, 8), "transfer hurt: -7.8 points (95% -10.0 to -5.7)"),
        (
            (970, 12, 10, 8),
            "transfer made no difference that 1,000 images can show: +0.2 points (95% -0.8 to 1.2)",
        ),
        (
            (1000, 0, 0, 0),
            "transfer made no difference that 1,000 images can show: +0.0 points (95% -0.4 to 0.4)",
        ),
    ],
)
def test_gain_in_words(counts, sentence):
    assert compare_paired(*outcomes(*counts)).sentence == sentence


def test_nothing_has_no_sign():
    gain = compare_paired(*outcomes(99_990, 4, 6, 0))
    assert -0.0005 < gain.ci95[0] < gain.difference < 0
    assert gain.sentence.endswith(": +0.0 points (95% 0.0 to 0.0)")


def test_gain_of_something_else():
    sentence = compare_paired(*outcomes(1, 0, 0, 1), what="text", unit="documents").sentence
    assert sentence.startswith("text made no difference that 2 documents can show")


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        (np.ones(2, bool), np.ones(3, bool), r"Received: \(2,\) and \(3,\)"),
        (np.ones(0, bool), np.ones(0, bool), r"N > 0. Received: \(0,\) and \(0,\)"),
        (np.ones(2), np.ones(2, bool), "expected booleans. Received: float64 and bool"),
    ],
)
def test_gain_names_what_does_not_fit(a, b, message):
    with pytest.raises(ValueError, match=message):
        compare_paired(a, b)


def test_hardest():
    # The labels got 0.9, 0.8, 0.6 and 0.1.
    assert hardest(PROBABILITIES, LABELS, 2).tolist() == [3, 2]
    assert hardest(PROBABILITIES, LABELS, 9).tolist() == [3, 2, 1, 0]


def test_gallery():
    random = np.random.default_rng(3)
    probabilities = random.dirichlet(np.full(5, 0.5), size=300)
    labels = np.where(random.random(300) < 0.8, probabilities.argmax(axis=1), random.integers(0, 5, 300))
    picked = gallery_indices(probabilities, labels, per_kind=10, seed=1)
    right = probabilities.argmax(axis=1) == labels
    assert {kind: len(indices) for kind, indices in picked.items()} == {
        "wrong": 10,
        "right": 10,
        "unsure": 10,
    }
    assert right[picked["right"]].all()
    assert not right[picked["wrong"]].any()
    assert len(set(np.concatenate(list(picked.values())))) == 30
    assert np.bincount(labels[picked["right"]], minlength=5).tolist() == [2] * 5
    two = np.sort(probabilities, axis=1)[:, -2:]
    margin = two[:, 1] - two[:, 0]
    others = np.setdiff1d(np.arange(300), np.concatenate(list(picked.values())))
    assert margin[picked["unsure"]].max() <= margin[others].min()
    again = gallery_indices(probabilities, labels, per_kind=10, seed=1)
    assert all(np.array_equal(picked[kind], again[kind]) for kind in picked)
    other = gallery_indices(probabilities, labels, per_kind=10, seed=2)
    assert not np.array_equal(picked["right"], other["right"])


def test_gallery_without_mistakes():
    picked = gallery_indices(np.eye(3), np.arange(3), per_kind=2, seed=0)
    assert {kind: len(indices) for kind, indices in picked.items()} == {"wrong": 0, "right": 2, "unsure": 1}


@pytest.mark.parametrize(
    ("probabilities", "labels", "message"),
    [
        (np.zeros((0, 3)), np.zeros(0, int), "there are no examples to evaluate"),
        (np.ones(3), np.zeros(3, int), r"\(N, C\) and labels \(N,\). Received: \(3,\) and \(3,\)"),
        (PROBABILITIES, LABELS[:3], r"Received: \(4, 3\) and \(3,\)"),
        (np.array([[1.0, 0, 0], [np.nan, 0, 1]]), LABELS[:2], r"must be finite. Received, in row 1: \[nan"),
        (np.array([[1.5, -0.5, 0]]), LABELS[:1], r"must not be negative. Received, in row 0: \[ 1.5"),
        (np.array([[1.0, 0, 0], [2.0, 3, 4]]), LABELS[:2], r"must sum to 1. Row 1 sums to 9"),
        (PROBABILITIES, np.array([0, 1, 2, 3]), r"from 0 to 2. Received: int64 from 0 to 3"),
        (PROBABILITIES, np.array([0, -1, 2, 0]), r"from 0 to 2. Received: int64 from -1 to 2"),
        (PROBABILITIES, LABELS.astype(float), r"from 0 to 2. Received: float64"),
    ],
)
def test_what_cannot_be_evaluated_is_named(probabilities, labels, message):
    with pytest.raises(ValueError, match=message):
        evaluate("any", probabilities, labels, ("a", "b", "c"))


def test_class_names_must_fit():
    with pytest.raises(ValueError, match=r"must hold 3 names. Received: 2"):
        evaluate("any", PROBABILITIES, LABELS, ("a", "b"))
