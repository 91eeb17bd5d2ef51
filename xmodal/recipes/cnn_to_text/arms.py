"""Trainings of several modalities that are compared: with the scorer of another one, and without."""

from dataclasses import dataclass, replace

import keras
import numpy as np

from xmodal.config.config import Config
from xmodal.core.errors import UserError
from xmodal.evaluation.calibration import softmax
from xmodal.recipes.amounts import amount
from xmodal.runs.session import Session
from xmodal.tasks.modality import Modality
from xmodal.tasks.similarity_classifier import (
    TRANSFERABLE,
    LayerTransfer,
    SimilarityClassifier,
    passes_per_epoch,
    predict_logits,
    subset,
    train_similarity_classifier,
    with_classes,
)
from xmodal.training.baselines import FROM_SCRATCH, RANDOM_FROZEN, Attempt, from_scratch
from xmodal.training.progress import History

# What a transfer is compared with: training alone at the candidate's rate and passes; the same with a scorer
# that stays at random, where the one that moved stays as it is; and at the best rate and passes there are.
ALONE = "alone"


@dataclass(frozen=True)
class Arm:
    """A training that is repeated with every seed.

    Attributes:
        modality: of the examples.
        count: how many of them a class, 0 for all.
        source: the modality that the scorer comes from, None for one that starts at random.
        way: how it is trained without a source: `ALONE`, `RANDOM_FROZEN` or `FROM_SCRATCH`.
    """

    modality: str
    count: int
    source: str | None = None
    way: str = ALONE

    @property
    def name(self) -> str:
        """What stages and results call it."""
        start = f", scorer from {self.source}" if self.source else ""
        way = f", {self.way}" if self.way != ALONE else ""
        return f"{self.modality}, {amount(self.count)} a class{start}{way}"


@dataclass(frozen=True)
class Experiment:
    """What all arms have in common.

    Attributes:
        session: the run; each training has a seed of its own.
        modalities: by name.
        counts: for each modality, the examples a class that are tried, 0 for all.
        zero_shot_classes: for each modality, the classes that are left out in the measurement of unseen ones.
    """

    session: Session
    modalities: dict[str, Modality]
    counts: dict[str, tuple[int, ...]]
    zero_shot_classes: dict[str, np.ndarray]


@dataclass(frozen=True)
class TrainedArm:
    """A trained classifier, and the probabilities (N, C) that it gives to the test examples."""

    scored: SimilarityClassifier
    probabilities: np.ndarray


def zero_shot_classes_of(modality: Modality, config: Config) -> np.ndarray:
    """Draws the classes that are left out of training in the measurement of unseen classes."""
    classes = len(modality.class_names)
    if config.scorer.unseen > classes - 2:
        raise UserError(
            f"`unseen={config.scorer.unseen}` leaves less than 2 of the {classes} classes of the "
            f"{modality.name} to learn from",
            f"give at most {classes - 2}",
        )
    return np.sort(np.random.default_rng(config.run.seed).permutation(classes)[: config.scorer.unseen])


def arms_of(experiment: Experiment) -> list[Arm]:
    """Returns the trainings of a seed but those from scratch: each after those that its scorer comes from."""
    single_arms = [Arm(name, count) for name, counts in experiment.counts.items() for count in counts]
    transfer_arms = [
        Arm(name, count, source)
        for source, name in experiment.session.config.scorer.directions
        for count in experiment.counts[name]
    ]
    frozen = experiment.session.config.train.baseline and experiment.session.config.scorer.freeze_moved
    return single_arms + transfer_arms + (_baseline_arms(transfer_arms, RANDOM_FROZEN) if frozen else [])


def arms_from_scratch(experiment: Experiment) -> list[Arm]:
    """Returns the trainings from scratch: one beside each that a scorer moves into."""
    transfer_arms = [arm for arm in arms_of(experiment) if arm.source]
    return _baseline_arms(transfer_arms, FROM_SCRATCH) if experiment.session.config.train.baseline else []


def _baseline_arms(transfer_arms: list[Arm], way: str) -> list[Arm]:
    # One beside all that move into the same.
    return list(dict.fromkeys(replace(arm, source=None, way=way) for arm in transfer_arms))


def train_arm(experiment: Experiment, arm: Arm, alone: dict[str, keras.Model], seed: int) -> TrainedArm:
    """Trains, and answers for the test examples."""
    positions, classes = _all_classes(experiment, arm, seed)
    stage = f"{arm.name}, seed {seed}"
    return evaluate_arm(
        experiment, arm, _train(experiment, arm, positions, classes, alone, seed, stage), seed
    )


def search_from_scratch(
    experiment: Experiment, arm: Arm, seconds: float, seed: int
) -> list[Attempt[SimilarityClassifier]]:
    """Trains from scratch with several rates, and for as many passes as fit in some seconds.

    Each rate is tried with the candidate's own passes: of few examples a single one is a step or two.

    Args:
        experiment: what all trainings have in common.
        arm: one of `arms_from_scratch`.
        seconds: that the candidate took, the training that its scorer comes from included.
        seed: of the trainings.

    Returns:
        All attempts, of which the first one is the best on the validation split.
    """
    modality = experiment.modalities[arm.modality]
    passes = _passes_per_epoch(experiment, arm, seed)
    best, attempts = from_scratch(
        lambda rate, epochs: _train_from_scratch(experiment, arm, rate, epochs, seed),
        rates=experiment.session.config.train.scratch_learning_rates,
        passes=modality.epochs,
        searched=modality.epochs,
        seconds=seconds,
        trainer=experiment.session.trainer,
    )
    ordered = [best, *(attempt for attempt in attempts if attempt is not best)]
    return [replace(attempt, passes=passes * attempt.passes) for attempt in ordered]


def repeat_from_scratch(
    experiment: Experiment, arm: Arm, attempt: Attempt[SimilarityClassifier], seed: int
) -> SimilarityClassifier:
    """Trains from scratch with the rate and the passes that were found with another seed."""
    epochs = attempt.passes // _passes_per_epoch(experiment, arm, seed)
    return _train_from_scratch(experiment, arm, attempt.rate, epochs, seed)[1]


def _passes_per_epoch(experiment: Experiment, arm: Arm, seed: int) -> int:
    return passes_per_epoch(experiment.modalities[arm.modality], _all_classes(experiment, arm, seed)[0])


def _train_from_scratch(
    experiment: Experiment, arm: Arm, rate: float, epochs: int, seed: int
) -> tuple[History, SimilarityClassifier]:
    positions, classes = _all_classes(experiment, arm, seed)
    passes = epochs * _passes_per_epoch(experiment, arm, seed)
    stage = f"{arm.name}, rate {rate:g}, {passes} passes, seed {seed}"
    classifier = _train(experiment, arm, positions, classes, {}, seed, stage, rate=rate, epochs=epochs)
    return classifier.history, classifier


def evaluate_arm(experiment: Experiment, arm: Arm, scored: SimilarityClassifier, seed: int) -> TrainedArm:
    """Answers for the test examples."""
    indices = np.arange(len(truth_of(experiment, arm)))
    modality, stage = experiment.modalities[arm.modality], f"{arm.name}, seed {seed}"
    return TrainedArm(scored, softmax(_predict(experiment, modality, scored.model, indices, stage)))


def _all_classes(experiment: Experiment, arm: Arm, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the training examples of a arm, and the classes that they are of: all."""
    modality = experiment.modalities[arm.modality]
    classes = np.arange(len(modality.class_names))
    return subset(modality.labels["train"], classes, arm.count, seed), classes


def zero_shot_arms(experiment: Experiment) -> list[Arm]:
    """Returns the trainings without the unseen classes: each modality alone, then with the other's scorer."""
    count = experiment.session.config.scorer.seen_per_class
    single_arms = [Arm(name, count) for name in experiment.modalities]
    return single_arms + [
        Arm(name, count, source) for source, name in experiment.session.config.scorer.directions
    ]


def evaluate_zero_shot(
    experiment: Experiment, arm: Arm, alone: dict[str, keras.Model], seed: int
) -> np.ndarray:
    """Trains on the other classes, and tells whether each test example of an unseen one is named rightly."""
    modality, unseen_classes = experiment.modalities[arm.modality], experiment.zero_shot_classes[arm.modality]
    seen_classes = np.setdiff1d(np.arange(len(modality.class_names)), unseen_classes)
    positions = subset(modality.labels["train"], seen_classes, arm.count, seed)
    stage = f"{arm.name}, seed {seed}, some classes unseen"
    classifier = _train(experiment, arm, positions, seen_classes, alone, seed, stage)
    model = with_classes(modality, classifier.model, unseen_classes, experiment.session.trainer)
    test = np.flatnonzero(np.isin(modality.labels["test"], unseen_classes))
    logits = _predict(experiment, modality, model, test, stage)
    return unseen_classes[logits.argmax(axis=1)] == modality.labels["test"][test]


def _train(
    experiment: Experiment,
    arm: Arm,
    positions: np.ndarray,
    classes: np.ndarray,
    alone: dict[str, keras.Model],
    seed: int,
    stage: str,
    rate: float = 0.0,
    epochs: int = 0,
) -> SimilarityClassifier:
    config, modality = experiment.session.config, experiment.modalities[arm.modality]
    frozen = config.scorer.freeze_moved if arm.source else arm.way == RANDOM_FROZEN
    source = alone[arm.source] if arm.source else None
    return train_similarity_classifier(
        replace(modality, learning_rate=rate or modality.learning_rate),
        positions,
        classes,
        replace(experiment.session.trainer, seed=seed),
        scale=config.text.similarity_scale,
        name=stage,
        transfer=LayerTransfer(source, TRANSFERABLE[config.scorer.move], frozen),
        epochs=epochs,
    )


def _predict(
    experiment: Experiment, modality: Modality, model, positions: np.ndarray, stage: str
) -> np.ndarray:
    return predict_logits(
        modality, model, "test", positions, experiment.session.trainer, name=f"{stage}: test"
    )


def truth_of(experiment: Experiment, arm: Arm) -> np.ndarray:
    """Returns the classes (N,) of a training's test examples."""
    return experiment.modalities[arm.modality].labels["test"]
