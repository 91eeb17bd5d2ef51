"""Epochs that are told while a run is under way: real files, and TensorBoard's own reader."""

import json
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from xmodal import Trainer, report
from xmodal.report import epochs as told
from xmodal.report.epochs import EpochWriter, epoch_line

EPOCH = {"epoch": 1, "seconds": 3.14159, "loss": 0.123456, "accuracy": 0.975}


def curves(folder: Path) -> dict[str, list[tuple[int, float]]]:
    events = EventAccumulator(str(folder))
    events.Reload()
    return {
        tag: [(event.step, float(tf.make_ndarray(event.tensor_proto))) for event in events.Tensors(tag)]
        for tag in events.Tags()["tensors"]
    }


def lines(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize(
    ("epoch", "line"),
    [
        (EPOCH, "head, epoch 2: loss 0.123, accuracy 97.5%, 3.1 s"),
        (
            EPOCH | {"val_loss": 12.5, "val_accuracy": 1.0},
            "head, epoch 2: loss 0.123, accuracy 97.5%, validation loss 12.5, accuracy 100.0%, 3.1 s",
        ),
        ({"epoch": 0, "seconds": 0.0, "loss": 1e-9}, "head, epoch 1: loss 1e-09, 0.0 s"),
    ],
)
def test_a_line(epoch, line):
    assert epoch_line("head", epoch) == line


def test_a_training_is_seen_while_it_goes_on(tmp_path, monkeypatch):
    """After each epoch everything stands there, and not at the end alone."""
    monkeypatch.setattr(told, "PAUSE", 0.0)
    said, seen = [], []
    writer = EpochWriter(tmp_path, said.append)

    def on_epoch(stage, epoch):
        writer(stage, epoch)
        loss = curves(tmp_path / "tensorboard/train").get("head/loss", [])
        seen.append((len(lines(tmp_path)), len(loss)))

    trainer = Trainer(seed=1, on_epoch=on_epoch)
    with trainer.scope():
        model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    examples = (np.eye(4, dtype="float32"), np.array([0, 1, 2, 0]))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    history = trainer.fit(
        model, examples, loss=loss, epochs=3, name="head", validation=examples, patience=3, batch_size=2
    )
    assert seen == [(1, 1), (2, 2), (3, 3)]
    assert lines(tmp_path) == [{"stage": "head", **epoch} for epoch in history.epochs]
    assert [line.partition(":")[0] for line in said] == [f"head, epoch {number}" for number in (1, 2, 3)]
    shown = curves(tmp_path / "tensorboard/validation")
    expected = [epoch["val_loss"] for epoch in history.epochs]
    assert [step for step, _ in shown["head/loss"]] == [0, 1, 2]
    np.testing.assert_allclose([value for _, value in shown["head/loss"]], expected, rtol=1e-6)


def test_short_epochs_have_a_line_a_second(tmp_path):
    said = []
    writer = EpochWriter(tmp_path, said.append)
    for number in range(50):
        writer("head", EPOCH | {"epoch": number})
    assert len(said) < 25
    assert len(lines(tmp_path)) == 50


def test_what_was_told_before_an_interruption_stays(tmp_path):
    EpochWriter(tmp_path, print)("head", EPOCH | {"epoch": 0})
    again = EpochWriter(tmp_path, print)
    again("head", EPOCH)
    # An epoch that was not saved is run again.
    again("head", EPOCH | {"loss": 0.5})
    assert [line["loss"] for line in lines(tmp_path)] == [0.123456, 0.5]
    assert set(again.epochs) == {("head", 0), ("head", 1)}


@pytest.mark.parametrize("content", [b"", b"{", b"[]\n", b'{"stage": 1}\n', b"\xff", b"[" * 100_000])
def test_damaged_lines_stop_nothing(tmp_path, content):
    (tmp_path / "metrics.jsonl").write_bytes(content)
    writer = EpochWriter(tmp_path, print)
    assert writer.epochs == {}
    writer("head", EPOCH)
    assert lines(tmp_path)[0]["accuracy"] == 0.975
    assert report.epochs.read_lines(tmp_path) == writer.epochs
