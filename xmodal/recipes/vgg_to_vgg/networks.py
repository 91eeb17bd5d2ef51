"""The networks of `vgg_to_vgg`: where each comes from, how it is trained and measured."""

from dataclasses import dataclass, replace
from functools import partial

import keras
import numpy as np
import tensorflow as tf

from xmodal.config.config import Config
from xmodal.core.clock import Clock
from xmodal.core.errors import UserError
from xmodal.data.images import ImageData, batches
from xmodal.evaluation.calibration import fit_temperature, softmax
from xmodal.evaluation.metrics import Result, evaluate
from xmodal.models.trainable import set_trainable
from xmodal.runs.inputs import build_trunk
from xmodal.tasks.image_classifier import fine_tune, joined, parts_of_pass, pixels, train_image_classifier
from xmodal.training.baselines import (
    FROM_SCRATCH,
    NO_TRANSFER,
    RANDOM_WEIGHTS,
    Attempt,
    best_on_validation,
    better_note,
    from_scratch,
    kept_seconds,
    scratch_note,
)
from xmodal.training.checkpoint import Checkpoints
from xmodal.training.feature_cache import FeatureCache
from xmodal.training.prediction import predict
from xmodal.training.progress import History
from xmodal.transfer.growth import Growth
from xmodal.transfer.weights import TransferReport, transfer_weights

PROBE_IMAGES = 64

# The networks of a run in the order of showing, and what each one is.
NOTES = {
    "base": "{base} with a new head, trained as a whole",
    "target": "{target} with the weights of the trained base, then trained",
    "target_robust": "the same, trained on images of FGSM within {budget:.3g}/255 too",
    "random_growth": "target, but the layers that {base} lacks start from random weights",
    RANDOM_WEIGHTS: "{target} of random weights by the protocol of base: a new head, then the network",
    FROM_SCRATCH: "{target} of random weights, every layer trained from the first step",
    NO_TRANSFER: "the better of both on the validation images",
    "back": "{base} with what it can take of the trained target, then trained",
    "back_random_growth": "{base} with what it can take of random_growth",
}
# Where the weights of a network come from.
SOURCES = {
    "target": "base",
    "target_robust": "base",
    "random_growth": "base",
    "back": "target",
    "back_random_growth": "random_growth",
}
START = "_start"


@dataclass(frozen=True)
class Measured:
    """A result, which test images (N,) were answered rightly, and logits of the validation images (V, C)."""

    result: Result
    right: np.ndarray
    validation: np.ndarray


@dataclass(frozen=True)
class Network:
    """An image classifier of the run.

    Attributes:
        name: one of `NOTES`.
        trunk: RGB images (B, H, W, 3) -> features (B, D).
        head: features -> logits (B, C).
        model: the two joined.
        transfer: where its weights came from, None for a network that was given none.
        histories: of its trainings; the last one is that of the whole network.
        measured: what it answered, before that training under its name with "_start", and after it.
        tried: the trainings that it is the best one of.
    """

    name: str
    trunk: keras.Model
    head: keras.Model
    model: keras.Model
    transfer: TransferReport | None = None
    histories: tuple[History, ...] = ()
    measured: tuple[Measured, ...] = ()
    tried: tuple[Attempt, ...] = ()


@dataclass(frozen=True)
class Bench:
    """What the networks of a run share."""

    config: Config
    data: ImageData
    strategy: tf.distribute.Strategy
    checkpoints: Checkpoints
    cache: FeatureCache | None
    clock: Clock


def without_transfer(bench: Bench) -> list[Network]:
    """Trains the target from random weights: by the protocol of the base, and as well as the budget allows.

    Returns:
        Both, and the one that the validation images find better a second time, as "no_transfer".
    """
    config, stages, image = bench.config, bench.clock.seconds, bench.config.image
    new = with_new_head(bench, RANDOM_WEIGHTS, image.target, "none")
    protocol = trained(bench, new, image.trainable)
    took = seconds_of("target", stages)
    with bench.clock.stage(f"{FROM_SCRATCH}: training"):
        best, tried = from_scratch(
            partial(scratch_attempt, bench),
            rates=config.train.scratch_learning_rates,
            # Those of the base and of the target.
            passes=2 * image.epochs,
            seconds=kept_seconds(took, FROM_SCRATCH, bench.checkpoints, bench.strategy),
            strategy=bench.strategy,
            parts=parts_of_pass(len(bench.data.train), image)[0],
        )
        note = scratch_note(image.target, best, tried)
        scratch = replace(best.trained, tried=tried, measured=(measure(bench, best.trained, note=note),))
    networks = {network.name: network for network in (protocol, scratch)}
    validation = {name: network.measured[-1].validation for name, network in networks.items()}
    name = best_on_validation(validation, bench.data.validation.labels)
    better = networks[name].measured[-1]
    result = replace(
        better.result, name=NO_TRANSFER, note=better_note(name, "images"), seconds=seconds_of(name, stages)
    )
    again = replace(networks[name], name=NO_TRANSFER, histories=(), tried=())
    return [protocol, scratch, replace(again, measured=(replace(better, result=result),))]


def scratch_attempt(bench: Bench, rate: float, passes: int) -> tuple[History, Network]:
    """Trains a target of random weights with a peak rate and a number of passes."""
    config = bench.config
    classifier = train_image_classifier(
        build_trunk(config, config.image.target, "none", bench.strategy),
        bench.data,
        data_config=config.data,
        config=replace(config.image, head_epochs=0, learning_rate=rate, epochs=passes),
        trainable="all",
        seed=config.run.seed,
        strategy=bench.strategy,
        stage=f"{FROM_SCRATCH}, rate {rate:g}, passes {passes}",
        checkpoints=bench.checkpoints,
        training=config.train,
    )
    histories = classifier.histories
    network = Network(FROM_SCRATCH, classifier.trunk, classifier.head, classifier.model, histories=histories)
    return histories[-1], network


def require_match(config: Config, strategy: tf.distribute.Strategy) -> None:
    """Moves weights there and back before anything is trained, so that a mistake is told in seconds.

    Raises:
        UserError: when the layers do not match, or the head would not fit both trunks.
    """
    image = config.image
    base, target = (build_trunk(config, name, "none", strategy) for name in (image.base, image.target))
    there = transfer_weights(base, target, growth=image.growth, grow=image.grow, drop=image.drop)
    if there.names("grown"):
        transfer_weights(target, base, growth=image.growth, grow=image.drop, drop=image.grow)
    if base.output.shape != target.output.shape:
        raise UserError(
            f"--features={','.join(image.features)} are {base.output.shape[-1]} numbers in {image.base} and "
            f"{target.output.shape[-1]} in {image.target}, so that the head cannot move",
            "name layers that have the same width in both",
        )


def with_new_head(bench: Bench, name: str, architecture: str, weights: str) -> Network:
    """Builds a network whose head is fitted on the features that the trunk gives without training."""
    config = bench.config
    with bench.clock.stage(f"{name}: start"):
        classifier = train_image_classifier(
            build_trunk(config, architecture, weights, bench.strategy),
            bench.data,
            data_config=config.data,
            # One view: the images as they are.
            config=replace(config.image, epochs=1),
            trainable="head",
            seed=config.run.seed,
            strategy=bench.strategy,
            stage=name,
            checkpoints=bench.checkpoints,
            cache=bench.cache,
            training=config.train,
        )
        network = Network(
            name, classifier.trunk, classifier.head, classifier.model, histories=classifier.histories
        )
        return replace(network, measured=(measure(bench, network, START),))


def moved(
    bench: Bench, name: str, source: Network, architecture: str, *, growth: Growth, grow, drop
) -> Network:
    """Builds a network and gives it the weights of another one, those of its head too."""
    config = bench.config
    with bench.clock.stage(f"{name}: start"):
        trunk = build_trunk(config, architecture, "none", bench.strategy)
        with bench.strategy.scope():
            head = keras.models.clone_model(source.head)
            model = joined(trunk, head)
        images = batches(bench.data.train, image_size=config.data.image_size, batch_size=PROBE_IMAGES)
        transfer = transfer_weights(
            source.model,
            model,
            growth=growth,
            grow=grow,
            drop=drop,
            probe=next(iter(images))["image"].numpy(),
        )
        bench.clock.say(transfer.line())
        network = Network(name, trunk, head, model, transfer)
        return replace(network, measured=(measure(bench, network, START),))


def trained(bench: Bench, network: Network, trainable: str, budget: float = 0.0) -> Network:
    """Trains a network as a whole, from the layer that `trainable` names, and measures it.

    Args:
        bench: what networks share.
        network: what is trained.
        trainable: as `set_trainable` takes it.
        budget: of the images of FGSM that it is trained on too; 0 for none.
    """
    config = bench.config
    with bench.clock.stage(f"{network.name}: training"):
        set_trainable(network.trunk, trainable)
        history = fine_tune(
            network.model,
            bench.data,
            data_config=config.data,
            config=config.image,
            seed=config.run.seed,
            strategy=bench.strategy,
            stage=f"{network.name}: network",
            checkpoints=bench.checkpoints,
            training=config.train,
            budget=budget,
        )
        return replace(
            network,
            histories=(*network.histories, history),
            measured=(*network.measured, measure(bench, network)),
        )


def measure(bench: Bench, network: Network, suffix: str = "", note: str = "") -> Measured:
    """Asks a network about the validation images, which calibrate it, and about the test images."""
    config, data = bench.config, bench.data
    name = network.name + suffix

    def logits(split, part: str) -> np.ndarray:
        images = pixels(split, config.data.image_size, 4 * config.image.batch_size)
        stage = f"{name}: {part} logits of the network"
        return predict(network.model, images, bench.strategy, stage=stage, checkpoints=bench.checkpoints)

    validation, test = logits(data.validation, "validation"), logits(data.test, "test")
    probabilities = softmax(test, fit_temperature(validation, data.validation.labels))
    result = evaluate(
        name,
        probabilities,
        data.test.labels,
        data.class_names,
        uncalibrated=softmax(test),
        note=note or _note(config, name),
    )
    return Measured(
        result,
        right=probabilities.argmax(axis=1) == data.test.labels,
        validation=validation,
    )


def with_names(config: Config, text: str) -> str:
    """Puts the names of the networks into a sentence."""
    budget = max(config.attack.pixel_budgets)
    return text.format(base=config.image.base, target=config.image.target, budget=budget)


def _note(config: Config, name: str) -> str:
    if not name.endswith(START):
        return with_names(config, NOTES[name])
    network = name.removesuffix(START)
    if network in SOURCES:
        return f"{network} with the weights of {SOURCES[network]}, as they came"
    return f"{network} with a new head fitted, before any other layer is trained"


def seconds_of(name: str, stages: dict[str, float]) -> float:
    """Adds up the stages that a result needs, those of the weights' source among them."""
    network = name.removesuffix(START)
    own = stages.get(f"{network}: start", 0.0)
    own += 0 if name.endswith(START) else stages[f"{network}: training"]
    return own + (seconds_of(SOURCES[network], stages) if network in SOURCES else 0)
