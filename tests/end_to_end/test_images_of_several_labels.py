"""A whole run of `vgg_to_bert` on images of which each has several labels, or none."""

import json
import random
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from as_served import as_served
from in_process import run_here
from tiny_bert import save_tiny_bert
from tiny_data import flags_for

from xmodal.core.saved_models import newest_version
from xmodal.export.predictor import Predictor

LABELS = {"cat": (250, 30, 30), "dog": (30, 30, 250)}


def picture(labels, shade: int) -> bytes:
    """Returns a grey picture with the colour of each label in a part of its own."""
    pixels = np.full((32, 32, 3), shade, np.uint8)
    for place, (name, colour) in enumerate(LABELS.items()):
        if name in labels:
            pixels[16 * place : 16 * place + 16] = colour
    return tf.io.encode_png(pixels).numpy()


def write_images(folder: Path, count: int = 120) -> None:
    chance = random.Random(0)
    lines = ["image,label\n"]
    for number in range(count):
        labels = [name for name in LABELS if chance.random() < 0.5]
        (folder / f"{number}.png").write_bytes(picture(labels, 80 + number % 60))
        lines.append(f"{number}.png,{'|'.join(labels)}\n")
    (folder / "labels.csv").write_text("".join(lines))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    cwd = tmp_path_factory.mktemp("several")
    write_images(cwd)
    save_tiny_bert(cwd / "bert")
    own = ("--dataset=csv:labels.csv", "--multi_label=|", "--head_epochs=60", "--head_learning_rate=0.03")
    text = (
        "--text_epochs=12",
        "--text_learning_rate=0.01",
        "--text_trainable=all",
        "--template=a photo of {}",
    )
    flags = [*flags_for("--experiment=vgg_to_bert", *own), *own, *text]
    done = run_here("--experiment=vgg_to_bert", *flags, cwd=cwd)
    assert done.returncode == 0, done.stderr
    return cwd, done.stdout


def test_what_is_measured_and_reported(finished):
    cwd, printed = finished
    metrics = json.loads((cwd / "runs/vgg_to_bert/metrics.json").read_text())
    assert set(metrics["results"]) == {"text", "image_only"}
    for result in metrics["results"].values():
        assert result["class_names"] == [*LABELS]
        assert result["average_precision"] > 0.9
        assert result["accuracy"] > 0.8
    assert "with --multi_label there are no sets of answers, other questions" in printed
    page = (cwd / "runs/vgg_to_bert/report.html").read_text()
    assert "given exactly their labels" in page
    assert "“a photo of a " in page


def test_the_export_names_several_things(finished):
    cwd, _ = finished
    exported = newest_version(cwd / "saved_models/vgg_to_bert", "it")
    asked = {
        "serving_default": {
            "image_bytes": [picture(labels, 100) for labels in (("cat", "dog"), (), ("dog",))]
        },
        "text": {"text": [b"a photo of a dog"]},
    }
    answers = as_served(exported, asked)
    seen = answers["serving_default"]
    assert [sorted(label.decode() for label in row if label) for row in seen["labels"]] == [
        ["cat", "dog"],
        [],
        ["dog"],
    ]
    assert seen["sentence"][0].decode() in ("a cat and a dog", "a dog and a cat")
    assert seen["read"][1:].tolist() == [b"a photo of probably none of these", b"a photo of a dog"]
    np.testing.assert_allclose(answers["text"]["probabilities"][0], seen["probabilities"][2], atol=1e-5)
    card = (exported / "model_card.md").read_text()
    assert "those whose probabilities reach their thresholds" in card
    assert "embed_image" not in card


def test_predict_answers_images_and_texts(finished):
    cwd, _ = finished
    predictor = Predictor(cwd / "saved_models/vgg_to_bert")
    of_image, of_text = predictor([picture(("cat",), 90), "a photo of a cat"])
    assert (of_image.labels, of_image.verdict, of_image.read) == (("cat",), "a cat", "a photo of a cat")
    assert of_text.labels == ("cat",)
