"""Loops that stop after a few steps, and count what they left out."""

import time

import keras
import numpy as np
import pytest
import tensorflow as tf

from xmodal.data.batches import array_batches
from xmodal.tasks.image_generator import Sampling, generate_images
from xmodal.training.loop import fit
from xmodal.training.losses import cross_entropy
from xmodal.training.prediction import predict
from xmodal.training.rehearsal import (
    FASTEST,
    Steps,
    rehearsal,
    repeated,
    representatives,
    shorten,
    under_way,
)
from xmodal.training.rehearsal import TAKEN as FEW


def linear():
    keras.utils.set_random_seed(0)
    return keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])


def rows(count):
    return np.random.default_rng(0).normal(size=(count, 3)).astype(np.float32)


def test_without_a_rehearsal_nothing_is_shortened():
    assert not under_way()
    assert shorten(100, 7) == (100, 7)
    steps = Steps(100)
    assert list(steps.few(range(100))) == list(range(100))
    steps.close()
    assert steps.taken == 0


def test_the_last_representative_stands_for_all_that_are_left_out():
    seeds = range(3, 8)
    assert representatives(seeds, 2) == [(seed, 1.0) for seed in seeds]
    with rehearsal():
        assert representatives(seeds, 2) == [(3, 1.0), (4, 4.0)]
        assert representatives(range(2), 2) == [(0, 1.0), (1, 1.0)]
        assert representatives(range(1), 2) == [(0, 1.0)]


@pytest.mark.parametrize(
    ("steps", "epochs", "at_once", "taken"),
    [
        (100, 7, 1, (FEW, 1)),
        (2, 20, 1, (2, 2)),
        (1, 2, 1, (1, 2)),
        (100, 7, 10, (10 * FEW, 1)),
        (4, 1, 1, (4, 1)),
    ],
)
def test_a_training_takes_few_steps(steps, epochs, at_once, taken):
    with rehearsal():
        assert shorten(steps, epochs, at_once) == taken


def test_what_is_left_out_counts_at_the_pace_of_the_fastest_steps():
    with rehearsal() as held:
        steps = Steps(100)
        for number in steps.few(range(100)):
            time.sleep(0.2 if number < FEW - FASTEST else 0.01)
        steps.close()
        first = held.seconds
        with repeated(3):
            again = Steps(100)
            # As a loop over parts does.
            for _ in range(4):
                for _ in again.few(range(2)):
                    time.sleep(0.01)
            again.close()
    assert steps.taken == again.taken == FEW
    assert 0.96 <= first < 2
    assert 2.96 <= held.seconds - first < 6
    assert not under_way()


def test_a_loop_that_goes_to_its_end_leaves_nothing_out():
    with rehearsal() as held:
        steps = Steps(3)
        assert list(steps.few(range(3))) == [0, 1, 2]
        steps.close()
    assert held.seconds == 0


@pytest.mark.parametrize("name", ["one_device", "mirrored"])
def test_fit_takes_few_steps_of_one_epoch(name, request):
    strategy = request.getfixturevalue(name)
    with strategy.scope():
        model, counted = linear(), []
    started = time.perf_counter()
    with rehearsal() as held:
        history = fit(
            model,
            lambda epoch: array_batches(rows(1000), batch_size=10),
            loss=cross_entropy(),
            optimizer=lambda steps: counted.append(steps) or keras.optimizers.SGD(0.1),
            epochs=50,
            strategy=strategy,
            stage="",
            validation=array_batches(rows(95), batch_size=10),
            callbacks=[
                keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: counted.append("step"))
            ],
        )
    assert counted == [5000, *["step"] * FEW]
    assert [entry["epoch"] for entry in history.epochs] == list(range(50))
    # What it took and what was left out: budgets go by that.
    assert held.seconds < history.seconds < held.seconds + time.perf_counter() - started


@pytest.mark.parametrize("name", ["one_device", "mirrored"])
def test_predict_has_outputs_for_all(name, request):
    strategy = request.getfixturevalue(name)
    with strategy.scope():
        inputs, model = rows(95), linear()
    with rehearsal() as held:
        found = predict(model, array_batches(inputs, batch_size=10), strategy)
    assert found.shape == (95, 2)
    np.testing.assert_allclose(found[: 10 * FEW], model(inputs[: 10 * FEW]), rtol=1e-5)
    assert held.seconds > 0


def test_pictures_are_drawn_in_few_steps():
    moves = []

    def move(images, *_):
        moves.append(len(images))
        return images

    with rehearsal():
        pictures = generate_images(
            move,
            tf.zeros((7, 4, 4, 3)),
            np.zeros((7, 2)),
            Sampling(20, 2.0, "euler"),
            batch_size=3,
            shown=False,
        )
    assert pictures.shape == (7, 4, 4, 3)
    assert moves == [3] * FEW
