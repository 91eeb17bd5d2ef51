"""Trainings of the models that read images, texts or both, on what the encoders kept of them."""

from collections.abc import Sequence
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from xmodal.config.config import Config
from xmodal.core.clock import Clock
from xmodal.evaluation.calibration import fit_temperature, softmax
from xmodal.models.fusion import ALONE, FusionSettings, Sides, fusion_model, inputs_of, reads_sides
from xmodal.tasks.pair_encoders import EncodedSplit, Encoders, pair_batches
from xmodal.training.checkpoint import Checkpoints
from xmodal.training.loop import fit
from xmodal.training.losses import cross_entropy
from xmodal.training.optimizers import optimizer_maker
from xmodal.training.prediction import predict
from xmodal.training.progress import History

# Which of the two sides are shown to a model.
SHOWN = ("both", "image", "text")


@dataclass(frozen=True)
class Fused:
    """A classifier of pairs.

    Attributes:
        name: as `fusion_model` takes it.
        model: a dict of these inputs -> logits (B, C).
        history: of its training, None when it had none.
        validation_logits: of the validation pairs, all that they have shown (V, C).
        temperature: calibrates its logits, fitted on these.
    """

    name: str
    model: keras.Model
    history: History | None
    validation_logits: np.ndarray
    temperature: float


@dataclass(frozen=True)
class Setting:
    """What all trainings have in common.

    Attributes:
        config: all flags.
        strategy: the tf.distribute strategy.
        checkpoints: where their states are kept.
        encoders: what the pairs were encoded by.
        encoded: name of a split -> its pairs.
        models: what the models are built of.
        prefix: of what their trainings are called.
    """

    config: Config
    strategy: tf.distribute.Strategy
    checkpoints: Checkpoints
    encoders: Encoders
    encoded: dict[str, EncodedSplit]
    models: FusionSettings
    prefix: str = ""

    @property
    def prior(self) -> np.ndarray:
        """The share of each class among the training pairs (C,)."""
        learned = self.encoded["train"]
        if learned.shares is not None:
            return learned.shares.mean(axis=0, dtype=np.float64)
        return np.bincount(learned.labels, minlength=self.models.texts.targets.max() + 1) / len(learned)


def train_all(setting: Setting, names: Sequence[str], clock: Clock) -> dict[str, Fused]:
    """Makes several models by name; one that `reads_sides` needs those of both sides before it."""
    models: dict[str, Fused] = {}
    for name in names:
        with clock.stage(setting.prefix + name):
            if reads_sides(name):
                models[name] = join_sides(setting, name, *(models[side] for side in ALONE))
            else:
                models[name] = train_fused(setting, name)
    return models


def train_fused(setting: Setting, name: str) -> Fused:
    """Trains a model, on all training pairs that have a side which it reads.

    One that reads both loses one of them in a share of the pairs, other ones in each epoch (modality
    dropout: Neverova et al. 2016, arXiv:1501.00102), so that it learns to do without.

    Args:
        setting: what all trainings have in common.
        name: of a model that does not read sides.
    """
    config, encoders = setting.config, setting.encoders
    learned, held_out = (
        split.take(np.flatnonzero(_readable(name, split)))
        for split in (setting.encoded["train"], setting.encoded["validation"])
    )
    with setting.strategy.scope():
        keras.utils.set_random_seed(config.run.seed)
        model = fusion_model(name, setting.models)
    size = 2 * config.image.batch_size

    def epoch_batches(epoch: int) -> tf.data.Dataset:
        chance = np.random.default_rng((config.run.seed, epoch))
        order = chance.permutation(len(learned))
        seen = dropped(learned, config.fusion.modality_dropout, chance)
        return pair_batches(encoders, seen, inputs_of(name), batch_size=size, order=order, view=epoch)

    history = fit(
        model,
        epoch_batches,
        # Smoothed labels would bend the probabilities that a late fusion multiplies.
        loss=cross_entropy(),
        optimizer=optimizer_maker(config.train, config.fusion.fusion_learning_rate),
        epochs=config.fusion.fusion_epochs,
        validation=pair_batches(encoders, held_out, inputs_of(name), batch_size=1024),
        patience=config.image.patience,
        strategy=setting.strategy,
        stage=setting.prefix + name,
        checkpoints=setting.checkpoints,
        config=config.train,
    )
    return _tempered(setting, name, model, history)


def join_sides(setting: Setting, name: str, image_only: Fused, text_only: Fused) -> Fused:
    """Makes a model of those of each side."""
    temperatures = image_only.temperature, text_only.temperature
    sides = Sides(image_only.model, text_only.model, temperatures, setting.prior)
    with setting.strategy.scope():
        model = fusion_model(name, setting.models, sides)
    return _tempered(setting, name, model, None)


def dropped(split: EncodedSplit, share: float, chance: np.random.Generator) -> EncodedSplit:
    """Takes one side away from a share of the pairs that have both, from half of these the image."""
    draws = np.where(split.has_image & split.has_text, chance.random(len(split)), 0.5)
    return split.showing(
        split.has_image & (draws >= share / 2),
        split.has_text & (draws <= 1 - share / 2),
    )


def logits_of(
    setting: Setting, name: str, model: keras.Model, split_name: str, shown: str = "both", stage: str = ""
) -> np.ndarray:
    """Returns the logits (N, C) of a split's pairs, or of their images or texts alone.

    Args:
        setting: what all trainings have in common.
        name: of the model, as `fusion_model` takes it.
        model: a dict of its inputs -> logits (B, C).
        split_name: "validation" or "test".
        shown: one of `SHOWN`.
        stage: what checkpoints call it, by default the model's name.
    """
    split = _shown(setting.encoded[split_name], shown)
    return predict(
        model,
        pair_batches(setting.encoders, split, inputs_of(name), batch_size=1024),
        setting.strategy,
        stage=f"{setting.prefix}{stage or name}: {split_name}, {shown}",
        checkpoints=setting.checkpoints,
    )


def calibrated(
    setting: Setting, fused: Fused, logits: np.ndarray, split_name: str, shown: str = "both"
) -> np.ndarray:
    """Returns the calibrated probabilities (N, C) of logits that `logits_of` gave for the same arguments.

    Of a pair that shows nothing of what the model reads they are the shares of the classes in training.
    """
    there = _readable(fused.name, _shown(setting.encoded[split_name], shown))
    return np.where(there[:, None], softmax(logits, fused.temperature), setting.prior)


def _shown(split: EncodedSplit, shown: str) -> EncodedSplit:
    return split if shown == "both" else split.only(shown)


def _readable(name: str, split: EncodedSplit) -> np.ndarray:
    """Tells of each pair (N,) whether it has a side that a model reads."""
    return {"image_only": split.has_image, "text_only": split.has_text}.get(
        name, split.has_image | split.has_text
    )


def _tempered(setting: Setting, name: str, model: keras.Model, history: History | None) -> Fused:
    logits = logits_of(setting, name, model, "validation")
    split = setting.encoded["validation"]
    there = _readable(name, split)
    return Fused(name, model, history, logits, fit_temperature(logits[there], split.labels[there]))
