"""The whole experiment on few real digits and on documents of a table, with every step that there is."""

import csv
import json
import subprocess

import numpy as np
import pytest
import warm_python
from in_process import run_here
from tiny_sounds import tone, wav

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
    "--scratch_learning_rates=3e-3,1e-2,3e-2",
    "--text_epochs=3",
    "--text_batch_size=16",
    "--text_learning_rate=1e-2",
    "--sequence_length=12",
    "--length_window=4",
    "--units=8",
    "--offline",
]
# Every training traces functions of its own: both directions and several amounts are for whoever has time.
UNSEEN = ["--unseen=2", "--seen_per_class=5"]
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
        [warm_python.path(), "-m", "xmodal.run", *FLAGS, *flags], cwd=folder, capture_output=True, text=True
    )


def read(path):
    return json.loads((path / "metrics.json").read_text())


@pytest.fixture(scope="module")
def finished(folder):
    process = run(folder, *FEW, *UNSEEN)
    assert process.returncode == 0, process.stderr
    return folder / "runs/cnn_to_text"


def test_a_transfer_is_measured_and_told(finished):
    metrics = read(finished)
    assert list(metrics["results"]) == [
        "images, all a class",
        "documents, all a class",
        "documents, all a class, scorer from images",
        "documents, all a class, from_scratch",
    ]
    assert metrics["results"]["documents, all a class"]["accuracy"] > 0.6
    gain, *of_unseen = metrics["gains"]
    assert gain["sentence"].startswith(
        "the scorer of the images, at all documents a class, in the place of no_transfer ("
    )
    assert any(word in gain["sentence"] for word in ("helped: ", "hurt: ", "and one seed can show: "))
    assert [gain["sentence"].partition(")")[0] for gain in of_unseen] == [
        f"naming {example_kind} of classes that were never seen (scorer {start}"
        for example_kind, start in (
            ("images", "from random weights"),
            ("documents", "from random weights"),
            ("documents", "of the images"),
        )
    ]
    for sentence in (gain["sentence"] for gain in of_unseen):
        assert " than chance: " in sentence or " cannot be told from chance with " in sentence
        assert sentence.endswith(" beyond 50.0%")


def test_the_baseline_is_the_better_one_on_validation(finished):
    metrics = read(finished)
    results = metrics["results"]
    alone, scratch = (results[f"documents, all a class{way}"] for way in ("", ", from_scratch"))
    (best,) = (result for result in results.values() if "; no_transfer, " in result["note"])
    assert best in (alone, scratch)
    moved = results["documents, all a class, scorer from images"]
    gain = metrics["gains"][0]
    assert gain["difference"] == pytest.approx(moved["accuracy"] - best["accuracy"])
    way = "alone" if best == alone else "from_scratch"
    assert f"no_transfer ({way})" in gain["sentence"]
    tried = metrics["tables"][-1]
    assert tried["caption"].startswith("Trainings from scratch with seed 0")
    rates = [row[1] for row in tried["rows"]]
    assert {"0.003", "0.01", "0.03"} == set(rates)
    assert min(row[2] for row in tried["rows"]) == 3
    losses = [row[3] for row in tried["rows"]]
    assert losses[0] == min(losses)


def test_the_tables_show_what_was_measured(finished):
    by_images, by_documents, unseen, _ = read(finished)["tables"]
    assert by_images["head"] == ["images a class", "alone"]
    assert by_documents["head"] == [
        "documents a class",
        "alone",
        "from_scratch",
        "scorer of the images",
        "no_transfer",
        "points above it",
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
    process = run(folder, *MANY, *UNSEEN)
    assert process.returncode == 0, process.stderr
    metrics = read(folder / "runs/many")
    starts = [
        f"the scorer of the {source}, at {count} {target} a class, "
        for source, target in (("images", "documents"), ("documents", "images"))
        for count in (5, "all")
    ]
    sentences = [gain["sentence"] for gain in metrics["gains"] if "never seen" not in gain["sentence"]]
    assert [sentence.startswith(start) for sentence, start in zip(sentences, starts, strict=True)] == [
        True
    ] * 4
    assert len(metrics["tables"][2]["rows"]) == 4
    # A search with the first seed alone: three rates at least at two amounts of either side.
    assert len(metrics["tables"][3]["rows"]) >= 12
    for modality in metrics["tables"][:2]:
        assert [row[4] in ("alone", "from_scratch") for row in modality["rows"]] == [True, True]


@pytest.mark.slow
def test_a_scorer_that_stays_is_beside_a_random_one_that_stays(folder):
    few = ["--freeze_moved", "--unseen=0", "--scratch_learning_rates=1e-2", "--output_dir=runs/frozen"]
    process = run(folder, *FEW, *few)
    assert process.returncode == 0, process.stderr
    metrics = read(folder / "runs/frozen")
    assert list(metrics["results"])[2:] == [
        "documents, all a class, scorer from images",
        "documents, all a class, random_frozen",
        "documents, all a class, from_scratch",
    ]
    assert metrics["tables"][1]["head"][1:4] == ["alone", "random_frozen", "from_scratch"]
    scales = {name: value for name, value in metrics["facts"].items() if name.startswith("scale learned")}
    assert scales["scale learned by documents, all a class, random_frozen"] == pytest.approx(20)
    assert scales["scale learned by documents, all a class"] != pytest.approx(20)


def test_nothing_is_claimed_where_nothing_moved(folder):
    alone = ["--directions=", "--unseen=0", "--per_class=all", "--seeds=1", "--output_dir=runs/alone"]
    process = run(folder, *alone)
    assert process.returncode == 0, process.stderr
    metrics = read(folder / "runs/alone")
    assert list(metrics["results"]) == ["images, all a class", "documents, all a class"]
    assert metrics["gains"] == []
    assert len(metrics["tables"]) == 2


@pytest.mark.slow
def test_sounds_may_be_in_the_place_of_documents(folder):
    for number in range(60):
        name = ("3", "7", "8")[number % 3]
        path = folder / "said" / name / f"speaker{number // 3 % 5}_{number}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(wav(tone((400, 900, 2000)[number % 3] * (1 + number / 500), 0.6)))
    sounds = [
        *("--documents=none", "--sounds=sounds:said", r"--group_pattern=(speaker\d)", "--sound_rate=8000"),
        *("--directions=images_to_sounds,sounds_to_images", "--per_class=all", "--seeds=1", "--unseen=0"),
        *("--sound_epochs=8", "--scratch_learning_rates=1e-2", "--output_dir=runs/said"),
    ]
    process = run(folder, *sounds)
    assert process.returncode == 0, process.stderr
    metrics = read(folder / "runs/said")
    assert list(metrics["results"])[:4] == [
        "images, all a class",
        "sounds, all a class",
        "sounds, all a class, scorer from images",
        "images, all a class, scorer from sounds",
    ]
    assert metrics["title"] == "One scorer for images and sounds"
    assert metrics["results"]["sounds, all a class"]["accuracy"] > 0.6
    assert len(metrics["gains"]) == 2
    (retrieval,) = (table for table in metrics["tables"] if table["caption"].startswith("Retrieval"))
    pairs = [row[0] for row in retrieval["rows"]]
    assert pairs == ["images -> sounds", "names -> sounds", "sounds -> images", "names -> images"]


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (
            ["--directions=images_to_sounds"],
            "error: --directions=images_to_sounds moves a scorer, and there are no sounds; "
            "give --sounds=spoken_digits, or other directions",
        ),
        (["--documents=none"], "error: --directions=images_to_documents moves a scorer, and there are no"),
        (["--sounds=sounds:nowhere"], "error: the folder 'nowhere' does not exist; check the path of --"),
        (["--sounds=mnist_5k"], "error: --sounds=mnist_5k holds no sounds; give spoken_digits, or sounds:P"),
        (["--sounds=spoken"], "error: unknown --sounds='spoken' (there are "),
    ],
)
def test_mistakes_with_sounds_are_one_line(folder, flags, told):
    process = run_here(*FLAGS, *flags, "--output_dir=other", cwd=folder)
    assert process.returncode == 2
    assert process.stderr.splitlines()[-1].startswith(told)


def test_more_unseen_classes_than_there_are(folder):
    process = run_here(*FLAGS, "--unseen=3", "--output_dir=other", cwd=folder)
    assert process.returncode == 2
    assert process.stderr.splitlines()[-1] == (
        "error: --unseen=3 leaves less than 2 of the 4 classes of the documents to learn from; give at most 2"
    )
