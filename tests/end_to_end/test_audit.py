"""The command, such as "python -m xmodal.audit --dataset=folder:photos", with some wrong labels."""

import csv

import numpy as np
import pytest
import tensorflow as tf
from tiny_bert import save_tiny_bert
from tiny_speaker import save_tiny_speaker

from xmodal import audit
from xmodal.config.data import SplitConfig
from xmodal.data.documents import load_documents
from xmodal.data.images import load_images

COLOURS = {"red": (220, 60, 60), "green": (60, 220, 60), "blue": (60, 60, 220)}
WRONG = {"red/3.png": "green", "blue/8.png": "red"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Pictures of three colours, two of them in a wrong folder, and a speaker that sees colours."""
    folder = tmp_path_factory.mktemp("audit")
    random = np.random.default_rng(0)
    for colour, values in COLOURS.items():
        for number in range(24):
            pixels = np.clip(random.normal(values, 25, (10, 12, 3)), 0, 255).astype(np.uint8)
            split = "train" if number < 20 else "test"
            kind = WRONG.get(f"{colour}/{number}.png", colour)
            path = folder / "photos" / split / kind / f"{colour}{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(tf.io.encode_png(pixels).numpy())
    save_tiny_speaker(folder / "speaker.keras")
    (folder / "speaker.txt").write_text("rose\nleaf\nsky\nnight\n")
    words = {"animals": ("cat", "dog", "bird"), "plants": ("oak", "fir", "plant")}
    rows = [
        (f"{first} {second} {more}", kind)
        for kind, names in words.items()
        for first in names
        for second in names
        for more in ("red", "green")
    ]
    # Three that are no plants.
    rows += [(f"{name} {name} {name}", "plants") for name in ("cat", "dog", "bird")]
    with (folder / "mail.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("text", "label"), *rows])
    save_tiny_bert(folder / "bert", alike=(("animal", "cat", "dog", "bird"), ("plant", "oak", "fir")))
    return folder


@pytest.fixture
def ask(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    monkeypatch.setenv("XMODAL_HOME", str(folder / "home"))

    def ask(*arguments):
        code = audit.main(["", *arguments])
        return code, *capsys.readouterr()

    return ask


PICTURES = (
    "--dataset=folder:photos",
    "--folds=3",
    "--speaker=speaker.keras",
    "--speaker_names=speaker.txt",
    "--offline",
)


def rows_of(path):
    with path.open(newline="") as file:
        return [*csv.DictReader(file)]


def test_wrong_labels_of_pictures_are_found_and_left_out(ask, folder, tmp_path):
    code, told, errors = ask(
        *PICTURES,
        "--output=doubtful.csv",
        f"--sheet={tmp_path / 'worst.png'}",
        "--drop_doubtful=cleaned.csv",
    )
    assert code == 0, errors
    assert told.splitlines()[0] == "2 of 60 labels are doubtful"
    found = {row["example"]: (row["label"], row["suggested"]) for row in rows_of(folder / "doubtful.csv")}
    assert found == {"train/green/red3.png": ("green", "red"), "train/red/blue8.png": ("red", "blue")}
    assert (tmp_path / "worst.png").read_bytes().startswith(b"\x89PNG")
    assert "python -m xmodal.run --dataset=csv:cleaned.csv" in told

    # A run reads what is left, with the same test split.
    data = load_images("csv:cleaned.csv", SplitConfig(validation_fraction=0.0))
    assert (len(data.train), len(data.test)) == (58, 12)
    assert not any(name.endswith(("red3.png", "blue8.png")) for name in data.train.ids)


@pytest.mark.slow
def test_labels_are_replaced_by_the_suggested_ones(ask):
    code, _, errors = ask(*PICTURES, "--relabel=relabelled.csv")
    assert code == 0, errors
    data = load_images("csv:relabelled.csv", SplitConfig(validation_fraction=0.0))
    labels = {
        name.rpartition("/")[2]: data.class_names[label]
        for name, label in zip(data.train.ids, data.train.labels, strict=True)
    }
    assert len(labels) == 60
    assert all(name.startswith(label) for name, label in labels.items())


@pytest.mark.slow
def test_documents_are_read_and_those_in_doubt_left_out(ask):
    code, told, errors = ask(
        "--documents=csv:mail.csv",
        "--text_encoder=./bert",
        "--sequence_length=16",
        "--offline",
        "--drop_doubtful=mail_cleaned.csv",
    )
    assert code == 0, errors
    assert "python -m xmodal.run --documents=csv:mail_cleaned.csv" in told
    data = load_documents("csv:mail_cleaned.csv", SplitConfig(validation_fraction=0.0, test_fraction=0.0))
    doubtful = int(told.split()[0])
    assert len(data.train) == 39 - doubtful


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "one of the arguments --dataset --documents is required; see --help"),
        (("--dataset=mnist_5k", "--folds=1"), "--folds=1 leaves nothing to learn from; give 2 or more"),
        (("--documents=csv:mail.csv", "--sheet=a.png"), "--sheet shows pictures, and --documents has none"),
        (("--dataset=folder:nowhere",), "the folder 'nowhere' does not exist; check the path of --dataset"),
        ((*PICTURES, "--drop_doubtful=a.csv", "--relabel=b.csv"), "not allowed with argument"),
        ((*PICTURES, "--output=mail.csv"), "mail.csv"),
        ((*PICTURES, "--folds=40"), "fewer than"),
    ],
)
def test_one_line_and_exit_code_2(ask, arguments, told):
    code, _, errors = ask(*arguments)
    assert code == 2
    assert errors.splitlines()[-1].startswith("error: ")
    assert told in errors.splitlines()[-1]
