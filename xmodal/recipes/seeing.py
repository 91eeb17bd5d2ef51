"""What a ready classifier sees in the images of a run."""

from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from xmodal.data.images import ImageSplit, batches
from xmodal.models.speakers import Speaker
from xmodal.training.trainer import Trainer

# What a network makes of more images does not stay in the caches of a processor; batches of 4 to 16 were the
# fastest with EfficientNet-Lite0.
CPU_BATCH = 8
# The stage of a run in which its speaker looks at the images.
SEEING = "seeing"


@dataclass(frozen=True)
class Seen:
    """What a speaker makes of images: logits of its names (B, N), and pooled features (B, D)."""

    logits: np.ndarray
    features: np.ndarray


def see(speaker: Speaker, split: ImageSplit, trainer: Trainer, batch_size: int, *, name: str) -> Seen:
    """Lets a speaker look at a split, or finds what it saw in an earlier run.

    Args:
        speaker: the classifier.
        split: N images.
        trainer: runs it.
        batch_size: B; on a processor at most `CPU_BATCH`.
        name: what progress calls it.
    """
    if not tf.config.list_physical_devices("GPU"):
        batch_size = min(batch_size, CPU_BATCH)
    pixels = batches(
        split, image_size=speaker.image_size, read_image=speaker.read, batch_size=batch_size
    ).map(lambda batch: batch["image"])
    # Features that were kept when small images were cropped too are others.
    facts = {
        "speaker": speaker.name,
        "crop": speaker.crop,
        "cropped": "larger images",
        "method": speaker.method,
    }
    model = keras.Model(
        speaker.model.input,
        keras.layers.Concatenate(dtype="float32")([speaker.model.output, speaker.features.output]),
        name="speaker",
    )
    rows = trainer.features(model, split, pixels, facts=facts, name=name)[np.arange(len(split))]
    return Seen(*np.split(rows, [len(speaker.class_names)], axis=1))
