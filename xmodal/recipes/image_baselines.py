"""What image networks without transferred weights reach, and what transfer is worth at few labels."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import keras
import numpy as np

from xmodal import report
from xmodal.data.batches import array_batches
from xmodal.data.images import ImageData, ImageSplit
from xmodal.data.rows import Rows
from xmodal.evaluation.calibration import softmax
from xmodal.evaluation.metrics import Held
from xmodal.models.heads import image_head
from xmodal.models.trainable import set_trainable
from xmodal.recipes.amounts import counts_of
from xmodal.recipes.image_training import train_images
from xmodal.recipes.transfer_worth import Worth, tried_table
from xmodal.runs.inputs import build_trunk
from xmodal.runs.session import Job
from xmodal.tasks.image_classifier import (
    MOST_FIRST,
    compute_statistics,
    fit_head,
    parts_of_pass,
    trunk_features,
)
from xmodal.tasks.similarity_classifier import epochs_for, subset
from xmodal.training.baselines import (
    FROM_SCRATCH,
    NO_TRANSFER,
    RANDOM_FROZEN,
    Attempt,
    best_on_validation,
    better_note,
    from_scratch,
    kept_seconds,
    scratch_note,
)
from xmodal.training.feature_cache import FeatureCache
from xmodal.training.prediction import predict
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

    logits: dict[str, Held]
    notes: dict[str, str]
    histories: tuple[History, ...]
    tried: tuple[Attempt, ...]
    best: str

    def seconds(self, stages: dict[str, float]) -> dict[str, float]:
        """Returns what each of them took, by the seconds of all stages."""
        took = {RANDOM_FROZEN: stages["random frozen"], FROM_SCRATCH: stages["from scratch"]}
        return took | {NO_TRANSFER: took[self.best]}

    def tables(self) -> tuple[report.Table, ...]:
        """Returns what was tried from scratch."""
        return (tried_table(self.tried),)


def image_baselines(
    job: Job, data: ImageData, cache: FeatureCache | None, *, trainable: str, seconds: float
) -> Baselines:
    """Trains the target from random weights: by the candidate's protocol, and as well as its budget allows.

    Args:
        job: the run.
        data: the splits.
        cache: where features are kept for other runs.
        trainable: what of the candidate was trained, as `set_trainable` takes it.
        seconds: that the candidate took.
    """
    config, strategy = job.config, job.strategy

    def new_trunk() -> keras.Model:
        return build_trunk(config, config.image.target, "none", strategy)

    def attempt(rate: float, passes: int):
        # The head of a new network is new too: it is not fitted before all of it learns.
        image = replace(config.image, head_epochs=0, learning_rate=rate, epochs=passes)
        stage = f"from scratch, rate {rate:g}, passes {passes}"
        changed = replace(config, image=image)
        classifier, logits = train_images(
            changed, data, new_trunk(), "all", strategy, stage, job.checkpoints, cache
        )
        return classifier.histories[-1], (classifier, logits)

    with job.clock.stage("random frozen"):
        frozen, of_frozen = train_images(
            config, data, new_trunk(), trainable, strategy, "random frozen", job.checkpoints, cache
        )
    with job.clock.stage("from scratch"):
        scratch, tried = from_scratch(
            attempt,
            rates=config.train.scratch_learning_rates,
            passes=config.image.epochs,
            seconds=kept_seconds(seconds, FROM_SCRATCH, job.checkpoints, strategy),
            strategy=strategy,
            parts=parts_of_pass(len(data.train), config.image)[0],
        )
    logits = {RANDOM_FROZEN: of_frozen, FROM_SCRATCH: scratch.trained[1]}
    best = best_on_validation(
        {name: held.validation for name, held in logits.items()}, data.validation.labels
    )
    return Baselines(
        logits | {NO_TRANSFER: logits[best]},
        {
            RANDOM_FROZEN: f"{config.image.target} of random weights by the protocol of image_only",
            FROM_SCRATCH: scratch_note(config.image.target, scratch, tried),
            NO_TRANSFER: better_note(best, "images"),
        },
        (*frozen.histories, *(item.history for item in tried)),
        tried,
        best,
    )


@dataclass(frozen=True)
class _Kept:
    """Features of a frozen trunk: of views of training images, and of the held-out splits."""

    views: tuple[Rows, ...]
    validation: Rows
    test: Rows


def image_worth(
    job: Job,
    data: ImageData,
    trunks: dict[str, Callable[[], keras.Model]],
    cache: FeatureCache | None,
    known: dict[str, np.ndarray],
) -> list[Worth]:
    """Fits heads on the kept features of two frozen trunks, with few labels and with all.

    Both get the same labels, views, epochs and choice on the validation split.

    Args:
        job: the run; its `--per_class` says how many labels.
        data: the splits; where the trunk is trained further, `MOST_FIRST` images of them at most count.
        trunks: "with" and "without" -> builds the trunk with transferred weights, and that of random ones.
        cache: where features are kept for other runs.
        known: what is answered rightly (N,) by each with all labels, where that was measured before.
    """
    config = job.config
    frozen = config.image.trainable == "head"
    learned = data.train if frozen else data.train.take(data.train.spread(MOST_FIRST))
    classes = np.arange(len(data.class_names))
    kept = {name: _features(job, data, learned, make(), name, cache) for name, make in trunks.items()}
    amounts = []
    counts = counts_of(learned.labels, config.scorer.per_class)
    # Of images that are too many, all are not among the features.
    for count in counts if len(learned) == len(data.train) else counts[:-1]:
        positions = subset(learned.labels, classes, count, config.run.seed)
        right = {
            name: known[name]
            if not count and name in known
            else _right(job, data, learned, positions, of_trunk, f"{name} transfer, {count} a class")
            for name, of_trunk in kept.items()
        }
        amounts.append(Worth(count, len(positions), right["with"], right["without"]))
    return amounts


def _features(
    job: Job, data: ImageData, learned: ImageSplit, trunk: keras.Model, name: str, cache: FeatureCache | None
) -> _Kept:
    config = job.config
    views = config.image.epochs if config.image.trainable == "head" else 1

    # As it was when its features were kept, so that they are found again.
    set_trainable(trunk, "head")
    compute_statistics(trunk, data, config.data.image_size, job.strategy)

    def of_split(split: ImageSplit, what: str, view: int = 0) -> Rows:
        return trunk_features(
            trunk,
            split,
            data_config=config.data,
            config=config.image,
            seed=config.run.seed,
            strategy=job.strategy,
            stage=f"{name} transfer: {what}",
            view=view,
            checkpoints=job.checkpoints,
            cache=cache,
        )

    return _Kept(
        tuple(of_split(learned, f"view {view + 1}/{views}", view) for view in range(views)),
        of_split(data.validation, "validation"),
        of_split(data.test, "test"),
    )


def _right(
    job: Job, data: ImageData, learned: ImageSplit, positions: np.ndarray, kept: _Kept, stage: str
) -> np.ndarray:
    """Fits a head on the features of some training images, and tells which test images it answers rightly."""
    config = job.config
    rows = np.concatenate([view[positions] for view in kept.views])
    targets = np.concatenate([learned.targets[positions]] * len(kept.views))
    with job.strategy.scope():
        keras.utils.set_random_seed(config.run.seed)
        head = image_head(
            rows, len(data.class_names), hidden=config.image.hidden, dropout=config.image.dropout
        )
    longer = partial(epochs_for, whole=len(learned), part=len(positions))
    fit_head(
        head,
        (rows, targets),
        (kept.validation, data.validation.targets),
        config=replace(config.image, patience=longer(config.image.patience)),
        epochs=longer(config.image.head_epochs),
        seed=config.run.seed,
        strategy=job.strategy,
        stage=stage,
        checkpoints=job.checkpoints,
        training=config.train,
    )
    batches = array_batches(kept.test, batch_size=1024)
    logits = predict(head, batches, job.strategy, stage=f"{stage}: test", checkpoints=job.checkpoints)
    return softmax(logits).argmax(axis=1) == data.test.labels
