"""The experiment fusion on pictures of a colour, words and tones, of which any may be missing."""

import csv
import json
import subprocess
from itertools import combinations

import numpy as np
import pytest
import tensorflow as tf
import warm_python
from in_process import run_here
from tiny_bert import save_tiny_bert
from tiny_sounds import tone, wav

from xmodal.predict import main as predict
from xmodal.report.model_card import WITH_SOUNDS

# An export of three modalities has a signature for each of seven parts. The shipped flagfile runs in .ci/run,
# with its export and the check of that.
pytestmark = pytest.mark.slow

# Class -> the colour of its pictures and the pitch of its tones.
CLASSES = {"red": ((200, 60, 60), 300), "green": ((60, 200, 60), 900), "blue": ((60, 60, 200), 2500)}
SIDES = ("image", "text", "sound")
INPUTS = {"image": "image_bytes", "text": "text", "sound": "audio_bytes"}
FLAGS = [
    *("--experiment=fusion", "--pairs=csv:pairs.csv", "--sound_rate=8000", "--sound_seconds=0.25"),
    *(
        "--base=small_cnn",
        "--image_weights=none",
        "--features=none",
        "--region_layer=pool2",
        "--augment=flip",
    ),
    *("--epochs=2", "--sound_epochs=2", "--sound_augment=shift", "--batch_size=16", "--offline"),
    *("--text_encoder=bert", "--text_trainable=head", "--sequence_length=12", "--text_epochs=1"),
    *("--fusion=late", "--fusion_units=16", "--fusion_epochs=6", "--fusion_learning_rate=1e-2"),
    *("--nobaseline", "--explained=0"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """90 pictures, words and tones; one in four of each is of another class, some are missing."""
    random = np.random.default_rng(0)
    cwd = tmp_path_factory.mktemp("fusion")
    (cwd / "files").mkdir()
    save_tiny_bert(cwd / "bert")
    rows = []
    for number in range(90):
        label = list(CLASSES)[number % 3]
        seen, said, heard = (
            random.choice(list(CLASSES)) if random.random() < 1 / 4 else label for _ in range(3)
        )
        pixels = np.clip(CLASSES[seen][0] + random.normal(0, 40, (8, 8, 3)), 0, 255).astype(np.uint8)
        (cwd / f"files/{number}.png").write_bytes(tf.io.encode_png(pixels).numpy())
        # Some are longer than a spectrogram.
        samples = tone(CLASSES[heard][1] * random.uniform(0.9, 1.1), random.uniform(0.15, 0.6))
        (cwd / f"files/{number}.wav").write_bytes(wav(samples + random.normal(0, 0.01, samples.shape)))
        split = ["train", "test"][number % 9 >= 6]
        rows.append([f"files/{number}.png", f"a {said} cat", f"files/{number}.wav", label, split])
    rows[0][0] = rows[1][1] = rows[2][2] = rows[3][0] = rows[3][1] = rows[6][2] = ""
    (cwd / "files/4.wav").write_bytes(b"RIFF")
    with open(cwd / "pairs.csv", "w", newline="") as file:
        csv.writer(file).writerows([["image", "text", "audio", "label", "split"], *rows])
    return cwd


@pytest.fixture(scope="module")
def metrics(folder):
    process = subprocess.run(
        [warm_python.path(), "-m", "xmodal.run", *FLAGS], cwd=folder, capture_output=True, text=True
    )
    assert process.returncode == 0, process.stderr
    return json.loads((folder / "runs/fusion/metrics.json").read_text())


def contents(folder, number):
    image, sound = ((folder / f"files/{number}.{kind}").read_bytes() for kind in ("png", "wav"))
    return {"image": image, "text": b"a red cat", "sound": sound}


def test_results_of_each_modality_and_of_all(metrics):
    alone = [f"{side}_only" for side in SIDES]
    assert list(metrics["results"]) == [*alone, "fused_late", "fused"]
    assert all(metrics["results"][name]["accuracy"] > 0.4 for name in (*alone, "fused"))
    assert "all" in metrics["results"]["fused_late"]["note"]


def test_every_part_may_be_missing(metrics):
    one, two = metrics["tables"][:2]
    assert one["head"][:3:2] == ["model", "without sounds"]
    assert two["head"][2::2] == [
        "without texts and sounds",
        "without images and sounds",
        "without images and texts",
    ]
    # Of a late sum one modality is left as its own model.
    assert all(cell.startswith("+0.00 (") for cell in two["rows"][0][3::2])
    assert [plot["x"] for plot in metrics["plots"][:3]] == [
        f"pairs without their {side}, %" for side in ("sound", "text", "image")
    ]


def test_what_the_data_lack_is_told(folder, metrics):
    warnings = " ".join(metrics["data"]["warnings"])
    assert "of 90 pairs, 2 have no image, 2 no text and 3 no sound" in warnings
    assert "1 of 88 sounds cannot be read; what else these pairs have stays: " in warnings
    page = (folder / "runs/fusion/report.html").read_text()
    assert "<audio " in page
    assert "Image, text and sound together" in page


@pytest.fixture(scope="module")
def signatures(folder, metrics):
    return tf.saved_model.load(str(folder / metrics["facts"]["export"])).signatures


def test_the_export_answers_any_part(folder, metrics, signatures):
    parts = ["_and_".join(part) for size in (1, 2) for part in combinations(SIDES, size)]
    for name in (*parts, "serving_default", *(f"embed_{side}" for side in SIDES)):
        assert metrics["facts"][f"export: largest difference, {name}"] < 1e-4
    given, whole = contents(folder, 7), signatures["serving_default"]
    assert set(whole.structured_input_signature[1]) == {*INPUTS.values()}
    for name in parts:
        asked = {INPUTS[side]: tf.constant([given[side]]) for side in name.split("_and_")}
        empty = {INPUTS[side]: tf.constant([b""]) for side in SIDES if side not in name.split("_and_")}
        expected = signatures[name](**asked)["probabilities"]
        np.testing.assert_allclose(whole(**asked, **empty)["probabilities"], expected, atol=1e-5)
    told = ", ".join(name for name, _, _ in WITH_SOUNDS)
    assert sorted(told.split(", ")) == sorted(signatures)
    assert "audio\\_bytes" in (folder / metrics["facts"]["export"] / "model_card.md").read_text()


def test_predict_reads_a_table_with_sounds(folder, metrics, signatures, capsys, monkeypatch):
    monkeypatch.chdir(folder)
    exported = metrics["facts"]["export"]
    lines = ["image,text,audio", "files/7.png,a red cat,files/7.wav", ",,files/7.wav", ",a red cat,"]
    (folder / "asked.csv").write_text("\n".join([*lines, "files/7.png,a red cat,files/4.wav"]))
    # The last one cannot be answered, and that is said in the end.
    assert predict(["predict", f"--model={exported}", "--format=json", "asked.csv"]) == 2
    found = json.loads(capsys.readouterr().out)
    given = contents(folder, 7)
    for answer, name in zip(found, ("image_and_text_and_sound", "sound", "text"), strict=False):
        asked = {INPUTS[side]: tf.constant([given[side]]) for side in name.split("_and_")}
        expected = signatures[name](**asked)["probabilities"].numpy()[0]
        np.testing.assert_allclose([*answer["probabilities"].values()], expected, atol=1e-4)
    assert found[3]["problem"].startswith("its sound: ")


def test_predict_takes_files_of_sounds(folder, metrics, signatures, capsys, monkeypatch):
    monkeypatch.chdir(folder)
    flags = [f"--model={metrics['facts']['export']}", "--format=json"]
    (folder / "files/cut.wav").write_bytes((folder / "files/7.wav").read_bytes()[:60])
    files = ["files/7.wav", "files/7.png", "files/cut.wav"]
    assert predict(["predict", *flags, *files, "--pair", "files/7.wav", "a red cat"]) == 2
    answers = json.loads(capsys.readouterr().out)
    # The pair comes first.
    assert [answer["item"] for answer in answers] == ["files/7.wav", *files]
    assert answers.pop()["problem"].startswith("its sound: ")
    given = contents(folder, 7)
    for answer, name in zip(answers, ("text_and_sound", "sound", "image"), strict=True):
        inputs = {INPUTS[side]: tf.constant([given[side]]) for side in name.split("_and_")}
        expected = signatures[name](**inputs)["probabilities"].numpy()[0]
        np.testing.assert_allclose([*answer["probabilities"].values()], expected, atol=1e-4)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (
            ["--sounds=spoken_digits"],
            "--sounds=spoken_digits is for pairs without sounds, and --pairs=csv:pairs",
        ),
        (["--pairs=csv:silent.csv"], "no train pair has a sound; fill in the column 'audio', or remove it"),
        (
            ["--pairs=csv:plain.csv", "--sounds=sounds:said"],
            "--sounds has no train sound of the classes 'blue', ",
        ),
    ],
)
def test_sounds_that_do_not_fit(folder, flags, message):
    rows = list(csv.reader((folder / "pairs.csv").read_text().splitlines()))
    for name, heading in (("silent", "audio"), ("plain", "other")):
        blank = [[*row[:2], heading if row is rows[0] else "", *row[3:]] for row in rows if any(row[:2])]
        with open(folder / f"{name}.csv", "w", newline="") as file:
            csv.writer(file).writerows(blank)
    for number in range(12):
        path = folder / "said" / ("red", "other")[number % 2] / f"{number}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(wav(tone(300 + number)))
    process = run_here(*FLAGS, *flags, "--min_per_class=2", "--output_dir=other", cwd=folder)
    assert process.returncode == 2
    assert process.stderr.splitlines()[-1].startswith(f"error: {message}")
