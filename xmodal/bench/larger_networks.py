"""What a larger network saves by starting as a smaller one that was trained, by width and by depth.

python -m xmodal.bench --bench=larger_networks --dataset=folder:cifar10 --documents=reuters_r8 --record=FILE
"""

import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import keras
import numpy as np
from keras import layers

from xmodal.assets.presets import text_encoder_path
from xmodal.config.config import Config
from xmodal.core.clock import Clock
from xmodal.core.files import cache_folder
from xmodal.data.images import ImageSplit, batches
from xmodal.models.hub_text import load_encoder
from xmodal.models.text_encoder import MeanPool, text_encoder
from xmodal.report.records import Table
from xmodal.runs.inputs import load_configured_documents, load_configured_images
from xmodal.training.progress import History
from xmodal.training.strategy import make_strategy
from xmodal.training.trainer import Trainer
from xmodal.transfer.growth import Growth
from xmodal.transfer.weights import transfer_weights

SEEDS = 3
GROWTHS: tuple[Growth, ...] = ("identity", "random")
# Convolutions of each block, as VGG11, VGG16 and VGG19 have them.
VGG = {11: (1, 1, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
# Of VGG's own, where an image of 32 pixels is learned by a few thousand of them.
VGG_WIDTH = 0.25
RESNET_WIDTH = 16

Examples = tuple[Any, np.ndarray]


@dataclass(frozen=True)
class Comparison:
    """A smaller network and a larger one.

    Attributes:
        name: of both.
        source, target: build them.
        training, validation: inputs and labels.
        learning_rate: the peak, of all trainings.
        wider: whether the target is wider, so that random growth leaves it all as it was initialised.
    """

    name: str
    source: Callable[[], keras.Model]
    target: Callable[[], keras.Model]
    training: Examples
    validation: Examples
    learning_rate: float
    wider: bool = False


def measure(settings: Config, clock: Clock) -> dict[str, Any]:
    """Trains small networks, and larger ones from them by identity growth and by random growth.

    Args:
        settings: its data set of images and its documents are what is learned; `epochs` and `text_epochs` are
            the passes of every training.
        clock: times each comparison.

    Returns:
        By name of a comparison: "accuracy" (validation) of the source; "difference" of the outputs at the
        start; and of "identity" and "random", for each seed, the accuracy at the start ("start"), the best
        one ("best"), and "passes", after which that reached the best one of random growth; None for never.
    """
    strategy = make_strategy(settings.run.strategy, settings.run.virtual_devices)
    trainer = Trainer(settings.train, settings.run.seed, strategy)
    figures: dict[str, Any] = {"seeds": SEEDS, "comparisons": {}}
    for comparison in (*_of_images(settings, clock), _of_documents(settings, clock)):
        epochs = settings.text.text_epochs if comparison.name.startswith("BERT") else settings.image.epochs
        with clock.stage(comparison.name):
            figures["comparisons"][comparison.name] = compare(comparison, trainer, epochs)
    return figures


def compare(comparison: Comparison, trainer: Trainer, epochs: int) -> dict[str, Any]:
    """Compares both ways to grow, with every seed; see `measure`."""
    runs = [_compare_once(comparison, replace(trainer, seed=seed), epochs) for seed in range(SEEDS)]
    return {key: [run[key] for run in runs] for key in ("accuracy", "difference", "identity", "random")}


def _compare_once(comparison: Comparison, trainer: Trainer, epochs: int) -> dict[str, Any]:
    with trainer.scope():
        source = comparison.source()
    source_history = _train(comparison, source, trainer, epochs)
    figures: dict[str, Any] = {"accuracy": source_history.best["val_accuracy"]}
    curves: dict[str, list[float]] = {}
    for growth in GROWTHS:
        with trainer.scope():
            target = comparison.target()
        if growth == "identity":
            probe = _first(comparison.validation[0])
            report = transfer_weights(source, target, grow="*", probe=probe)
            figures["difference"] = report.max_abs_difference
        elif not comparison.wider:
            transfer_weights(source, target, growth=growth, grow="*")
        history = _train(comparison, target, trainer, epochs)
        curves[growth] = [entry["val_accuracy"] for entry in (history.start, *history.epochs)]
    goal = max(curves["random"])
    return figures | {
        growth: {"start": curve[0], "best": max(curve), "passes": _passes(curve, goal)}
        for growth, curve in curves.items()
    }


def _train(comparison: Comparison, model: keras.Model, trainer: Trainer, epochs: int) -> History:
    """Trains a model, which keeps the weights that are best on validation."""
    return trainer.fit(
        model,
        comparison.training,
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        epochs=epochs,
        learning_rate=comparison.learning_rate,
        validation=comparison.validation,
        patience=epochs,
    )


def _passes(curve: list[float], goal: float) -> int | None:
    return next((passes for passes, accuracy in enumerate(curve) if accuracy >= goal), None)


def _first(inputs: Any) -> Any:
    return keras.tree.map_structure(lambda array: array[:16], inputs)


def _of_images(settings: Config, clock: Clock) -> list[Comparison]:
    with clock.stage("images"):
        data = load_configured_images(settings)
        side = settings.data.image_size
        training, validation = (
            _pixels(split, side, settings.train.batch_size) for split in (data.train, data.validation)
        )
    classes = len(data.class_names)

    def pair(
        name: str, build: Callable[..., keras.Model], source: tuple, target: tuple, wider: bool = False
    ) -> Comparison:
        small, large = (partial(build, *sizes, side=side, classes=classes) for sizes in (source, target))
        return Comparison(name, small, large, training, validation, settings.image.learning_rate, wider)

    return [
        pair("VGG11 -> VGG16", vgg, (11,), (16,)),
        pair("VGG16 -> VGG19", vgg, (16,), (19,)),
        pair("VGG16, twice as wide", vgg, (16,), (16, 2), wider=True),
        pair("VGG11 -> VGG19, half as wide again", vgg, (11,), (19, 1.5), wider=True),
        pair("ResNet of 6 blocks -> of 12", resnet, (2,), (4,)),
        pair("ResNet of 6 blocks, twice as wide", resnet, (2,), (2, 2), wider=True),
        pair("MobileNet 0.25 -> 0.5", mobilenet, (0.25,), (0.5,), wider=True),
    ]


def _pixels(split: ImageSplit, side: int, batch_size: int) -> Examples:
    dataset = batches(split, image_size=side, batch_size=batch_size)
    images, labels = zip(
        *((batch["image"].numpy(), batch["label"].numpy()) for batch in dataset), strict=True
    )
    return np.concatenate(images), np.concatenate(labels)


def _of_documents(settings: Config, clock: Clock) -> Comparison:
    with clock.stage("documents"):
        data = load_configured_documents(settings)
        preset = text_encoder_path(
            settings.text.text_encoder, cache=cache_folder(), offline=settings.run.offline
        )
        encoder = text_encoder(preset, settings.text.sequence_length)
        training, validation = (
            (encoder.padded(split.texts), split.labels) for split in (data.train, data.validation)
        )
    backbone, _ = load_encoder(preset)
    depth, classes = backbone.num_layers, len(data.class_names)
    return Comparison(
        f"BERT of {depth} layers -> {2 * depth}",
        partial(bert, backbone, depth, classes),
        partial(bert, backbone, 2 * depth, classes),
        training,
        validation,
        settings.text.text_learning_rate,
    )


def vgg(depth: int, width: float = 1, *, side: int, classes: int) -> keras.Model:
    """Builds a VGG (Simonyan and Zisserman 2015, arXiv:1409.1556), a quarter as wide."""
    x = inputs = keras.Input((side, side, 3))
    x = layers.Rescaling(1 / 127.5, -1)(x)
    for block, count in enumerate(VGG[depth]):
        for number in range(count):
            filters = int(min(64 * 2**block, 512) * VGG_WIDTH * width)
            name = f"block{block}_conv{number}"
            x = layers.Conv2D(
                filters, 3, padding="same", activation="relu", kernel_initializer="he_normal", name=name
            )(x)
        x = layers.MaxPooling2D()(x)
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, layers.Dense(classes, name="logits")(x))


def resnet(blocks: int, width: float = 1, *, side: int, classes: int) -> keras.Model:
    """Builds a ResNet for small images (He et al. 2016, arXiv:1512.03385, section 4.2)."""
    x = inputs = keras.Input((side, side, 3))
    x = layers.Rescaling(1 / 127.5, -1)(x)
    for stage in range(3):
        filters = int(RESNET_WIDTH * width * 2**stage)
        x = layers.Conv2D(filters, 3, strides=1 + (stage > 0), padding="same", name=f"stage{stage}")(x)
        x = layers.ReLU()(layers.BatchNormalization(name=f"stage{stage}_bn")(x))
        for block in range(blocks):
            name, y = f"stage{stage}_block{block}", x
            for half in "ab":
                y = layers.Conv2D(filters, 3, padding="same", use_bias=False, name=f"{name}{half}")(y)
                y = layers.BatchNormalization(name=f"{name}{half}_bn")(y)
                y = layers.ReLU()(y) if half == "a" else y
            x = layers.ReLU()(layers.Add()([x, y]))
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, layers.Dense(classes, name="logits")(x))


def mobilenet(width: float, *, side: int, classes: int) -> keras.Model:
    """Builds the MobileNet of Keras Applications; `width` is its `alpha`."""
    trunk = keras.applications.MobileNet(
        alpha=width, include_top=False, weights=None, input_shape=(side, side, 3), pooling="avg"
    )
    inputs = keras.Input((side, side, 3))
    x = trunk(layers.Rescaling(1 / 127.5, -1)(inputs))
    return keras.Model(inputs, layers.Dense(classes, name="logits")(x))


def bert(backbone: keras.Model, depth: int, classes: int) -> keras.Model:
    """Builds a BERT with a head; its first layers have the weights of one that was trained on text."""
    config = backbone.get_config() | {"num_layers": depth}
    tokens = type(backbone).from_config({key: value for key, value in config.items() if key != "name"})
    transfer_weights(backbone, tokens, growth="random", grow="*")
    pooled = MeanPool(name="mean_pool")(tokens.output["sequence_output"], tokens.input["padding_mask"])
    return keras.Model(tokens.input, layers.Dense(classes, name="logits")(pooled))


def tables(figures: Mapping[str, Any]) -> list[Table]:
    """Returns what was measured, for the console: medians over the seeds."""
    rows = [
        (
            name,
            f"{statistics.median(runs['accuracy']):.1%}",
            f"{max(runs['difference']):.1e}",
            *(
                f"{_median(runs[growth], 'start'):.1%}, {_median(runs[growth], 'best'):.1%}"
                for growth in GROWTHS
            ),
            *(_passes_text(runs[growth]) for growth in GROWTHS),
        )
        for name, runs in figures["comparisons"].items()
    ]
    head = (
        "networks",
        "smaller one",
        "difference",
        *(f"{growth}: start, best" for growth in GROWTHS),
        *(f"{growth}: passes" for growth in GROWTHS),
    )
    return [
        Table(
            "Validation accuracy, and passes until the best one of random growth, by seed", head, tuple(rows)
        )
    ]


def _median(runs: list[dict[str, Any]], key: str) -> float:
    return statistics.median(run[key] for run in runs)


def _passes_text(runs: list[dict[str, Any]]) -> str:
    return ", ".join("never" if run["passes"] is None else str(run["passes"]) for run in runs)
