"""What can be known at the start is told before the first training, by every experiment."""

import csv

import numpy as np
import pytest
import tensorflow as tf
from absl.testing import flagsaver
from tiny_bert import save_tiny_bert

from xmodal import recipes
from xmodal.config.flags import from_flags, parse
from xmodal.core.clock import Clock
from xmodal.core.errors import UserError
from xmodal.training.trainer import Trainer

COLOURS = {"red": (200, 60, 60), "green": (60, 200, 60)}
IMAGES = ["--dataset=folder:squares", "--base=small_cnn", "--image_weights=none", "--min_per_class=2"]
TEXTS = ["--text_encoder=./bert", "--sequence_length=16"]
FLAGS = {
    "vgg_to_bert": [*IMAGES, *TEXTS, "--target=small_cnn", "--features=none"],
    "vgg_to_vgg": [*IMAGES, "--base=VGG16", "--target=VGG16", "--features=block1_pool"],
    "cnn_to_text": [*IMAGES, *TEXTS, "--documents=csv:pairs.csv"],
    "bert_news": [*TEXTS, "--documents=csv:pairs.csv", "--min_per_class=2"],
    "text_to_image": [*IMAGES, *TEXTS, "--image_size=32"],
    "fusion": [*TEXTS, "--pairs=csv:pairs.csv", *IMAGES[1:], "--region_layer=pool2"],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder of 40 squares of two colours, with a text for each."""
    random = np.random.default_rng(0)
    cwd = tmp_path_factory.mktemp("early")
    rows = []
    for number in range(40):
        name = list(COLOURS)[number % 2]
        pixels = np.clip(COLOURS[name] + random.normal(0, 20, (32, 32, 3)), 0, 255).astype(np.uint8)
        path = cwd / "squares" / name / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(tf.io.encode_png(pixels).numpy())
        rows.append([f"squares/{name}/{number}.png", f"a photo of a {name} cat {number}", name])
    with open(cwd / "pairs.csv", "w", newline="") as file:
        csv.writer(file).writerows([["image", "text", "label"], *rows])
    save_tiny_bert(cwd / "bert")
    (cwd / "generator").mkdir()
    return cwd


@pytest.mark.parametrize(
    ("experiment", "flag", "message"),
    [
        ("vgg_to_bert", "--text_trainable=layer_7", "`text_trainable=layer_7` is no layer"),
        ("vgg_to_bert", "--sequence_length=999", "`sequence_length=999` is more than"),
        ("vgg_to_bert", "--trainable=conv7", "`trainable=conv7` is no layer"),
        ("vgg_to_bert", "--grow=block9", "`grow=block9` matches no layer"),
        ("vgg_to_vgg", "--trainable=block7", "`trainable=block7` is no layer"),
        ("vgg_to_vgg", "--features=block1_pol", "`features=block1_pol` is no layer"),
        ("vgg_to_vgg", "--drop=block9", "`drop=block9` matches no layer"),
        ("cnn_to_text", "--base=VGG61", "'VGG61' is no model"),
        ("bert_news", "--text_trainable=layer_7", "`text_trainable=layer_7` is no layer"),
        ("bert_news", "--sequence_length=999", "`sequence_length=999` is more than"),
        ("text_to_image", "--sequence_length=999", "`sequence_length=999` is more than"),
        (
            "text_to_image",
            "--image_generator=preset:./generator",
            "the text-to-image model .* could not",
        ),
        ("text_to_image", "--trainable=conv7", "`trainable=conv7` is no layer"),
        ("fusion", "--text_trainable=layer_7", "`text_trainable=layer_7` is no layer"),
        ("fusion", "--sequence_length=999", "`sequence_length=999` is more than"),
        ("fusion", "--region_layer=pool7", "`region_layer=pool7` is no layer"),
        ("fusion", "--trainable=conv7", "`trainable=conv7` is no layer"),
    ],
)
def test_a_mistake_is_told_before_the_first_training(
    folder, tmp_path, monkeypatch, experiment, flag, message
):
    monkeypatch.chdir(folder)

    def trained(*arguments, **named):
        raise AssertionError("something is trained")

    monkeypatch.setattr(Trainer, "fit", trained)
    with flagsaver.flagsaver():
        flags = [f"--experiment={experiment}", *FLAGS[experiment], f"--output_dir={tmp_path}", "--offline"]
        parse(["run", *flags, "--noexport", "--strategy=one_device", flag])
        config = from_flags()
    recipe = __import__(f"{recipes.__name__}.{experiment}", fromlist=["run"])
    with pytest.raises(UserError, match=message):
        recipe.run(config, Clock(log=lambda line: None))


@pytest.mark.parametrize("experiment", [name for name, flags in FLAGS.items() if "--base=small_cnn" in flags])
def test_a_network_that_is_none_is_told_before_any_data_is_read(experiment, tmp_path):
    source = "--pairs=csv:nowhere.csv" if experiment == "fusion" else "--dataset=folder:nowhere"
    with flagsaver.flagsaver():
        flags = [f"--experiment={experiment}", source, "--base=VGG61", f"--output_dir={tmp_path}"]
        parse(["run", *flags, "--strategy=one_device"])
        config = from_flags()
    recipe = __import__(f"{recipes.__name__}.{experiment}", fromlist=["run"])
    with pytest.raises(UserError, match="'VGG61' is no model of Keras Applications; did you mean 'VGG1"):
        recipe.run(config, Clock(log=lambda line: None))
