"""Trainings of the models that read images, texts, sounds or several of these, on what encoders kept."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import keras
import numpy as np
import tensorflow as tf

from xmodal.data.modalities import subsets
from xmodal.evaluation.calibration import fit_temperature, softmax
from xmodal.models.fusion import (
    FusionSettings,
    UnimodalModels,
    alone_of,
    fusion_model,
    needs_unimodal_models,
)
from xmodal.runs.session import Session
from xmodal.tasks.pair_encoders import EncodedSplit, Encoders, pair_batches
from xmodal.training.losses import cross_entropy
from xmodal.training.progress import History


@dataclass(frozen=True)
class Fused:
    """A classifier of pairs.

    Attributes:
        name: as `fusion_model` takes it.
        model: a dict of these inputs -> logits (B, C).
        history: of its training, None when it had none.
        validation_logits: of the validation pairs, all that they have being visible (V, C).
        temperature: calibrates its logits, fitted on these.
        seconds: that it took.
    """

    name: str
    model: keras.Model
    history: History | None
    validation_logits: np.ndarray
    temperature: float
    seconds: float = 0.0


@dataclass(frozen=True)
class EncodedPairs:
    """Pairs that encoders of one kind have read, and what models on them are built of.

    Attributes:
        session: the run.
        encoders: what the pairs were encoded by.
        encoded: name of a split -> its pairs.
        models: what the models are built of.
        seconds: of the encoders, and of reading.
        prefix: of what their trainings are called.
    """

    session: Session
    encoders: Encoders
    encoded: dict[str, EncodedSplit]
    models: FusionSettings
    seconds: float
    prefix: str = ""

    @cached_property
    def modalities(self) -> tuple[str, ...]:
        """What the pairs have, in order."""
        return tuple(self.encoded["train"].modalities)

    @cached_property
    def visible(self) -> dict[str, tuple[str, ...]]:
        """What may be visible to a model, by name, see `subsets`; all of it comes first."""
        return subsets(self.modalities)

    @cached_property
    def whole(self) -> str:
        """The name of all modalities together."""
        return next(iter(self.visible))

    @property
    def alone(self) -> tuple[str, ...]:
        """The names of the models of one modality each."""
        return alone_of(self.modalities)

    @property
    def prior(self) -> np.ndarray:
        """The share of each class among the training pairs (C,)."""
        train = self.encoded["train"]
        if train.shares is not None:
            return train.shares.mean(axis=0, dtype=np.float64)
        return np.bincount(train.labels, minlength=self.models.texts.targets.max() + 1) / len(train)


def train_all(pairs: EncodedPairs, names: Sequence[str]) -> dict[str, Fused]:
    """Makes several models by name; one that `needs_unimodal_models` comes after those."""
    models: dict[str, Fused] = {}
    for name in names:
        stage = pairs.prefix + name
        with pairs.session.clock.stage(stage):
            if needs_unimodal_models(name):
                fused = join_unimodal_models(pairs, name, [models[unimodal] for unimodal in pairs.alone])
            else:
                fused = train_fused(pairs, name)
        models[name] = replace(fused, seconds=pairs.session.seconds(stage, stage))
    return models


def train_fused(pairs: EncodedPairs, name: str) -> Fused:
    """Trains a model, on all training pairs that have a side which it reads.

    One that reads several loses some of them in a share of the pairs, other ones in each epoch (modality
    dropout: Neverova et al. 2016, arXiv:1501.00102), so that it learns to do without.

    Args:
        pairs: what the models read.
        name: of a model without `needs_unimodal_models`.
    """
    config, trainer, encoders = pairs.session.config, pairs.session.trainer, pairs.encoders
    train, validation = (
        split.take(np.flatnonzero(_readable_mask(name, split)))
        for split in (pairs.encoded["train"], pairs.encoded["validation"])
    )
    with trainer.scope():
        model = fusion_model(name, pairs.models)
    inputs = tuple(model.input)
    size = 2 * config.train.batch_size

    def epoch_batches(epoch: int) -> tf.data.Dataset:
        rng = np.random.default_rng((config.run.seed, epoch))
        order = rng.permutation(len(train))
        visible_pairs = drop_modalities(train, config.fusion.modality_dropout, rng)
        return pair_batches(encoders, visible_pairs, inputs, batch_size=size, order=order, view=epoch)

    history = trainer.fit(
        model,
        epoch_batches,
        # Smoothed labels would bend the probabilities that a late fusion multiplies.
        loss=cross_entropy(),
        learning_rate=config.fusion.fusion_learning_rate,
        epochs=config.fusion.fusion_epochs,
        validation=pair_batches(encoders, validation, inputs, batch_size=1024),
        name=pairs.prefix + name,
    )
    return _with_temperature(pairs, name, model, history)


def join_unimodal_models(pairs: EncodedPairs, name: str, alone: Sequence[Fused]) -> Fused:
    """Makes a model of those of each modality."""
    models = {modality: fused.model for modality, fused in zip(pairs.modalities, alone, strict=True)}
    unimodal = UnimodalModels(models, tuple(fused.temperature for fused in alone), pairs.prior)
    with pairs.session.trainer.strategy.scope():
        model = fusion_model(name, pairs.models, unimodal)
    return _with_temperature(pairs, name, model, None)


def drop_modalities(split: EncodedSplit, share: float, chance: np.random.Generator) -> EncodedSplit:
    """Lets a share of the pairs show a part of their modalities, each part of them as often.

    A pair that has nothing of its part shows all that it has.
    """
    names = tuple(split.modalities)
    *parts, all_names = reversed(subsets(names).values())
    half = len(parts) // 2
    # Draws below and above these show a part each, those between them everything.
    low = share / 2 * np.arange(1, half + 1) / half
    visible_parts = [*parts[:half], all_names, *parts[half:]]
    draws = np.searchsorted(np.concatenate([low, 1 - low[::-1]]), chance.random(len(split)), side="right")
    visible = {
        name: mask & np.array([name in part for part in visible_parts])[draws]
        for name, mask in split.present.items()
    }
    any_visible = np.logical_or.reduce([*visible.values()])
    return split.showing(
        {name: np.where(any_visible, part, split.present[name]) for name, part in visible.items()}
    )


def logits_of(
    pairs: EncodedPairs,
    name: str,
    model: keras.Model,
    split_name: str,
    visible: str = "",
    stage: str = "",
) -> np.ndarray:
    """Returns the logits (N, C) of a split's pairs, or of a part of their modalities.

    Args:
        pairs: what the models read.
        name: of the model, as `fusion_model` takes it.
        model: a dict of its inputs -> logits (B, C).
        split_name: "validation" or "test".
        visible: one of `EncodedPairs.visible`, by default all.
        stage: what checkpoints call it, by default the model's name.
    """
    visible = visible or pairs.whole
    split = pairs.encoded[split_name].only(pairs.visible[visible])
    return pairs.session.trainer.predict(
        model,
        pair_batches(pairs.encoders, split, tuple(model.input), batch_size=1024),
        name=f"{pairs.prefix}{stage or name}: {split_name}, {visible}",
    )


def calibrate(
    pairs: EncodedPairs, fused: Fused, logits: np.ndarray, split_name: str, visible: str = ""
) -> np.ndarray:
    """Returns the calibrated probabilities (N, C) of logits that `logits_of` gave for the same arguments.

    Of a pair that shows nothing of what the model reads they are the shares of the classes in training.
    """
    split = pairs.encoded[split_name].only(pairs.visible[visible or pairs.whole])
    mask = _readable_mask(fused.name, split)
    return np.where(mask[:, None], softmax(logits, fused.temperature), pairs.prior)


def _readable_mask(name: str, split: EncodedSplit) -> np.ndarray:
    """Tells of each pair (N,) whether it has something that a model reads."""
    present, modality = split.present, name.removesuffix("_only")
    return present[modality] if modality in present else np.logical_or.reduce([*present.values()])


def _with_temperature(pairs: EncodedPairs, name: str, model: keras.Model, history: History | None) -> Fused:
    logits = logits_of(pairs, name, model, "validation")
    split = pairs.encoded["validation"]
    mask = _readable_mask(name, split)
    return Fused(name, model, history, logits, fit_temperature(logits[mask], split.labels[mask]))
