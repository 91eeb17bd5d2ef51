import itertools
import os
import pty
import subprocess
import sys
import time
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from xmodal.config.training import TrainConfig
from xmodal.core.errors import UserError
from xmodal.data.batches import array_batches
from xmodal.training.checkpoint import Checkpoints, State
from xmodal.training.loop import fit
from xmodal.training.losses import cross_entropy
from xmodal.training.optimizers import optimizer_maker
from xmodal.training.prediction import predict

ROOT = Path(__file__).parents[2]


def fitted(folder, strategy, *, stage="head", units=4, epochs=2, examples=20, **options):
    inputs = np.random.default_rng(0).normal(size=(examples, 6)).astype(np.float32)
    with strategy.scope():
        keras.utils.set_random_seed(0)
        model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(units), keras.layers.Dense(3)])
    history = fit(
        model,
        lambda epoch: array_batches(inputs, np.arange(examples) % 3, batch_size=8),
        loss=cross_entropy(),
        optimizer=optimizer_maker(TrainConfig(), 0.01),
        epochs=epochs,
        strategy=strategy,
        stage=stage,
        checkpoints=Checkpoints(folder, steps=1),
        **options,
    )
    return model, history


class Killed(Exception):
    pass


def stopped_after(step):
    def stop(batch, logs):
        if batch == step:
            raise Killed

    return [keras.callbacks.LambdaCallback(on_train_batch_begin=stop)]


class Batches(keras.callbacks.Callback):
    count = 0

    def on_train_batch_begin(self, batch, logs=None):
        self.count += 1


def interrupted(folder, strategy, **options):
    with pytest.raises(Killed):
        fitted(folder, strategy, callbacks=stopped_after(2), **options)


def test_a_state_comes_back_as_it_was_saved(tmp_path):
    state = State({"a/b": np.arange(3, dtype=np.float32), "word": np.array("é")}, {"loss": float("inf")})
    Checkpoints(tmp_path).stage("some: stage 1/2").save(7, state)
    found, finished = Checkpoints(tmp_path).stage("some: stage 1/2").newest()
    assert not finished
    assert found.facts == state.facts
    np.testing.assert_array_equal(found.arrays["a/b"], state.arrays["a/b"])
    assert str(found.arrays["word"]) == "é"


def test_two_states_are_kept_and_only_the_last_when_finished(tmp_path):
    stage = Checkpoints(tmp_path).stage("head")
    for number in (1, 2, 3, 10):
        stage.save(number, State({}, {}))
    assert sorted(os.listdir(tmp_path / "head")) == ["0000000003", "0000000010"]
    stage.finish(State({}, {}))
    assert os.listdir(tmp_path / "head") == ["finished"]


def test_digests_are_as_sha256sum_reads_them(tmp_path):
    Checkpoints(tmp_path).stage("head").save(1, State({"a": np.ones(2)}, {}))
    subprocess.run(
        ["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=tmp_path / "head" / "0000000001", check=True
    )


def test_objects_are_not_pickled(tmp_path):
    with pytest.raises(ValueError, match=r"arrays of objects cannot be kept\. Received: a"):
        Checkpoints(tmp_path).stage("head").save(1, State({"a": np.array([{}])}, {}))
    assert not list((tmp_path / "head").glob("*"))


def test_a_name_stands_for_one_stage(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.stage("head")
    with pytest.raises(ValueError, match="Received twice: 'head'"):
        checkpoints.stage("head")


def test_a_finished_training_is_not_run_again(tmp_path, one_device):
    model, history = fitted(tmp_path, one_device)
    again, same = fitted(tmp_path, one_device, callbacks=stopped_after(0))
    assert same == history
    for a, b in zip(model.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_clock_that_goes_backwards_changes_nothing(tmp_path, one_device, monkeypatch):
    whole, _ = fitted(tmp_path / "whole", one_device)
    hours = itertools.count(2e9, -3600)
    monkeypatch.setattr(time, "time", lambda: next(hours))
    interrupted(tmp_path / "cut", one_device)
    older, newer = sorted((tmp_path / "cut" / "head").iterdir())
    os.utime(older, (2e9, 2e9))
    os.utime(newer, (1e9, 1e9))
    cut, _ = fitted(tmp_path / "cut", one_device, callbacks=[told := Batches()])
    # Of six steps it took those after the newer state.
    assert told.count == 6 - int(newer.name)
    for a, b in zip(whole.get_weights(), cut.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_training_goes_on_on_other_devices(tmp_path, one_device, mirrored):
    whole, _ = fitted(tmp_path / "whole", one_device)
    interrupted(tmp_path / "cut", one_device)
    rest, _ = fitted(tmp_path / "cut", mirrored)
    for a, b in zip(whole.get_weights(), rest.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_callbacks_hear_only_what_is_left(tmp_path, one_device):
    interrupted(tmp_path, one_device)
    heard = []
    callback = keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, logs: heard.append(f"epoch {epoch}"),
        on_train_batch_begin=lambda batch, logs: heard.append(batch),
    )
    fitted(tmp_path, one_device, callbacks=[callback])
    assert heard == [2, "epoch 1", 0, 1, 2]


def test_a_finished_prediction_is_not_run_again(tmp_path, one_device):
    runs = []

    def model(inputs, training):
        runs.append(inputs)
        return inputs + 1

    def predicted(size=5):
        batches = array_batches(np.zeros((size, 2), np.float32), batch_size=2)
        return predict(model, batches, one_device, stage="outputs", checkpoints=Checkpoints(tmp_path))

    first = predicted()
    traced = len(runs)
    np.testing.assert_array_equal(predicted(), first)
    assert len(runs) == traced
    with pytest.raises(UserError, match=r"'outputs' belongs to another training.*`restart`"):
        predicted(size=9)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"units": 5}, r"its \(6, 4\) stands for .*kernel \(6, 5\)"),
        ({"epochs": 3}, r"with \[3, 2\] steps an epoch and epochs, not of \[3, 3\]"),
        ({"examples": 30}, r"not of \[4, 2\]"),
    ],
)
def test_a_checkpoint_of_another_training_is_refused(tmp_path, one_device, change, told):
    interrupted(tmp_path, one_device)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UserError, match=told):
        fitted(tmp_path, one_device, **change)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("file", ["arrays.npz", "facts.json", "SHA256SUMS"])
@pytest.mark.parametrize("how", ["truncated", "flipped", "gone"])
def test_a_broken_checkpoint_gives_way_to_the_one_before_it(tmp_path, file, how, capsys):
    stage = Checkpoints(tmp_path).stage("head")
    for number in (1, 2):
        stage.save(number, State({"a": np.full(100, number)}, {"number": number}))
    broken = tmp_path / "head" / "0000000002" / file
    whole = broken.read_bytes()
    if how == "truncated":
        broken.write_bytes(whole[: len(whole) // 2])
    elif how == "flipped":
        broken.write_bytes(whole[:-5] + bytes([whole[-5] ^ 1]) + whole[-4:])
    else:
        broken.unlink()
    found, _ = Checkpoints(tmp_path).stage("head").newest()
    assert found.facts["number"] == 1
    assert "0000000002' is broken" in capsys.readouterr().out
    # It is out of the way of the next one of that number.
    Checkpoints(tmp_path).stage("head").save(2, State({}, {"number": "new"}))
    assert Checkpoints(tmp_path).stage("head").newest()[0].facts["number"] == "new"


def test_without_any_whole_checkpoint_the_user_is_asked(tmp_path):
    stage = Checkpoints(tmp_path).stage("head")
    stage.save(1, State({"a": np.ones(100)}, {}))
    os.truncate(tmp_path / "head" / "0000000001" / "arrays.npz", 50)
    with pytest.raises(UserError, match=r"0000000001' is broken .*; add `restart`"):
        Checkpoints(tmp_path).stage("head").newest()


def test_left_overs_of_a_killed_write_are_removed(tmp_path):
    (tmp_path / "head" / ".0000000001.abc").mkdir(parents=True)
    stage = Checkpoints(tmp_path).stage("head")
    assert stage.newest() is None
    stage.save(1, State({}, {}))
    assert os.listdir(tmp_path / "head") == ["0000000001"]


def test_early_stopping_goes_on_with_its_patience_and_best_weights(tmp_path, one_device):
    rng = np.random.default_rng(0)
    held_out = array_batches(
        rng.normal(size=(10, 6)).astype(np.float32), rng.integers(0, 3, 10), batch_size=10
    )
    options = {"epochs": 30, "validation": held_out, "patience": 3}
    whole, history = fitted(tmp_path / "whole", one_device, **options)
    losses = [epoch["val_loss"] for epoch in history.epochs]
    best = int(np.argmin(losses))
    assert best + 4 == len(losses) < 30

    def stop(epoch, logs):
        if epoch == best + 2:
            raise Killed

    callbacks = [keras.callbacks.LambdaCallback(on_epoch_begin=stop)]
    with pytest.raises(Killed):
        fitted(tmp_path / "cut", one_device, callbacks=callbacks, **options)
    rest, same = fitted(tmp_path / "cut", one_device, **options)
    assert [epoch["val_loss"] for epoch in same.epochs] == losses
    for a, b in zip(whole.get_weights(), rest.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_full_disk_is_told_and_the_last_checkpoint_stays(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("a small disk can only be mounted by root")
    try:
        stage = Checkpoints(disk).stage("head")
        stage.save(1, State({"a": np.ones(1000)}, {}))
        with pytest.raises(UserError, match=r"no space left to write .*head"):
            stage.save(2, State({"a": np.ones(10**6)}, {}))
        found, _ = Checkpoints(disk).stage("head").newest()
        assert found.arrays["a"].sum() == 1000
        assert os.listdir(disk / "head") == ["0000000001"]
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_variables_of_random_state_are_saved(tmp_path, one_device):
    inputs = np.ones((8, 4), np.float32)

    def drawn(callbacks=()):
        with one_device.scope():
            keras.utils.set_random_seed(0)
            model = keras.Sequential(
                [keras.Input((4,)), keras.layers.Dropout(0.5), keras.layers.Dense(2, use_bias=False)]
            )
        fit(
            model,
            lambda epoch: array_batches(inputs, np.zeros(8), batch_size=4),
            loss=cross_entropy(),
            optimizer=lambda steps: keras.optimizers.SGD(0.1),
            epochs=3,
            strategy=one_device,
            stage="dropout",
            callbacks=callbacks,
            checkpoints=Checkpoints(tmp_path / ("cut" if callbacks else "whole"), steps=1),
        )
        return model.get_weights()[0]

    whole = drawn()
    seen = []

    def stop(batch, logs):
        seen.append(batch)
        if len(seen) == 4:
            raise Killed

    with pytest.raises(Killed):
        drawn([keras.callbacks.LambdaCallback(on_train_batch_begin=stop)])
    rest = drawn([keras.callbacks.LambdaCallback()])
    np.testing.assert_array_equal(whole, rest)
    assert tf.reduce_any(whole != 0)


def test_a_terminal_that_is_closed_interrupts_nothing(tmp_path):
    script = """
import os, time
from pathlib import Path
# The leader of a session has the first terminal that it opens.
os.close(os.open(os.ttyname(0), os.O_RDWR))
from xmodal.core.signals import Terminated, deferred_signals, sigterm_raised
from xmodal.training.checkpoint import Checkpoints, State
try:
    with sigterm_raised(), deferred_signals() as interrupted:
        while not interrupted():
            print("step", flush=True)
            time.sleep(0.2)
        # What would be said on the way to a save.
        print("one more step", flush=True)
        Checkpoints(Path("kept")).stage("head").save(1, State({}, {}))
except Terminated:
    print("terminated", flush=True)
    Path("ended").touch()
"""
    terminal, inside = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdin=inside,
        stdout=inside,
        stderr=inside,
        start_new_session=True,
    ) as process:
        os.close(inside)
        said = os.read(terminal, 1000)
        # Not in the middle of its line.
        time.sleep(0.5)
        os.close(terminal)
        assert process.wait(60) == 0, said
    assert (tmp_path / "ended").exists()
    assert Checkpoints(tmp_path / "kept").stage("head").newest()
