"""The whole experiment on little coloured pictures and words, read in every way and exported."""

import csv
import json
import subprocess

import numpy as np
import pytest
import tensorflow as tf
import warm_python
from as_served import as_served
from in_process import run_here
from pages import follow
from tiny_bert import save_tiny_bert

from xmodal.report.markup import text as escaped
from xmodal.report.model_card import SIGNATURES

COLOURS = {"red": (200, 60, 60), "green": (60, 200, 60), "blue": (60, 60, 200)}
# The fourth, early, is gated without its gate.
KINDS = ("late", "gated", "attention")
WITHOUT = ("random_frozen", "from_scratch")
FLAGS = [
    "--experiment=fusion",
    "--pairs=csv:table/pairs.csv.gz",
    "--image_folder=photos",
    "--base=small_cnn",
    "--image_weights=none",
    "--features=none",
    "--region_layer=pool2",
    f"--fusion={','.join(KINDS)}",
    "--augment=flip",
    "--epochs=2",
    "--batch_size=16",
    "--text_encoder=bert",
    "--text_trainable=head",
    "--sequence_length=12",
    "--fusion_units=16",
    "--fusion_epochs=6",
    "--fusion_learning_rate=1e-2",
    "--text_epochs=2",
    "--patience=6",
    # Of so few validation pairs no set could leave anything out at the usual error.
    "--max_error=0.2",
    "--offline",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """180 pictures of a colour and words for it; one in six of either is wrong, some are missing."""
    random = np.random.default_rng(0)
    cwd = tmp_path_factory.mktemp("fusion")
    (cwd / "photos").mkdir()
    (cwd / "table").mkdir()
    save_tiny_bert(cwd / "bert")
    rows = []
    for number in range(180):
        label = list(COLOURS)[number % 3]
        seen, said = (random.choice(list(COLOURS)) if random.random() < 1 / 4 else label for _ in range(2))
        pixels = np.clip(COLOURS[seen] + random.normal(0, 40, (8, 8, 3)), 0, 255).astype(np.uint8)
        (cwd / f"photos/{number}.png").write_bytes(tf.io.encode_png(pixels).numpy())
        rows.append([f"{number}.png", f"a photo of {said} cat", label, ["train", "test"][number % 9 >= 6]])
    rows[0][0] = rows[6][0] = rows[3][1] = rows[7][1] = ""
    with open(cwd / "pairs.csv", "w", newline="") as file:
        csv.writer(file).writerows([["image", "text", "label", "split"], *rows])
    subprocess.run(["gzip", "-k", cwd / "pairs.csv"], check=True)
    (cwd / "pairs.csv.gz").rename(cwd / "table/pairs.csv.gz")
    return cwd


RATES = "--scratch_learning_rates=1e-3,3e-3,1e-2"


def run(folder, *flags):
    return subprocess.run(
        [warm_python.path(), "-m", "xmodal.run", *FLAGS, *flags], cwd=folder, capture_output=True, text=True
    )


@pytest.fixture(scope="module")
def metrics(folder):
    process = run(folder, RATES)
    assert process.returncode == 0, process.stderr
    return json.loads((folder / "runs/fusion/metrics.json").read_text())


def test_the_ablation(metrics):
    results = metrics["results"]
    ways = [f"fused_{kind}" for kind in KINDS]
    assert list(results) == ["image_only", "text_only", *ways, "fused", *WITHOUT, "no_transfer"]
    best = results["fused"]["note"].partition(",")[0]
    assert {**results["fused"], "note": ""} == {**results[best], "note": ""}
    for name in ("image_only", "text_only"):
        assert results[name]["accuracy"] > 0.5
        assert results["fused"]["loss"] < results[name]["loss"]
    for result in results.values():
        assert result["ece_uncalibrated"] is not None


def test_what_is_left_without_a_side_is_told(metrics):
    table = metrics["tables"][0]
    assert [row[0] for row in table["rows"]] == [f"fused_{kind}" for kind in KINDS]
    gains = [gain["sentence"] for gain in metrics["gains"] if "transfer" not in gain["sentence"]]
    best = metrics["results"]["fused"]["note"].partition(",")[0]
    alone = max(("image_only", "text_only"), key=lambda name: metrics["results"][name]["accuracy"])
    assert [gain.split(", in the place of ")[0] for gain in gains] == [
        f"reading both ({best})",
        f"{best} without any text",
        f"{best} without any image",
    ]
    assert f"errors of fused to those of {alone}" in metrics["facts"]
    # The late sum without a side is the other side's model itself.
    late = table["rows"][0]
    assert late[3].startswith("+0.00 (")
    assert late[5].startswith("+0.00 (")


def test_the_report_tells_what_made_the_answers(folder, metrics):
    page = (folder / "runs/fusion/report.html").read_text()
    shown = page.partition('<section id="why"')[2].partition("</section>")[0]
    assert shown.count("<strong>") == 4
    # Of what each pair has of the two: a picture, words.
    assert shown.count("Occlusion: deletion ") >= 2
    assert shown.count("Left out: deletion ") >= 2


def test_what_the_encoders_are_worth_is_told(metrics):
    results, gain = metrics["results"], metrics["gains"][1]
    best = results["no_transfer"]["note"].rpartition(": ")[2]
    assert best in WITHOUT
    assert {**results["no_transfer"], "note": ""} == {**results[best], "note": ""}
    # The image weights are random ones, and nothing is claimed about them.
    assert gain["sentence"].startswith(
        f"transfer of the text encoder's weights, in the place of no_transfer ({best}), "
    )
    worth = results["fused"]["accuracy"] - results["no_transfer"]["accuracy"]
    assert gain["difference"] == pytest.approx(worth)
    # The same flags with the same random weights of the images: a training on colours and random words.
    assert results["random_frozen"]["accuracy"] > 0.5
    assert results["from_scratch"]["accuracy"] > 0.5
    (tried,) = (table for table in metrics["tables"] if table["caption"].startswith("Trainings from scratch"))
    for side, passes in (("image encoder", 2), ("text encoder", 2)):
        rows = [row[1:3] for row in tried["rows"] if row[0] == side]
        assert rows[:3] == [["0.001", 1], ["0.003", 1], ["0.01", 1]]
        assert rows[3][1] == passes
        assert all(row[1] > passes for row in rows[4:])


@pytest.mark.slow
def test_the_baseline_may_be_left_out(folder):
    flags = ["--nobaseline", "--noexport", "--fusion=early", "--fusion_epochs=1", "--output_dir=runs/without"]
    process = run(folder, *flags)
    assert process.returncode == 0, process.stderr
    metrics = json.loads((folder / "runs/without/metrics.json").read_text())
    assert list(metrics["results"]) == ["image_only", "text_only", "fused_early", "fused"]
    assert not any("transfer" in gain["sentence"] for gain in metrics["gains"])


def test_the_curves_lead_from_both_sides_to_one(metrics):
    by_text, by_image, limits = metrics["plots"]
    assert limits["caption"].startswith("Errors over the share of test examples")
    assert by_text["x"] == "pairs without their text, %"
    for plot, alone in ((by_text, "image_only"), (by_image, "text_only")):
        series = {line["name"]: line for line in plot["series"]}
        assert list(series) == [alone, *(f"fused_{kind}" for kind in KINDS)]
        assert len(set(series[alone]["y"])) == 1
        for kind in KINDS:
            assert series[f"fused_{kind}"]["x"] == list(range(0, 101, 10))
            accuracy = metrics["results"][f"fused_{kind}"]["accuracy"]
            assert series[f"fused_{kind}"]["y"][0] == pytest.approx(100 * accuracy)
        assert series["fused_late"]["y"][-1] == pytest.approx(series[alone]["y"][-1])


def test_whom_the_gate_trusted_is_shown(folder, metrics):
    trust, examples = metrics["tables"][1:3]
    assert sum(row[1] for row in trust["rows"]) == metrics["results"]["fused"]["n"] == 60
    assert examples["head"][1] == "text"
    assert 1 <= len(examples["rows"]) <= 12
    for row in examples["rows"]:
        assert row[3] != row[4]
        assert 0 <= float(row[-1]) <= 1
    page = (folder / "runs/fusion/report.html").read_text()
    for table in (trust, examples):
        assert escaped(table["caption"]) in page


def test_missing_sides_are_counted(metrics):
    assert "of 180 pairs, 2 have no image and 2 no text" in metrics["data"]["warnings"]


def test_every_signature_was_compared_in_a_fresh_process(folder, metrics):
    for signature in ("serving_default", "image", "text", "embed_image", "embed_text"):
        assert metrics["facts"][f"export: largest difference, {signature}"] < 1e-4
    assert (folder / metrics["facts"]["export"] / "saved_model.pb").is_file()


def test_an_empty_side_is_a_missing_one_in_the_export(folder, metrics):
    signatures = tf.saved_model.load(str(folder / metrics["facts"]["export"])).signatures
    image = (folder / "photos/1.png").read_bytes()
    both = signatures["serving_default"](
        image_bytes=tf.constant([image, b"", image]), text=tf.constant(["", "a red cat", "a red cat"])
    )["probabilities"]
    image_alone = signatures["image"](image_bytes=tf.constant([image]))["probabilities"]
    text_alone = signatures["text"](text=tf.constant(["a red cat"]))["probabilities"]
    told = signatures["serving_default"](image_bytes=tf.constant([image]), text=tf.constant(["a red cat"]))
    assert 0 <= told["unknown"][0] < 1
    assert {name.decode() for name in told["answers"][0].numpy()} <= {*COLOURS, ""}
    # Sets are fitted for what is there, where there are enough such pairs.
    [table] = [part for part in metrics["tables"] if part["caption"].endswith("by what is there")]
    assert [row[0] for row in table["rows"]] == ["image and text", "image", "text"]
    for _, fitted_on, tested, share, *_ in table["rows"]:
        assert fitted_on >= 4
        assert tested > 0
        assert share > 0.6
    # Beside one side alone nothing is promised.
    assert "unknown" not in signatures["image"].structured_outputs
    np.testing.assert_allclose(both[0], image_alone[0], atol=1e-5)
    np.testing.assert_allclose(both[1], text_alone[0], atol=1e-5)
    assert np.abs(both[2] - both[1]).max() > 1e-3
    told = ", ".join(name for name, _, _ in SIGNATURES["fusion"])
    assert sorted(told.split(", ")) == sorted(signatures)
    named = signatures["image_and_text"](image_bytes=tf.constant([image]), text=tf.constant(["a red cat"]))
    np.testing.assert_allclose(named["probabilities"][0], both[2], atol=1e-5)
    served = as_served(folder / metrics["facts"]["export"], {"text": {"text": ["a red cat"]}})["text"]
    np.testing.assert_allclose(served["probabilities"], text_alone, atol=1e-5)
    assert signatures["labels"]()["labels"].numpy().tolist() == [b"blue", b"green", b"red"]
    with pytest.raises(tf.errors.InvalidArgumentError):
        signatures["image"](image_bytes=tf.constant([b"no image"]))


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--fusion=early,latest"], "--fusion=latest is not known; did you mean 'late'?"),
        (["--fusion=early,early"], "--fusion=early,early names no way, or one of them twice; "),
        (["--robust"], "--robust is not read by --experiment=fusion; "),
    ],
)
def test_flags_that_do_not_fit(folder, flags, message):
    process = run_here(*FLAGS, *flags, "--output_dir=other", cwd=folder)
    assert process.returncode == 2
    assert process.stderr.splitlines()[-1].startswith(f"error: {message}")


def test_the_lines_that_ask_the_export_as_they_are_shown(metrics, folder, monkeypatch, capsys):
    (folder / "digit.png").write_bytes((folder / "photos/1.png").read_bytes())
    monkeypatch.chdir(folder)
    follow("saved_models/fusion/1")
    assert any(colour in capsys.readouterr().out for colour in COLOURS)
