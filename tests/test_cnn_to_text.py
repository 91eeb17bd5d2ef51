"""The whole experiment on few real digits and on documents of a table, with every step that there is."""

import csv
import json
import subprocess
import sys

import numpy as np
import pytest

from xmodal.report.markup import text as escaped

WORDS = {
    "rec.autos": ["engine", "wheels", "dealer", "brakes", "car"],
    "sci.med": ["doctor", "disease", "pain", "medicine", "patients"],
    "sci.space": ["orbit", "nasa", "shuttle", "moon", "rocket"],
    "rec.sport.hockey": ["goal", "ice", "team", "puck", "season"],
}
FLAGS = [
    "--experiment=cnn_to_text",
    "--dataset=mnist_5k",
    "--base=small_cnn",
    "--image_weights=none",
    "--augment=crop",
    "--documents=csv:news.csv",
    "--class_descriptions=about.csv",
    "--limit=120",
    "--min_per_class=2",
    "--validation_fraction=0.1",
    "--epochs=2",
    "--batch_size=32",
    "--learning_rate=3e-3",
    "--text_epochs=3",
    "--text_batch_size=16",
    "--text_learning_rate=1e-2",
    "--sequence_length=12",
    "--length_window=4",
    "--units=8",
    "--unseen=2",
    "--seen_per_class=5",
    "--offline",
]
# Every training traces functions of its own: both directions and several amounts are for whoever has time.
FEW = ["--per_class=1000,all", "--seeds=1", "--directions=images_to_documents"]
MANY = ["--per_class=5,all", "--seeds=2", "--output_dir=runs/many"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with 160 documents of four newsgroups."""
    random = np.random.default_rng(0)
    cwd = tmp_path_factory.mktemp("cnn_to_text")
    with open(cwd / "news.csv", "w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["text", "label"])
        for number in range(160):
            name = list(WORDS)[number % 4]
            words = [*random.choice(WORDS[name], 4), *random.choice(["the", "of", "and", "is"], number % 9)]
            table.writerow([f"{' '.join(random.permutation(words))} {number}", name])
    (cwd / "about.csv").write_text("name,description\nsci.med,medicine and doctors\n")
    return cwd


def run(folder, *flags):
    return subprocess.run(
        [sys.executable, "-m", "xmodal.run", *FLAGS, *flags], cwd=folder, capture_output=True, text=True
    )


def read(path):
    return json.loads((path / "metrics.json").read_text())


@pytest.fixture(scope="module")
def finished(folder):
    process = run(folder, *FEW)
    assert process.returncode == 0, process.stderr
    return folder / "runs/cnn_to_text"


def test_a_transfer_is_measured_and_told(finished):
    metrics = read(finished)
    assert list(metrics["results"]) == [
        "images, all a class",
        "documents, all a class",
        "documents, all a class, scorer from images",
    ]
    assert metrics["results"]["documents, all a class"]["accuracy"] > 0.6
    (gain,) = metrics["gains"]
    assert gain["sentence"].startswith("the scorer of the images, at all documents a class, ")
    assert any(word in gain["sentence"] for word in ("helped: ", "hurt: ", "and one seed can show: "))


def test_the_tables_show_what_was_measured(finished):
    by_images, by_documents, unseen = read(finished)["tables"]
    assert by_images["head"] == ["images a class", "scorer from random weights"]
    assert by_documents["head"] == [
        "documents a class",
        "scorer from random weights",
        "scorer of the images",
        "difference in points",
    ]
    # No class has as many as 1000: that is all of them.
    assert [row[0] for row in by_images["rows"]] == [row[0] for row in by_documents["rows"]] == ["all"]
    assert [(row[0], row[1], row[-1]) for row in unseen["rows"]] == [
        ("images", "scorer from random weights", "50.0%"),
        ("documents", "scorer from random weights", "50.0%"),
        ("documents", "scorer of the images", "50.0%"),
    ]
    page = (finished / "report.html").read_text()
    for table in (by_images, by_documents, unseen):
        assert escaped(table["caption"]) in page


def test_the_scorer_is_what_moved(finished):
    transfer = json.loads((finished / "transfer.json").read_text())
    assert (transfer["source_model"], transfer["target_model"]) == ("scored_small_cnn", "scored_bilstm")
    copied = [layer["target"] for layer in transfer["layers"] if layer["action"] == "copied"]
    assert copied == ["scorer"]
    assert {"lstm1", "lstm2", "embedding", "dense_84"} <= {
        layer["target"] for layer in transfer["layers"] if layer["action"] == "left"
    }


def test_what_became_of_documents_is_told(finished):
    metrics = read(finished)
    assert metrics["facts"]["longest document that is read, in words"] == 12
    assert metrics["facts"]["train documents that were cut there"] > 0
    assert list(metrics["further_data"]) == ["documents"]


@pytest.mark.slow
def test_both_directions_at_every_amount_with_every_seed(folder):
    process = run(folder, *MANY)
    assert process.returncode == 0, process.stderr
    metrics = read(folder / "runs/many")
    starts = [
        f"the scorer of the {source}, at {count} {target} a class, "
        for source, target in (("images", "documents"), ("documents", "images"))
        for count in (5, "all")
    ]
    sentences = [gain["sentence"] for gain in metrics["gains"]]
    assert [sentence.startswith(start) for sentence, start in zip(sentences, starts, strict=True)] == [
        True
    ] * 4
    assert len(metrics["tables"][2]["rows"]) == 4


def test_more_unseen_classes_than_there_are(folder):
    process = run(folder, "--unseen=3", "--output_dir=other")
    assert process.returncode == 2
    assert process.stderr.splitlines()[-1] == (
        "error: --unseen=3 leaves less than 2 of the 4 classes of the documents to learn from; give at most 2"
    )
