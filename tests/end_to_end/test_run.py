"""Whole runs as users start them: processes, exit codes, files."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
import tensorflow as tf
import warm_python
from absl.testing import flagsaver
from in_process import run_here
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from xmodal.bench import open_set
from xmodal.config import flags
from xmodal.core.clock import Clock
from xmodal.core.locks import folder_lock

# Real data, weights and encoder; as few steps as there can be.
SHRUNK = [
    "--dataset=mnist_5k",
    "--limit=60",
    "--image_size=32",
    "--epochs=1",
    "--head_epochs=2",
    "--batch_size=16",
    "--text_epochs=1",
    "--text_examples=2",
    "--scratch_learning_rates=3e-4",
    "--per_class=2,all",
    "--explained=1",
]
RESULTS = [
    *("image_only", "text", "fused", "zero_image", "text_zero_shot"),
    *("random_frozen", "from_scratch", "no_transfer"),
]


def run(*flags, cwd):
    return subprocess.run(
        [warm_python.path(), "-m", "xmodal.run", *flags], cwd=cwd, capture_output=True, text=True
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    cwd = tmp_path_factory.mktemp("run")
    process = run(*SHRUNK, cwd=cwd)
    assert process.returncode == 0, process.stderr
    return cwd, process


def test_a_run_leaves_its_files_and_prints_the_table(finished):
    cwd, process = finished
    folder = cwd / "runs/vgg_to_bert"
    names = {path.name for path in folder.iterdir()} - {".lock"}
    assert names == {
        "checkpoints",
        "config.cfg",
        "examples",
        "metrics.json",
        "metrics.jsonl",
        "transfer.json",
        "report.html",
        "tensorboard",
    }
    for name in RESULTS:
        assert f"\n{name} " in process.stdout
    # First what answers, and once more at the end, beside what it is compared with.
    early, _, rest = process.stdout.partition("the model can be used while the run goes on: ")
    assert "\ntext " in early
    assert "\nrandom_frozen " not in early
    assert rest.startswith("python -m xmodal.predict --model=saved_models/vgg_to_bert/1 ")
    assert "\nrandom frozen " in rest
    assert "largest difference of the outputs on a batch: 0.0" in process.stdout


def test_the_last_lines_say_what_to_do_next(finished):
    cwd, process = finished
    head, *commands = process.stdout.splitlines()[-4:]
    assert head == "next:"
    page, board, answer = (command.split() for command in commands)
    assert (cwd / page[1]).is_file()
    assert (cwd / board[2]).is_dir()
    image = tf.io.encode_png(tf.zeros((28, 28, 3), tf.uint8)).numpy()
    (cwd / "black.png").write_bytes(image)
    done = subprocess.run(
        [warm_python.path(), *answer[1:-1], "black.png"], cwd=cwd, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "black.png" in done.stdout


def test_its_export_tells_inputs_of_another_kind(finished, monkeypatch):
    cwd, _ = finished
    monkeypatch.setattr(open_set, "MOST", 8)
    with flagsaver.flagsaver():
        model = cwd / "saved_models/vgg_to_bert"
        outside = ["--outside=noise", "--outside=mnist_5k", "--outside=sample_photographs"]
        flags.parse(["bench", "--bench=open_set", SHRUNK[0], f"--model={model}", *outside])
        figures = open_set.measure(flags.from_flags(), Clock())
    sources = figures["outside"]
    assert (figures["known"]["inputs"], [row["inputs"] for row in sources.values()]) == (8, [4, 8, 8])
    assert all(0 <= row[name] <= 1 for row in sources.values() for name in ("auroc", "called_unknown"))
    # The known inputs themselves are neither stranger nor less strange.
    assert sources["mnist_5k"]["auroc"] == 0.5
    (table,) = open_set.tables(figures)
    assert [row[0] for row in table.rows] == list(sources)
    assert all(len(row) == len(table.head) for row in table.rows)


def test_metrics_hold_the_contract(finished):
    cwd, _ = finished
    metrics = json.loads((cwd / "runs/vgg_to_bert/metrics.json").read_text())
    assert list(metrics["results"]) == RESULTS
    tested = sum(metrics["data"]["counts"]["test"].values())
    for result in metrics["results"].values():
        low, high = result["ci95"]
        assert 0 <= low <= result["accuracy"] <= high <= 1
        assert result["n"] == tested
        assert sum(map(sum, result["confusion"])) == tested
        assert result["loss"] > 0
        assert result["seconds"] > 0
    assert {"experiment", "seed", "data", "seconds", "hardware", "versions"} <= set(metrics)
    assert {
        "start",
        "data",
        "transfer",
        "image classifier",
        "random frozen",
        "from scratch",
        "export",
    } <= set(metrics["seconds"])
    # What answers can be used before anything that it is compared with is trained.
    stages = list(metrics["seconds"])
    assert stages.index("export") < stages.index("random frozen")
    best = metrics["results"]["no_transfer"]
    name = best["note"].rpartition(": ")[2]
    assert name in ("random_frozen", "from_scratch")
    assert best | {"note": ""} == metrics["results"][name] | {"note": ""}
    worth, tried, *_ = metrics["tables"]
    assert worth["caption"].startswith("What transfer is worth")
    assert [row[0] for row in worth["rows"]] == ["2", "all"]
    assert worth["rows"][1][2].startswith(f"{metrics['results']['image_only']['accuracy']:.1%} ")
    assert worth["rows"][1][3].startswith(f"{best['accuracy']:.1%} ")
    assert {row[0] for row in tried["rows"]} == {"0.0003"}
    for signature in ("serving_default", "text", "image_and_text", "embed_image", "embed_text"):
        assert metrics["facts"][f"export: largest difference, {signature}"] <= 1e-4


def test_identity_growth_is_proven_in_the_run(finished):
    cwd, _ = finished
    transfer = json.loads((cwd / "runs/vgg_to_bert/transfer.json").read_text())
    assert transfer["max_abs_difference"] == 0.0
    assert len(transfer["layers"]) == 16


def test_the_export_stands_where_serving_looks(finished):
    cwd, _ = finished
    folder = cwd / "saved_models/vgg_to_bert/1"
    assert (folder / "saved_model.pb").is_file()
    card = (folder / "model_card.md").read_text()
    accuracy = json.loads((cwd / "runs/vgg_to_bert/metrics.json").read_text())["results"]["text"]["accuracy"]
    assert f"| text | {100 * accuracy:.1f}% |" in card
    # It was written when the model was exported, and again when the baselines were there.
    assert "| no\\_transfer | " in card
    assert "| --text\\_encoder | minilm\\_l6 | Apache-2.0 (sentence-transformers) |" in card
    assert "| --dataset | mnist\\_5k | CC BY-SA 3.0" in card


def test_tensorboard_reads_what_the_run_wrote(finished):
    cwd, _ = finished
    board = cwd / "runs/vgg_to_bert/tensorboard"
    tags: dict[str, set[str]] = {}
    for events in {path.parent for path in board.rglob("*tfevents*")}:
        for kind, names in EventAccumulator(str(events)).Reload().Tags().items():
            if isinstance(names, list):
                tags.setdefault(kind, set()).update(names)
    assert any("loss" in tag for tag in tags["tensors"])
    assert any("confusion" in tag for tag in tags["tensors"])
    graph = EventAccumulator(str(board / "results")).Reload().Graph()
    names = {node.name for node in graph.node}
    assert any("block5_conv4" in name for name in names)
    assert any("transformer_layer_5" in name for name in names)
    assert graph.ByteSize() < 5e6
    # Every edge leads to a node that is drawn.
    assert {source.removeprefix("^") for node in graph.node for source in node.input} <= names
    labels = (board / "results/points.tsv").read_text().splitlines()
    kinds = [line.split("\t")[2] for line in labels[1:]]
    tested = json.loads((cwd / "runs/vgg_to_bert/metrics.json").read_text())["results"]["text"]["n"]
    assert (kinds.count("image"), kinds.count("text")) == (tested, 10)


@pytest.mark.slow
def test_config_cfg_replays_the_run_to_the_same_metrics(finished):
    cwd, _ = finished
    first = json.loads((cwd / "runs/vgg_to_bert/metrics.json").read_text())
    config = cwd / "runs/vgg_to_bert/config.cfg"
    replay = run(f"--flagfile={config}", "--output_dir=replay", "--noexport", "--offline", cwd=cwd)
    assert replay.returncode == 0, replay.stderr
    second = json.loads((cwd / "replay/metrics.json").read_text())
    for name in RESULTS:
        one, two = first["results"][name], second["results"][name]
        assert one["confusion"] == two["confusion"]
        # Threads may add up in another order.
        for figure in ("accuracy", "macro_f1", "loss", "ece"):
            assert one[figure] == pytest.approx(two[figure], rel=1e-6, abs=1e-6), name
    assert first["data"] == second["data"]


@pytest.mark.slow
def test_a_mirrored_run_answers_a_target_map_without_training(finished, tmp_path):
    names = dict(zip("0123456789", ("even", "odd") * 5, strict=True))
    question = tmp_path / "parity.csv"
    question.write_text("description,target\n" + "".join(f"{a},{b}\n" for a, b in names.items()))
    trained = ("--text_epochs", "--text_examples", "--scratch_learning_rates", "--per_class")
    process = run(
        *(flag for flag in SHRUNK if not flag.startswith(trained)),
        f"--target_map={question}",
        "--text_head=zero_shot",
        "--text_style=top1",
        "--strategy=mirrored",
        "--virtual_devices=2",
        # A small network: what is tested is how its parts go together.
        "--image_weights=none",
        "--features=block1_pool,block2_pool",
        "--mirror",
        "--nobaseline",
        "--noexport",
        "--offline",
        cwd=tmp_path,
    )
    assert process.returncode == 0, process.stderr
    metrics = json.loads((tmp_path / "runs/vgg_to_bert/metrics.json").read_text())
    assert len(metrics["results"]["text"]["confusion"]) == 2
    assert "no_transfer" not in metrics["results"]


def test_a_finished_run_is_not_overwritten_unasked(finished):
    cwd, _ = finished
    before = (cwd / "runs/vgg_to_bert/metrics.json").read_bytes()
    process = run(*SHRUNK, cwd=cwd)
    assert process.returncode == 2
    assert process.stderr.splitlines()[-1] == (
        "error: --output_dir=runs/vgg_to_bert holds a finished run; choose another folder or add --overwrite"
    )
    assert (cwd / "runs/vgg_to_bert/metrics.json").read_bytes() == before


def test_a_folder_in_use_is_refused(tmp_path):
    with folder_lock(tmp_path / "runs/vgg_to_bert", wait=False):
        process = run("--seed=0", cwd=tmp_path)
    assert process.returncode == 2
    assert "error: the folder 'runs/vgg_to_bert' is in use by another run; wait" in process.stderr


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--text_stile=top1"], "Unknown command line flag 'text_stile'. Did you mean: text_style"),
        (["--text_style=hedge"], "--text_style=hedge: did you mean 'hedged'?"),
        (["--experiment=vgg_to_brt"], "--experiment=vgg_to_brt: did you mean 'vgg_to_bert'?"),
        (["--validation_fraction=1.5"], "--validation_fraction=1.5: give a number between 0 and 1"),
        (["--flagfile=none.cfg"], "--flagfile=none.cfg cannot be read"),
        (["experiments/vgg_to_bert.cfg"], "'experiments/vgg_to_bert.cfg' is no flag"),
        (["--dataset=folder:empty"], "empty"),
        (["--dataset=minst_5k"], "mnist_5k"),
        (
            ["--dataset=mnist_5k", "--target=VGG20"],
            "'VGG20' is no model of Keras Applications; did you mean 'VGG",
        ),
        (["--dataset=mnist_5k", "--trainable=blok5", "--limit=60"], "did you mean 'block5"),
        (["--record=pipe"], "'pipe' is a pipe, which no file can replace; choose another name"),
        (["--record=link"], "'link' is there already; choose another name, or add --overwrite to replace it"),
    ],
)
def test_what_the_user_can_mend_is_one_line_and_exit_2(flags, said, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "precious.json").write_text('{"accuracy": 1}')
    (tmp_path / "link").symlink_to("precious.json")
    os.mkfifo(tmp_path / "pipe")
    # One of them as a user does; the others tell the same a few seconds sooner.
    process = (run if said == "empty" else run_here)(*flags, cwd=tmp_path)
    lines = [line for line in process.stderr.splitlines() if line.startswith("error:")]
    assert process.returncode == 2, process.stderr
    assert len(lines) == 1
    assert said in lines[0]
    assert "Traceback" not in process.stderr
    assert not list(tmp_path.rglob("metrics.json"))
    assert (tmp_path / "pipe").is_fifo()
    assert (tmp_path / "precious.json").read_text() == '{"accuracy": 1}'


def test_help_lists_the_flags(tmp_path):
    process = run("--help", cwd=tmp_path)
    assert process.returncode == 0
    for flag in ("--text_style", "--[no]offline", "--target_map"):
        assert flag in process.stdout


def test_an_interrupted_run_exits_130(tmp_path):
    process = subprocess.Popen(
        [warm_python.path(), "-m", "xmodal.run", *SHRUNK],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("transfer"):
            break
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in errors
    assert not Path(tmp_path, "runs/vgg_to_bert/metrics.json").exists()
