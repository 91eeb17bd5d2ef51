"""From the start of a process to its first training step.

    python -m xmodal.bench.first_step xmodal SIZE     # or keras

Prints a JSON object: the seconds, and the most memory that the process had by then.
"""

import json
import resource
import sys
import time
from pathlib import Path

STARTED = time.perf_counter()
BATCH = 64
MEMORY = Path("/proc/self/status")


def main(way: str, size: int) -> None:
    """Builds a VGG19 of random weights, takes one step of a training, and says what that took."""
    import keras
    import numpy as np

    images = np.random.default_rng(0).uniform(0, 255, (BATCH, size, size, 3)).astype(np.float32)
    labels = np.zeros(BATCH, np.int32)
    if way == "keras":
        trunk = keras.applications.VGG19(include_top=False, weights=None, input_shape=images.shape[1:])
        features = keras.layers.GlobalAveragePooling2D()(trunk.output)
        model = keras.Model(trunk.input, keras.layers.Dense(10)(features))
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.AdamW(1e-4), loss, jit_compile=False)
        model.fit(images, labels, batch_size=BATCH, verbose=0)
    else:
        _by_xmodal(images, labels)
    print(json.dumps({"seconds": time.perf_counter() - STARTED, "megabytes": peak_megabytes()}))


def peak_megabytes() -> float:
    """Returns the most memory, in MB (10^6 bytes), that this process has held.

    On Linux `getrusage` would tell the peak of the process that started this one, where that is larger.
    """
    if MEMORY.exists():
        line = next(line for line in MEMORY.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024 / 1e6
    # macOS counts bytes.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def _by_xmodal(images, labels) -> None:
    import keras

    from xmodal import train
    from xmodal.backbones import image_trunk
    from xmodal.config import TrainConfig
    from xmodal.strategy import make_strategy

    strategy = make_strategy("auto")
    with strategy.scope():
        trunk = image_trunk("VGG19", images.shape[1], ("block5_pool",), cache=Path())
        model = keras.Model(trunk.input, keras.layers.Dense(10)(trunk.output))
    train.fit(
        model,
        lambda epoch: train.array_batches(images, labels, batch_size=BATCH),
        loss=train.cross_entropy(),
        optimizer=train.optimizer_maker(TrainConfig(), 1e-4),
        epochs=1,
        strategy=strategy,
        stage="",
    )


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
