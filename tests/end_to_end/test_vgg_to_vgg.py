"""VGG to VGG and back, with the first three blocks of both networks on mnist_5k."""

import json
from pathlib import Path

import numpy as np
import pytest
from absl.testing import flagsaver

from xmodal.config.flags import from_flags, parse
from xmodal.core.clock import Clock
from xmodal.core.errors import UserError
from xmodal.recipes.vgg_to_vgg import networks, recipe

ROOT = Path(__file__).parents[2]
GROWN = [
    f"--flagfile={ROOT / 'experiments/vgg_to_vgg.cfg'}",
    "--strategy=one_device",
    "--limit=64",
    "--batch_size=16",
    "--epochs=2",
    "--validations_per_epoch=2",
    "--trainable=block3",
    "--optimizer=sgd",
    "--learning_rate=0.001",
    "--head_epochs=10",
    "--features=block3_pool",
    "--grow=block3_conv4",
    "--scratch_learning_rates=0.001,0.01",
]
BASELINES = ["random_weights", "from_scratch", "no_transfer"]
ATTACKED = ["--robust", "--attacked_examples=10", "--pixel_budgets=8", "--attack_steps=3"]
SHRUNK = [*GROWN, "--base=VGG19", "--target=VGG16", "--image_weights=none", "--grow=", "--drop=block3_conv4"]


def run(folder: Path, *flags: str):
    """Runs the recipe in this process, and returns what it reported and said."""
    with flagsaver.flagsaver():
        parse(["run", *flags, f"--output_dir={folder}"])
        settings = from_flags()
    said: list[str] = []
    return recipe.run(settings, Clock(log=said.append)), said


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("grown")


@pytest.fixture(scope="module")
def grown(folder):
    return run(folder, *GROWN, *ATTACKED)


def test_the_target_starts_as_the_trained_base(grown):
    report, said = grown
    assert report.transfer.max_abs_difference == 0.0
    assert report.results["target_start"].confusion == report.results["base"].confusion
    # The base had learned something by then, and its head moved with it.
    assert report.results["base"].confusion != report.results["base_start"].confusion
    moved = {layer.target: layer.action for layer in report.transfer.layers}
    assert moved["image_head/logits"] == "copied"
    assert [name for name, action in moved.items() if action == "grown"] == ["block3_conv4"]
    assert f"Test accuracy: {report.results['base'].accuracy:.2%}" in said
    assert f"Target accuracy: {report.results['target'].accuracy:.2%}" in said


def test_random_growth_starts_lower(grown):
    results = grown[0].results
    assert results["random_growth_start"].accuracy < results["target_start"].accuracy


def test_every_layer_of_every_network_is_trained_for_as_many_steps(grown):
    report, _ = grown
    [plot] = report.plots
    names = ["base", "target", "target_robust", "random_growth", "random_weights", "from_scratch", "back"]
    assert [series.name for series in plot.series] == names
    histories = {history.stage: history for history in report.histories}
    for series in plot.series:
        if series.name == "from_scratch":
            continue
        # 64 images in batches of 16 are 4 steps.
        assert series.x == (0, 2, 4, 6, 8)
        epochs = histories[f"{series.name}: network"].epochs
        assert series.y[1:] == tuple(epoch["val_accuracy"] for epoch in epochs)


def test_the_way_back_names_what_has_no_place_and_measures_the_loss(grown):
    report, said = grown
    assert report.facts["layers without a place in back"] == "block3_conv4"
    assert any("no place for block3_conv4; " in line for line in said)
    assert {"back_start", "back", "back_random_growth_start"} < set(report.results)
    assert any(gain.sentence.startswith("leaving out the layers that VGG16 lacks") for gain in report.gains)
    assert [row[0] for row in report.tables[0].rows] == list(networks.NOTES)


def test_the_target_and_the_one_trained_on_fgsm_are_attacked(grown):
    report, _ = grown
    table = report.tables[-1]
    assert table.caption == "Accuracy on 10 test images, as they are and changed to mislead"
    assert table.head[1::3] == ("target", "target_robust")
    rows = {row[0]: row[1::3] for row in table.rows}
    assert list(rows) == [
        "as they are",
        "FGSM within 8/255",
        "PGD of 3 steps within 8/255",
    ]
    assert rows["PGD of 3 steps within 8/255"][0] <= rows["as they are"][0]
    results = report.results
    assert report.facts["training of target_robust, times as long as of target"] > 0
    assert results["target_robust_start"].confusion == results["target_start"].confusion
    assert results["target_robust"].note.endswith("images of FGSM within 8/255 too")
    losses = {history.stage: history.epochs[-1]["loss"] for history in report.histories}
    assert losses["target_robust: network"] > losses["target: network"]


def test_the_baseline_is_the_better_one_on_validation(grown):
    report, _ = grown
    results = report.results
    name = results["no_transfer"].note.rpartition(": ")[2]
    assert name in BASELINES[:2]
    assert results["no_transfer"].confusion == results[name].confusion
    assert results["no_transfer"].seconds == results[name].seconds
    lead = report.gains[0]
    assert lead.sentence.startswith("transfer of weights ")
    assert lead.difference == pytest.approx(results["target"].accuracy - results["no_transfer"].accuracy)
    tried = next(table for table in report.tables if table.caption.startswith("Trainings from scratch"))
    # Each rate for a pass, then the passes of the base and of the target together, and those that fit.
    assert [row[:2] for row in tried.rows][:2] == [("0.001", 1), ("0.01", 1)]
    assert tried.rows[2][1] == 4
    best = min(tried.rows, key=lambda row: row[2])
    assert f"{best[1]} pass" in results["from_scratch"].note
    assert f"peak rate {best[0]} of 0.001, 0.01" in results["from_scratch"].note


def test_results_count_the_seconds_of_their_source(grown):
    results, seconds = grown[0].results, grown[0].seconds
    assert results["base"].seconds == seconds["base: start"] + seconds["base: training"]
    assert results["target_start"].seconds == results["base"].seconds + seconds["target: start"]
    assert results["back"].seconds > results["target"].seconds > results["target_start"].seconds


def test_what_is_kept_is_not_trained_again(grown, folder):
    report, _ = grown
    again, _ = run(folder, *GROWN, *ATTACKED)
    assert sum(again.seconds.values()) < sum(report.seconds.values()) / 2
    assert [r.confusion for r in again.results.values()] == [r.confusion for r in report.results.values()]
    assert json.loads((folder / "metrics.json").read_text())["results"].keys() == report.results.keys()
    assert (folder / "report.html").is_file()
    assert (folder / "transfer.json").is_file()


@pytest.mark.slow
def test_a_larger_base_gives_to_a_smaller_target(tmp_path):
    report, said = run(tmp_path, *SHRUNK, "--epochs=1", "--train_examples=80", "--limit=0")
    started = ("base", "target", "random_weights")
    assert set(report.results) == {
        *(f"{name}{suffix}" for name in started for suffix in ("", "_start")),
        *BASELINES,
    }
    assert report.facts == {"layers without a place in target": "block3_conv4"}
    assert sum(report.data.counts["train"].values()) == 72
    assert report.results["target"].n == 1000
    assert np.isfinite(report.transfer.max_abs_difference)
    assert any(line.startswith("vgg19 -> vgg16: 8 layers copied") for line in said)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--grow="], r"layers of 'vgg16' and 'vgg19' do not match: only in the target: block3_conv4 \["),
        (["--target=VGG18"], "'VGG18' is no model of Keras Applications; did you mean 'VGG1"),
        (["--features=block3_pol"], "`features=block3_pol` is no layer of .*; did you mean 'block3_pool'"),
    ],
)
def test_what_does_not_match_is_told_before_anything_is_trained(flags, message, tmp_path):
    with pytest.raises(UserError, match=message):
        run(tmp_path, *GROWN, *flags)
    assert not list((tmp_path / "checkpoints").glob("*"))
