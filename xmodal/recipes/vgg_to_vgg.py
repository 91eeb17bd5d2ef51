"""VGG16 -> VGG19 and back: what weights that move layer by layer are worth between image networks.

A trained base gives its weights, those of its head too, to a larger target, which is trained in turn.
Beside it stand targets that start with less, and the way back into the base's architecture.
"""

from dataclasses import dataclass, replace
from functools import partial

import keras
import numpy as np
import tensorflow as tf

from xmodal import report, train
from xmodal.backbones import set_trainable
from xmodal.baselines import (
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
from xmodal.bridge import fit_temperature, softmax
from xmodal.checkpoint import Checkpoints
from xmodal.clock import Clock
from xmodal.config import Config
from xmodal.data.images import ImageData, batches, configured_images
from xmodal.errors import UserError
from xmodal.evaluate import Gain, Result, evaluate, paired_gain
from xmodal.features import FeatureCache, feature_cache
from xmodal.image_attack import attack_classifiers, require_library
from xmodal.image_classifier import (
    build_trunk,
    fine_tune,
    joined,
    parts_of_pass,
    pixels,
    train_image_classifier,
)
from xmodal.job import Job, begin, finish
from xmodal.robustness import training_cost
from xmodal.strategy import workers
from xmodal.transfer import Growth, TransferReport, transfer_weights
from xmodal.transfer_worth import tried_table

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
COMPARISONS = (
    ("target", NO_TRANSFER, "transfer of weights"),
    ("target_start", "base", "the move into {target}, as long as nothing is trained there,"),
    ("target", "base", "the move into {target} and training there"),
    ("target_robust", "target", "training on images of FGSM too"),
    ("target", "random_growth", "growth by identity in the place of random weights"),
    ("back_start", "target", "leaving out the layers that {base} lacks"),
    ("back_random_growth_start", "random_growth", "leaving out the same layers of random_growth"),
    ("back", "base", "the way through {target} and back"),
)


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
    histories: tuple[train.History, ...] = ()
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


def run(config: Config, clock: Clock) -> report.Run:
    """Runs the experiment and leaves its files in `config.run.output_dir`.

    Args:
        config: all flags, as dataclasses.
        clock: times the stages, and says how it goes.

    Returns:
        What was reported.
    """
    require_library(config.attack)
    job = begin(config, clock)
    strategy, checkpoints = job.strategy, job.checkpoints
    with clock.stage("data"):
        data = configured_images(config)
    job.warn(data.report)
    if config.run.export:
        clock.say("--export: this experiment has nothing to export; vgg_to_bert exports the target")
    cache = feature_cache(config, workers(strategy).is_chief, clock.say)
    networks = compare(Bench(config, data, strategy, checkpoints, cache, clock))
    run = report_of(job, data, networks)
    models = {
        network.name: network.model for network in networks if network.name in ("target", "target_robust")
    }
    foiled, under_attack = attack_classifiers(job, models, data)
    return finish(job, replace(run, gains=run.gains + foiled, tables=run.tables + under_attack))


def compare(bench: Bench) -> list[Network]:
    """Trains and measures the base, the target, what the target is compared with, and the way back."""
    image = bench.config.image
    require_match(bench.config, bench.strategy)

    def there(name: str, growth: Growth) -> Network:
        return moved(bench, name, base, image.target, growth=growth, grow=image.grow, drop=image.drop)

    def back(name: str, source: Network) -> Network:
        # What is new on the way there has no place on the way back, and the other way round.
        return moved(bench, name, source, image.base, growth=image.growth, grow=image.drop, drop=image.grow)

    base = trained(bench, with_new_head(bench, "base", image.base, image.image_weights), image.trainable)
    bench.clock.say(f"Test accuracy: {_accuracy(base)}")
    target = trained(bench, there("target", image.growth), image.trainable)
    bench.clock.say(f"Target accuracy: {_accuracy(target)}")
    networks = [base, target]
    if bench.config.attack.robust:
        budget = max(bench.config.attack.pixel_budgets)
        robust = there("target_robust", image.growth)
        networks.append(trained(bench, robust, image.trainable, budget))
    grown = bool(target.transfer and target.transfer.names("grown"))
    if grown and image.growth == "identity":
        random_growth = trained(bench, there("random_growth", "random"), image.trainable)
        networks.append(random_growth)
    networks += without_transfer(bench) if bench.config.train.baseline else []
    if grown:
        networks.append(trained(bench, back("back", target), image.trainable))
    if grown and image.growth == "identity":
        networks.append(back("back_random_growth", random_growth))
    return networks


def without_transfer(bench: Bench) -> list[Network]:
    """Trains the target from random weights: by the protocol of the base, and as well as the budget allows.

    Returns:
        Both, and the one that the validation images find better a second time, as "no_transfer".
    """
    config, stages, image = bench.config, bench.clock.seconds, bench.config.image
    new = with_new_head(bench, RANDOM_WEIGHTS, image.target, "none")
    protocol = trained(bench, new, image.trainable)
    took = _seconds("target", stages)
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
        better.result, name=NO_TRANSFER, note=better_note(name, "images"), seconds=_seconds(name, stages)
    )
    again = replace(networks[name], name=NO_TRANSFER, histories=(), tried=())
    return [protocol, scratch, replace(again, measured=(replace(better, result=result),))]


def scratch_attempt(bench: Bench, rate: float, passes: int) -> tuple[train.History, Network]:
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
        return train.predict(
            network.model, images, bench.strategy, stage=stage, checkpoints=bench.checkpoints
        )

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


def report_of(job: Job, data: ImageData, networks: list[Network]) -> report.Run:
    """Puts what was measured into the records of a report."""
    config, clock = job.config, job.clock
    measured = {item.result.name: item for network in networks for item in network.measured}
    # What a network became stands before what it started as.
    names = sorted(measured, key=lambda name: name.endswith(START))
    target = networks[1]
    assert target.transfer is not None
    return report.Run(
        **job.told(),
        title=f"{config.image.base} to {config.image.target}",
        data=data.report,
        results={
            name: replace(
                measured[name].result,
                seconds=measured[name].result.seconds or _seconds(name, clock.seconds),
            )
            for name in names
        },
        gains=_gains(config, measured),
        transfer=target.transfer,
        histories=tuple(history for network in networks for history in network.histories),
        gallery=(),
        facts=_facts(networks, clock.seconds),
        headline=target.name,
        tables=(_table(networks), *(tried_table(network.tried) for network in networks if network.tried)),
        plots=(_plot(config, data, networks),),
    )


def _accuracy(network: Network) -> str:
    return f"{network.measured[-1].result.accuracy:.2%}"


def _told(config: Config, text: str) -> str:
    budget = max(config.attack.pixel_budgets)
    return text.format(base=config.image.base, target=config.image.target, budget=budget)


def _note(config: Config, name: str) -> str:
    if not name.endswith(START):
        return _told(config, NOTES[name])
    network = name.removesuffix(START)
    if network in SOURCES:
        return f"{network} with the weights of {SOURCES[network]}, as they came"
    return f"{network} with a new head fitted, before any other layer is trained"


def _seconds(name: str, stages: dict[str, float]) -> float:
    """Adds up the stages that a result needs, those of the weights' source among them."""
    network = name.removesuffix(START)
    own = stages.get(f"{network}: start", 0.0)
    own += 0 if name.endswith(START) else stages[f"{network}: training"]
    return own + (_seconds(SOURCES[network], stages) if network in SOURCES else 0)


def _gains(config: Config, measured: dict[str, Measured]) -> tuple[Gain, ...]:
    return tuple(
        paired_gain(measured[a].right, measured[b].right, what=_told(config, what))
        for a, b, what in COMPARISONS
        if {a, b} <= set(measured)
    )


def _facts(networks: list[Network], stages: dict[str, float]) -> dict[str, float | int | str]:
    robust = {name: stages.get(f"{name}: training", 0.0) for name in ("target", "target_robust")}
    cost = training_cost("target_robust", "target", robust) if robust["target_robust"] else {}
    return cost | {
        f"layers without a place in {network.name}": ", ".join(network.transfer.unmatched_source)
        for network in networks
        if network.transfer and network.transfer.unmatched_source
    }


def _table(networks: list[Network]) -> report.Table:
    def row(network: Network) -> tuple[str, ...]:
        found = {item.result.name: 100 * item.result.accuracy for item in network.measured}
        start, end = found.get(network.name + START), found.get(network.name)
        difference = "" if start is None or end is None else f"{end - start:+.2f}"
        told = ("" if value is None else f"{value:.2f}" for value in (start, end))
        return (network.name, *told, difference)

    return report.Table(
        "Test accuracy in percent before a network is trained as a whole, and after it",
        ("", "at the start", "after training", "points"),
        tuple(row(network) for network in networks),
    )


def _plot(config: Config, data: ImageData, networks: list[Network]) -> report.Plot:
    def series(network: Network) -> report.Series:
        history = network.histories[-1]
        looks = [entry["val_accuracy"] for entry in (history.start, *history.epochs)]
        return report.Series(
            network.name, tuple(steps * number for number in range(len(looks))), tuple(looks)
        )

    _, steps = parts_of_pass(len(data.train), config.image)

    return report.Plot(
        f"Accuracy on the {len(data.validation):,} validation images while a network is trained as a whole",
        f"steps of {config.image.batch_size} images",
        "accuracy",
        tuple(series(network) for network in networks if network.histories),
    )
