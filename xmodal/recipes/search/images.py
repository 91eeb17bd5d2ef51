"""What a search may choose of an image classifier."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import keras
import numpy as np

from xmodal.config.config import Config
from xmodal.config.experiments import EXPERIMENTS
from xmodal.data.images import SIDES, ImageData, usual_side
from xmodal.evaluation.calibration import softmax
from xmodal.evaluation.metrics import log_loss
from xmodal.evaluation.transferability import log_evidence
from xmodal.models.feature_layers import AUTO
from xmodal.models.image_backbones import pooled_layers
from xmodal.recipes.image_training import transferred_backbone
from xmodal.recipes.search.ledger import Trial
from xmodal.recipes.search.space import (
    COMPARED,
    LEARNING,
    RUNGS,
    Arm,
    Space,
    Values,
    first_of_each,
    values_of,
)
from xmodal.runs.inputs import build_backbone
from xmodal.runs.session import Session
from xmodal.tasks.image_classifier import (
    compute_statistics,
    image_size,
    parts_of_pass,
    pixels,
    train_image_classifier,
)
from xmodal.training.trainer import Trainer

# Networks beside that of the flags, each moved into itself.
NETWORKS = (("VGG16", "vgg16_imagenet"), ("efficientnet_lite0", "efficientnet_lite0_imagenet"))
TRUNK = ("target", "base", "image_weights", "grow", "drop")
AUGMENTATIONS = (("shift", "rotate", "zoom"), ("flip", "shift"), ("flip", "crop"), ())
# Images are looked at up to this many times as large as they are, or to the least of these sides.
LARGER, LEAST = 2, 64
# Images that tell how large they usually are.
SIZED = 50


def image_space(session: Session, data: ImageData) -> Space:
    """Returns what may be chosen of the image classifier of a run."""
    config = session.config
    searched = EXPERIMENTS[config.run.experiment].searched
    start: Values = {name: config.value(name) for name in searched}
    # vgg_to_vgg trains whole networks.
    heads = "head_learning_rate" in searched
    trainer = replace(session.trainer, checkpoints=None, on_epoch=None, log=lambda line: None)
    compared = data.validation.take(stratified(data.validation.labels, COMPARED))
    tried = replace(data, validation=compared)
    return Space(
        noun=f"{data.train.medium.noun if data.train.medium else 'image'}s",
        examples=len(data.train),
        validation=len(compared),
        start=start,
        fixed=frozenset(config.search.fixed),
        looks=_looks(data, start),
        cost=lambda values: (values.get("target"), float(values["image_size"] ** 2)),
        look=partial(_look, config, tried, trainer),
        arms=partial(_arms, config, data, trainer, start, heads),
        train=partial(_train, config, tried, trainer, {}),
        epochs="epochs",
        rungs=(start["epochs"],) if "epochs" in config.search.fixed else RUNGS,
        most_epochs=30,
        groups=(TRUNK, *((name,) for name in searched if name not in (*TRUNK, "epochs"))),
        unread=lambda values: frozenset({"learning_rate"} if values["trainable"] == "head" else ()),
    )


def stratified(labels: np.ndarray, most: int) -> np.ndarray:
    """Returns the positions of `most` examples, or of all, with each class as frequent as among all."""
    by_class = np.argsort(labels, kind="stable")
    return np.sort(by_class[np.linspace(0, len(labels) - 1, min(most, len(labels))).round().astype(int)])


def _looks(data: ImageData, start: Values) -> list[Values]:
    """Returns networks and sides, the smaller ones first."""
    side = start["image_size"]
    if not data.train.medium:
        sized = data.train.take(data.train.spread(SIZED))
        most = max(LEAST, LARGER * usual_side(sized))
        sides = sorted({side, *(each for each in SIDES if each <= most)})
    else:
        # How large a spectrogram is, other flags say.
        sides = [side]
    networks: list[Values] = [{}]
    if "base" in start:
        anew = {"features": AUTO, "grow": ("*",), "drop": ()}
        networks += [
            {"base": name, "target": name, "image_weights": weights, **anew} for name, weights in NETWORKS
        ]
    return [{**network, "image_size": each} for each in sides for network in networks]


def _look(
    config: Config, data: ImageData, trainer: Trainer, values: Values, count: int
) -> tuple[float, list[tuple[Values, float]]]:
    """Scores the features of a network, and those of its upper layers alone."""
    backbone, _ = transferred_backbone(config.with_values(values), data.train, trainer)
    compute_statistics(backbone, data, trainer)
    positions, size = stratified(data.train.labels, count), 4 * trainer.config.batch_size

    def read(some: np.ndarray) -> np.ndarray:
        images = pixels(data.train.take(some), image_size(backbone), size)
        return trainer.predict(backbone, images)

    pace, features = timed_reading(read, positions, trainer.config.batch_size)
    labels = data.train.labels[positions]
    pooled = pooled_layers(backbone)
    layers, widths = tuple(pooled), [*pooled.values()]
    scores: list[tuple[Values, float]] = [({}, log_evidence(features, labels))]
    for number in range(1, len(layers)):
        upper = features[:, sum(widths[:number]) :]
        scores.append(({"features": layers[number:]}, log_evidence(upper, labels)))
    return pace, scores


def timed_reading(
    read: Callable[[np.ndarray], np.ndarray], positions: np.ndarray, few: int
) -> tuple[float, np.ndarray]:
    """Reads examples, and returns the seconds that one takes, without those of starting, and what was read.

    Args:
        read: positions of examples (n,) -> outputs (n, D).
        positions: of all that are read (N,).
        few: how many are read once more, to tell what starting takes.
    """
    begun = time.perf_counter()
    read(positions[:few])
    after_few = time.perf_counter()
    outputs = read(positions)
    start, whole = after_few - begun, time.perf_counter() - after_few
    rest = len(positions) - few
    # Of too few it cannot be told apart.
    least = whole / len(positions) / 2
    return max(least, (whole - start) / rest) if rest > few else 2 * least, outputs


def _arms(
    config: Config, data: ImageData, trainer: Trainer, start: Values, heads: bool, looks: Sequence[Trial]
) -> list[Arm]:
    """Returns what is trained: the flags as they are, heads on good features, more of the best network."""
    own = [look for look in looks if not look.flags]
    asked = [Arm({}, 1.0 if start["trainable"] == "head" else LEARNING, look) for look in own]
    best, values, head = looks[0], values_of(looks[0].flags), {"trainable": "head"}
    # The best features of each network and side; equal ones are those of the same layers.
    of_steps = first_of_each(first_of_each(looks, lambda look: look.step), lambda look: f"{look.score:.3f}")
    frozen = [Arm({**values_of(look.flags), **head}, 1.0, look) for look in of_steps[:3]]
    medium = data.train.medium
    further: list[Values] = [{"head_learning_rate": 3e-3}]
    further += [{"augment": kinds} for kinds in ((medium.augmentations, ()) if medium else AUGMENTATIONS)]
    frozen += [Arm({**values, **head, **more}, 1.0, best) for more in further]
    quarter, half = upper_layers(_target(config.with_values(values), trainer))
    learning = [
        Arm({**values, "trainable": layer, "learning_rate": rate}, LEARNING, best)
        for layer, rate in ((quarter, 3e-4), (half, 3e-4), (half, 1e-4), ("all", 1e-4))
    ]
    if not heads:
        return asked + learning
    # Little time is best spent on some of each kind.
    return asked + frozen[:2] + learning[:1] + frozen[2:4] + learning[1:2] + frozen[4:] + learning[2:]


def _target(config: Config, trainer: Trainer) -> keras.Model:
    return build_backbone(config, config.image.target, "none", trainer)


def upper_layers(model: keras.Model) -> tuple[str, str]:
    """Returns where about the upper quarter and the upper half of a network's layers with weights begin."""
    names = [layer.name for layer in model.layers if layer.weights]

    def begins(index: int) -> str:
        block = names[index].partition("_")[0]
        of_block = [number for number, name in enumerate(names) if name.startswith(block)]
        # What many layers are called is no block.
        is_block = len(of_block) <= len(names) // 3 and index - of_block[0] <= len(names) // 6
        return block if is_block else names[index]

    return begins(3 * len(names) // 4), begins(len(names) // 2)


def _backbone(config: Config, data: ImageData, trainer: Trainer) -> keras.Model:
    return transferred_backbone(config, data.train, trainer)[0]


def _kept_backbone(
    built: dict[str, keras.Model], config: Config, data: ImageData, trainer: Trainer
) -> keras.Model:
    """Returns the network that was built last, if it is the same, so that heads on it do not wait."""
    key = str([config.value(name) for name in (*TRUNK, "image_size", "features")])
    if key not in built:
        built.clear()
        built[key] = _backbone(config, data, trainer)
    return built[key]


def _train(
    config: Config,
    data: ImageData,
    trainer: Trainer,
    built: dict[str, keras.Model],
    values: Values,
    epochs: int,
    count: int,
) -> tuple[float, float, float]:
    """Trains a classifier on some of the images, as `Space` has it."""
    tried = config.with_values({**values, "epochs": epochs})
    some = replace(data, train=data.train.take(stratified(data.train.labels, count)))
    frozen = values["trainable"] == "head"
    backbone = _kept_backbone(built, tried, some, trainer) if frozen else _backbone(tried, some, trainer)
    classifier = train_image_classifier(backbone, some, tried.image, trainer, name="search")
    logits, labels = classifier.validation_logits, some.validation.labels
    # The first epoch waits for TensorFlow to start, and a frozen network is read.
    parts, _ = parts_of_pass(count, tried.image, trainer.config)
    seconds = [entry["seconds"] for entry in classifier.histories[-1].epochs]
    learned = 0.0 if frozen else parts * min(seconds, default=0.0) / count
    return float((logits.argmax(axis=1) == labels).mean()), log_loss(softmax(logits), labels), learned
