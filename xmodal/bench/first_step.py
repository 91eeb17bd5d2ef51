"""From the start of a process to its first training step.

    python -m xmodal.bench.first_step xmodal SIZE     # or keras

Prints a JSON object: the seconds, in all and of each part, and the most memory that the process had by then.
"""

import contextlib
import json
import resource
import sys
import time
from pathlib import Path

from xmodal.core.clock import Clock

STARTED = time.perf_counter()
BATCH = 64
# Of the training that is begun: what is compiled for a long one would not be for a single step.
EPOCHS = 1000
MEMORY = Path("/proc/self/status")


def main(way: str, size: int) -> None:
    """Builds a VGG19 of random weights, takes the first step of a training, and says what that took."""
    clock = Clock(lambda line: None)
    with contextlib.suppress(_StepEnd):
        {"keras": _by_keras, "xmodal": _by_xmodal}[way](clock, size)
    seconds = time.perf_counter() - STARTED
    print(json.dumps({"seconds": seconds, "parts": clock.seconds, "megabytes": peak_megabytes()}))


def peak_megabytes() -> float:
    """Returns the most memory, in MB (10^6 bytes), that this process has held.

    On Linux `getrusage` would tell the peak of the process that started this one, where that is larger.
    """
    if MEMORY.exists():
        line = next(line for line in MEMORY.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024 / 1e6
    # macOS counts bytes.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def _by_keras(clock: Clock, size: int) -> None:
    with clock.stage("imports"):
        import keras
    images, labels = _batch(size)
    with clock.stage("model"):
        trunk = keras.applications.VGG19(include_top=False, weights=None, input_shape=images.shape[1:])
        features = keras.layers.GlobalAveragePooling2D()(trunk.output)
        model = keras.Model(trunk.input, keras.layers.Dense(10)(features))
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.AdamW(1e-4), loss, jit_compile=False)
    with clock.stage("training"):
        model.fit(images, labels, batch_size=BATCH, epochs=EPOCHS, verbose=0, callbacks=[_first_step()])


def _by_xmodal(clock: Clock, size: int) -> None:
    with clock.stage("imports"):
        import keras

        from xmodal.data.batches import array_batches
        from xmodal.models.image_backbones import image_backbone
        from xmodal.training.losses import cross_entropy
        from xmodal.training.strategy import make_strategy
        from xmodal.training.trainer import Trainer
    images, labels = _batch(size)
    with clock.stage("model"):
        trainer = Trainer(strategy=make_strategy("auto"))
        with trainer.strategy.scope():
            trunk = image_backbone("VGG19", size, ("block5_pool",), cache=Path())
            model = keras.Model(trunk.input, keras.layers.Dense(10)(trunk.output))
    with clock.stage("training"):
        trainer.fit(
            model,
            lambda epoch: array_batches(images, labels, batch_size=BATCH),
            loss=cross_entropy(),
            learning_rate=1e-4,
            epochs=EPOCHS,
            callbacks=[_first_step()],
        )


class _StepEnd(Exception):
    """The first step was taken."""


def _first_step():
    import keras

    def stop(batch, logs):
        raise _StepEnd

    return keras.callbacks.LambdaCallback(on_train_batch_end=stop)


def _batch(size: int):
    # Imported by Keras anyway, and to be timed with it.
    import numpy as np

    images = np.random.default_rng(0).uniform(0, 255, (BATCH, size, size, 3)).astype(np.float32)
    return images, np.zeros(BATCH, np.int32)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
