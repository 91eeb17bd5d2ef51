"""VGG16 -> VGG19 -> class-name text -> BERT: the main job, from top to bottom.

A base's weights move into a larger target, the target learns the images' classes, its probabilities
become sentences, and BERT answers the target question from the sentences alone.
"""

from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from xmodal import assets, export, report, train
from xmodal.bridge import Bridge, fit_temperature, softmax
from xmodal.clock import Clock
from xmodal.config import Config, cache_folder
from xmodal.data.images import ImageData, ImageSplit, batches, configured_images
from xmodal.data.texts import TargetMap
from xmodal.evaluate import Gain, gallery_indices, paired_gain
from xmodal.export_check import Question, export_checked
from xmodal.features import FeatureCache, feature_cache
from xmodal.image_attack import attack_classifiers, require_library
from xmodal.image_classifier import ImageClassifier, build_trunk, pixels, train_image_classifier
from xmodal.job import begin, finish
from xmodal.questions import (
    Held,
    Measured,
    Said,
    from_classes,
    further_answers,
    further_questions,
    measure,
    pooled,
    question_of,
    read,
    readers,
    sentences_of,
    truth_of,
)
from xmodal.robustness import training_cost
from xmodal.serving import of_length_one
from xmodal.small import Examples, drawn, representative_images, small_images
from xmodal.strategy import workers
from xmodal.text_classifier import TextClassifier
from xmodal.transfer import TransferReport, transfer_weights

PROBE_IMAGES = 64
GALLERY_EACH = 8
PROJECTED_IMAGES = 500
CHECKED_IMAGES = 32


# What is measured, in the order of showing.
NOTES = {
    "image_only": "the image classifier, with the transferred trunk",
    "text": "BERT on the sentences, trained on those of the training images and on written ones",
    "fused": "image and text scores pooled, with a weight chosen on the validation split",
    "zero_image": "BERT trained on written sentences alone, with no image of the question",
    "text_zero_shot": "BERT as it comes: similarity of the sentence to the descriptions",
    "image_plain": "the image classifier as it is without --robust: not trained on images of FGSM",
    "no_transfer": "the same target network from random weights, every layer trained, the same epochs",
}
COMPARISONS = (
    # Without --robust, image_plain is image_only.
    ("image_plain", "no_transfer", "transfer of weights"),
    ("image_only", "image_plain", "training on images of FGSM too"),
    ("text", "image_only", "answering through text"),
    ("fused", "image_only", "adding the text's scores"),
    ("zero_image", "image_only", "training the answer on text alone"),
)


def run(config: Config, clock: Clock) -> report.Run:
    """Runs the experiment and leaves its files in `config.run.output_dir`.

    Args:
        config: all flags, as dataclasses.
        clock: times the stages, and says how it goes.

    Returns:
        What was reported.
    """
    require_library(config.attack)
    job = begin(config, clock)
    strategy, checkpoints = job.strategy, job.checkpoints
    cache = feature_cache(config, workers(strategy).is_chief, clock.say)
    with clock.stage("data"):
        data = configured_images(config)
        question = question_of(config, data)
        # A mistake in them is told before anything is trained.
        further_questions(config, data)
        preset = assets.text_encoder_path(
            config.text.text_encoder, cache=cache_folder(), offline=config.run.offline
        )
        bridge = Bridge(data.class_names, config.text.text_style, config.text.template, config.text.top_k)
    job.warn(data.report)

    with clock.stage("transfer"):
        trunk, transfer = transferred_trunk(config, data, strategy)
    clock.say(transfer.line())
    budget = max(config.attack.pixel_budgets) if config.attack.robust else 0.0
    with clock.stage("image classifier"):
        images, logits = train_images(
            config, data, trunk, config.image.trainable, strategy, "images", checkpoints, cache, budget
        )
        temperature = fit_temperature(logits.validation, data.validation.labels)
    with clock.stage("bridge"):
        words = Held(*(sentences_of(bridge, part, temperature) for part in (logits.validation, logits.test)))
        said = Said(sentences_of(bridge, images.train_logits(), temperature), images.train_labels, words)
    asked = readers(config, question, preset, said, strategy, checkpoints, clock)
    text = asked["text"]
    scratch = None
    if config.train.baseline:
        with clock.stage("no transfer"):
            random_trunk = build_trunk(config, config.image.target, "none", strategy)
            scratch, scratch_logits = train_images(
                config, data, random_trunk, "all", strategy, "no transfer", checkpoints, cache
            )

    models = {"image_only": images.model}
    if budget:
        with clock.stage("plain image classifier"):
            trunk, _ = transferred_trunk(config, data, strategy)
            plain, plain_logits = train_images(
                config, data, trunk, config.image.trainable, strategy, "plain images", checkpoints, cache
            )
        models = {"image_plain": plain.model} | models
    with clock.stage("evaluation"):
        truth = truth_of(question, data)
        answers = {"image_only": from_classes(logits, question)}
        answers |= read(asked, words, strategy, checkpoints)
        if scratch:
            answers["no_transfer"] = from_classes(scratch_logits, question)
        if budget:
            answers["image_plain"] = from_classes(plain_logits, question)
        answers["fused"], image_weight = pooled(answers["image_only"], answers["text"], truth)
        seconds = _seconds(clock.seconds)
        measured = {
            name: measure(name, answers[name], truth, question, note, seconds[name])
            for name, note in NOTES.items()
            if name in answers
        }
    further, labels_gained = further_answers(config, data, preset, said, strategy, checkpoints, clock)
    foiled, under_attack = attack_classifiers(job, models, data)
    run = report.Run(
        **job.told(),
        title=f"{config.image.base} to {config.image.target} to text to BERT",
        data=data.report,
        results={name: item.result for name, item in measured.items()} | further,
        gains=_gains(measured, truth) + labels_gained + foiled,
        transfer=transfer,
        histories=_histories(images, scratch, text, asked["zero_image"]),
        gallery=_gallery(config, data, measured["text"].probabilities, truth.test, words.test, question),
        facts={
            **(training_cost("image_only", "image_plain", seconds) if budget else {}),
            "temperature of the image classifier": temperature,
            "weight of the image in fused": image_weight,
            "sentences": words.validation.size + words.test.size,
            "distinct sentences": len(np.unique(np.concatenate([words.validation, words.test]))),
        },
        headline="text",
        tables=under_attack,
        points=_points(data.test, truth.test, words.test, text, question, strategy),
    )

    def exported() -> dict[str, float | int | str]:
        folder = config.run.saved_models_dir / config.run.experiment
        served = export.Served(
            image_model=images.model,
            image_size=config.data.image_size,
            temperature=temperature,
            bridge=bridge,
            text=text,
            text_temperature=measured["text"].temperature,
            names=question.names,
        )
        logits = answers["text"].test / measured["text"].temperature
        asked = _questions(data.test, words.test, logits, text, measured["text"].temperature, strategy)
        return export_checked(served, folder, asked, checkpoints.stage("export"))

    return finish(
        job, run, exported, lambda folder: _small_forms(config, images.model, temperature, data, folder)
    )


def transferred_trunk(config: Config, data: ImageData, strategy) -> tuple[keras.Model, TransferReport]:
    """Builds the target's trunk with the base's weights, and proves it on a batch of training images."""
    base = build_trunk(config, config.image.base, config.image.image_weights, strategy)
    target = build_trunk(config, config.image.target, "none", strategy)
    probe = batches(data.train, image_size=config.data.image_size, batch_size=PROBE_IMAGES)
    transfer = transfer_weights(
        base,
        target,
        growth=config.image.growth,
        grow=config.image.grow,
        drop=config.image.drop,
        probe=next(iter(probe))["image"].numpy(),
    )
    return target, transfer


def train_images(
    config: Config,
    data: ImageData,
    trunk: keras.Model,
    trainable: str,
    strategy,
    stage: str,
    checkpoints=None,
    cache: FeatureCache | None = None,
    budget: float = 0.0,
) -> tuple[ImageClassifier, Held]:
    """Trains a head on a trunk, and returns the class logits of the held-out images with it."""
    classifier = train_image_classifier(
        trunk,
        data,
        data_config=config.data,
        config=config.image,
        trainable=trainable,
        seed=config.run.seed,
        strategy=strategy,
        stage=stage,
        checkpoints=checkpoints,
        cache=cache,
        training=config.train,
        budget=budget,
        mirror=config.image.mirror,
    )
    images = pixels(data.test, config.data.image_size, 4 * config.image.batch_size)
    test = train.predict(classifier.model, images, strategy, stage=f"{stage}: test", checkpoints=checkpoints)
    return classifier, Held(classifier.validation_logits, test)


def _gains(measured: dict[str, Measured], truth: Held) -> tuple[Gain, ...]:
    right = {name: item.probabilities.argmax(axis=1) == truth.test for name, item in measured.items()}
    right.setdefault("image_plain", right["image_only"])
    return tuple(paired_gain(right[a], right[b], what=what) for a, b, what in COMPARISONS if b in measured)


def _gallery(config, data: ImageData, probabilities, truth, sentences, question):
    picked = gallery_indices(probabilities, truth, GALLERY_EACH, config.run.seed)
    return tuple(
        report.GalleryItem(
            png=data.test.encoded(index),
            id=data.test.ids[index],
            truth=question.names[truth[index]],
            predicted=question.names[probabilities[index].argmax()],
            probability=float(probabilities[index].max()),
            sentence=" | ".join(sentences[index]),
            kind=kind,
        )
        for kind, indices in picked.items()
        for index in indices
    )


def _points(
    test: ImageSplit,
    truth: np.ndarray,
    sentences: np.ndarray,
    text: TextClassifier,
    question: TargetMap,
    strategy,
) -> report.Points:
    """Sentences of test images, and the descriptions of the answers, as the text encoder sees them."""
    places = test.spread(PROJECTED_IMAGES)
    words = [*sentences[places, 0], *question.descriptions]
    targets = [*truth[places], *question.targets]
    return report.Points(
        vectors=text.vectors(words, strategy),
        labels=tuple(question.names[target] for target in targets),
        words=tuple(words),
        pictures=(*(test.encoded(place) for place in places), *[b""] * len(question.descriptions)),
    )


def _questions(
    test: ImageSplit,
    sentences: np.ndarray,
    of_images: np.ndarray,
    text: TextClassifier,
    temperature: float,
    strategy,
) -> list[Question]:
    """Asks each signature about the first test images, of which there are calibrated logits (N, T).

    The texts are the first of the sentences (N, P) of these images.
    """
    some = slice(CHECKED_IMAGES)
    images = {"image_bytes": [test.encoded(index) for index in range(len(test))[some]]}
    words = sentences[some, 0]
    said = {"text": [word.encode() for word in words]}
    of_words = text.logits(words, strategy) / temperature
    vectors = of_length_one(text.vectors(sentences[some].ravel(), strategy))
    vectors = tf.reshape(vectors, [len(words), -1, vectors.shape[-1]]).numpy()
    return [
        Question(images, softmax(of_images[some])),
        Question(said, softmax(of_words), "text"),
        Question(images | said, softmax((of_images[some] + of_words) / 2), "image_and_text"),
        Question(images, of_length_one(vectors.mean(axis=1)).numpy(), "embed_image", "embedding"),
        Question(said, vectors[:, 0], "embed_text", "embedding"),
    ]


def _small_forms(
    config: Config, model: keras.Model, temperature: float, data: ImageData, exported: Path
) -> tuple[report.Table, ...]:
    def examples(split: ImageSplit) -> Examples:
        places = drawn(len(split), config.run.seed)
        return Examples([split.encoded(place) for place in places], split.labels[places])

    return small_images(
        exported,
        model,
        image_size=config.data.image_size,
        temperature=temperature,
        names=data.class_names,
        representative=representative_images(data.train, config.run.seed),
        validation=examples(data.validation),
        test=examples(data.test),
    )


def _seconds(stages: dict[str, float]) -> dict[str, float]:
    """Adds up the stages that each result needs."""
    image = stages["transfer"] + stages["image classifier"]
    text = image + stages["bridge"] + stages.get("text: head", 0.0)
    return {
        "image_only": image,
        "text": text,
        "fused": text,
        "zero_image": image + stages["bridge"] + stages.get("text: head on text alone", 0.0),
        "text_zero_shot": image + stages["bridge"] + stages["text: zero shot"],
        "image_plain": stages["transfer"] + stages.get("plain image classifier", 0.0),
        "no_transfer": stages.get("no transfer", 0.0),
    }


def _histories(images, scratch, text, zero_image) -> tuple[train.History, ...]:
    texts = [model.history for model in (text, zero_image) if model.history]
    return (*images.histories, *texts, *(scratch.histories if scratch else ()))
