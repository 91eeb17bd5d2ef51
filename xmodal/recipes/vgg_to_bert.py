"""VGG16 -> VGG19 -> class-name text -> BERT: the main job, from top to bottom.

A base's weights move into a larger target, the target learns the images' classes, its probabilities
become sentences, and BERT answers the target question from the sentences alone.
"""

from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from xmodal import assets, export, report, train
from xmodal.bridge import Bridge, Style, fit_mixture, fit_temperature, mix, softmax
from xmodal.clock import Clock
from xmodal.config import Config, cache_folder
from xmodal.data.images import ImageData, ImageSplit, batches, configured_images
from xmodal.data.texts import TargetMap, identity_map, read_target_map
from xmodal.evaluate import Gain, Result, evaluate, gallery_indices, paired_gain
from xmodal.export_check import Question, checked
from xmodal.features import FeatureCache, feature_cache
from xmodal.image_attack import attack_classifiers, require_library
from xmodal.image_classifier import ImageClassifier, build_trunk, pixels, train_image_classifier
from xmodal.job import begin, finish
from xmodal.robustness import training_cost
from xmodal.serving import of_length_one
from xmodal.small import Examples, drawn, representative_images, small_images
from xmodal.strategy import workers
from xmodal.text_classifier import (
    TextClassifier,
    TextExamples,
    merge,
    train_text_classifier,
    zero_shot_classifier,
)
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


@dataclass(frozen=True)
class Held:
    """Something for each validation image and each test image: logits (V, C) and (N, C), or sentences."""

    validation: np.ndarray
    test: np.ndarray


@dataclass(frozen=True)
class Measured:
    """A result, the calibrated probabilities (N, C) of the test images behind it, and their temperature."""

    result: Result
    probabilities: np.ndarray
    temperature: float


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
        learned = sentences_of(bridge, images.train_logits(), temperature)
        words = Held(*(sentences_of(bridge, part, temperature) for part in (logits.validation, logits.test)))
    with clock.stage("text: zero shot"):
        text = zero_image = zero_shot = zero_shot_of(config, question, preset, strategy)
    if config.text.text_head == "finetune":
        written = _written(config, question, config.text.text_style, config.text.text_examples)
        with clock.stage("text: head"):
            targets = np.repeat(question.of_class[images.train_labels], learned.shape[1])
            said = _joined(merge(learned.ravel(), targets), written)
            text = _train_text(config, question, preset, said, strategy, "text head", checkpoints)
        with clock.stage("text: head on text alone"):
            zero_image = _train_text(
                config, question, preset, written, strategy, "text head, text alone", checkpoints
            )
    scratch = None
    if config.image.baseline:
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
        truth = Held(*(question.of_class[split.labels] for split in (data.validation, data.test)))
        answers = {
            "image_only": _asked(logits, question),
            "text": _read("text", text, words, strategy, checkpoints),
            "zero_image": _read("text alone", zero_image, words, strategy, checkpoints),
            "text_zero_shot": _read("zero shot", zero_shot, words, strategy, checkpoints),
        }
        if scratch:
            answers["no_transfer"] = _asked(scratch_logits, question)
        if budget:
            answers["image_plain"] = _asked(plain_logits, question)
        answers["fused"], image_weight = _fuse(answers["image_only"], answers["text"], truth)
        seconds = _seconds(clock.seconds)
        measured = {
            name: _measure(name, answers[name], truth, question, seconds[name])
            for name in NOTES
            if name in answers
        }
    foiled, under_attack = attack_classifiers(job, models, data)
    run = report.Run(
        **job.told(),
        title=f"{config.image.base} to {config.image.target} to text to BERT",
        data=data.report,
        results={name: item.result for name, item in measured.items()},
        gains=_gains(measured, truth) + foiled,
        transfer=transfer,
        histories=_histories(images, scratch, text, zero_image),
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
        exported = export.export(served, folder, checkpoints.stage("export"))
        logits = answers["text"].test / measured["text"].temperature
        return checked(
            exported,
            _questions(data.test, words.test, logits, text, measured["text"].temperature, strategy),
        )

    return finish(
        job, run, exported, lambda folder: _small_forms(config, images.model, temperature, data, folder)
    )


def question_of(config: Config, data: ImageData) -> TargetMap:
    """Returns the question of --target_map, by default the images' own classes."""
    if config.text.target_map is None:
        return identity_map(data.class_names)
    return read_target_map(config.text.target_map, data.class_names)


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


def sentences_of(bridge: Bridge, logits: np.ndarray, temperature: float) -> np.ndarray:
    """Puts class logits (N, C) into sentences (N, P)."""
    # The same ops as in the export: a probability at a threshold must not get another word there.
    sentences = bridge.sentences(tf.nn.softmax(tf.constant(logits) / temperature)).numpy()
    return np.char.decode(sentences.astype(bytes), "utf-8").astype(object)


def zero_shot_of(config: Config, question: TargetMap, preset: str, strategy) -> TextClassifier:
    """Builds the text classifier that compares with the question's descriptions."""
    described = _written(config, question, "top1", len(config.text.template))
    return zero_shot_classifier(
        preset, described.texts, described.targets, config=config.text, strategy=strategy
    )


def _written(config: Config, question: TargetMap, style: Style, per_description: int) -> TextExamples:
    """Writes sentences with the descriptions in the place of class names, and their answers."""
    top_k = min(config.text.top_k, len(question.descriptions))
    writer = Bridge(question.descriptions, style, config.text.template, top_k)
    texts, described = zip(*writer.text_examples(per_description, config.run.seed), strict=True)
    return merge(texts, question.targets[list(described)])


def _joined(said: TextExamples, written: TextExamples) -> TextExamples:
    """Gives sentences said of images and written ones an equal say.

    Of the images that it learned from, the classifier is mostly sure; the doubts that it has about
    others are among the written sentences.
    """
    scale = said.weights.sum() / written.weights.sum()
    return merge(
        [*said.texts, *written.texts],
        np.concatenate([said.targets, written.targets]),
        np.concatenate([said.weights, scale * written.weights]),
    )


def _train_text(
    config: Config,
    question: TargetMap,
    preset: str,
    examples: TextExamples,
    strategy,
    stage: str,
    checkpoints,
) -> TextClassifier:
    return train_text_classifier(
        preset,
        examples,
        len(question.names),
        config=config.text,
        seed=config.run.seed,
        strategy=strategy,
        stage=stage,
        checkpoints=checkpoints,
        training=config.train,
    )


def _read(name: str, model: TextClassifier, words: Held, strategy, checkpoints) -> Held:
    def logits(texts: np.ndarray, part: str) -> np.ndarray:
        stage = f"{name}: reading, {part}"
        return model.logits(texts, strategy, stage=stage, checkpoints=checkpoints)

    return Held(logits(words.validation, "validation"), logits(words.test, "test"))


def _asked(logits: Held, question: TargetMap) -> Held:
    """Answers the question from class logits: an answer has the sum of its classes' probabilities."""
    of_class = np.eye(len(question.names))[question.of_class]

    def answered(part: np.ndarray) -> np.ndarray:
        # Far from the other classes a probability rounds to zero, and its logarithm is wanted.
        return np.log(np.maximum(softmax(part) @ of_class, np.finfo(np.float64).tiny))

    return Held(answered(logits.validation), answered(logits.test))


def _fuse(image: Held, text: Held, truth: Held) -> tuple[Held, float]:
    def calibrated(logits: Held) -> Held:
        temperature = fit_temperature(logits.validation, truth.validation)
        return Held(softmax(logits.validation, temperature), softmax(logits.test, temperature))

    image, text = calibrated(image), calibrated(text)
    weight = fit_mixture(image.validation, text.validation, truth.validation)
    validation, test = mix(image.validation, text.validation, weight), mix(image.test, text.test, weight)
    return Held(np.log(validation), np.log(test)), weight


def _measure(name: str, logits: Held, truth: Held, question: TargetMap, seconds: float) -> Measured:
    temperature = fit_temperature(logits.validation, truth.validation)
    probabilities = softmax(logits.test, temperature)
    result = evaluate(
        name,
        probabilities,
        truth.test,
        question.names,
        uncalibrated=softmax(logits.test),
        note=NOTES[name],
        seconds=seconds,
    )
    return Measured(result, probabilities, temperature)


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
