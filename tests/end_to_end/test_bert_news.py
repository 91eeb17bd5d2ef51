"""The recipe of documents, run as a user does, with a tiny BERT and documents of its few words."""

import json
import random
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import warm_python
from in_process import run_here
from tiny_bert import save_tiny_bert

from xmodal.core.clock import Clock
from xmodal.recipes.bert_news import recipe
from xmodal.recipes.bert_news.baselines import DocumentTrainings
from xmodal.runs.session import Session
from xmodal.training.trainer import Trainer

ANIMALS, PLANTS = ("cat", "dog", "bird"), ("oak", "fir", "plant")


def write_documents(root: Path) -> None:
    chance = random.Random(0)
    for split, count in (("train", 30), ("val", 8), ("test", 12)):
        for label, names in (("animals", ANIMALS), ("plants", PLANTS)):
            for number in range(count):
                words = [chance.choice(names), chance.choice(("red", "green")), chance.choice(("one", "two"))]
                path = root / split / label / f"{number}.txt"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(f"<p>a photo of {' '.join(words)}, {number} a{number}@example.org</p>")


def run(*flags, cwd):
    return subprocess.run(
        [warm_python.path(), "-m", "xmodal.run", "--experiment=bert_news", *flags],
        cwd=cwd,
        capture_output=True,
        text=True,
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    cwd = tmp_path_factory.mktemp("run")
    write_documents(cwd / "news")
    save_tiny_bert(cwd / "bert")
    flags = [
        "--documents=dir:news",
        "--text_encoder=./bert",
        "--sequence_length=16",
        "--text_epochs=8",
        "--text_batch_size=8",
        "--text_learning_rate=0.01",
        "--layer_decay=0.5",
        "--class_weights=balanced",
        "--length_window=4",
        "--small",
        "--record=record.json",
        "--robust",
        "--attacked_examples=8",
        "--slips=0.1",
        "--changed_words=0.2",
        "--shots=0,1,2",
        "--draws=3",
    ]
    process = run(*flags, cwd=cwd)
    assert process.returncode == 0, process.stderr
    return cwd, process


def test_a_run_leaves_its_files_and_prints_the_table(finished):
    cwd, process = finished
    folder = cwd / "runs/bert_news"
    names = {path.name for path in folder.iterdir()}
    assert {"config.cfg", "metrics.json", "metrics.jsonl", "report.html", "tensorboard"} <= names
    assert "transfer.json" not in names
    assert "\nbert " in process.stdout
    assert "\ntf_idf " in process.stdout
    assert (cwd / "record.json").is_file()


def test_the_report_tells_what_made_the_answers(finished):
    cwd, _ = finished
    page = (cwd / "runs/bert_news/report.html").read_text()
    shown = page.partition('<section id="why"')[2].partition("</section>")[0]
    assert shown.count("Left out: deletion ") == shown.count("Integrated gradients: deletion ") == 4
    # What --scrub takes away is not shown here either.
    assert "[EMAIL]" in shown
    assert "@" not in shown


def test_metrics_hold_results_tables_and_what_was_replaced(finished):
    cwd, _ = finished
    metrics = json.loads((cwd / "runs/bert_news/metrics.json").read_text())
    assert list(metrics["results"]) == ["bert", "bert_robust", "tf_idf"]
    for result in metrics["results"].values():
        assert result["n"] == 24
        assert result["accuracy"] > 0.9
        assert result["macro_f1"] > 0.9
        assert result["loss"] > 0
    tables = metrics["tables"]
    named = {table["caption"]: table for table in tables}
    report, hardest = tables[1], named["The hardest test documents"]
    personal = named["Personal data that marks stand for"]
    assert report["head"] == ["class", "test documents", "precision", "recall", "F1"]
    assert [row[:2] for row in report["rows"]] == [["animals", 12], ["plants", 12]]
    assert len(hardest["rows"]) == 20
    assert all("[EMAIL]" in row[-1] for row in hardest["rows"])
    assert [row for row in personal["rows"] if row[0] == "[EMAIL]"] == [["[EMAIL]", 60, 16, 24]]
    facts = metrics["facts"]
    assert facts["export: largest difference, serving_default"] <= 1e-4
    # 16 validation documents are too few to promise 95%.
    assert facts["answer sets"].startswith("hold all answers: 16 validation examples are too few")
    assert facts["seen share of answer sets with the right answer"] == 1
    (sets,) = (table for caption, table in named.items() if caption.startswith("Answer sets"))
    assert [row[0] for row in sets["rows"]] == ["animals", "plants", "all"]
    captions = [plot["caption"] for plot in metrics["plots"]]
    assert any(caption.startswith("Errors over the share of test examples") for caption in captions)


def test_names_of_classes_are_worth_labels_where_there_are_few(finished):
    cwd, _ = finished
    metrics = json.loads((cwd / "runs/bert_news/metrics.json").read_text())
    captions = {table["caption"]: table for table in metrics["tables"]}
    table = captions["Accuracy with few labels, over all draws"]
    assert [row[0] for row in table["rows"]] == [0, 1, 2]
    assert all("points" in row[-1] for row in table["rows"][1:])
    assert "Accuracy with few labels" in (cwd / "runs/bert_news/report.html").read_text()


def test_both_berts_are_attacked_on_the_same_documents(finished):
    cwd, _ = finished
    metrics = json.loads((cwd / "runs/bert_news/metrics.json").read_text())
    [table] = [
        table for table in metrics["tables"] if table["caption"].startswith("Accuracy on 8 test documents")
    ]
    assert table["head"][1::3] == ["bert", "bert_robust"]
    rows = {row[0]: row[1::3] for row in table["rows"]}
    assert list(rows) == [
        "as they are",
        "typing noise in 10% of the letters",
        "misspelt words, at most 20% of them",
        "near words, at most 20% of them",
    ]
    assert rows["as they are"] == [1.0, 1.0]
    # The one word that tells is misspelt, and unknown.
    assert rows["misspelt words, at most 20% of them"][0] < 1
    seconds = metrics["seconds"]
    cost = metrics["facts"]["training of bert_robust, times as long as of bert"]
    assert cost == pytest.approx(seconds["bert_robust"] / seconds["bert"], abs=0.01)
    sentences = [gain["sentence"] for gain in metrics["gains"]]
    assert sum(sentence.startswith("bert_robust in the place of bert, ") for sentence in sentences) == 4


def test_small_forms_are_measured_and_stand_beside_the_export(finished):
    cwd, _ = finished
    metrics = json.loads((cwd / "runs/bert_news/metrics.json").read_text())
    table = metrics["tables"][-1]
    assert table["caption"].startswith("Small forms, on 24 test documents")
    float32, *forms = (dict(zip(table["head"], row, strict=True)) for row in table["rows"])
    assert float32["accuracy"] == metrics["results"]["bert_robust"]["accuracy"]
    assert [form["form"] for form in forms] == ["int8, Keras", "LiteRT, int8 weights"]
    for form in forms:
        assert form["accuracy"] > 0.9
        assert form["ms, one by one"] > 0
    assert (cwd / "saved_models/bert_news_int8/1/saved_model.pb").is_file()
    assert {path.name for path in (cwd / "saved_models/bert_news_litert/1").iterdir()} == {
        "inputs",
        "labels.txt",
        "model.tflite",
        "SHA256SUMS",
    }


@pytest.mark.slow
def test_config_cfg_replays_the_run_to_the_same_metrics(finished):
    cwd, _ = finished
    replay = subprocess.run(
        [
            *(warm_python.path(), "-m", "xmodal.run", "--flagfile=runs/bert_news/config.cfg"),
            *("--output_dir=replay", "--noexport", "--nosmall"),
        ],
        cwd=cwd,
        capture_output=True,
        text=True,
    )
    assert replay.returncode == 0, replay.stderr
    first, second = (
        json.loads((cwd / folder / "metrics.json").read_text()) for folder in ("runs/bert_news", "replay")
    )
    for name, result in first["results"].items():
        assert second["results"][name]["confusion"] == result["confusion"]
        # Threads may add up in another order.
        assert second["results"][name]["loss"] == pytest.approx(result["loss"], rel=1e-5), name
    assert second["data"] == first["data"]
    # But for that of the small forms.
    assert second["tables"] == first["tables"][:-1]


def test_nothing_personal_is_printed_or_kept(finished):
    cwd, process = finished
    assert "@example.org" not in process.stdout + process.stderr
    for path in (cwd / "runs").rglob("*"):
        if path.is_file():
            assert b"@example.org" not in path.read_bytes(), path


def test_the_export_takes_documents_as_they_are_written(finished):
    cwd, _ = finished
    script = (
        "import sys, tensorflow as tf, tensorflow_text\n"
        "serve = tf.saved_model.load('saved_models/bert_news/1').signatures['serving_default']\n"
        "texts = ['<b>a photo of oak fir plant</b> x@example.org', '', 'cat ' * 100_000,\n"
        "         b'\\xff\\xfe\\x00 dog \\xe2\\x80\\xae\\xe2\\x80\\x8b bird']\n"
        "out = serve(text=tf.constant(texts))\n"
        "print([label.decode() for label in out['label'].numpy()], out['read'].numpy()[0].decode())\n"
    )
    done = subprocess.run([warm_python.path(), "-c", script], cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    labels, _, read = done.stdout.strip().rpartition("] ")
    assert read == "a photo of oak fir plant [EMAIL]"
    first, _, third, fourth = (label.strip(" '") for label in labels.lstrip("[").split(","))
    assert (first, third, fourth) == ("plants", "animals", "animals")


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--documents=dir:nowhere"], "error: the folder 'nowhere' does not exist; check the path of"),
        (["--documents=reuters"], "error: unknown --documents='reuters' (there are 20newsgroups,"),
        (
            ["--documents=dir:news", "--text_encoder=./bert", "--text_trainable=transformer_layr_0"],
            "error: --text_trainable=transformer_layr_0 is no layer of 'sentence_encoder'; did you mean",
        ),
    ],
)
def test_one_line_and_exit_code_2(finished, flags, told, tmp_path):
    cwd, _ = finished
    words = ("--experiment=bert_news", *flags, "--sequence_length=16", f"--output_dir={tmp_path / 'out'}")
    done = run_here(*words, cwd=cwd)
    assert done.returncode == 2
    assert [line for line in done.stderr.splitlines() if line.startswith(told)]
    assert "Traceback" not in done.stderr


# Without transfer.

COMPARED = [
    *("--documents=dir:news", "--text_encoder=./learned", "--sequence_length=16", "--noexport"),
    *("--text_epochs=4", "--text_batch_size=8", "--text_learning_rate=0.01", "--layer_decay=0.8"),
    *("--scratch_learning_rates=0.001,0.01", "--per_class=1,1000,all", "--deterministic"),
]
BASELINES = ["random_weights", "from_scratch", "no_transfer"]


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    cwd = tmp_path_factory.mktemp("compared")
    write_documents(cwd / "news")
    save_tiny_bert(cwd / "learned", alike=(ANIMALS, PLANTS))
    process = run(*COMPARED, cwd=cwd)
    assert process.returncode == 0, process.stderr
    return cwd, process


def metrics_of(cwd, folder="runs/bert_news"):
    return json.loads((cwd / folder / "metrics.json").read_text())


def test_what_is_called_no_transfer_is_one_of_the_baselines(compared):
    cwd, process = compared
    results = metrics_of(cwd)["results"]
    assert list(results) == ["bert", *BASELINES, "tf_idf"]
    told, best = results["no_transfer"]["note"].split(": ")
    assert told == "the one of both that is better on the validation documents"
    assert best in BASELINES[:2]
    assert results["no_transfer"] | {"note": ""} == results[best] | {"note": ""}
    assert results["random_weights"]["note"].endswith("the same layers, rates and epochs")
    for name in BASELINES:
        assert f"\n{name} " in process.stdout


def test_validation_says_which_baseline_counts_whatever_the_test_split_says():
    truth = np.array([0, 1, 0, 1])
    right, wrong = 9.0 * np.eye(2)[truth], 9.0 * np.eye(2)[1 - truth]
    logits = {"random_weights": {"validation": right, "test": wrong}}
    logits["from_scratch"] = {"validation": wrong, "test": right}
    answers = {
        name: SimpleNamespace(logits=lambda texts, trainer, name, parts=parts: parts[texts])
        for name, parts in logits.items()
    }
    clock = Clock()
    clock.seconds |= {"random_weights": 1.5, "from_scratch": 2.5}
    splits = {part: SimpleNamespace(labels=truth, texts=part) for part in ("validation", "test")}
    data = SimpleNamespace(**splits, class_names=("a", "b"))
    trainings = DocumentTrainings(Session(None, clock, Trainer()), "", data)
    measured = recipe.measure_without_transfer(trainings, answers, dict.fromkeys(answers, "note"))
    assert list(measured) == ["random_weights", "from_scratch", "no_transfer"]
    result = measured["no_transfer"].result
    assert (result.name, result.accuracy, result.seconds) == ("no_transfer", 0.0, 1.5)
    assert result.note.endswith(": random_weights")


def test_what_transfer_is_worth_by_examples(compared):
    cwd, process = compared
    metrics = metrics_of(cwd)
    table, tried, *_ = metrics["tables"]
    assert table["caption"].startswith("What transfer is worth")
    assert table["head"] == ["examples a class", "examples", "with transfer", "without", "difference"]
    assert [row[:2] for row in table["rows"]] == [["1", "2"], ["all", "60"]]
    # One word of each group tells of the others, for who knows that they are alike.
    one, whole = ([float(cell.split("%")[0]) for cell in row[2:4]] for row in table["rows"])
    assert one[0] > 90 > one[1]
    results = metrics["results"]
    assert whole == [round(100 * results[name]["accuracy"], 1) for name in ("bert", "no_transfer")]
    assert metrics["gains"][0]["sentence"].startswith("transfer of weights ")
    assert metrics["gains"][1]["sentence"].startswith("BERT, against TF-IDF, ")
    plot, _ = metrics["plots"]
    assert [series["name"] for series in plot["series"]] == ["with transfer", "without"]
    assert [series["x"] for series in plot["series"]] == [[1, 30]] * 2
    assert plot["log_x"]
    assert metrics["facts"]["without transfer, 1 a class"] in BASELINES[:2]
    assert "\n1 a class: " in process.stdout
    assert [row[:2] for row in tried["rows"]][:3] == [["0.001", 1], ["0.01", 1], [tried["rows"][2][0], 4]]


def test_a_run_goes_on_within_the_amounts(compared):
    """What is finished is not trained again, and the end is the same."""
    cwd, _ = compared
    shutil.copytree(cwd / "runs/bert_news", cwd / "cut")
    stages = cwd / "cut/checkpoints"
    (cwd / "cut/metrics.json").unlink()
    record = json.loads((stages / "run.json").read_text())
    (stages / "run.json").write_text(json.dumps(record | {"finished": False}))
    lost = [path for path in stages.iterdir() if path.name.startswith("from-scratch-1-a-class")]
    lost += [stages / f"from-scratch-{part}" for part in ("validation", "test")]
    assert len(lost) in (4, 5)
    for path in lost:
        shutil.rmtree(path)
    kept = {path: path.stat().st_mtime_ns for path in stages.glob("*/finished/arrays.npz")}
    process = run(*COMPARED, "--output_dir=cut", cwd=cwd)
    assert process.returncode == 0, process.stderr
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert all(path.exists() for path in lost)
    first, second = metrics_of(cwd), metrics_of(cwd, "cut")
    assert first["tables"] == second["tables"]
    for name, result in first["results"].items():
        assert second["results"][name]["confusion"] == result["confusion"]


def test_random_weights_claim_nothing(compared, tmp_path):
    cwd, _ = compared
    save_tiny_bert(cwd / "new")
    flags = ["--text_encoder=./new", "--text_epochs=1", f"--output_dir={tmp_path / 'out'}"]
    process = run(*COMPARED, *flags, cwd=cwd)
    assert process.returncode == 0, process.stderr
    assert "warning: --text_encoder=./new was never trained: nothing is transferred" in process.stdout
    metrics = metrics_of(tmp_path, "out")
    assert list(metrics["results"]) == ["bert", "tf_idf"]
    assert not [gain for gain in metrics["gains"] if "transfer" in gain["sentence"]]
    assert not [table for table in metrics["tables"] if "transfer" in table["caption"]]


@pytest.mark.slow
def test_a_frozen_bert_is_compared_with_a_frozen_one(compared, tmp_path):
    cwd, _ = compared
    flags = ["--text_trainable=head", "--per_class=all", "--scratch_learning_rates=0.01"]
    process = run(*COMPARED, *flags, f"--output_dir={tmp_path / 'out'}", cwd=cwd)
    assert process.returncode == 0, process.stderr
    metrics = metrics_of(tmp_path, "out")
    assert list(metrics["results"]) == ["bert", "random_frozen", *BASELINES[1:], "tf_idf"]
    assert not [table for table in metrics["tables"] if table["caption"].startswith("What transfer")]
    assert metrics["results"]["from_scratch"]["note"].endswith("passes, peak rate 0.01")
