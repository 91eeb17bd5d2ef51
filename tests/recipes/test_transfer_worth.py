import numpy as np
import pytest

from xmodal.evaluation.intervals import compare_paired, wilson_interval
from xmodal.recipes.transfer_worth import Worth, tried_table, worth_plot, worth_table
from xmodal.training.baselines import Attempt
from xmodal.training.progress import History


def right(count: int) -> np.ndarray:
    return np.arange(200) < count


AMOUNTS = (Worth(20, 1040, right(180), right(100), "from_scratch"), Worth(0, 5000, right(190), right(190)))


def test_a_row_for_each_amount():
    table = worth_table(AMOUNTS, "documents")
    assert table.caption == "What transfer is worth: accuracy on 200 test documents, with 95% intervals"
    assert table.head == ("examples a class", "examples", "with transfer", "without", "difference")
    few, whole = table.rows
    low, high = compare_paired(right(180), right(100)).ci95
    assert few == (
        "20",
        "1,040",
        "90.0% (85.1% to 93.4%)",
        "50.0% (43.1% to 56.9%)",
        f"+40.0 ({100 * low:+.1f} to {100 * high:+.1f})",
    )
    assert whole[:2] == ("all", "5,000")
    assert whole[2] == whole[3]
    assert whole[4].startswith("+0.0 (-")


def test_the_plot_shows_the_same():
    plot = worth_plot(AMOUNTS, 10, "documents")
    assert plot.log_x
    with_it, without = plot.series
    assert (with_it.name, without.name) == ("with transfer", "without")
    assert with_it.x == without.x == (104, 500)
    assert with_it.y == (90, 95)
    assert without.y == (50, 95)
    low, high = wilson_interval(100, 200)
    assert (without.low[0], without.high[0]) == pytest.approx((100 * low, 100 * high))


def test_what_was_tried_is_told_by_what_was_kept():
    start = {"val_loss": 2.0, "val_accuracy": 0.1}
    epochs = tuple({"val_loss": loss, "val_accuracy": 1 - loss} for loss in (0.5, 0.25, 0.75))
    attempts = [
        Attempt(1e-4, 3, History("", epochs, start), None),
        Attempt(1.0, 1, History("", (), start), None),
    ]
    assert tried_table(attempts).rows == (("0.0001", 3, 0.25, 0.75), ("1", 1, 2.0, 0.1))
