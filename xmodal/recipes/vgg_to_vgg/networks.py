"""The networks of `vgg_to_vgg`: where each comes from, how it is trained and measured."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import keras
import numpy as np

from xmodal.config.config import Config
from xmodal.core.errors import UserError
from xmodal.data.images import ImageData, ImageSplit, batches
from xmodal.evaluation.calibrated_result import CalibratedResult, calibrated_result
from xmodal.evaluation.metrics import HeldOut
from xmodal.models.trainable import set_trainable
from xmodal.recipes.image_training import train_images_from_scratch
from xmodal.runs.inputs import build_backbone
from xmodal.runs.session import Session
from xmodal.tasks.image_classifier import (
    ImageClassifier,
    attach_head,
    evaluation_pixels,
    fine_tune,
    train_image_classifier,
)
from xmodal.training.baselines import (
    FROM_SCRATCH,
    NO_TRANSFER,
    RANDOM_WEIGHTS,
    Attempt,
    best_on_validation,
    better_note,
    kept_seconds,
    scratch_note,
)
from xmodal.training.progress import History
from xmodal.training.trainer import Trainer
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
class Network:
    """An image classifier of the run.

    Attributes:
        name: one of `NOTES`.
        backbone: RGB images (B, H, W, 3) -> features (B, D).
        head: features -> logits (B, C).
        model: the two joined.
        transfer: where its weights came from, None for a network that was given none.
        histories: of its trainings; the last one is that of the whole network.
        measured: what it answered, before that training under its name with "_start", and after it.
        tried: the trainings that it is the best one of.
        seconds: of its training as a whole.
    """

    name: str
    backbone: keras.Model
    head: keras.Model
    model: keras.Model
    transfer: TransferReport | None = None
    histories: tuple[History, ...] = ()
    measured: tuple[CalibratedResult, ...] = ()
    tried: tuple[Attempt, ...] = ()
    seconds: float = 0.0


def without_transfer(session: Session, data: ImageData) -> list[Network]:
    """Trains the target from random weights: by the protocol of the base, and as well as the budget allows.

    Returns:
        Both, and the one that the validation images find better a second time, as "no_transfer".
    """
    config, trainer = session.config, session.trainer
    image = config.image
    protocol = train_network(
        session, data, with_new_head(session, data, RANDOM_WEIGHTS, image.target, "none")
    )
    stage = f"{FROM_SCRATCH}: training"
    with session.clock.stage(stage):
        best, attempts = train_images_from_scratch(
            lambda: build_backbone(config, image.target, "none", trainer),
            data,
            image,
            trainer,
            name=FROM_SCRATCH,
            # Those of the base and of the target.
            passes=2 * image.epochs,
            seconds=kept_seconds(session.result_seconds["target"], FROM_SCRATCH, trainer),
        )
        scratch = replace(network_of(FROM_SCRATCH, best.trained), tried=attempts)
        note = scratch_note(image.target, best, attempts)
        scratch = replace(scratch, measured=(evaluate_network(session, data, scratch, note=note),))
    session.seconds(FROM_SCRATCH, stage)
    networks = {network.name: network for network in (protocol, scratch)}
    validation = {name: network.measured[-1].logits.validation for name, network in networks.items()}
    name = best_on_validation(validation, data.validation.labels)
    better_result = networks[name].measured[-1]
    result = replace(better_result.result, name=NO_TRANSFER, note=better_note(name, "images"))
    session.seconds(NO_TRANSFER, name)
    best_network = replace(networks[name], name=NO_TRANSFER, histories=(), tried=())
    return [protocol, scratch, replace(best_network, measured=(replace(better_result, result=result),))]


def network_of(name: str, classifier: ImageClassifier) -> Network:
    """Returns a trained classifier as a network of the run."""
    return Network(
        name, classifier.backbone, classifier.head, classifier.model, histories=classifier.histories
    )


def require_match(config: Config, trainer: Trainer) -> None:
    """Moves weights there and back before anything is trained, so that a mistake is reported in seconds.

    Raises:
        UserError: when the layers do not match, the head would not fit both backbones, or one of them has no
            such layer as --trainable names.
    """
    image = config.image
    base, target = (build_backbone(config, name, "none", trainer) for name in (image.base, image.target))
    for network in (base, target):
        set_trainable(network, image.trainable)
    transfer = transfer_weights(base, target, growth=image.growth, grow=image.grow, drop=image.drop)
    if base.output.shape != target.output.shape:
        raise UserError(
            f"`features={','.join(image.features)}` are {base.output.shape[-1]} numbers in {image.base} and "
            f"{target.output.shape[-1]} in {image.target}, so that the head cannot move",
            "name layers that have the same width in both",
        )
    if transfer.names("grown"):
        transfer_weights(target, base, growth=image.growth, grow=image.drop, drop=image.grow)


def with_new_head(session: Session, data: ImageData, name: str, architecture: str, weights: str) -> Network:
    """Builds a network whose head is fitted on the features that the backbone gives without training."""
    config, trainer = session.config, session.trainer
    with session.clock.stage(f"{name}: start"):
        classifier = train_image_classifier(
            build_backbone(config, architecture, weights, trainer),
            data,
            # One view: the images as they are.
            replace(config.image, epochs=1, trainable="head"),
            trainer,
            name=name,
        )
        network = network_of(name, classifier)
        start = evaluate_network(session, data, network, START)
    session.seconds(name + START, f"{name}: start")
    return replace(network, measured=(start,))


def transfer_network(
    session: Session,
    data: ImageData,
    name: str,
    source: Network,
    architecture: str,
    *,
    grow: Sequence[str],
    drop: Sequence[str],
    growth: Growth | None = None,
) -> Network:
    """Builds a network and gives it the weights of another one, those of its head too."""
    config, trainer = session.config, session.trainer
    with session.clock.stage(f"{name}: start"):
        backbone = build_backbone(config, architecture, "none", trainer)
        with trainer.strategy.scope():
            head = keras.models.clone_model(source.head)
            model = attach_head(backbone, head)
        images = batches(data.train, image_size=config.data.image_size, batch_size=PROBE_IMAGES)
        transfer = transfer_weights(
            source.model,
            model,
            growth=growth or config.image.growth,
            grow=grow,
            drop=drop,
            probe=next(iter(images))["image"].numpy(),
        )
        session.clock.log(transfer.line())
        network = Network(name, backbone, head, model, transfer)
        start = evaluate_network(session, data, network, START)
    session.seconds(name + START, f"{name}: start", source.name)
    return replace(network, measured=(start,))


def train_network(session: Session, data: ImageData, network: Network, epsilon: float = 0.0) -> Network:
    """Trains a network as a whole, from the layer that --trainable names, and measures it.

    Args:
        session: the run.
        data: the splits.
        network: what is trained.
        epsilon: of the images of FGSM that it is trained on too; 0 for none.
    """
    image, stage = session.config.image, f"{network.name}: training"
    with session.clock.stage(stage):
        set_trainable(network.backbone, image.trainable)
        history = fine_tune(
            network.model,
            data,
            image,
            session.trainer,
            name=f"{network.name}: network",
            epsilon=epsilon,
        )
        result = evaluate_network(session, data, network)
    seconds = session.seconds(stage, stage)
    session.seconds(network.name, network.name + START, stage)
    return replace(
        network,
        histories=(*network.histories, history),
        measured=(*network.measured, result),
        seconds=seconds,
    )


def evaluate_network(
    session: Session, data: ImageData, network: Network, suffix: str = "", note: str = ""
) -> CalibratedResult:
    """Asks a network about the validation images, which calibrate it, and about the test images."""
    config, trainer = session.config, session.trainer
    name = network.name + suffix

    def logits(split: ImageSplit, part: str) -> np.ndarray:
        images = evaluation_pixels(network.model, split, config.train)
        return trainer.predict(network.model, images, name=f"{name}: {part} logits of the network")

    return calibrated_result(
        name,
        HeldOut(logits(data.validation, "validation"), logits(data.test, "test")),
        HeldOut(data.validation.labels, data.test.labels),
        data.class_names,
        note=note or _note(config, name),
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
