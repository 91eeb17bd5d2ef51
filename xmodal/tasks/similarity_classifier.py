"""Any modality -> logits by the shared scorer s(x, c), alone or with weights that moved from another one."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import keras
import numpy as np
import tensorflow as tf

from xmodal.config.training import TrainConfig
from xmodal.core.errors import UserError
from xmodal.data.batches import array_batches
from xmodal.models.heads import ClassTexts, scored_classifier, with_descriptions
from xmodal.models.text_encoder import text_encoder
from xmodal.tasks.modality import Modality
from xmodal.training.checkpoint import Checkpoints
from xmodal.training.loop import fit
from xmodal.training.losses import cross_entropy
from xmodal.training.optimizers import optimizer_maker
from xmodal.training.prediction import predict
from xmodal.training.progress import History
from xmodal.transfer.weights import TransferReport, transfer_weights

# What --move names.
MOVED = {"scorer": ("scorer",), "upper": ("dense_84", "scorer")}


@dataclass(frozen=True)
class Moving:
    """Weights that a training starts from.

    Attributes:
        source: a model of another modality, as `train_scored` made it.
        layers: names of the layers that move.
    """

    source: keras.Model
    layers: tuple[str, ...]


@dataclass(frozen=True)
class Scored:
    """A trained classifier.

    Attributes:
        model: inputs -> logits of the classes that it learned.
        history: of its training, with validation.
        transfer: what moved into it, None when it started alone.
    """

    model: keras.Model
    history: History
    transfer: TransferReport | None


def class_texts(
    texts: list[str],
    targets: np.ndarray,
    class_names: Sequence[str],
    preset: str,
    *,
    strategy: tf.distribute.Strategy,
    most_tokens: int = 64,
) -> ClassTexts:
    """Encodes what classes are called and about.

    A text of which the encoder knows no word at all would have the same vector as any other such text:
    it is left out.

    Args:
        texts: names and descriptions (M,).
        targets: the class of each (M,).
        class_names: the C names, for messages.
        preset: the encoder, as `text_encoder.text_encoder` takes it.
        strategy: the tf.distribute strategy.
        most_tokens: of a text; what comes after them is not read.

    Raises:
        UserError: when nothing is left of a class.
    """
    with strategy.scope():
        encoder = text_encoder(preset, most_tokens)
    known = np.flatnonzero(encoder.knows(texts))
    for target, name in enumerate(class_names):
        if target not in targets[known]:
            raise UserError(
                f"the text encoder {preset!r} knows no word of the class name {name!r}",
                "describe it in `class_descriptions`, rename it by `class_names` or change `text_encoder`",
            )
    tokens = encoder.padded(np.array(texts, object)[known])
    vectors = predict(encoder.model, array_batches(tokens, batch_size=64), strategy)
    return ClassTexts(vectors, targets[known])


def subset(labels: np.ndarray, classes: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Returns the positions of at most `count` examples of each class, 0 for all, in the order of the split.

    A smaller count takes some of what a larger one takes.

    Args:
        labels: (N,).
        classes: the classes that are wanted (K,).
        count: examples of each.
        seed: which ones.
    """
    order = np.random.default_rng(seed).permutation(len(labels))
    chosen = [order[labels[order] == label][: count or None] for label in classes]
    return np.sort(np.concatenate(chosen))


def epochs_for(epochs: int, whole: int, part: int) -> int:
    """Returns the epochs of a training on some of the examples, where that on all of them has `epochs`.

    A training on a part of them, 1/r, is repeated sqrt(r) times as often: with the epochs of all, few
    examples would give few steps, and with the steps of all they would be learned by heart.
    """
    return round(epochs * math.sqrt(whole / part))


def train_scored(
    modality: Modality,
    positions: np.ndarray,
    classes: np.ndarray,
    *,
    scale: float,
    seed: int,
    strategy: tf.distribute.Strategy,
    stage: str,
    moving: Moving | None = None,
    frozen: Sequence[str] = (),
    epochs: int = 0,
    checkpoints: Checkpoints | None = None,
    training: TrainConfig | None = None,
) -> Scored:
    """Trains an encoder and the scorer, from random weights or with layers that move in.

    The weights of the best epoch are kept, by the loss on the validation examples of the classes.

    Args:
        modality: what to learn from.
        positions: the training examples (n,), all of them of `classes`.
        classes: those that the scorer chooses among (K,).
        scale: where its scale starts.
        seed: of initial weights, orders and augmentation.
        strategy: the tf.distribute strategy.
        stage: what progress, history and checkpoints call it.
        moving: what moves in from another modality.
        frozen: names of layers that stay as they begin.
        epochs: to go through without stopping early; 0 for those of `epochs_for`, with patience.
        checkpoints: where its state is kept.
        training: optimizer, precision and what else is common to every training.
    """
    training = training or TrainConfig()
    texts = modality.texts.take(classes)
    with strategy.scope():
        keras.utils.set_random_seed(seed)
        model = scored_classifier(modality.encoder(), texts.vectors, texts.targets, scale=scale)
    transfer = move(moving, model) if moving else None
    for name in frozen:
        model.get_layer(name).trainable = False
    targets = modality.targets_among(classes, "train", positions)
    held_out = np.flatnonzero(np.isin(modality.labels["validation"], classes))
    validation, _ = modality.read(
        "validation", held_out, modality.targets_among(classes, "validation", held_out)
    )
    longer = partial(epochs_for, whole=len(modality.labels["train"]), part=len(positions))
    history = fit(
        model,
        lambda epoch: modality.learn(positions, targets, (seed, epoch)),
        loss=cross_entropy(modality.label_smoothing),
        optimizer=optimizer_maker(training, modality.learning_rate),
        epochs=epochs or longer(modality.epochs),
        validation=validation,
        patience=epochs or longer(modality.patience),
        strategy=strategy,
        stage=stage,
        checkpoints=checkpoints,
        config=training,
    )
    return Scored(model, history, transfer)


def move(moving: Moving, target: keras.Model) -> TransferReport:
    """Copies layers of one modality's model into another's.

    Raises:
        UserError: when the names of their classes are encoded as vectors of different width.
    """
    widths = [model.get_layer("scorer").projection.shape[1] for model in (moving.source, target)]
    if widths[0] != widths[1]:
        raise UserError(
            f"the scorer of {moving.source.name!r} compares vectors of {widths[0]} numbers, "
            f"that of {target.name!r} vectors of {widths[1]}",
            "encode the class names of both by the same `text_encoder`",
        )

    def staying(model: keras.Model) -> list[str]:
        return [layer.name for layer in model.layers if layer.name not in moving.layers]

    return transfer_weights(
        moving.source, target, growth="random", leave=staying(target), drop=staying(moving.source)
    )


def read(
    modality: Modality,
    model: keras.Model,
    split: str,
    positions: np.ndarray,
    *,
    strategy: tf.distribute.Strategy,
    stage: str,
    checkpoints: Checkpoints | None = None,
) -> np.ndarray:
    """Returns the logits (n, K) of some examples of a split."""
    batches, order = modality.read(split, positions, modality.labels[split][positions])
    logits = predict(model, batches, strategy, stage=stage, checkpoints=checkpoints)
    return logits[np.argsort(order)]


def choosing_among(modality: Modality, model: keras.Model, classes: np.ndarray, strategy) -> keras.Model:
    """Returns a model that scores other classes of its modality, by their names alone."""
    texts = modality.texts.take(classes)
    with strategy.scope():
        return with_descriptions(model, texts.vectors, texts.targets)
