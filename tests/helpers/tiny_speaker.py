"""A tiny classifier with names of its own, a BERT that knows what they mean, and pictures of them."""

import warnings
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from absl.testing import flagsaver
from tiny_bert import save_tiny_bert

from xmodal.config import flags
from xmodal.core.clock import Clock

# A run that it answers, in the folder of `save_speaker`.
FLAGS = """\
--experiment=names_to_answers
--dataset=unlabelled:photos
--speaker=speaker.keras
--speaker_names=names.txt
--name_text=plain
--answers=plant,animal
--text_encoder=bert
--sequence_length=16
--offline
"""
NAMES = ("cat", "dog", "oak", "fir")
# For the tiny BERT, cats and dogs are animals and the others plants.
ALIKE = (("animal", "cat", "dog"), ("plant", "oak", "fir"))
COLOURS = ((220, 60, 60), (60, 220, 60), (60, 60, 220), (60, 60, 60))


def tiny_speaker() -> keras.Model:
    """Returns a classifier (B, 8, 8, 3) -> logits (B, 4): of reddish, greenish, bluish and grey."""
    images = keras.Input((8, 8, 3))
    means = keras.layers.Rescaling(1 / 25)(keras.layers.GlobalAveragePooling2D()(images))
    head = keras.layers.Dense(4)
    model = keras.Model(images, head(means))
    head.set_weights([np.eye(3, 4), np.array([0, 0, 0, 4.0])])
    return model


def save_tiny_speaker(path: Path) -> None:
    """Writes it as a .keras file."""
    with warnings.catch_warnings():
        # Keras asks TensorFlow's variables for arrays in a way that NumPy 2 is leaving behind.
        warnings.filterwarnings("ignore", "__array__ implementation", DeprecationWarning)
        tiny_speaker().save(path)


def save_speaker(folder: Path, flagfile: str, *, images: int, noise: float) -> Path:
    """Writes speaker.keras, names.txt, bert/, photos/animal and photos/plant, and small.cfg into a folder."""
    save_tiny_bert(folder / "bert", alike=ALIKE)
    save_tiny_speaker(folder / "speaker.keras")
    (folder / "names.txt").write_text("\n".join(NAMES))
    random = np.random.default_rng(0)
    for number in range(images):
        pixels = np.clip(random.normal(COLOURS[number % 4], noise, (10, 12, 3)), 0, 255).astype(np.uint8)
        kind = folder / "photos" / ("animal" if number % 4 < 2 else "plant")
        kind.mkdir(parents=True, exist_ok=True)
        (kind / f"{number}.png").write_bytes(tf.io.encode_png(pixels).numpy())
    (folder / "small.cfg").write_text(flagfile)
    return folder


def run_small(recipe, *more: str):
    """Runs a recipe in this process, in a folder made by `save_speaker`, with more flags."""
    with flagsaver.flagsaver():
        flags.parse(["run", "--flagfile=small.cfg", *more])
        settings = flags.from_flags()
    return recipe(settings, Clock(lambda line: None))
