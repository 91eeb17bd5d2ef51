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
from xmodal.recipes.image_training import transfer_backbone
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
    searched_names = EXPERIMENTS[config.run.experiment].searched
    start: Values = {name: config.value(name) for name in searched_names}
    # vgg_to_vgg trains whole networks.
    heads = "head_learning_rate" in searched_names
    trainer = replace(session.trainer, checkpoints=None, on_epoch=None, log=lambda line: None)
    validation = data.validation.take(stratified_sample(data.validation.labels, COMPARED))
    trial_data = replace(data, validation=validation)
    return Space(
        noun=f"{data.train.medium.noun if data.train.medium else 'image'}s",
        examples=len(data.train),
        validation=len(validation),
        start=start,
        fixed=frozenset(config.search.fixed),
        looks=_looks(data, start),
        cost=lambda values: (values.get("target"), float(values["image_size"] ** 2)),
        look=partial(_look, config, trial_data, trainer),
        arms=partial(_arms, config, data, trainer, start, heads),
        train=partial(_train, config, trial_data, trainer, {}),
        epochs="epochs",
        rungs=(start["epochs"],) if "epochs" in config.search.fixed else RUNGS,
        most_epochs=30,
        groups=(TRUNK, *((name,) for name in searched_names if name not in (*TRUNK, "epochs"))),
        unread=lambda values: frozenset({"learning_rate"} if values["trainable"] == "head" else ()),
    )


def stratified_sample(labels: np.ndarray, most: int) -> np.ndarray:
    """Returns the positions of `most` examples, or of all, with each class as frequent as among all."""
    by_class = np.argsort(labels, kind="stable")
    return np.sort(by_class[np.linspace(0, len(labels) - 1, min(most, len(labels))).round().astype(int)])


def _looks(data: ImageData, start: Values) -> list[Values]:
    """Returns networks and sides, the smaller ones first."""
    side = start["image_size"]
    if not data.train.medium:
        sample = data.train.take(data.train.spread(SIZED))
        limit = max(LEAST, LARGER * usual_side(sample))
        sides = sorted({side, *(size for size in SIDES if size <= limit)})
    else:
        # How large a spectrogram is, other flags say.
        sides = [side]
    networks: list[Values] = [{}]
    if "base" in start:
        defaults = {"features": AUTO, "grow": ("*",), "drop": ()}
        networks += [
            {"base": name, "target": name, "image_weights": weights, **defaults} for name, weights in NETWORKS
        ]
    return [{**network, "image_size": size} for size in sides for network in networks]


def _look(
    config: Config, data: ImageData, trainer: Trainer, values: Values, count: int
) -> tuple[float, list[tuple[Values, float]]]:
    """Scores the features of a network, and those of its upper layers alone."""
    backbone, _ = transfer_backbone(config.with_values(values), data.train, trainer)
    compute_statistics(backbone, data, trainer)
    positions, size = stratified_sample(data.train.labels, count), 4 * trainer.config.batch_size

    def read(indices: np.ndarray) -> np.ndarray:
        images = pixels(data.train.take(indices), image_size(backbone), size)
        return trainer.predict(backbone, images)

    pace, features = time_reading(read, positions, trainer.config.batch_size)
    labels = data.train.labels[positions]
    pooled = pooled_layers(backbone)
    layers, widths = tuple(pooled), [*pooled.values()]
    scores: list[tuple[Values, float]] = [({}, log_evidence(features, labels))]
    for number in range(1, len(layers)):
        upper = features[:, sum(widths[:number]) :]
        scores.append(({"features": layers[number:]}, log_evidence(upper, labels)))
    return pace, scores


def time_reading(
    read: Callable[[np.ndarray], np.ndarray], positions: np.ndarray, few: int
) -> tuple[float, np.ndarray]:
    """Reads examples, and returns the seconds that one takes, without those of starting, and what was read.

    Args:
        read: positions of examples (n,) -> outputs (n, D).
        positions: of all that are read (N,).
        few: how many are read once more, to tell what starting takes.
    """
    begin_time = time.perf_counter()
    read(positions[:few])
    few_time = time.perf_counter()
    outputs = read(positions)
    few_seconds, all_seconds = few_time - begin_time, time.perf_counter() - few_time
    remaining = len(positions) - few
    # Of too few it cannot be told apart.
    minimum = all_seconds / len(positions) / 2
    return max(minimum, (all_seconds - few_seconds) / remaining) if remaining > few else 2 * minimum, outputs


def _arms(
    config: Config, data: ImageData, trainer: Trainer, start: Values, heads: bool, looks: Sequence[Trial]
) -> list[Arm]:
    """Returns what is trained: the flags as they are, heads on good features, more of the best network."""
    start_looks = [look for look in looks if not look.flags]
    start_arms = [Arm({}, 1.0 if start["trainable"] == "head" else LEARNING, look) for look in start_looks]
    best, values, head = looks[0], values_of(looks[0].flags), {"trainable": "head"}
    # The best features of each network and side; equal ones are those of the same layers.
    best_looks = first_of_each(first_of_each(looks, lambda look: look.step), lambda look: f"{look.score:.3f}")
    frozen_arms = [Arm({**values_of(look.flags), **head}, 1.0, look) for look in best_looks[:3]]
    medium = data.train.medium
    changes: list[Values] = [{"head_learning_rate": 3e-3}]
    changes += [{"augment": kinds} for kinds in ((medium.augmentations, ()) if medium else AUGMENTATIONS)]
    frozen_arms += [Arm({**values, **head, **change}, 1.0, best) for change in changes]
    quarter, half = upper_layers(_target(config.with_values(values), trainer))
    learning_arms = [
        Arm({**values, "trainable": layer, "learning_rate": rate}, LEARNING, best)
        for layer, rate in ((quarter, 3e-4), (half, 3e-4), (half, 1e-4), ("all", 1e-4))
    ]
    if not heads:
        return start_arms + learning_arms
    # Little time is best spent on some of each kind.
    return (
        start_arms
        + frozen_arms[:2]
        + learning_arms[:1]
        + frozen_arms[2:4]
        + learning_arms[1:2]
        + frozen_arms[4:]
        + learning_arms[2:]
    )


def _target(config: Config, trainer: Trainer) -> keras.Model:
    return build_backbone(config, config.image.target, "none", trainer)


def upper_layers(model: keras.Model) -> tuple[str, str]:
    """Returns where about the upper quarter and the upper half of a network's layers with weights begin."""
    names = [layer.name for layer in model.layers if layer.weights]

    def begins(index: int) -> str:
        block = names[index].partition("_")[0]
        indices = [number for number, name in enumerate(names) if name.startswith(block)]
        # What many layers are called is no block.
        is_block = len(indices) <= len(names) // 3 and index - indices[0] <= len(names) // 6
        return block if is_block else names[index]

    return begins(3 * len(names) // 4), begins(len(names) // 2)


def _backbone(config: Config, data: ImageData, trainer: Trainer) -> keras.Model:
    return transfer_backbone(config, data.train, trainer)[0]


def _kept_backbone(
    backbones: dict[str, keras.Model], config: Config, data: ImageData, trainer: Trainer
) -> keras.Model:
    """Returns the network that was built last, if it is the same, so that heads on it do not wait."""
    key = str([config.value(name) for name in (*TRUNK, "image_size", "features")])
    if key not in backbones:
        backbones.clear()
        backbones[key] = _backbone(config, data, trainer)
    return backbones[key]


def _train(
    config: Config,
    data: ImageData,
    trainer: Trainer,
    backbones: dict[str, keras.Model],
    values: Values,
    epochs: int,
    count: int,
) -> tuple[float, float, float]:
    """Trains a classifier on some of the images, as `Space` has it."""
    trial_config = config.with_values({**values, "epochs": epochs})
    trial_data = replace(data, train=data.train.take(stratified_sample(data.train.labels, count)))
    frozen = values["trainable"] == "head"
    backbone = (
        _kept_backbone(backbones, trial_config, trial_data, trainer)
        if frozen
        else _backbone(trial_config, trial_data, trainer)
    )
    classifier = train_image_classifier(backbone, trial_data, trial_config.image, trainer, name="search")
    logits, labels = classifier.validation_logits, trial_data.validation.labels
    # The first epoch waits for TensorFlow to start, and a frozen network is read.
    parts, _ = parts_of_pass(count, trial_config.image, trainer.config)
    epoch_seconds = [entry["seconds"] for entry in classifier.histories[-1].epochs]
    seconds = 0.0 if frozen else parts * min(epoch_seconds, default=0.0) / count
    return float((logits.argmax(axis=1) == labels).mean()), log_loss(softmax(logits), labels), seconds
