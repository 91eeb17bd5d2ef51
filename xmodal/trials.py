"""Trainings of two modalities that are compared: alone, and with the scorer that the other one learned."""

from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from xmodal.bridge import softmax
from xmodal.checkpoint import Checkpoints
from xmodal.config import Config
from xmodal.errors import UserError
from xmodal.modality import Modality
from xmodal.scored_classifier import MOVED, Moving, Scored, choosing_among, read, subset, train_scored


@dataclass(frozen=True)
class Trial:
    """A training that is repeated with every seed.

    Attributes:
        modality: of the examples.
        count: how many of them a class, 0 for all.
        source: the modality that the scorer comes from, None for one that starts at random.
    """

    modality: str
    count: int
    source: str | None = None

    @property
    def name(self) -> str:
        """What stages and results call it."""
        start = f", scorer from {self.source}" if self.source else ""
        return f"{self.modality}, {amount(self.count)} a class{start}"


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


def counts_of(labels: np.ndarray, per_class: tuple[int, ...]) -> tuple[int, ...]:
    """Returns the counts that are less than all examples of some class, in rising order, and 0 for all.

    Args:
        labels: of the training examples (N,).
        per_class: the counts that are asked for.
    """
    largest = np.bincount(labels).max()
    return (*sorted({count for count in per_class if 0 < count < largest}), 0)


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
    """Returns all trainings of a seed: each after those that its scorer comes from."""
    alone = [Trial(name, count) for name, counts in setting.counts.items() for count in counts]
    moved = [
        Trial(name, count, source)
        for source, name in setting.config.scorer.directions
        for count in setting.counts[name]
    ]
    return alone + moved


def learn(setting: Setting, trial: Trial, alone: dict[str, keras.Model], seed: int) -> Learned:
    """Trains, and answers for the test examples."""
    modality = setting.modalities[trial.modality]
    classes = np.arange(len(modality.class_names))
    positions = subset(modality.labels["train"], classes, trial.count, seed)
    stage = f"{trial.name}, seed {seed}"
    scored = _trained(setting, trial, positions, classes, alone, seed, stage)
    logits = _read(setting, modality, scored.model, np.arange(len(modality.labels["test"])), stage)
    return Learned(scored, softmax(logits))


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


def _trained(setting: Setting, trial: Trial, positions, classes, alone, seed: int, stage: str) -> Scored:
    config = setting.config
    moving = None
    if trial.source:
        layers = MOVED[config.scorer.move]
        moving = Moving(alone[trial.source], layers, frozen=config.scorer.freeze_moved)
    return train_scored(
        setting.modalities[trial.modality],
        positions,
        classes,
        scale=config.text.similarity_scale,
        seed=seed,
        strategy=setting.strategy,
        stage=stage,
        moving=moving,
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


def amount(count: int) -> str:
    """Returns a count of examples a class in words; 0 is all."""
    return str(count) if count else "all"
