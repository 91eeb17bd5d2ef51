"""A training that a test kills and starts again.

    python resumable.py FOLDER RESULT [STEPS]

trains with dropout, augmentation, a schedule and early stopping, keeps its state in FOLDER, saved every
STEPS steps, and writes its weights and history to RESULT.
"""

import json
import sys
import time
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from xmodal.config.training import TrainConfig
from xmodal.data.augmentation import augment_images, draws
from xmodal.data.batches import array_batches
from xmodal.training.checkpoint import Checkpoints
from xmodal.training.loop import fit
from xmodal.training.losses import cross_entropy
from xmodal.training.optimizers import optimizer_maker
from xmodal.training.strategy import make_strategy

EPOCHS = 5


def main(folder: str, result: str, steps: str = "1") -> None:
    strategy = make_strategy("one_device", deterministic=True)
    rng = np.random.default_rng(0)
    images = rng.uniform(0, 255, (90, 12, 12, 3)).astype(np.float32)
    labels = rng.integers(0, 3, 90)
    with strategy.scope():
        keras.utils.set_random_seed(0)
        model = keras.Sequential(
            [
                keras.Input((12, 12, 3)),
                keras.layers.Rescaling(1 / 255),
                keras.layers.Conv2D(8, 3, activation="relu"),
                keras.layers.BatchNormalization(),
                keras.layers.Flatten(),
                keras.layers.Dropout(0.3),
                keras.layers.Dense(3),
            ]
        )

    def tell(batch, logs):
        print("step", batch, flush=True)
        # Long enough for a test to find it at work.
        time.sleep(0.05)

    def batches(epoch: int) -> tf.data.Dataset:
        read = array_batches(images[:70], labels[:70], batch_size=8, shuffle_seed=(0, epoch))
        return read.enumerate().map(
            lambda number, batch: (
                augment_images(
                    batch[0],
                    ("shift", "rotate"),
                    draws(tf.shape(batch[0])[0], tf.stack([epoch, tf.cast(number, tf.int32)])),
                ),
                *batch[1:],
            )
        )

    history = fit(
        model,
        batches,
        loss=cross_entropy(0.1),
        optimizer=optimizer_maker(TrainConfig(), 0.01),
        epochs=EPOCHS,
        validation=array_batches(images[70:], labels[70:], batch_size=20),
        patience=3,
        strategy=strategy,
        stage="resumable",
        callbacks=[keras.callbacks.LambdaCallback(on_train_batch_end=tell)],
        checkpoints=Checkpoints(Path(folder), steps=int(steps)),
    )
    np.savez(result, *model.get_weights())
    epochs = [
        {name: value for name, value in epoch.items() if name not in ("seconds", "waiting")}
        for epoch in history.epochs
    ]
    Path(result + ".json").write_text(json.dumps(epochs))


if __name__ == "__main__":
    main(*sys.argv[1:])
