"""BERT on the sentences of a data set: each distinct one once, against one pass an image."""

import statistics
from dataclasses import replace

import numpy as np

from xmodal.assets.presets import text_encoder_path
from xmodal.bench.paired_timing import REPEATS, time_call
from xmodal.bridge.bridge import Bridge
from xmodal.config.config import Config
from xmodal.core.clock import Clock
from xmodal.core.files import cache_folder
from xmodal.data.batches import array_batches
from xmodal.evaluation.calibration import fit_temperature
from xmodal.recipes.image_training import train_images, transfer_backbone
from xmodal.recipes.vgg_to_bert.questions import question_of, sentences_of, zero_shot_model
from xmodal.runs.inputs import load_configured_images
from xmodal.training.strategy import make_strategy
from xmodal.training.trainer import Trainer


def measure(settings: Config, clock: Clock) -> dict[str, float | int]:
    """Times BERT on the sentences of a data set's training and validation images, each distinct one once.

    It is compared with one BERT pass an image, the same classifier on the same tokens in batches of 64.

    Args:
        settings: as for a run of vgg_to_bert.
        clock: times the preparation.

    Returns:
        Counts, median seconds of both ways, the ratio's median, least and most, and the largest
        difference of a logit.
    """
    sentences, classifier, trainer = _prepare(settings, clock)

    def each_once() -> np.ndarray:
        return classifier.logits(sentences, trainer)

    def each_image() -> np.ndarray:
        tokens = array_batches(classifier.encoder.padded(sentences), batch_size=64)
        return trainer.predict(classifier.model, tokens)

    with clock.stage("comparison"):
        once_runs, image_runs = zip(
            *((time_call(each_once), time_call(each_image)) for _ in range(REPEATS)), strict=True
        )
    ratios = [slow / fast for (fast, _), (slow, _) in zip(once_runs, image_runs, strict=True)]
    return {
        "repeats": REPEATS,
        "sentences": len(sentences),
        "distinct_sentences": len(np.unique(sentences)),
        "seconds_each_distinct_once": statistics.median(seconds for seconds, _ in once_runs),
        "seconds_each_image": statistics.median(seconds for seconds, _ in image_runs),
        "ratio": statistics.median(ratios),
        "ratio_least": min(ratios),
        "ratio_most": max(ratios),
        "largest_difference": float(np.abs(once_runs[0][1] - image_runs[0][1]).max()),
        "answers_that_differ": int((once_runs[0][1].argmax(axis=1) != image_runs[0][1].argmax(axis=1)).sum()),
    }


def _prepare(settings: Config, clock: Clock):
    strategy = make_strategy(settings.run.strategy, settings.run.virtual_devices)
    trainer = Trainer(settings.train, settings.run.seed, strategy)
    with clock.stage("data"):
        data = load_configured_images(settings)
        preset = text_encoder_path(
            settings.text.text_encoder, cache=cache_folder(), offline=settings.run.offline
        )
    with clock.stage("image classifier"):
        trunk, _ = transfer_backbone(settings, data.train, trainer)
        images, logits = train_images(
            trunk, data, replace(settings.image, trainable="head"), trainer, name="images"
        )
    with clock.stage("sentences"):
        temperature = fit_temperature(logits.validation, data.validation.labels)
        bridge = Bridge(data.class_names, settings.text.text_style, settings.text.template[:1])
        image_logits = np.concatenate([images.train_logits()[: len(data.train)], logits.validation])
        sentences = sentences_of(bridge, image_logits, temperature)[:, 0]
    with clock.stage("text classifier"):
        question = question_of(settings, data)
        classifier = zero_shot_model(settings, question, preset, trainer)
    return sentences, classifier, trainer
