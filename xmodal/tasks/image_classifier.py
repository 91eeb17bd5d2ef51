"""Images -> logits: a trunk and a head, trained on kept features and then, where asked, as a whole."""

from collections.abc import Callable
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from xmodal.config.data import DataConfig
from xmodal.config.image import ImageConfig
from xmodal.config.training import TrainConfig
from xmodal.data.batches import Batches, array_batches
from xmodal.data.images import ImageData, ImageSplit, batches, equal_parts, learnable
from xmodal.data.rows import Rows
from xmodal.kernels.convolutions import quickly
from xmodal.models.heads import image_head
from xmodal.models.trainable import set_trainable
from xmodal.training.batch_norm import refresh_statistics, without_statistics
from xmodal.training.checkpoint import Checkpoints
from xmodal.training.feature_cache import FeatureCache, features
from xmodal.training.loop import fit
from xmodal.training.losses import cross_entropy
from xmodal.training.optimizers import optimizer_maker
from xmodal.training.prediction import predict
from xmodal.training.progress import History
from xmodal.training.steps import Adversary, Loss

# On how many training images a head is fitted before the network is trained with it, and of how many the
# logits are computed by a network that was trained.
MOST_FIRST = MOST_TOLD = 10_000
# Images of a batch that statistics of a new network are computed on.
STATISTICS_BATCH = 64


@dataclass(frozen=True)
class ImageClassifier:
    """A trained image classifier.

    Attributes:
        trunk: RGB images (B, H, W, 3) from 0 to 255 -> features (B, D).
        head: features (B, D) -> logits (B, C).
        model: the two joined, and where it was asked for, `both_ways`.
        train_logits: computes logits (M, C) of the training images, of each view when the trunk was
            frozen, and otherwise of `MOST_TOLD` of them at most.
        train_labels: their labels (M,).
        validation_logits: logits of the validation split.
        histories: one for each training that it went through.
    """

    trunk: keras.Model
    head: keras.Model
    model: keras.Model
    train_logits: Callable[[], np.ndarray]
    train_labels: np.ndarray
    validation_logits: np.ndarray
    histories: tuple[History, ...]


def compute_statistics(
    trunk: keras.Model, data: ImageData, image_size: int, strategy: tf.distribute.Strategy
) -> None:
    """Computes the statistics of batch normalisation that a trunk of random weights does not have yet.

    Without them its features would be those of no data at all.
    """
    images = pixels(data.train, image_size, STATISTICS_BATCH)
    refresh_statistics(trunk, without_statistics(trunk), images, strategy)


def joined(trunk: keras.Model, head: keras.Model) -> keras.Model:
    """Puts a head on a trunk: RGB images (B, H, W, 3) -> logits (B, C)."""
    return keras.Model(trunk.input, head(trunk.output), name=trunk.name)


def both_ways(model: keras.Model) -> keras.Model:
    """Returns a model that gives the mean logits of an image and of its mirror image, left to right.

    Mirroring at test time: Krizhevsky et al. 2012 (doi:10.1145/3065386), section 4.1.

    Args:
        model: images (B, H, W, 3) -> logits (B, C).
    """
    images = keras.Input(model.input.shape[1:], name="images")
    logits = keras.layers.Average(dtype="float32", name="both_ways")(
        [model(images), model(keras.ops.flip(images, axis=2))]
    )
    return keras.Model(images, logits, name=f"{model.name}_both_ways")


def train_image_classifier(
    trunk: keras.Model,
    data: ImageData,
    *,
    data_config: DataConfig,
    config: ImageConfig,
    trainable: str,
    seed: int,
    strategy: tf.distribute.Strategy,
    stage: str,
    checkpoints: Checkpoints | None = None,
    cache: FeatureCache | None = None,
    training: TrainConfig | None = None,
    budget: float = 0.0,
    mirror: bool = False,
) -> ImageClassifier:
    """Trains a head on a trunk, and the trunk with it from the layer that `trainable` names.

    With a frozen trunk every view of every training image passes the network once and its features
    are kept for all epochs of the head. Otherwise the head is first fitted on the features of the
    images as they are, of `MOST_FIRST` at most, so that fine-tuning starts from a useful gradient
    (LP-FT: Kumar et al. 2022, arXiv:2202.10054), and then all trainable layers learn for
    `config.epochs` passes. With `config.head_epochs` of 0 all of it learns from the first step, and the head
    has batch normalisation.

    Args:
        trunk: RGB images (B, H, W, 3) -> features (B, D), built in the strategy's scope.
        data: the splits; soft labels are learned as they are, and early stopping looks at the validation
            split.
        data_config: gives the image size.
        config: epochs, rates and the rest.
        trainable: "head", "all", or a prefix of a trunk layer's name.
        seed: of initial weights, orders and augmentation.
        strategy: the tf.distribute strategy.
        stage: what progress, histories and checkpoints call it.
        checkpoints: where its trainings and their outputs are kept.
        cache: where the trunk's features are kept for other runs; with the checkpoints without it.
        training: optimizer, precision and what else is common to every training.
        budget: learn on images of `fgsm` within this budget too, for `config.epochs` passes, the head of a
            frozen trunk included; 0 does not.
        mirror: answer `both_ways`.
    """
    training = training or TrainConfig()
    set_trainable(trunk, trainable)
    compute_statistics(trunk, data, data_config.image_size, strategy)
    # What misleads a classifier changes as it learns, and so cannot be kept.
    frozen = trainable == "head" and not budget
    views = config.epochs if frozen else 1
    first = data.train if frozen else data.train.take(data.train.spread(MOST_FIRST))

    def read(split: ImageSplit) -> Batches:
        return pixels(split, data_config.image_size, 4 * config.batch_size)

    def outputs(model: keras.Model, examples: tf.data.Dataset | Batches, name: str) -> np.ndarray:
        return predict(model, examples, strategy, stage=f"{stage}: {name}", checkpoints=checkpoints)

    def trunk_outputs(split: ImageSplit, name: str, view: int = 0) -> Rows:
        return trunk_features(
            trunk,
            split,
            data_config=data_config,
            config=config,
            seed=seed,
            strategy=strategy,
            stage=f"{stage}: {name}",
            view=view,
            checkpoints=checkpoints,
            cache=cache,
        )

    kept: Rows | np.ndarray = np.empty((0, trunk.output.shape[-1]), np.float32)
    held_out: Rows | np.ndarray = kept
    targets = np.concatenate([first.targets] * views)
    if config.head_epochs:
        seen = [trunk_outputs(first, f"view {view + 1}/{views}", view) for view in range(views)]
        kept = Rows(part for rows in seen for part in rows.parts)
        if training.data_service:
            # Its workers cannot reach the files.
            kept = np.asarray(kept)
        held_out = trunk_outputs(data.validation, "validation")
    with strategy.scope():
        keras.utils.set_random_seed(seed)
        head = image_head(
            kept if config.head_epochs else kept.shape[-1],
            len(data.class_names),
            hidden=config.hidden,
            dropout=config.dropout,
        )
        model = joined(trunk, head)
    histories = []
    if config.head_epochs:
        history = fit_head(
            head,
            (kept, targets),
            (held_out, data.validation.targets),
            config=config,
            epochs=config.head_epochs,
            seed=seed,
            strategy=strategy,
            stage=f"{stage}: head",
            checkpoints=checkpoints,
            training=training,
        )
        histories.append(history)
    if not frozen:
        histories.append(
            fine_tune(
                model,
                data,
                data_config=data_config,
                config=config,
                seed=seed,
                strategy=strategy,
                stage=f"{stage}: network",
                checkpoints=checkpoints,
                training=training,
                budget=budget,
            )
        )

    answering = both_ways(model) if mirror else model
    told = data.train
    by_head = frozen and not mirror
    if not by_head:
        told = told.take(told.spread(MOST_TOLD))

    def logits(split: ImageSplit, features: Rows | np.ndarray, name: str) -> np.ndarray:
        if by_head:
            return outputs(head, array_batches(features, batch_size=1024), name)
        return outputs(answering, read(split), name)

    return ImageClassifier(
        trunk=trunk,
        head=head,
        model=answering,
        train_logits=lambda: logits(told, kept, "train logits"),
        train_labels=np.tile(told.labels, views if by_head else 1),
        validation_logits=logits(data.validation, held_out, "validation logits"),
        histories=tuple(histories),
    )


def fit_head(
    head: keras.Model,
    learned: tuple[Rows | np.ndarray, np.ndarray],
    held_out: tuple[Rows | np.ndarray, np.ndarray],
    *,
    config: ImageConfig,
    epochs: int,
    seed: int,
    strategy: tf.distribute.Strategy,
    stage: str,
    checkpoints: Checkpoints | None = None,
    training: TrainConfig,
) -> History:
    """Trains a head on kept features.

    Args:
        head: features (B, D) -> logits (B, C), built in the strategy's scope.
        learned: features (N, D) and their targets, as `batches.array_batches` takes them.
        held_out: those of the validation split, which the weights are chosen by.
        config: rate, batch and the rest.
        epochs: the most of them.
        seed: of the order.
        strategy: the tf.distribute strategy.
        stage: what progress, history and checkpoints call it.
        checkpoints: where it is kept.
        training: optimizer, precision and what else is common to every training.
    """
    return fit(
        head,
        lambda epoch: array_batches(*learned, batch_size=2 * config.batch_size, shuffle_seed=(seed, epoch)),
        loss=cross_entropy(config.label_smoothing),
        optimizer=optimizer_maker(training, config.head_learning_rate),
        epochs=epochs,
        validation=array_batches(*held_out, batch_size=1024),
        patience=config.patience,
        strategy=strategy,
        stage=stage,
        checkpoints=checkpoints,
        config=training,
    )


def trunk_features(
    trunk: keras.Model,
    split: ImageSplit,
    *,
    data_config: DataConfig,
    config: ImageConfig,
    seed: int,
    strategy: tf.distribute.Strategy,
    stage: str,
    view: int = 0,
    checkpoints: Checkpoints | None = None,
    cache: FeatureCache | None = None,
) -> Rows:
    """Returns what a trunk makes of the images of a split (N, D), computed once for all that ask the same.

    Args:
        trunk: RGB images (B, H, W, 3) from 0 to 255 -> features (B, D).
        split: N images.
        data_config: gives the image size.
        config: batch and augmentation.
        seed: of the augmentation.
        strategy: the tf.distribute strategy.
        stage: what progress and checkpoints call it.
        view: 0 for the images as they are, and each other number for an augmentation of its own.
        checkpoints: where the features are kept without a cache.
        cache: where they are kept for other runs.
    """
    augment, size = config.augment if view else (), 4 * config.batch_size
    read = pixels(split, data_config.image_size, size, augment=augment, seed=seed, epoch=view)
    if cache is None:
        return Rows([predict(trunk, read, strategy, stage=stage, checkpoints=checkpoints)])
    facts: dict[str, object] = {"image_size": data_config.image_size, "batch_size": size}
    if view:
        facts |= {"augment": list(config.augment), "seed": seed, "view": view}
    return features(trunk, split, read, strategy, cache=cache, facts=facts, stage=stage)


def fine_tune(
    model: keras.Model,
    data: ImageData,
    *,
    data_config: DataConfig,
    config: ImageConfig,
    seed: int,
    strategy: tf.distribute.Strategy,
    stage: str,
    checkpoints: Checkpoints | None = None,
    training: TrainConfig | None = None,
    budget: float = 0.0,
) -> History:
    """Trains what is trainable of an image classifier for `config.epochs` passes over the images.

    Args:
        model: RGB images (B, H, W, 3) from 0 to 255 -> logits (B, C), built in the strategy's scope.
        data: the splits; the weights that were best on the validation split are kept.
        data_config: gives the image size.
        config: epochs, rate and the rest.
        seed: of orders and augmentation.
        strategy: the tf.distribute strategy.
        stage: what progress, history and checkpoints call it.
        checkpoints: where it is kept.
        training: optimizer, precision and what else is common to every training.
        budget: train on the images of `fgsm` with this budget too; 0 does not.

    Returns:
        The history, with an entry for each part of a pass, see `parts_of_pass`.
    """
    parts, _ = parts_of_pass(len(data.train), config)

    def examples(split: ImageSplit, **order) -> Batches:
        read = batches(
            split, image_size=data_config.image_size, batch_size=config.batch_size, seed=seed, **order
        )
        return read.map(learnable)

    def part_of_pass(number: int) -> Batches:
        epoch, part = divmod(number, parts)
        return examples(data.train, shuffle=True, augment=config.augment, epoch=epoch, part=(part, parts))

    training = training or TrainConfig()
    loss = cross_entropy(config.label_smoothing)
    return fit(
        model,
        part_of_pass,
        loss=loss,
        optimizer=optimizer_maker(training, config.learning_rate),
        epochs=config.epochs * parts,
        validation=examples(data.validation),
        patience=config.patience * parts,
        strategy=strategy,
        stage=stage,
        checkpoints=checkpoints,
        config=training,
        adversary=fgsm(model, loss, budget) if budget else None,
    )


def parts_of_pass(images: int, config: ImageConfig) -> tuple[int, int]:
    """Returns the parts that a pass over so many training images is cut into, and the steps of each."""
    steps = -(-images // config.batch_size)
    parts = equal_parts(steps, config.validations_per_epoch)
    return parts, steps // parts


def fgsm(model: keras.Model, loss: Loss, budget: float) -> Adversary:
    """Returns what moves every value of an image by the budget to where the loss rises, at once.

    The fast gradient sign method: Goodfellow et al. 2015 (arXiv:1412.6572), equation 1 of section 4.

    Args:
        model: images (B, H, W, 3) from 0 to 255 -> logits (B, C).
        loss: (labels, logits) -> losses (B,).
        budget: the most that a value changes by, of 255.
    """

    def changed(images, labels):
        with tf.GradientTape() as tape:
            tape.watch(images)
            losses = loss(labels, tf.cast(quickly(model, images, training=False), tf.float32))
        moved = images + budget * tf.sign(tape.gradient(losses, images))
        return tf.clip_by_value(moved, 0.0, 255.0)

    return changed


def pixels(split: ImageSplit, image_size: int, batch_size: int, **options) -> Batches:
    """Returns batches of the images alone (B, H, W, 3); options as `images.batches` takes them."""
    read = batches(split, image_size=image_size, batch_size=batch_size, **options)
    return read.map(_image)


def _image(batch):
    return batch["image"]
