"""What a larger network saves by starting as a smaller one."""

from functools import partial

import keras
import numpy as np
import pytest

from xmodal.bench import larger_networks
from xmodal.bench.larger_networks import Comparison, compare, mobilenet, resnet, tables, vgg
from xmodal.config.training import TrainConfig
from xmodal.training.trainer import Trainer


@pytest.fixture(scope="module")
def examples():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 24)
    return rng.uniform(0, 120, (24, 32, 32, 3)).astype(np.float32) + 100 * labels[:, None, None, None], labels


@pytest.mark.parametrize(
    ("build", "small", "large"),
    [(vgg, (11,), (19, 1.5)), (resnet, (1,), (2, 2)), (mobilenet, (0.25,), (0.5,))],
)
def test_larger_networks_start_as_the_smaller_one(build, small, large, examples):
    source, target = (build(*size, side=32, classes=2) for size in (small, large))
    report = larger_networks.transfer_weights(source, target, grow="*", probe=examples[0][:4])
    assert report.max_abs_difference < 1e-5
    assert target.count_params() > source.count_params()


def test_both_ways_are_measured_from_the_same_source(examples, monkeypatch):
    monkeypatch.setattr(larger_networks, "SEEDS", 1)

    def network(width):
        return keras.Sequential(
            [
                keras.Input((32, 32, 3)),
                keras.layers.GlobalAveragePooling2D(),
                keras.layers.Dense(width, activation="relu", name="hidden"),
                keras.layers.Dense(2, name="logits"),
            ]
        )

    comparison = Comparison(
        "dense", partial(network, 8), partial(network, 12), examples, examples, 0.05, True
    )
    figures = compare(comparison, Trainer(TrainConfig(batch_size=8)), epochs=3)
    [accuracy], [identity], [random] = figures["accuracy"], figures["identity"], figures["random"]
    assert figures["difference"][0] < 1e-3
    assert identity["start"] == pytest.approx(accuracy)
    assert random["best"] >= random["start"]
    assert random["passes"] in range(4)
    [table] = tables({"comparisons": {"dense": figures}})
    [row] = table.rows
    assert row[0] == "dense"
    assert len(row) == len(table.head)
