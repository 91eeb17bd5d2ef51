"""One process of a training on several.

    python worker.py RESULT [FOLDER]

trains and predicts as TF_CONFIG tells it, writes what came out to RESULT, and keeps its state in FOLDER.
"""

import json
import os
import sys
import time
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from xmodal.config.training import TrainConfig
from xmodal.core.errors import WorkerLost
from xmodal.data.batches import array_batches
from xmodal.training.checkpoint import Checkpoints
from xmodal.training.loop import fit
from xmodal.training.losses import cross_entropy
from xmodal.training.optimizers import optimizer_maker
from xmodal.training.prediction import predict
from xmodal.training.strategy import make_strategy, wait_for_all, workers


def trained(
    strategy: tf.distribute.Strategy, folder: str | None = None, pause: float = 0.0
) -> dict[str, np.ndarray]:
    """Trains on 37 images in batches of 8, so that the last one is uneven; returns all that it gives."""
    rng = np.random.default_rng(0)
    images = rng.uniform(0, 1, (50, 8, 8, 3)).astype(np.float32)
    labels = rng.integers(0, 3, 50)
    with strategy.scope():
        keras.utils.set_random_seed(0)
        model = keras.Sequential(
            [
                keras.Input((8, 8, 3)),
                keras.layers.Conv2D(4, 3, activation="relu"),
                keras.layers.Flatten(),
                keras.layers.Dense(3),
            ]
        )

    def tell(batch, logs):
        print("step", batch, flush=True)
        time.sleep(pause)

    checkpoints = Checkpoints(Path(folder), steps=1, writes=workers(strategy).is_chief) if folder else None
    history = fit(
        model,
        lambda epoch: array_batches(images[:37], labels[:37], batch_size=8, shuffle_seed=(0, epoch)),
        loss=cross_entropy(),
        optimizer=optimizer_maker(TrainConfig(), 0.01),
        epochs=4,
        validation=array_batches(images[37:], labels[37:], batch_size=6),
        patience=3,
        strategy=strategy,
        stage="several",
        callbacks=[keras.callbacks.LambdaCallback(on_train_batch_end=tell)] if pause else [],
        checkpoints=checkpoints,
    )
    outputs = predict(model, array_batches(images, batch_size=7), strategy)
    losses = [[epoch[name] for name in ("loss", "accuracy", "val_loss")] for epoch in history.epochs]
    weights = {f"weight {number}": array for number, array in enumerate(model.get_weights())}
    return weights | {"outputs": outputs, "losses": np.array(losses)}


def configuration(ports: list[int], index: int) -> dict[str, str]:
    """Returns the environment of process `index` of those on this machine's ports."""
    hosts = [f"127.0.0.1:{port}" for port in ports]
    told = {"cluster": {"worker": hosts}, "task": {"type": "worker", "index": index}}
    return os.environ | {"TF_CONFIG": json.dumps(told)}


if __name__ == "__main__":
    try:
        folder = sys.argv[2] if len(sys.argv) > 2 else None
        strategy = make_strategy("multi_worker")
        np.savez(sys.argv[1], **trained(strategy, folder, pause=0.1 if folder else 0.0))
        wait_for_all(strategy)
    except WorkerLost as lost:
        print("lost:", lost, flush=True)
        sys.exit(75)
