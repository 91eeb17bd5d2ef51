"""A model of random weights from images to sentences to answers, as a run exports it."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import keras
from tiny_bert import save_tiny_bert

from xmodal.bridge.bridge import Bridge
from xmodal.data.sound_format import SoundFormat
from xmodal.export.served_images import ServedImages
from xmodal.export.served_sounds import ServedSounds
from xmodal.models.heads import text_classifier
from xmodal.models.image_backbones import image_backbone
from xmodal.models.text_encoder import text_encoder
from xmodal.models.window_layers import over_windows
from xmodal.tasks.text_classifier import TextClassifier

CLASSES = ("cat", "dog", "bird")
ANSWERS = ("animal", "plant")


def tiny_listener(folder: Path) -> ServedSounds:
    """Makes the same of sounds, at 8 kHz."""
    return tiny_served(folder, partial(ServedSounds, sound=SoundFormat(8000)), over_windows)


def tiny_served(
    folder: Path,
    kind: Callable[..., ServedImages] = ServedImages,
    asked: Callable[[keras.Model], keras.Model] = lambda model: model,
) -> ServedImages:
    """Makes the model; `folder` gets the preset of its BERT."""
    keras.utils.set_random_seed(0)
    trunk = image_backbone("VGG16", 32, ("block1_pool",), cache=Path("nowhere"))
    logits = keras.layers.Dense(3, kernel_initializer=keras.initializers.RandomNormal(stddev=0.03))
    encoder = text_encoder(save_tiny_bert(folder / "bert"), 16)
    return kind(
        image_model=asked(keras.Model(trunk.input, logits(trunk.output))),
        image_size=32,
        temperature=1.5,
        bridge=Bridge(CLASSES, "hedged", ("a photo of {}", "{}")),
        text=TextClassifier(encoder, text_classifier(encoder.model, 2), None),
        text_temperature=0.7,
        names=ANSWERS,
    )
