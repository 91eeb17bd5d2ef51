"""How the encoders of pairs come about: by the flags, and from random weights, to show what is transferred.

The same protocol with random weights is called "random_frozen"; "from_scratch" trains each encoder as a whole
on its side of the pairs. What the classes are called is encoded by the same BERT for all of them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal, TypeVar

import keras
import numpy as np

from xmodal.data.pairs import PairData
from xmodal.evaluation.calibration import softmax
from xmodal.models.fusion import ALONE, FusionSettings, needs_unimodal_models
from xmodal.models.heads import ClassTexts
from xmodal.models.text_encoder import TextEncoder
from xmodal.recipes.fusion.classifiers import VISIBLE, EncodedPairs, calibrated, logits_of, train_all
from xmodal.recipes.fusion.encoders import (
    both_encoders,
    encoded_pairs,
    image_encoder,
    images_of,
    read_images,
    read_texts,
    sentence_encoder,
    train_texts,
)
from xmodal.recipes.image_training import image_scratch_protocol
from xmodal.recipes.text_training import text_scratch_protocol
from xmodal.runs.inputs import build_backbone
from xmodal.runs.session import Session
from xmodal.tasks.image_classifier import parts_of_pass, train_image_classifier
from xmodal.tasks.pair_encoders import Encoders, samples
from xmodal.training.baselines import FROM_SCRATCH, Attempt, from_scratch, kept_seconds
from xmodal.training.progress import History

T = TypeVar("T")
SIDES = ("image", "text")


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
    session = inputs.session
    config, clock = session.config, session.clock
    stage = encoder_stage(prefix, "image")
    with clock.stage(stage):
        backbone, seen = image_encoder(session, inputs.data, weights=image_weights, name=stage)
    stage = encoder_stage(prefix, "text")
    with clock.stage(stage):
        text, sentences = sentence_encoder(
            session, inputs.data, inputs.preset, weights=text_weights, name=stage
        )
    encoders = both_encoders(session, backbone, text, (*seen, *sentences))
    views = config.image.epochs if config.image.trainable == "head" else 1
    return _read(inputs, encoders, views, prefix)


def encoder_stage(prefix: str, modality: str) -> str:
    """Returns the stage in which the encoder of the "image" or the "text" is trained."""
    return f"{prefix}{modality} encoder"


def _read(inputs: EncoderInputs, encoders: Encoders, views: int, prefix: str) -> EncodedPairs:
    """Reads all pairs, and notes the seconds of each side, its encoder included."""
    session, config, clock = inputs.session, inputs.session.config, inputs.session.clock
    reading = {modality: f"{prefix}reading {modality}s" for modality in SIDES}
    with clock.stage(reading["image"]):
        images = read_images(session, encoders, inputs.data, views=views, prefix=prefix)
    with clock.stage(reading["text"]):
        texts = read_texts(session, encoders, inputs.data, prefix=prefix)
    seconds = [
        session.seconds(prefix + modality, encoder_stage(prefix, modality), stage)
        for modality, stage in reading.items()
    ]
    encoded = encoded_pairs(inputs.data, images, texts)
    models = FusionSettings(
        samples=samples(encoders, encoded["train"]),
        texts=inputs.texts,
        units=config.fusion.fusion_units,
        dropout=config.train.dropout,
        scale=config.text.similarity_scale,
    )
    return EncodedPairs(session, encoders, encoded, models, sum(seconds), prefix)


def trained_from_scratch(inputs: EncoderInputs) -> tuple[EncodedPairs, dict[str, tuple[Attempt, ...]]]:
    """Trains both encoders from scratch, each within the seconds of its side, and reads all pairs with them.

    Returns:
        What fusions are trained on; and all that was tried, by the name of the encoder.
    """
    config = inputs.session.config
    parts, _ = parts_of_pass(int(inputs.data.train.has_image.sum()), config.image, config.train)
    image, images_tried = _searched(inputs, "image", _image_attempt, config.image.epochs, parts)
    text, texts_tried = _searched(inputs, "text", _text_attempt, config.text.text_epochs)
    encoders = both_encoders(inputs.session, image.trained, text.trained, (image.history, text.history))
    # They know the training images: these are read as they are, as by a backbone that learned by the flags.
    pairs = _read(inputs, encoders, 1, f"{FROM_SCRATCH}: ")
    return pairs, {"image encoder": images_tried, "text encoder": texts_tried}


def _searched(
    inputs: EncoderInputs,
    modality: str,
    attempt: Callable[[EncoderInputs, str, float, int], tuple[History, T]],
    passes: int,
    parts: int = 1,
) -> tuple[Attempt[T], tuple[Attempt[T], ...]]:
    """Trains the encoder of a side from scratch, within the seconds of the one with transferred weights."""
    session, stage = inputs.session, encoder_stage(f"{FROM_SCRATCH}: ", modality)
    spent = session.result_seconds[modality]
    with session.clock.stage(stage):
        return from_scratch(
            partial(attempt, inputs, stage),
            rates=session.config.train.scratch_learning_rates,
            passes=passes,
            seconds=kept_seconds(spent, stage, session.trainer),
            trainer=session.trainer,
            parts=parts,
        )


def _attempt_name(stage: str, rate: float, passes: int) -> str:
    return f"{stage}, rate {rate:g}, {passes} passes"


def _image_attempt(
    inputs: EncoderInputs, stage: str, rate: float, passes: int
) -> tuple[History, keras.Model]:
    """Trains a backbone and a head as a whole, and returns the backbone."""
    config, trainer = inputs.session.config, inputs.session.trainer
    backbone = build_backbone(config, config.image.base, "none", trainer)
    protocol = image_scratch_protocol(config.image, rate, passes)
    name = _attempt_name(stage, rate, passes)
    patient = trainer.with_options(patience=passes)
    classifier = train_image_classifier(backbone, images_of(inputs.data), protocol, patient, name=name)
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
    needed = (*ALONE, name) if needs_unimodal_models(name) else (name,)
    models = train_all(pairs, needed)
    fused = models[name]
    logits = logits_of(pairs, name, fused.model, "test", VISIBLE[0])
    trained = (model.history for model in models.values() if model.history)
    return Answers(
        fused.validation_logits,
        calibrated(pairs, fused, logits, "test"),
        softmax(logits),
        (*pairs.encoders.histories, *trained),
        pairs.seconds + sum(model.seconds for model in models.values()),
    )
