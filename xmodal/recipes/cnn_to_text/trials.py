"""Trainings of two modalities that are compared: with the scorer that the other one learned, and without."""

from dataclasses import dataclass, replace

import keras
import numpy as np
import tensorflow as tf

from xmodal.config.config import Config
from xmodal.core.errors import UserError
from xmodal.evaluation.calibration import softmax
from xmodal.recipes.amounts import amount
from xmodal.tasks.modality import Modality
from xmodal.tasks.similarity_classifier import (
    MOVED,
    Moving,
    Scored,
    choosing_among,
    epochs_for,
    read,
    subset,
    train_scored,
)
from xmodal.training.baselines import FROM_SCRATCH, RANDOM_FROZEN, Attempt, from_scratch
from xmodal.training.checkpoint import Checkpoints
from xmodal.training.progress import History

# What a transfer is compared with: training alone at the candidate's rate and passes; the same with a scorer
# that stays at random, where the one that moved stays as it is; and at the best rate and passes there are.
ALONE = "alone"


@dataclass(frozen=True)
class Trial:
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
class Setting:
    """What all trainings have in common.

    Attributes:
        config: all flags.
        strategy: the tf.distribute strategy.
        checkpoints: where their states are kept.
        modalities: by name.
        counts: for each modality, the examples a class that are tried, 0 for all.
        unseen: for each modality, the classes that are left out in the measurement of unseen ones.
    """

    config: Config
    strategy: tf.distribute.Strategy
    checkpoints: Checkpoints
    modalities: dict[str, Modality]
    counts: dict[str, tuple[int, ...]]
    unseen: dict[str, np.ndarray]


@dataclass(frozen=True)
class Learned:
    """A trained classifier, and the probabilities (N, C) that it gives to the test examples."""

    scored: Scored
    probabilities: np.ndarray


def unseen_of(modality: Modality, config: Config) -> np.ndarray:
    """Draws the classes that are left out of training in the measurement of unseen classes."""
    classes = len(modality.class_names)
    if config.scorer.unseen > classes - 2:
        raise UserError(
            f"--unseen={config.scorer.unseen} leaves less than 2 of the {classes} classes of the "
            f"{modality.name} to learn from",
            f"give at most {classes - 2}",
        )
    return np.sort(np.random.default_rng(config.run.seed).permutation(classes)[: config.scorer.unseen])


def trials(setting: Setting) -> list[Trial]:
    """Returns the trainings of a seed but those from scratch: each after those that its scorer comes from."""
    alone = [Trial(name, count) for name, counts in setting.counts.items() for count in counts]
    moved = [
        Trial(name, count, source)
        for source, name in setting.config.scorer.directions
        for count in setting.counts[name]
    ]
    frozen = setting.config.train.baseline and setting.config.scorer.freeze_moved
    return alone + moved + (_beside(moved, RANDOM_FROZEN) if frozen else [])


def trials_from_scratch(setting: Setting) -> list[Trial]:
    """Returns the trainings from scratch: one beside each that a scorer moves into."""
    moved = [trial for trial in trials(setting) if trial.source]
    return _beside(moved, FROM_SCRATCH) if setting.config.train.baseline else []


def _beside(moved: list[Trial], way: str) -> list[Trial]:
    return [replace(trial, source=None, way=way) for trial in moved]


def learn(setting: Setting, trial: Trial, alone: dict[str, keras.Model], seed: int) -> Learned:
    """Trains, and answers for the test examples."""
    positions, classes = _all_classes(setting, trial, seed)
    stage = f"{trial.name}, seed {seed}"
    return answered(setting, trial, _trained(setting, trial, positions, classes, alone, seed, stage), seed)


def try_from_scratch(
    setting: Setting, trial: Trial, seconds: float, seed: int
) -> tuple[Attempt[Scored], tuple[Attempt[Scored], ...]]:
    """Trains from scratch with several rates, and for as many passes as fit in some seconds.

    Each rate is tried with the candidate's own passes: of few examples a single one is a step or two.

    Args:
        setting: what all trainings have in common.
        trial: one of `trials_from_scratch`.
        seconds: that the candidate took, the training that its scorer comes from included.
        seed: of the trainings.

    Returns:
        The best attempt on the validation split, and all of them.
    """
    modality = setting.modalities[trial.modality]
    examples = len(_all_classes(setting, trial, seed)[0])
    passes = epochs_for(modality.epochs, len(modality.labels["train"]), examples)
    return from_scratch(
        lambda rate, passes: _from_scratch(setting, trial, rate, passes, seed),
        rates=setting.config.train.scratch_learning_rates,
        passes=passes,
        searched=passes,
        seconds=seconds,
        strategy=setting.strategy,
    )


def again_from_scratch(setting: Setting, trial: Trial, found: Attempt[Scored], seed: int) -> Scored:
    """Trains from scratch with the rate and the passes that were found with another seed."""
    return _from_scratch(setting, trial, found.rate, found.passes, seed)[1]


def _from_scratch(
    setting: Setting, trial: Trial, rate: float, passes: int, seed: int
) -> tuple[History, Scored]:
    positions, classes = _all_classes(setting, trial, seed)
    stage = f"{trial.name}, rate {rate:g}, {passes} passes, seed {seed}"
    scored = _trained(setting, trial, positions, classes, {}, seed, stage, rate=rate, epochs=passes)
    return scored.history, scored


def answered(setting: Setting, trial: Trial, scored: Scored, seed: int) -> Learned:
    """Answers for the test examples."""
    every = np.arange(len(truth_of(setting, trial)))
    modality, stage = setting.modalities[trial.modality], f"{trial.name}, seed {seed}"
    return Learned(scored, softmax(_read(setting, modality, scored.model, every, stage)))


def _all_classes(setting: Setting, trial: Trial, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the training examples of a trial, and the classes that they are of: all."""
    modality = setting.modalities[trial.modality]
    classes = np.arange(len(modality.class_names))
    return subset(modality.labels["train"], classes, trial.count, seed), classes


def unseen_trials(setting: Setting) -> list[Trial]:
    """Returns the trainings without the unseen classes: each modality alone, then with the other's scorer."""
    count = setting.config.scorer.seen_per_class
    alone = [Trial(name, count) for name in setting.modalities]
    return alone + [Trial(name, count, source) for source, name in setting.config.scorer.directions]


def tell_unseen(setting: Setting, trial: Trial, alone: dict[str, keras.Model], seed: int) -> np.ndarray:
    """Trains on the other classes, and tells whether each test example of an unseen one is named rightly."""
    modality, unseen = setting.modalities[trial.modality], setting.unseen[trial.modality]
    seen = np.setdiff1d(np.arange(len(modality.class_names)), unseen)
    positions = subset(modality.labels["train"], seen, trial.count, seed)
    stage = f"{trial.name}, seed {seed}, some classes unseen"
    scored = _trained(setting, trial, positions, seen, alone, seed, stage)
    model = choosing_among(modality, scored.model, unseen, setting.strategy)
    test = np.flatnonzero(np.isin(modality.labels["test"], unseen))
    logits = _read(setting, modality, model, test, stage)
    return unseen[logits.argmax(axis=1)] == modality.labels["test"][test]


def _trained(
    setting: Setting,
    trial: Trial,
    positions: np.ndarray,
    classes: np.ndarray,
    alone: dict[str, keras.Model],
    seed: int,
    stage: str,
    rate: float = 0.0,
    epochs: int = 0,
) -> Scored:
    config, modality = setting.config, setting.modalities[trial.modality]
    layers = MOVED[config.scorer.move]
    stays = config.scorer.freeze_moved if trial.source else trial.way == RANDOM_FROZEN
    return train_scored(
        replace(modality, learning_rate=rate or modality.learning_rate),
        positions,
        classes,
        scale=config.text.similarity_scale,
        seed=seed,
        strategy=setting.strategy,
        stage=stage,
        moving=Moving(alone[trial.source], layers) if trial.source else None,
        frozen=layers if stays else (),
        epochs=epochs,
        checkpoints=setting.checkpoints,
        training=config.train,
    )


def _read(setting: Setting, modality: Modality, model, positions: np.ndarray, stage: str) -> np.ndarray:
    return read(
        modality,
        model,
        "test",
        positions,
        strategy=setting.strategy,
        stage=f"{stage}: test",
        checkpoints=setting.checkpoints,
    )


def truth_of(setting: Setting, trial: Trial) -> np.ndarray:
    """Returns the classes (N,) of a training's test examples."""
    return setting.modalities[trial.modality].labels["test"]
