import numpy as np
import pytest

from xmodal.training.baselines import best_of_trainings, best_on_validation, from_scratch
from xmodal.training.progress import History
from xmodal.training.trainer import Trainer

# A second a pass, and the loss of each pass by the rate.
LOSSES = {0.1: [0.9, 0.8, 0.7, 0.6, 0.5, 0.4], 0.2: [0.5, 0.4, 0.3, 0.35, 0.4, 0.5], 5.0: [9.0] * 6}


def attempted(made):
    def attempt(rate, passes):
        made.append((rate, passes))
        entries = tuple(
            {"seconds": 1.0, "val_loss": loss, "val_accuracy": 1 - loss / 10}
            for loss in LOSSES[rate][:passes]
        )
        return History("", entries, {"val_loss": 2.0, "val_accuracy": 0.1}), f"{rate} {passes}"

    return attempt


@pytest.mark.parametrize(
    ("rates", "passes", "seconds", "expected"),
    [
        # One pass with each rate; then the passes of the candidate, and those that fit into its seconds.
        ([0.1, 0.2, 5.0], 2, 4.5, [(0.1, 1), (0.2, 1), (5.0, 1), (0.2, 2), (0.2, 4)]),
        ([0.1, 0.2, 5.0], 2, 1.0, [(0.1, 1), (0.2, 1), (5.0, 1), (0.2, 2)]),
        ([0.1, 0.2, 5.0], 1, 1.0, [(0.1, 1), (0.2, 1), (5.0, 1)]),
        ([0.1], 1, 0.0, [(0.1, 1)]),
        ([0.1], 3, 6.9, [(0.1, 3), (0.1, 6)]),
    ],
)
def test_a_rate_is_searched_and_the_budget_is_used(rates, passes, seconds, expected):
    made = []
    best, tried = from_scratch(
        attempted(made), rates=rates, passes=passes, seconds=seconds, trainer=Trainer()
    )
    assert made == expected
    assert [(item.rate, item.passes) for item in tried] == expected
    assert best.best["val_loss"] == min(min(LOSSES[rate][:count]) for rate, count in expected)
    assert best.trained == f"{best.rate} {best.passes}"


def test_what_only_gets_worse_stays_what_it_began_with():
    best, _ = from_scratch(attempted([]), rates=[5.0], passes=2, seconds=0, trainer=Trainer())
    assert best.best == {"val_loss": 2.0, "val_accuracy": 0.1}


def test_parts_of_a_pass_are_counted_together():
    made = []
    # Two entries a pass, of a second each: 6 seconds are 3 passes.
    from_scratch(attempted(made), rates=[0.1], passes=2, seconds=6.0, trainer=Trainer(), parts=2)
    assert made == [(0.1, 2), (0.1, 3)]


def test_a_rate_may_be_searched_with_all_passes():
    made = []
    best, _ = from_scratch(
        attempted(made),
        rates=[0.1, 0.2],
        passes=3,
        searched=3,
        seconds=6.0,
        trainer=Trainer(),
    )
    assert made == [(0.1, 3), (0.2, 3), (0.2, 6)]
    # Both trainings with 0.2 are best in their third pass.
    assert (best.rate, best.passes) == (0.2, 3)


def trained(accuracy, loss):
    worse = {"val_accuracy": 0.99, "val_loss": loss + 1}
    return History("", (worse, {"val_accuracy": accuracy, "val_loss": loss}))


def test_the_better_way_to_train_is_found_over_all_seeds():
    lucky = [trained(0.9, 0.3), trained(0.5, 0.7)]
    steady = [trained(0.8, 0.4), trained(0.8, 0.4)]
    surer = [trained(0.8, 0.2), trained(0.8, 0.4)]
    assert best_of_trainings({"lucky": lucky, "steady": steady}) == "steady"
    assert best_of_trainings({"steady": steady, "surer": surer}) == "surer"


def test_the_better_baseline_is_found_on_validation():
    labels = np.array([0, 1, 2, 0])
    right = np.eye(3)[labels]
    wrong = np.eye(3)[[1, 1, 2, 0]]
    assert best_on_validation({"a": wrong, "b": right}, labels) == "b"
    # Equally often right: the one that is more sure where it is right.
    doubtful = right + np.array([[0, 0.9, 0], [0, 0, 0], [0, 0, 0], [0, 0, 0]])
    assert best_on_validation({"a": doubtful, "b": right}, labels) == "b"
