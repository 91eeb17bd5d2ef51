"""What image networks without transferred weights reach, and what transfer is worth at few labels."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import keras
import numpy as np

from xmodal import report
from xmodal.data.batches import array_batches
from xmodal.data.images import ImageData, ImageSplit
from xmodal.data.rows import ArrayShards
from xmodal.evaluation.calibration import softmax
from xmodal.evaluation.metrics import HeldOut
from xmodal.models.heads import image_head
from xmodal.models.trainable import set_trainable
from xmodal.recipes.amounts import counts_of
from xmodal.recipes.image_training import (
    attempt_name,
    held_out_logits,
    train_images,
    train_images_from_scratch,
)
from xmodal.recipes.transfer_worth import Worth, tried_table
from xmodal.runs.inputs import build_backbone
from xmodal.runs.session import Session
from xmodal.tasks.image_classifier import (
    MAX_HEAD_IMAGES,
    backbone_features,
    compute_statistics,
    fit_head,
)
from xmodal.tasks.similarity_classifier import epochs_for, subset
from xmodal.training.baselines import (
    FROM_SCRATCH,
    NO_TRANSFER,
    RANDOM_FROZEN,
    Attempt,
    best_on_validation,
    better_note,
    kept_seconds,
    scratch_note,
)
from xmodal.training.progress import History


@dataclass(frozen=True)
class Baselines:
    """Networks of random weights.

    Attributes:
        logits: name -> class logits of the held-out images.
        notes: name -> what it is.
        histories: of their trainings.
        tried: the trainings from scratch.
        best: the name of the one that the validation split found better.
    """

    logits: dict[str, HeldOut]
    notes: dict[str, str]
    histories: tuple[History, ...]
    tried: tuple[Attempt, ...]
    best: str

    def tables(self) -> tuple[report.Table, ...]:
        """Returns what was tried from scratch."""
        return (tried_table(self.tried),)


def image_baselines(session: Session, data: ImageData) -> Baselines:
    """Trains the target from random weights: by the candidate's protocol, and as well as its budget allows.

    Args:
        session: the run, with the seconds of the candidate, "image_only".
        data: the splits.
    """
    config, trainer, image = session.config, session.trainer, session.config.image

    def new_backbone() -> keras.Model:
        return build_backbone(config, image.target, "none", trainer)

    with session.clock.stage("random frozen"):
        frozen, frozen_logits = train_images(new_backbone(), data, image, trainer, name="random frozen")
    with session.clock.stage("from scratch"):
        scratch, attempts = train_images_from_scratch(
            new_backbone,
            data,
            image,
            trainer,
            name="from scratch",
            passes=image.epochs,
            seconds=kept_seconds(session.result_seconds["image_only"], FROM_SCRATCH, trainer),
        )
        best_name = attempt_name("from scratch", scratch.rate, scratch.passes)
        scratch_logits = held_out_logits(scratch.trained, data, name=best_name)
    logits = {RANDOM_FROZEN: frozen_logits, FROM_SCRATCH: scratch_logits}
    best = best_on_validation(
        {name: held_out.validation for name, held_out in logits.items()}, data.validation.labels
    )
    session.seconds(RANDOM_FROZEN, "random frozen")
    session.seconds(FROM_SCRATCH, "from scratch")
    session.seconds(NO_TRANSFER, best)
    return Baselines(
        logits | {NO_TRANSFER: logits[best]},
        {
            RANDOM_FROZEN: f"{image.target} of random weights by the protocol of image_only",
            FROM_SCRATCH: scratch_note(image.target, scratch, attempts),
            NO_TRANSFER: better_note(best, "images"),
        },
        (*frozen.histories, *(item.history for item in attempts)),
        attempts,
        best,
    )


@dataclass(frozen=True)
class _FrozenFeatures:
    """Features of a frozen backbone: of views of training images, and of the held-out splits."""

    views: tuple[ArrayShards, ...]
    validation: ArrayShards
    test: ArrayShards


def image_worth(
    session: Session,
    data: ImageData,
    backbones: dict[str, Callable[[], keras.Model]],
    known: dict[str, np.ndarray],
) -> list[Worth]:
    """Fits heads on the kept features of two frozen backbones, with few labels and with all.

    Both get the same labels, views, epochs and choice on the validation split.

    Args:
        session: the run; its `--per_class` says how many labels.
        data: the splits; where the backbone is trained further, `MAX_HEAD_IMAGES` images at most count.
        backbones: "with" and "without" -> builds the one with transferred weights, and that of random ones.
        known: what is answered rightly (N,) by each with all labels, where that was measured before.
    """
    config = session.config
    frozen = config.image.trainable == "head"
    train = data.train if frozen else data.train.take(data.train.spread(MAX_HEAD_IMAGES))
    classes = np.arange(len(data.class_names))
    features = {name: _features(session, data, train, make(), name) for name, make in backbones.items()}
    amounts = []
    counts = counts_of(train.labels, config.scorer.per_class)
    # Of images that are too many, all are not among the features.
    for count in counts if len(train) == len(data.train) else counts[:-1]:
        positions = subset(train.labels, classes, count, config.run.seed)
        right = {
            name: known[name]
            if not count and name in known
            else _right(session, data, train, positions, matrix, f"{name} transfer, {count} a class")
            for name, matrix in features.items()
        }
        amounts.append(Worth(count, len(positions), right["with"], right["without"]))
    return amounts


def _features(
    session: Session, data: ImageData, train: ImageSplit, backbone: keras.Model, name: str
) -> _FrozenFeatures:
    config, trainer = session.config.image, session.trainer
    views = config.epochs if config.trainable == "head" else 1

    # As it was when its features were kept, so that they are found again.
    set_trainable(backbone, "head")
    compute_statistics(backbone, data, trainer)

    def of_split(split: ImageSplit, part: str, view: int = 0) -> ArrayShards:
        stage = f"{name} transfer: {part}"
        return backbone_features(backbone, split, config, trainer, name=stage, view=view)

    return _FrozenFeatures(
        tuple(of_split(train, f"view {view + 1}/{views}", view) for view in range(views)),
        of_split(data.validation, "validation"),
        of_split(data.test, "test"),
    )


def _right(
    session: Session,
    data: ImageData,
    train: ImageSplit,
    positions: np.ndarray,
    features: _FrozenFeatures,
    name: str,
) -> np.ndarray:
    """Fits a head on the features of some training images, and tells which test images it answers rightly."""
    config, trainer = session.config.image, session.trainer
    rows = np.concatenate([view[positions] for view in features.views])
    targets = np.concatenate([train.targets[positions]] * len(features.views))
    with trainer.scope():
        head = image_head(rows, len(data.class_names), hidden=config.hidden, dropout=trainer.config.dropout)
    scaled_epochs = partial(epochs_for, whole=len(train), part=len(positions))
    fit_head(
        head,
        (rows, targets),
        (features.validation, data.validation.targets),
        replace(config, head_epochs=scaled_epochs(config.head_epochs)),
        trainer.with_options(patience=scaled_epochs(trainer.config.patience)),
        name=name,
    )
    logits = trainer.predict(head, array_batches(features.test, batch_size=1024), name=f"{name}: test")
    return softmax(logits).argmax(axis=1) == data.test.labels
