"""Whole runs on documents of which each has several labels, or none: figures, report, export, answers."""

import json
import random
from pathlib import Path

import numpy as np
import pytest
from as_served import as_served
from in_process import run_here
from tiny_bert import save_tiny_bert

from xmodal.core.saved_models import newest_version
from xmodal.export.predictor import Predictor
from xmodal.predict import main as predict

LABELS = ("bird", "cat", "dog")
FLAGS = (
    "--experiment=bert_news",
    "--documents=csv:news.csv",
    "--text_encoder=./bert",
    "--sequence_length=16",
    "--text_epochs=12",
    "--text_batch_size=16",
    "--text_learning_rate=0.01",
    "--min_per_class=1",
    "--explained=1",
)


def write_documents(path: Path, count: int = 160) -> None:
    chance = random.Random(0)
    lines = ["text,label\n"]
    for number in range(count):
        labels = [name for name in LABELS if chance.random() < 0.4]
        words = [*labels, chance.choice(("red", "green")), chance.choice(("one", "two"))]
        chance.shuffle(words)
        lines.append(f"a photo of {' '.join(words)} {number},{'|'.join(labels)}\n")
    path.write_text("".join(lines))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    cwd = tmp_path_factory.mktemp("several")
    write_documents(cwd / "news.csv")
    save_tiny_bert(cwd / "bert")
    done = run_here(*FLAGS, "--multi_label=|", "--nobaseline", cwd=cwd)
    assert done.returncode == 0, done.stderr
    return cwd, done.stdout


def test_what_is_measured_and_reported(finished):
    cwd, printed = finished
    folder = cwd / "runs/bert_news"
    metrics = json.loads((folder / "metrics.json").read_text())
    bert = metrics["results"]["bert"]
    assert bert["class_names"] == [*LABELS]
    assert bert["average_precision"] > 0.9
    assert bert["macro_f1"] > 0.8
    assert bert["accuracy"] > 0.6
    assert float(metrics["facts"]["micro F1 of bert"].split()[0]) > 0.8
    captions = [table["caption"] for table in metrics["tables"]]
    assert "Labels given to the test examples, with 95% intervals" in captions
    assert "What bert is above the others, for the same examples" in captions
    assert any(caption.startswith("The labels, bert, each from a threshold") for caption in captions)
    assert "with --multi_label there are no sets of answers" in printed
    page = (folder / "report.html").read_text()
    assert "given exactly their labels" in page
    assert "Confusion matrix" not in page


def test_the_export_gives_the_labels_above_their_thresholds(finished):
    cwd, _ = finished
    exported = newest_version(cwd / "saved_models/bert_news", "it")
    texts = ["a photo of dog cat red one", "a photo of green two", "a photo of bird"]
    answers = as_served(exported, {"serving_default": {"text": [text.encode() for text in texts]}})
    served = answers["serving_default"]
    assert sorted(served) == ["label", "labels", "probabilities", "probability", "read", "sentence"]
    labels = [sorted(label.decode() for label in row if label) for row in served["labels"]]
    assert labels == [["cat", "dog"], [], ["bird"]]
    first, *others = (sentence.decode() for sentence in served["sentence"])
    assert first in ("cat and dog", "dog and cat")
    assert others == ["probably none of these", "bird"]
    # Each label is a question of its own.
    sums = np.sum(served["probabilities"], axis=1)
    assert sums[0] > 1.2
    assert sums[1] < 0.8


def test_predict_tells_the_labels(finished, capsys):
    cwd, _ = finished
    model = str(cwd / "saved_models/bert_news")
    (answer,) = Predictor(model)(["a photo of cat bird"])
    assert sorted(answer.labels) == ["bird", "cat"]
    assert answer.verdict in ("cat and bird", "bird and cat")
    assert answer.read == "a photo of cat bird"
    assert set(answer.probabilities) == set(LABELS)
    asked = ["predict", f"--model={model}", "--text", "a photo of cat bird", "--text", "a photo of green"]
    assert predict(asked) == 0
    table = capsys.readouterr().out
    assert "cat | bird" in table or "bird | cat" in table
    assert " none " in table
    assert predict([*asked, "--format=csv"]) == 0
    assert "bird,cat,dog" in capsys.readouterr().out.splitlines()[0]


@pytest.mark.slow
def test_labels_in_columns_with_a_frozen_encoder(finished, tmp_path):
    cwd, _ = finished
    rows = [line.rsplit(",", 1) for line in (cwd / "news.csv").read_text().splitlines()[1:]]
    lines = [
        f"{text},{','.join(str(int(name in label.split('|'))) for name in LABELS)}" for text, label in rows
    ]
    (tmp_path / "news.csv").write_text("\n".join([f"text,{','.join(LABELS)}", *lines]))
    # One that has learned something, so that there is a baseline without that.
    save_tiny_bert(tmp_path / "bert", alike=[("red", "green"), ("one", "two")])
    flags = ("--multi_label=columns", f"--label_column={','.join(LABELS)}", "--text_trainable=head")
    few = ("--text_epochs=2", "--scratch_learning_rates=1e-3", "--noexport")
    done = run_here(*FLAGS, *flags, *few, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    metrics = json.loads((tmp_path / "runs/bert_news/metrics.json").read_text())
    assert list(metrics["results"]) == ["bert", "random_frozen", "from_scratch", "no_transfer", "tf_idf"]
    captions = [table["caption"] for table in metrics["tables"]]
    assert not [caption for caption in captions if "a class" in caption]


def test_what_has_no_sense_with_several_labels_is_refused(finished):
    cwd, _ = finished
    for flag in ("--small", "--shots=1", "--max_error=0.2", "--attacked_examples=3"):
        done = run_here(*FLAGS, "--multi_label=|", flag, cwd=cwd)
        assert done.returncode == 2
        assert "changes nothing without a single label for each example (no --multi_label)" in done.stderr
