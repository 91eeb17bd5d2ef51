"""How the encoders of pairs come about: by the flags, and from random weights, to show what is transferred.

The same protocol with random weights is called "random_frozen"; "from_scratch" trains each encoder as a whole
on its side of the pairs. What the classes are called is encoded by the same BERT for all of them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, TypeVar

import keras
import numpy as np

from xmodal.data.pairs import PairData
from xmodal.evaluation.calibration import softmax
from xmodal.models.fusion import FusionSettings, needs_unimodal_models
from xmodal.models.heads import ClassTexts
from xmodal.models.text_encoder import TextEncoder
from xmodal.recipes.fusion.classifiers import EncodedPairs, calibrate, logits_of, train_all
from xmodal.recipes.fusion.encoders import (
    all_encoders,
    encoded_pairs,
    picture_backbone,
    picture_config,
    picture_encoder,
    pictures_of,
    read_pictures,
    read_texts,
    sentence_encoder,
    train_texts,
)
from xmodal.recipes.image_training import image_scratch_protocol
from xmodal.recipes.text_training import text_scratch_protocol
from xmodal.runs.session import Session
from xmodal.tasks.image_classifier import parts_of_pass, train_image_classifier
from xmodal.tasks.pair_encoders import samples
from xmodal.training.baselines import FROM_SCRATCH, Attempt, from_scratch, kept_seconds
from xmodal.training.progress import History

T = TypeVar("T")


@dataclass(frozen=True)
class EncoderInputs:
    """What the encoders of a run share.

    Attributes:
        session: the run.
        data: the pairs.
        preset: the text encoder, as `text_encoder.text_encoder` takes it.
        texts: what the classes are called, encoded.
    """

    session: Session
    data: PairData
    preset: str
    texts: ClassTexts

    @property
    def modalities(self) -> tuple[str, ...]:
        """What the pairs have, in order."""
        return tuple(self.data.train.present)


@dataclass(frozen=True)
class Answers:
    """What a fusion on encoders without transfer answers.

    Attributes:
        validation_logits: (V, C).
        probabilities: calibrated, of the test pairs (N, C).
        uncalibrated: the same before.
        histories: of all trainings.
        seconds: of all that it took.
    """

    validation_logits: np.ndarray
    probabilities: np.ndarray
    uncalibrated: np.ndarray
    histories: tuple[History, ...]
    seconds: float


def by_flags(
    inputs: EncoderInputs, *, image_weights: str, text_weights: Literal["preset", "none"], prefix: str = ""
) -> EncodedPairs:
    """Makes the encoders, trains them where the flags ask for it, and reads all pairs with them."""
    session, encoders = inputs.session, {}
    histories: list[History] = []
    config = session.config
    for modality in inputs.modalities:
        stage = encoder_stage(prefix, modality)
        with session.clock.stage(stage):
            encoders[modality], encoder_histories = (
                sentence_encoder(session, inputs.data, inputs.preset, weights=text_weights, name=stage)
                if modality == "text"
                else picture_encoder(session, inputs.data, modality, weights=image_weights, name=stage)
            )
        histories += encoder_histories
    views = {
        modality: picture_config(config, modality).epochs if config.image.trainable == "head" else 1
        for modality in inputs.data.train.pictured
    }
    return _read(inputs, encoders, tuple(histories), views, prefix)


def encoder_stage(prefix: str, modality: str) -> str:
    """Returns the stage in which the encoder of a modality, such as "image", is trained."""
    return f"{prefix}{modality} encoder"


def _read(
    inputs: EncoderInputs,
    encoder_by_modality: dict[str, Any],
    histories: tuple[History, ...],
    views: dict[str, int],
    prefix: str,
) -> EncodedPairs:
    """Reads all pairs, and notes the seconds of each modality, its encoder included.

    Args:
        inputs: of the run.
        encoder_by_modality: modality -> its encoder.
        histories: of their trainings.
        views: modality -> views of each training picture.
        prefix: of what stages are called.
    """
    session, config, data = inputs.session, inputs.session.config, inputs.data
    backbones = {modality: encoder_by_modality[modality] for modality in views}
    encoders = all_encoders(session, backbones, encoder_by_modality["text"], histories)
    encoded_modalities, seconds = {}, []
    for modality in inputs.modalities:
        stage = f"{prefix}reading {modality}s"
        with session.clock.stage(stage):
            encoded_modalities[modality] = (
                read_texts(session, encoders, data, prefix=prefix)
                if modality == "text"
                else read_pictures(session, encoders, data, modality, views=views[modality], prefix=prefix)
            )
        seconds.append(session.seconds(prefix + modality, encoder_stage(prefix, modality), stage))
    encoded = encoded_pairs(data, encoded_modalities)
    models = FusionSettings(
        samples=samples(encoders, encoded["train"]),
        texts=inputs.texts,
        units=config.fusion.fusion_units,
        dropout=config.train.dropout,
        scale=config.text.similarity_scale,
    )
    return EncodedPairs(session, encoders, encoded, models, sum(seconds), prefix)


def train_from_scratch(inputs: EncoderInputs) -> tuple[EncodedPairs, dict[str, tuple[Attempt, ...]]]:
    """Trains all encoders from scratch, each within the seconds of its side, and reads all pairs with them.

    Returns:
        What fusions are trained on; and all that was tried, by the name of the encoder.
    """
    config, data = inputs.session.config, inputs.data
    encoders, histories, all_attempts = {}, [], {}
    for modality in inputs.modalities:
        if modality == "text":
            best, attempts = _search(inputs, modality, _text_attempt, config.text.text_epochs)
        else:
            images = picture_config(config, modality)
            parts, _ = parts_of_pass(len(data.train.pictures(modality)), images, config.train)
            attempt = partial(_picture_attempt, modality)
            best, attempts = _search(inputs, modality, attempt, images.epochs, parts)
        encoders[modality], all_attempts[f"{modality} encoder"] = best.trained, attempts
        histories.append(best.history)
    # They know the training images: these are read as they are, as by a backbone that learned by the flags.
    views = dict.fromkeys(data.train.pictured, 1)
    return _read(inputs, encoders, tuple(histories), views, f"{FROM_SCRATCH}: "), all_attempts


def _search(
    inputs: EncoderInputs,
    modality: str,
    attempt: Callable[[EncoderInputs, str, float, int], tuple[History, T]],
    passes: int,
    parts: int = 1,
) -> tuple[Attempt[T], tuple[Attempt[T], ...]]:
    """Trains the encoder of a side from scratch, within the seconds of the one with transferred weights."""
    session, stage = inputs.session, encoder_stage(f"{FROM_SCRATCH}: ", modality)
    candidate_seconds = session.result_seconds[modality]
    with session.clock.stage(stage):
        return from_scratch(
            partial(attempt, inputs, stage),
            rates=session.config.train.scratch_learning_rates,
            passes=passes,
            seconds=kept_seconds(candidate_seconds, stage, session.trainer),
            trainer=session.trainer,
            parts=parts,
        )


def _attempt_name(stage: str, rate: float, passes: int) -> str:
    return f"{stage}, rate {rate:g}, {passes} passes"


def _picture_attempt(
    modality: str, inputs: EncoderInputs, stage: str, rate: float, passes: int
) -> tuple[History, keras.Model]:
    """Trains a backbone and a head as a whole, and returns the backbone."""
    session = inputs.session
    backbone = picture_backbone(session, modality, "none")
    protocol = image_scratch_protocol(picture_config(session.config, modality), rate, passes)
    name = _attempt_name(stage, rate, passes)
    trainer = session.trainer.with_options(patience=passes)
    pictures = pictures_of(inputs.data, modality)
    classifier = train_image_classifier(backbone, pictures, protocol, trainer, name=name)
    return classifier.histories[-1], backbone


def _text_attempt(inputs: EncoderInputs, stage: str, rate: float, passes: int) -> tuple[History, TextEncoder]:
    """Trains a text encoder and a head as a whole, at one rate, and returns the encoder."""
    classifier = train_texts(
        inputs.session.trainer.with_options(patience=passes),
        inputs.data,
        inputs.preset,
        text_scratch_protocol(inputs.session.config.text, rate, passes),
        weights="none",
        name=_attempt_name(stage, rate, passes),
    )
    assert classifier.history is not None
    return classifier.history, classifier.encoder


def answers_of(inputs: EncoderInputs, pairs: EncodedPairs, name: str) -> Answers:
    """Trains the fused model of a name on encoders without transfer, and asks it about the test pairs."""
    names = (*pairs.alone, name) if needs_unimodal_models(name) else (name,)
    models = train_all(pairs, names)
    fused = models[name]
    logits = logits_of(pairs, name, fused.model, "test")
    histories = (model.history for model in models.values() if model.history)
    return Answers(
        fused.validation_logits,
        calibrate(pairs, fused, logits, "test"),
        softmax(logits),
        (*pairs.encoders.histories, *histories),
        pairs.seconds + sum(model.seconds for model in models.values()),
    )
