"""The training loop: cached features, waiting for input, two workers, and Keras' own `fit`."""

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from xmodal.bench import paired_timing
from xmodal.config.config import Config
from xmodal.config.training import TrainConfig
from xmodal.core.clock import Clock
from xmodal.data.batches import Batches, array_batches, without_autotuning
from xmodal.data.images import ImageData, ImageSplit, batches, load_images
from xmodal.models.heads import image_head
from xmodal.models.image_backbones import image_backbone
from xmodal.models.trainable import set_trainable
from xmodal.runs.inputs import load_configured_images
from xmodal.training.losses import cross_entropy
from xmodal.training.optimizers import optimizer_maker
from xmodal.training.progress import History
from xmodal.training.strategy import make_strategy, wait_for_all
from xmodal.training.trainer import Trainer

BATCH = 64
# Of two workers together. The larger a batch, the less of a step goes into exchanging gradients.
WORKERS_BATCH = 128
HEAD_EPOCHS = 10
# Of every training, which ends sooner.
PLANNED_EPOCHS = 1000
PHOTOGRAPHS, PHOTOGRAPH_SIZE = 256, (768, 1024)
# Nobody shrinks a photograph further to train on it.
PHOTOGRAPH_SIDE = 96


def measure(settings: Config, clock: Clock) -> dict[str, object]:
    """Measures the training loop on images of a data set, with a VGG19 at the size that the flags give.

    Args:
        settings: as for a run of vgg_to_bert.
        clock: times the parts.

    Returns:
        For each part what `paired_timing.compare_rates` gives, or the share of waiting.
    """
    strategy = make_strategy(settings.run.strategy, settings.run.virtual_devices)
    with clock.stage("data"):
        data = load_configured_images(settings)
    size = settings.data.image_size
    figures: dict[str, object] = {
        "images": len(data.train),
        "batch_size": BATCH,
        "workers_batch_size": WORKERS_BATCH,
        "repeats": paired_timing.REPEATS,
    }
    with clock.stage("head from cached features against through the trunk"):
        figures["cached_head"] = compare_cached_head(settings, data, strategy)
    with clock.stage("our loop against Keras fit"):
        figures["loop"] = {
            name: against_keras(model, strategy)
            for name, model in (("VGG19", network(size, strategy)), ("one layer", one_layer(strategy)))
        }
    with clock.stage("waiting for input"):
        figures["waiting"] = {
            f"images of {size} pixels": waiting_share(
                examples(data.train, size), network(size, strategy), strategy
            ),
            f"photographs shrunk to {PHOTOGRAPH_SIDE} pixels": waiting_share_of_photographs(strategy),
        }
    with clock.stage("two workers against one process"):
        # The smaller the images, the more of a step goes into exchanging the gradients of 20 million weights.
        figures["workers"] = {
            f"images of {side} pixels": two_workers(side) for side in (size, PHOTOGRAPH_SIDE)
        }
    return figures


def network(size: int, strategy) -> keras.Model:
    """Returns a VGG19 of random weights with a head for ten classes: images (B, size, size, 3) -> (B, 10)."""
    with strategy.scope():
        keras.utils.set_random_seed(0)
        trunk = image_backbone("VGG19", size, ("block5_pool",), cache=Path())
        return keras.Model(trunk.input, keras.layers.Dense(10)(trunk.output))


def one_layer(strategy) -> keras.Model:
    """Returns a model whose steps cost next to nothing, so that the loop itself is what takes time."""
    with strategy.scope():
        keras.utils.set_random_seed(0)
        return keras.Sequential([keras.Input((32,)), keras.layers.Dense(10)])


def examples(split: ImageSplit, size: int) -> Batches:
    """Returns an epoch of images (B, size, size, 3), with labels and weights."""
    dataset = batches(split, image_size=size, batch_size=BATCH, shuffle=True, augment=("flip", "shift"))
    return dataset.map(
        lambda batch: (batch["image"], batch["label"] % 10, tf.ones_like(batch["label"], tf.float32))
    )


def fit_model(model: keras.Model, epoch, strategy, epochs: int, optimizer: str = "sgd") -> History:
    """Trains a model by the project's own loop, without a trace of it but the history.

    The training is stopped early: what is compiled for a long one would not be for a few steps.

    Args:
        model: inputs -> logits.
        epoch: batches of (inputs, labels, weights), the same in every epoch.
        strategy: the tf.distribute strategy.
        epochs: how many.
        optimizer: "sgd" or "adamw".
    """

    def stop(number: int, logs: dict[str, float]) -> None:
        model.stop_training = number + 1 == epochs

    return Trainer(TrainConfig(optimizer=optimizer), strategy=strategy).fit(
        model,
        epoch,
        loss=cross_entropy(),
        epochs=PLANNED_EPOCHS,
        callbacks=[keras.callbacks.LambdaCallback(on_epoch_end=stop)],
    )


def rate(history: History, examples_each: int) -> float:
    """Returns examples a second, without the first epoch, in which TensorFlow traces and compiles."""
    later_epochs = history.epochs[1:]
    return examples_each * len(later_epochs) / sum(epoch["seconds"] for epoch in later_epochs)


def compare_cached_head(settings: Config, data: ImageData, strategy) -> dict[str, float]:
    """Compares training a head on kept features with training it through the frozen trunk."""
    size = settings.data.image_size
    with strategy.scope():
        trunk = image_backbone(settings.image.target, size, settings.image.features, cache=Path())
        set_trainable(trunk, "head")
    epoch = examples(data.train, size)
    images = batches(data.train, image_size=size, batch_size=BATCH).map(lambda batch: batch["image"])
    outputs = Trainer(strategy=strategy).predict(trunk, images)
    labels = data.train.labels % 10
    with strategy.scope():
        head = image_head(outputs, 10, hidden=settings.image.hidden, dropout=settings.train.dropout)
        full_model = keras.Model(trunk.input, head(trunk.output))

    def from_cache() -> float:
        rows = array_batches(outputs, labels, batch_size=BATCH)
        return rate(fit_model(head, rows, strategy, HEAD_EPOCHS), len(outputs))

    def through_trunk() -> float:
        return rate(fit_model(full_model, epoch, strategy, 2), len(outputs))

    return paired_timing.compare_rates(from_cache, through_trunk)


def against_keras(model: keras.Model, strategy, batch_size: int = BATCH) -> dict[str, float]:
    """Compares our loop with Keras' `fit`: same model, same batches, held in memory."""
    rng = np.random.default_rng(0)
    takes_images = len(model.input_shape) == 4
    count = (max(256 // batch_size, 1) if takes_images else 256) * batch_size
    inputs = rng.uniform(0, 255, (count, *model.input_shape[1:])).astype(np.float32)
    labels = rng.integers(0, 10, count).astype(np.int32)
    # As our loop reads it, so that the loops are compared and not the reading.
    epoch = without_autotuning(array_batches(inputs, labels, batch_size=batch_size))

    def ours() -> float:
        return rate(fit_model(model, epoch, strategy, 3), count)

    seconds: list[float] = []
    clock = keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda *_: seconds.append(-time.perf_counter()),
        on_epoch_end=lambda *_: seconds.append(seconds.pop() + time.perf_counter()),
    )

    def theirs() -> float:
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        seconds.clear()
        with strategy.scope():
            sgd = optimizer_maker(TrainConfig(optimizer="sgd"), 1e-3)(3 * count // batch_size)
            model.compile(sgd, loss, metrics=["accuracy"], jit_compile=False)
            model.fit(epoch, epochs=3, verbose=0, shuffle=False, callbacks=[clock])
        return count * 2 / sum(seconds[1:])

    return paired_timing.compare_rates(ours, theirs)


def waiting_share(epoch: Batches, model: keras.Model, strategy) -> float:
    """Returns the share of a training's time that went by waiting for input."""
    last_epoch = fit_model(model, epoch, strategy, 2).epochs[-1]
    return last_epoch["waiting"] / last_epoch["seconds"]


def waiting_share_of_photographs(strategy) -> float:
    """As `waiting_share`, with large photographs on disk that are shrunk as they are read."""
    size = PHOTOGRAPH_SIDE
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        for number in range(PHOTOGRAPHS):
            # Smooth enough that JPEG has something to do, as with a photograph.
            coarse_pixels = rng.uniform(0, 255, (24, 32, 3)).astype(np.float32)
            pixels = tf.cast(tf.image.resize(coarse_pixels, PHOTOGRAPH_SIZE, "bicubic"), tf.float32)
            noisy_pixels = tf.clip_by_value(
                pixels + tf.random.stateless_normal(pixels.shape, (number, 0), stddev=8), 0, 255
            )
            path = Path(folder) / f"class {number % 2}" / f"{number}.jpg"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(tf.io.encode_jpeg(tf.cast(noisy_pixels, tf.uint8)).numpy())
        data = load_images(f"folder:{folder}", cache=Path(folder))
        return waiting_share(examples(data.train, size), network(size, strategy), strategy)


def two_workers(size: int) -> dict[str, float]:
    """Compares two worker processes of one thread each with one process of two, same global batch."""

    def one_process() -> float:
        return _worker_rates(size, 1, threads=2)[0]

    def two_processes() -> float:
        return min(_worker_rates(size, 2, threads=1))

    return paired_timing.compare_rates(two_processes, one_process, warm_up=False)


def _worker_rates(size: int, count: int, threads: int) -> list[float]:
    """Trains in so many processes at once, and returns the examples a second that each saw."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    hosts = [f"127.0.0.1:{server.getsockname()[1]}" for server in sockets]
    for server in sockets:
        server.close()
    processes = []
    for index in range(count):
        tf_config = {"cluster": {"worker": hosts}, "task": {"type": "worker", "index": index}}
        environment = os.environ | {"TF_NUM_INTRAOP_THREADS": str(threads), "TF_CPP_MIN_LOG_LEVEL": "2"}
        if count > 1:
            environment["TF_CONFIG"] = json.dumps(tf_config)
        command = [sys.executable, "-m", __name__, str(size)]
        processes.append(subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True))
    outputs = [process.communicate()[0] for process in processes]
    if any(process.returncode for process in processes):
        raise RuntimeError(f"a worker of the benchmark failed: {outputs}")
    return [float(output.splitlines()[-1]) for output in outputs]


def _worker(size: int) -> float:
    strategy = make_strategy("multi_worker" if "TF_CONFIG" in os.environ else "one_device")
    rng = np.random.default_rng(0)
    inputs = rng.uniform(0, 255, (2 * WORKERS_BATCH, size, size, 3)).astype(np.float32)
    epoch = array_batches(inputs, rng.integers(0, 10, len(inputs)), batch_size=WORKERS_BATCH)
    examples_a_second = rate(fit_model(network(size, strategy), epoch, strategy, 3), len(inputs))
    wait_for_all(strategy)
    return examples_a_second


if __name__ == "__main__":
    print(_worker(int(sys.argv[1])))
