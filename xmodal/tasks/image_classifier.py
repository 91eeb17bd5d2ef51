"""Images -> logits: a backbone and a head, trained on kept features and then, where asked, as a whole."""

from collections.abc import Callable
from dataclasses import asdict, dataclass

import keras
import numpy as np
import tensorflow as tf

from xmodal.config.image import ImageConfig
from xmodal.config.training import TrainConfig
from xmodal.data.batches import Batches, array_batches
from xmodal.data.images import ImageData, ImageSplit, batches, equal_parts, learnable
from xmodal.data.rows import ArrayShards
from xmodal.kernels.convolutions import call_fast
from xmodal.models.heads import image_head
from xmodal.models.trainable import set_trainable
from xmodal.models.window_layers import over_windows
from xmodal.training.batch_norm import refresh_statistics, without_statistics
from xmodal.training.losses import cross_entropy
from xmodal.training.progress import History
from xmodal.training.steps import Adversary, Loss
from xmodal.training.trainer import Trainer

# On how many training images a head is fitted before the network is trained with it, and of how many the
# logits are computed by a network that was trained.
MAX_HEAD_IMAGES = MAX_TRAIN_LOGITS = 10_000
# Images of a batch that statistics of a new network are computed on.
STATISTICS_BATCH = 64


@dataclass(frozen=True)
class ImageClassifier:
    """A trained image classifier.

    Attributes:
        backbone: RGB images (B, H, W, 3) from 0 to 255 -> features (B, D).
        head: features (B, D) -> logits (B, C).
        model: the two joined, and where it was asked for, `both_ways`; of sounds and videos `over_windows`.
        train_logits: computes logits (M, C) of the training images, of each view when the backbone was
            frozen, and otherwise of `MAX_TRAIN_LOGITS` of them at most.
        validation_logits: logits of the validation split.
        logits: computes those of another split (N, C), under a name; with features that are kept where the
            backbone was frozen.
        histories: one for each training that it went through.

    Example:
        >>> trainer, data = Trainer(), load_images("folder:photos", SplitConfig(min_per_class=2))
        >>> with trainer.scope():
        ...     backbone = image_backbone("VGG16", 32, ("block1_pool",), weights="none")
        >>> classifier = train_image_classifier(backbone, data, ImageConfig(epochs=1, head_epochs=1), trainer)
        >>> classifier.validation_logits.shape
        (3, 2)
    """

    backbone: keras.Model
    head: keras.Model
    model: keras.Model
    train_logits: Callable[[], np.ndarray]
    validation_logits: np.ndarray
    logits: Callable[[ImageSplit, str], np.ndarray]
    histories: tuple[History, ...]


def compute_statistics(backbone: keras.Model, data: ImageData, trainer: Trainer) -> None:
    """Computes the statistics of batch normalisation that a backbone of random weights does not have yet.

    Without them its features would be those of no data at all.
    """
    images = pixels(data.train, image_size(backbone), STATISTICS_BATCH)
    refresh_statistics(backbone, without_statistics(backbone), images, trainer.strategy)


def attach_head(backbone: keras.Model, head: keras.Model) -> keras.Model:
    """Puts a head on a backbone: RGB images (B, H, W, 3) -> logits (B, C)."""
    return keras.Model(backbone.input, head(backbone.output), name=backbone.name)


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
    backbone: keras.Model,
    data: ImageData,
    config: ImageConfig,
    trainer: Trainer,
    *,
    name: str = "image classifier",
    epsilon: float = 0.0,
    loss: Loss | keras.losses.Loss | None = None,
) -> ImageClassifier:
    """Trains a head on a backbone, and the backbone with it from the layer that `config.trainable` names.

    With a frozen backbone features of every view of every training image are kept for all epochs of the head.
    Otherwise the head is first fitted on `MAX_HEAD_IMAGES` (LP-FT: Kumar et al. 2022, arXiv:2202.10054),
    and then all layers learn for `config.epochs`; with `config.head_epochs` of 0 they do from the first step.

    Args:
        backbone: RGB images (B, H, W, 3) from 0 to 255 -> features (B, D), built in the trainer's scope.
        data: the splits; soft labels are learned as they are, the validation split stops training early.
        config: what is trained, epochs, rates and augmentation; with `config.mirror` it answers `both_ways`.
        trainer: trains and runs it.
        name: what progress, histories and checkpoints call it.
        epsilon: learn on images of `fgsm` within this distance too, also of a frozen backbone; 0 does not.
        loss: of logits; None for the cross-entropy, with label smoothing.
    """
    set_trainable(backbone, config.trainable)
    compute_statistics(backbone, data, trainer)
    frozen = config.trainable == "head" and not epsilon  # what misleads it changes as it learns
    views = config.epochs if frozen else 1
    examples = data.train if frozen else data.train.take(data.train.spread(MAX_HEAD_IMAGES))
    train, validation = _kept_features(backbone, data, examples, views, config, trainer, name)
    head, model = _with_new_head(backbone, train, data, config, trainer)
    histories = []
    if config.head_epochs:
        train_data = train, np.concatenate([examples.targets] * views)
        held_out, stage = (validation, data.validation.targets), f"{name}: head"
        histories.append(fit_head(head, train_data, held_out, config, trainer, name=stage, loss=loss))
    if not frozen:
        stage = f"{name}: network"
        histories.append(fine_tune(model, data, config, trainer, name=stage, epsilon=epsilon, loss=loss))
    network = _answer_model(model, data, config)
    by_head = frozen and network is model

    def logits(split: ImageSplit, stage: str, features: ArrayShards | np.ndarray | None = None) -> np.ndarray:
        if not by_head:
            return trainer.predict(network, evaluation_pixels(network, split, trainer.config), name=stage)
        if features is None:
            features = backbone_features(backbone, split, config, trainer, name=f"{stage}, features")
        return trainer.predict(head, array_batches(features, batch_size=1024), name=stage)

    logit_images = data.train if by_head else data.train.take(data.train.spread(MAX_TRAIN_LOGITS))
    return ImageClassifier(
        backbone=backbone,
        head=head,
        model=network,
        train_logits=lambda: logits(logit_images, f"{name}: train logits", train),
        validation_logits=logits(data.validation, f"{name}: validation logits", validation),
        logits=logits,
        histories=tuple(histories),
    )


def _answer_model(model: keras.Model, data: ImageData, config: ImageConfig) -> keras.Model:
    """Returns what answers with a trained model: of sounds and videos it is asked about several pictures."""
    if data.train.medium:
        return over_windows(model)
    return both_ways(model) if config.mirror else model


def _with_new_head(
    backbone: keras.Model,
    features: ArrayShards | np.ndarray,
    data: ImageData,
    config: ImageConfig,
    trainer: Trainer,
) -> tuple[keras.Model, keras.Model]:
    """Builds a head on features (N, D), whose statistics it normalises by where there are any, and both."""
    with trainer.scope():
        head = image_head(
            features if len(features) else features.shape[-1],
            len(data.class_names),
            hidden=config.hidden,
            dropout=trainer.config.dropout,
        )
        return head, attach_head(backbone, head)


def _kept_features(
    backbone: keras.Model,
    data: ImageData,
    examples: ImageSplit,
    views: int,
    config: ImageConfig,
    trainer: Trainer,
    name: str,
) -> tuple[ArrayShards | np.ndarray, ArrayShards | np.ndarray]:
    """Returns features of all views of training images, and of the validation images; without a head none."""
    if not config.head_epochs:
        empty = np.empty((0, backbone.output.shape[-1]), np.float32)
        return empty, empty
    view_features = [
        backbone_features(
            backbone, examples, config, trainer, name=f"{name}: view {view + 1}/{views}", view=view
        )
        for view in range(views)
    ]
    train: ArrayShards | np.ndarray = ArrayShards(part for rows in view_features for part in rows.parts)
    if trainer.config.data_service:
        # Its workers cannot reach the files.
        train = np.asarray(train)
    return train, backbone_features(backbone, data.validation, config, trainer, name=f"{name}: validation")


def fit_head(
    head: keras.Model,
    train: tuple[ArrayShards | np.ndarray, np.ndarray],
    validation: tuple[ArrayShards | np.ndarray, np.ndarray],
    config: ImageConfig,
    trainer: Trainer,
    *,
    name: str,
    loss: Loss | keras.losses.Loss | None = None,
) -> History:
    """Trains a head on kept features, for `config.head_epochs` passes at most.

    Args:
        head: features (B, D) -> logits (B, C), built in the trainer's scope.
        train: features (N, D) and their targets, as `batches.array_batches` takes them.
        validation: those of the validation split, which the weights are chosen by.
        config: epochs and rate.
        trainer: trains it; its config has the patience and the batch.
        name: what progress, history and checkpoints call it.
        loss: as `train_image_classifier` takes it.
    """
    size, seed = 2 * trainer.config.batch_size, trainer.seed
    return trainer.fit(
        head,
        lambda epoch: array_batches(*train, batch_size=size, shuffle_seed=(seed, epoch)),
        loss=loss or cross_entropy(trainer.config.label_smoothing),
        learning_rate=config.head_learning_rate,
        epochs=config.head_epochs,
        validation=array_batches(*validation, batch_size=1024),
        name=name,
    )


def backbone_features(
    backbone: keras.Model,
    split: ImageSplit,
    config: ImageConfig,
    trainer: Trainer,
    *,
    name: str,
    view: int = 0,
) -> ArrayShards:
    """Returns what a backbone makes of the images of a split (N, D), computed once for all that ask the same.

    Args:
        backbone: RGB images (B, H, W, 3) from 0 to 255 -> features (B, D); or windows, see `over_windows`.
        split: N images.
        config: augmentation.
        trainer: runs it; its seed is that of the augmentation, its config has the batch.
        name: what progress and checkpoints call it.
        view: 0 for the images as they are, and each other number for an augmentation of its own.
    """
    size, side = 4 * trainer.config.batch_size, image_size(backbone)
    facts: dict[str, object] = {"image_size": side, "batch_size": size}
    if split.medium:
        facts[split.medium.noun] = asdict(split.medium.format)
    if view:
        facts |= {"augment": list(config.augment), "seed": trainer.seed, "view": view}
    augment, windows = config.augment if view else (), len(backbone.inputs[0].shape) == 5
    images = pixels(split, side, size, augment=augment, seed=trainer.seed, epoch=view, windows=windows)
    return trainer.features(backbone, split, images, facts=facts, name=name)


def fine_tune(
    model: keras.Model,
    data: ImageData,
    config: ImageConfig,
    trainer: Trainer,
    *,
    name: str,
    epsilon: float = 0.0,
    loss: Loss | keras.losses.Loss | None = None,
) -> History:
    """Trains what is trainable of an image classifier for `config.epochs` passes over the images.

    Args:
        model: RGB images (B, H, W, 3) from 0 to 255 -> logits (B, C), built in the trainer's scope.
        data: the splits; the weights that were best on the validation split are kept.
        config: epochs, rate and augmentation.
        trainer: trains it; its seed is that of orders and augmentation.
        name: what progress, history and checkpoints call it.
        epsilon: train on the images of `fgsm` within this distance too; 0 does not.
        loss: as `train_image_classifier` takes it.

    Returns:
        The history, with an entry for each part of a pass, see `parts_of_pass`.
    """
    parts, _ = parts_of_pass(len(data.train), config, trainer.config)
    side, size = image_size(model), trainer.config.batch_size

    def examples(split: ImageSplit, **order) -> Batches:
        return batches(split, image_size=side, batch_size=size, seed=trainer.seed, **order).map(learnable)

    def part_of_pass(number: int) -> Batches:
        epoch, part = divmod(number, parts)
        return examples(data.train, shuffle=True, augment=config.augment, epoch=epoch, part=(part, parts))

    smoothed_loss = cross_entropy(trainer.config.label_smoothing)
    return trainer.fit(
        model,
        part_of_pass,
        loss=loss or smoothed_loss,
        learning_rate=config.learning_rate,
        epochs=config.epochs * parts,
        validation=examples(data.validation),
        patience=trainer.config.patience * parts,
        name=name,
        adversary=fgsm(model, smoothed_loss, epsilon) if epsilon else None,
    )


def parts_of_pass(images: int, config: ImageConfig, training: TrainConfig) -> tuple[int, int]:
    """Returns the parts that a pass over so many training images is cut into, and the steps of each."""
    steps = -(-images // training.batch_size)
    parts = equal_parts(steps, config.validations_per_epoch)
    return parts, steps // parts


def fgsm(model: keras.Model, loss: Loss, epsilon: float) -> Adversary:
    """Returns what moves every value of an image by epsilon to where the loss rises, at once.

    The fast gradient sign method: Goodfellow et al. 2015 (arXiv:1412.6572), equation 1 of section 4.

    Args:
        model: images (B, H, W, 3) from 0 to 255 -> logits (B, C).
        loss: (labels, logits) -> losses (B,).
        epsilon: the most that a value changes by, of 255.
    """

    def perturb(images, labels):
        with tf.GradientTape() as tape:
            tape.watch(images)
            losses = loss(labels, tf.cast(call_fast(model, images, training=False), tf.float32))
        shifted_images = images + epsilon * tf.sign(tape.gradient(losses, images))
        return tf.clip_by_value(shifted_images, 0.0, 255.0)

    return perturb


def image_size(model: keras.Model) -> int:
    """Returns the side in pixels of the images that a model takes (B, H, H, 3), or (B, n, H, H, 3)."""
    return model.inputs[0].shape[-2]


def evaluation_pixels(model: keras.Model, split: ImageSplit, training: TrainConfig) -> Batches:
    """Returns batches of a split's images (B, H, W, 3), of the model's size, to run the model over.

    A model `over_windows` gets all pictures of each sound or video (B, n, H, W, 3).
    """
    windows = len(model.inputs[0].shape) == 5
    return pixels(split, image_size(model), 4 * training.batch_size, windows=windows)


def pixels(split: ImageSplit, image_size: int, batch_size: int, **options) -> Batches:
    """Returns batches of the images alone (B, H, W, 3); options as `images.batches` takes them."""
    image_batches = batches(split, image_size=image_size, batch_size=batch_size, **options)
    return image_batches.map(_image)


def _image(batch):
    return batch["image"]
