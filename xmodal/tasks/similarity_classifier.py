"""Any modality -> logits by the shared scorer s(x, c), alone or with layers copied from another one."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import keras
import numpy as np

from xmodal.core.errors import UserError
from xmodal.data.batches import array_batches, concatenate
from xmodal.models.heads import ClassTexts, scored_classifier, with_descriptions
from xmodal.models.legibility import require_told_apart
from xmodal.models.text_encoder import text_encoder
from xmodal.tasks.modality import Modality
from xmodal.training.losses import cross_entropy
from xmodal.training.progress import History
from xmodal.training.trainer import Trainer
from xmodal.transfer.weights import TransferReport, transfer_weights

# What --move names.
TRANSFERABLE = {"scorer": ("scorer",), "upper": ("dense_84", "scorer")}


@dataclass(frozen=True)
class LayerTransfer:
    """Layers that a training starts from.

    Attributes:
        source: a model of another modality, as `train_similarity_classifier` made it, whose weights of these
            layers are copied; None leaves their own random ones.
        layers: their names.
        frozen: they are not trained further.
    """

    source: keras.Model | None
    layers: tuple[str, ...]
    frozen: bool


@dataclass(frozen=True)
class SimilarityClassifier:
    """A trained classifier.

    Attributes:
        model: inputs -> logits of the classes that it learned.
        history: of its training, with validation.
        transfer: what was copied into it, None when it started from random weights.
    """

    model: keras.Model
    history: History
    transfer: TransferReport | None


def class_texts(
    texts: list[str],
    targets: np.ndarray,
    class_names: Sequence[str],
    preset: str,
    trainer: Trainer,
    *,
    max_tokens: int = 64,
    called: str | None = None,
) -> ClassTexts:
    """Encodes what classes are called and about.

    A text of which the encoder knows no word at all would have the same vector as any other such text:
    it is left out.

    Args:
        texts: names and descriptions (M,).
        targets: the class of each (M,).
        class_names: the C names, for messages.
        preset: the encoder, as `text_encoder.text_encoder` takes it.
        trainer: runs it.
        max_tokens: of a text; what comes after them is not read.
        called: how messages name the encoder; None for `preset`, which may be a path in the cache.

    Raises:
        UserError: when nothing is left of a class.
    """
    with trainer.strategy.scope():
        encoder = text_encoder(preset, max_tokens)
    known_indices = np.flatnonzero(encoder.knows(texts))
    for target, name in enumerate(class_names):
        if target not in targets[known_indices]:
            raise UserError(
                f"the text encoder {(called or preset)!r} knows no word of the class name {name!r}",
                "describe it in `class_descriptions`, rename it by `class_names` or change `text_encoder`",
            )
    known_texts = [texts[index] for index in known_indices]
    require_told_apart(encoder, known_texts, targets[known_indices], class_names, called or preset)
    vectors = trainer.predict(encoder.model, array_batches(encoder.padded(known_texts), batch_size=64))
    return ClassTexts(vectors, targets[known_indices])


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
    indices = [order[labels[order] == label][: count or None] for label in classes]
    return np.sort(np.concatenate(indices))


def epochs_for(epochs: int, whole: int, part: int) -> int:
    """Returns the epochs of a training on some of the examples, where that on all of them has `epochs`.

    A training on a part of them, 1/r, is repeated sqrt(r) times as often: with the epochs of all, few
    examples would give few steps, and with the steps of all they would be learned by heart.
    """
    return round(epochs * math.sqrt(whole / part))


def passes_per_epoch(modality: Modality, positions: np.ndarray) -> int:
    """Returns how often an epoch goes through some training examples (n,): as the rule of `epochs_for` says.

    So a training has as many epochs, and is validated as often, on few examples as on all.
    """
    return epochs_for(1, len(modality.labels["train"]), len(positions))


def train_similarity_classifier(
    modality: Modality,
    positions: np.ndarray,
    classes: np.ndarray,
    trainer: Trainer,
    *,
    scale: float,
    name: str = "similarity classifier",
    transfer: LayerTransfer | None = None,
    epochs: int = 0,
) -> SimilarityClassifier:
    """Trains an encoder and the scorer, from random weights or with layers that were copied.

    The weights of the best epoch are kept, by the loss on the validation examples of the classes.

    Args:
        modality: what to learn from.
        positions: the training examples (n,), all of them of `classes`.
        classes: those that the scorer chooses among (K,).
        trainer: trains it; its seed is that of initial weights, orders and augmentation.
        scale: where its scale starts.
        name: what progress, history and checkpoints call it.
        transfer: layers that are copied from another modality, or stay as they begin.
        epochs: each of `passes_per_epoch`, without stopping early; 0 for the modality's, with patience.
    """
    texts = modality.texts.take(classes)
    with trainer.scope():
        model = scored_classifier(modality.encoder(), texts.vectors, texts.targets, scale=scale)
    transfer_report = transfer_layers(transfer, model) if transfer and transfer.source else None
    for layer in transfer.layers if transfer and transfer.frozen else ():
        model.get_layer(layer).trainable = False
    targets = modality.targets_among(classes, "train", positions)
    held_out = np.flatnonzero(np.isin(modality.labels["validation"], classes))
    validation, _ = modality.eval_batches(
        "validation", held_out, modality.targets_among(classes, "validation", held_out)
    )
    batches, passes = modality.train_batches(positions, targets), passes_per_epoch(modality, positions)
    history = trainer.fit(
        model,
        lambda epoch: concatenate(
            [batches((trainer.seed, passes * epoch + number)) for number in range(passes)]
        ),
        loss=cross_entropy(trainer.config.label_smoothing),
        learning_rate=modality.learning_rate,
        epochs=epochs or modality.epochs,
        validation=validation,
        patience=epochs or trainer.config.patience,
        name=name,
    )
    return SimilarityClassifier(model, history, transfer_report)


def transfer_layers(transfer: LayerTransfer, target: keras.Model) -> TransferReport:
    """Copies layers of one modality's model into another's.

    Raises:
        UserError: when the names of their classes are encoded as vectors of different width.
    """
    source = transfer.source
    assert source is not None
    widths = [model.get_layer("scorer").projection.shape[1] for model in (source, target)]
    if widths[0] != widths[1]:
        raise UserError(
            f"the scorer of {source.name!r} compares vectors of {widths[0]} numbers, "
            f"that of {target.name!r} vectors of {widths[1]}",
            "encode the class names of both by the same `text_encoder`",
        )

    def other_layers(model: keras.Model) -> list[str]:
        return [layer.name for layer in model.layers if layer.name not in transfer.layers]

    return transfer_weights(
        source, target, growth="random", leave=other_layers(target), drop=other_layers(source)
    )


def predict_logits(
    modality: Modality,
    model: keras.Model,
    split: str,
    positions: np.ndarray,
    trainer: Trainer,
    *,
    name: str = "",
) -> np.ndarray:
    """Returns the logits (n, K) of some examples of a split."""
    batches, order = modality.eval_batches(split, positions, modality.labels[split][positions])
    return trainer.predict(model, batches, name=name)[np.argsort(order)]


def with_classes(
    modality: Modality, model: keras.Model, classes: np.ndarray, trainer: Trainer
) -> keras.Model:
    """Returns a model that scores other classes of its modality, by their names alone."""
    texts = modality.texts.take(classes)
    with trainer.strategy.scope():
        return with_descriptions(model, texts.vectors, texts.targets)
