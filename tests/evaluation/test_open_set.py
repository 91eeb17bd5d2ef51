"""How strange an input is, from known ones alone."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from xmodal.evaluation.open_set import auroc, fit_known_inputs


def inputs(count: int, seed: int, shift: float = 0.0) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    rng = np.random.default_rng(seed)
    rows = rng.normal(0, 1, (count, 8)) + np.array([4 - shift, shift, 0, 0, 0, 0, 0, 0])
    return rows[:, :3] * (1 - shift / 8), {"features": rows}


@pytest.fixture(scope="module")
def fitted():
    _, kept = inputs(500, 0)
    return fit_known_inputs(kept, *inputs(800, 1))


def test_known_inputs_are_spread_evenly_and_unknown_ones_are_high(fitted):
    known, unknown = fitted.unknown(*inputs(2000, 2)), fitted.unknown(*inputs(300, 3, shift=4.0))
    assert ((known >= 0) & (known < 1)).all()
    np.testing.assert_allclose(np.quantile(known, [0.25, 0.5, 0.95]), [0.25, 0.5, 0.95], atol=0.05)
    assert auroc(known, unknown) > 0.95


def test_a_side_that_is_missing_says_nothing(fitted):
    logits, rows = inputs(400, 4)
    kept = {"image": inputs(500, 0)[1]["features"], "text": inputs(500, 5)[1]["features"]}
    text = inputs(400, 6)[1]["features"] * (np.arange(400) % 2)[:, None]
    both = fit_known_inputs(kept, logits, {"image": rows["features"], "text": text})
    new, shown = inputs(400, 7)
    missing = both.unknown(new, {"image": shown["features"], "text": np.zeros((400, 8))})
    assert missing.mean() == pytest.approx(0.5, abs=0.1)


def test_auroc_counts_ties_for_half():
    rng = np.random.default_rng(0)
    known, unknown = rng.integers(0, 9, 300), rng.integers(3, 12, 200)
    labels = np.repeat([0, 1], [300, 200])
    assert auroc(known, unknown) == pytest.approx(roc_auc_score(labels, np.r_[known, unknown]))
