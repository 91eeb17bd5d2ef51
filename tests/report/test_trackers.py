"""Trackers are told of flags, epochs and results; their failures do not stop a run."""

import json
import sys
from types import SimpleNamespace
from typing import ClassVar

import pytest
from tiny_run import FLAGS, finished, tiny_run

from xmodal.core.errors import UserError
from xmodal.report.epochs import EpochWriter
from xmodal.report.trackers import RunTracker

EPOCH = {"epoch": 1, "loss": 0.5, "accuracy": 0.8, "val_loss": 0.6, "val_accuracy": 0.75, "seconds": 1.0}
STAGE = "images, rate 0.001: head"
TEXT = FLAGS.format(folder="runs/a", epochs=2)


class Client:
    """What is asked of MLflow's client."""

    calls: ClassVar[list[tuple]] = []

    def __init__(self):
        self.calls.clear()

    def get_experiment_by_name(self, name):
        return None

    def create_experiment(self, name):
        return f"experiment {name}"

    def create_run(self, experiment, run_name):
        self.calls.append(("run", experiment, run_name))
        return SimpleNamespace(info=SimpleNamespace(run_id="17"))

    def __getattr__(self, name):
        return lambda *arguments, **named: self.calls.append((name, *arguments, *named.values()))


class Wandb:
    """What is asked of Weights & Biases."""

    def __init__(self):
        self.begun, self.logged, self.saved, self.summary, self.ended = [], [], [], {}, 0

    def init(self, **arguments):
        self.begun.append(arguments)
        self.id = arguments["id"] or "new"
        return self

    def log(self, values):
        self.logged.append(values)

    def save(self, path, **options):
        self.saved.append(path)

    def finish(self):
        self.ended += 1


@pytest.fixture
def mlflow(monkeypatch):
    monkeypatch.setitem(sys.modules, "mlflow", SimpleNamespace(MlflowClient=Client))
    return Client.calls


@pytest.fixture
def wandb(monkeypatch):
    fake = Wandb()
    monkeypatch.setitem(sys.modules, "wandb", fake)
    return fake


def test_mlflow_gets_flags_epochs_results_and_files(mlflow, tmp_path):
    tracker = RunTracker("mlflow", tmp_path, TEXT, print)
    assert ("run", "experiment xmodal", str(tmp_path)) in mlflow
    assert ("log_param", "17", "drop", "a, b") in mlflow
    tracker.epoch(STAGE, EPOCH)
    name = "images_ rate 0.001_ head"
    assert ("log_metric", "17", f"{name}/val_accuracy", 0.75, 1) in mlflow
    assert not [call for call in mlflow if call[0] == "log_metric" and call[2].endswith("seconds")]
    tracker.finish(tiny_run(98, 2))
    assert ("log_metric", "17", "text/accuracy", 0.98, 0) in mlflow
    # None of the files is there yet.
    assert [call[0] for call in mlflow[-1:]] == ["set_terminated"]
    finished(tmp_path, 98, 2)
    tracker.finish(tiny_run(98, 2))
    assert [call[2] for call in mlflow if call[0] == "log_artifact"] == [
        str(tmp_path / name) for name in ("report.html", "metrics.json", "config.cfg")
    ]


def test_weights_and_biases_goes_on_with_the_same_run(wandb, tmp_path):
    tracker = RunTracker("wandb", tmp_path, TEXT, print)
    EpochWriter(tmp_path, print, tracker.epoch)(STAGE, EPOCH)
    assert wandb.logged == [
        {f"{STAGE}/{name}": EPOCH[name] for name in ("loss", "accuracy", "val_loss", "val_accuracy")}
        | {"epoch": 1}
    ]
    again = RunTracker("wandb", tmp_path, TEXT, print)
    assert [begun["id"] for begun in wandb.begun] == [None, "new"]
    assert wandb.begun[0]["config"]["epochs"] == 2
    again.finish(tiny_run(98, 2))
    assert wandb.summary["text/accuracy"] == 0.98
    assert wandb.ended == 1
    # Another tracker does not take the number for its own.
    assert json.loads((tmp_path / "tracker.json").read_text()) == {"tracker": "wandb", "number": "new"}


def test_a_tracker_that_fails_is_told_once_and_the_run_goes_on(wandb, tmp_path, monkeypatch):
    lines = []
    tracker = RunTracker("wandb", tmp_path, TEXT, lines.append)

    def fail(values):
        raise ConnectionError("no route\nto the host")

    monkeypatch.setattr(wandb, "log", fail)
    tracker.epoch(STAGE, EPOCH)
    tracker.epoch(STAGE, EPOCH)
    tracker.finish(tiny_run(98, 2))
    assert lines == ["warning: wandb: no route to the host; nothing more is sent, the run goes on"]


def test_what_cannot_begin_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(UserError, match=r"`track=mlflow` needs the package mlflow .*; pip install -c"):
        RunTracker("mlflow", tmp_path, TEXT, print)

    def refuse(**arguments):
        raise ValueError("no API key configured")

    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(init=refuse))
    with pytest.raises(UserError, match="`track=wandb` does not begin: no API key configured; see to wandb"):
        RunTracker("wandb", tmp_path, TEXT, print)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["mlflow", "wandb"])
def test_the_package_itself(name, tmp_path, monkeypatch):
    """Where it is installed: nothing of these tests needs it."""
    pytest.importorskip(name)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"file:{tmp_path}/mlruns")
    monkeypatch.setenv("WANDB_MODE", "offline")
    lines = []
    tracker = RunTracker(name, finished(tmp_path / "run", 98, 2), TEXT, lines.append)
    tracker.epoch(STAGE, EPOCH)
    tracker.finish(tiny_run(98, 2))
    assert lines == []
    files = {path.name for path in tmp_path.rglob("*") if path.is_file()}
    assert "report.html" in files if name == "mlflow" else any(path.endswith(".wandb") for path in files)
