"""VGG16 -> VGG19 -> class-name text -> BERT: the main job, from top to bottom.

A base's weights move into a larger target, the target learns the images' classes, its probabilities
become sentences, and BERT answers the target question from the sentences alone.
"""

from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from xmodal import assets, export, report, train
from xmodal.baselines import FROM_SCRATCH, NO_TRANSFER, RANDOM_FROZEN
from xmodal.bridge import Bridge, fit_temperature, softmax
from xmodal.clock import Clock
from xmodal.config import Config, cache_folder
from xmodal.data.images import ImageData, ImageSplit, batches, configured_images
from xmodal.data.texts import TargetMap
from xmodal.evaluate import Gain, Held, gallery_indices, paired_gain
from xmodal.export_check import Question, export_checked
from xmodal.features import FeatureCache, feature_cache
from xmodal.image_attack import attack_classifiers, require_library
from xmodal.image_baselines import Baselines, image_baselines, image_worth
from xmodal.image_classifier import build_trunk, train_images
from xmodal.job import Job, begin, finish
from xmodal.questions import (
    Measured,
    from_classes,
    further_answers,
    further_questions,
    measure,
    pooled,
    question_of,
    read,
    readers,
    said_of,
    truth_of,
)
from xmodal.robustness import training_cost
from xmodal.serving import of_length_one
from xmodal.small import Examples, drawn, representative_images, small_images
from xmodal.strategy import workers
from xmodal.text_classifier import TextClassifier
from xmodal.transfer import TransferReport, transfer_weights
from xmodal.transfer_worth import Worth, worth_plot, worth_table

PROBE_IMAGES = 64
GALLERY_EACH = 8
PROJECTED_IMAGES = 500
CHECKED_IMAGES = 32


# What is measured, in the order of showing.
NOTES = {
    "image_only": "the image classifier, with the transferred trunk",
    "text": "BERT on the sentences, taught what those of the training images and written ones mean",
    "fused": "image and text scores pooled, with a weight chosen on the validation split",
    "zero_image": "the answer learned from written sentences alone, the classifier before it from all labels",
    "text_zero_shot": "BERT as it comes: similarity of the sentence to the descriptions",
    "image_plain": "the image classifier as it is without --robust: not trained on images of FGSM",
    RANDOM_FROZEN: "the target of random weights by the same protocol",
    FROM_SCRATCH: "the target of random weights, every layer trained",
    NO_TRANSFER: "the better of both on validation",
}
COMPARISONS = (
    # Without --robust, image_plain is image_only.
    ("image_plain", NO_TRANSFER, "transfer of weights"),
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
        said = said_of(bridge, images.train_logits(), logits, temperature)
        words = said.words
    asked = readers(config, question, preset, said, strategy, checkpoints, clock)
    text = asked["text"]
    without = None
    if config.train.baseline and transferred(config):
        took = clock.seconds["transfer"] + clock.seconds["image classifier"]
        without = image_baselines(job, data, cache, trainable=config.image.trainable, seconds=took)

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
        if without:
            answers |= {name: from_classes(held, question) for name, held in without.logits.items()}
        if budget:
            answers["image_plain"] = from_classes(plain_logits, question)
        answers["fused"], image_weight = pooled(answers["image_only"], answers["text"], truth)
        seconds = _seconds(clock.seconds, without)
        notes = NOTES | (without.notes if without else {})
        measured = {
            name: measure(name, answers[name], truth, question, note, seconds[name])
            for name, note in notes.items()
            if name in answers
        }
    worth = worth_of_transfer(job, data, cache, measured, truth) if without else []
    further, labels_gained = further_answers(config, data, preset, said, strategy, checkpoints, clock)
    foiled, under_attack = attack_classifiers(job, models, data)
    run = report.Run(
        **job.told(),
        title=f"{config.image.base} to {config.image.target} to text to BERT",
        data=data.report,
        results={name: item.result for name, item in measured.items()} | further,
        gains=_gains(measured, truth) + labels_gained + foiled,
        transfer=transfer,
        histories=_histories(images, without, text, asked["zero_image"]),
        gallery=_gallery(config, data, measured["text"].probabilities, truth.test, words.test, question),
        facts={
            **(training_cost("image_only", "image_plain", seconds) if budget else {}),
            "temperature of the image classifier": temperature,
            "weight of the image in fused": image_weight,
            "sentences": words.validation.size + words.test.size,
            "distinct sentences": len(np.unique(np.concatenate([words.validation, words.test]))),
        },
        headline="text",
        tables=_tables(worth, without) + under_attack,
        plots=(worth_plot(worth, len(data.class_names), "images"),) if len(worth) > 1 else (),
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


def transferred(config: Config) -> bool:
    """Tells whether any weights move: without, there is nothing to claim for them."""
    return config.image.image_weights != "none"


def worth_of_transfer(
    job: Job, data: ImageData, cache: FeatureCache | None, measured: dict[str, Measured], truth: Held
) -> list[Worth]:
    """Compares heads on frozen trunks, with the transferred weights and with random ones, by few labels."""
    config, strategy = job.config, job.strategy
    frozen = config.image.trainable == "head" and not config.image.mirror and not config.attack.robust
    known = (
        {"with": "image_only", "without": RANDOM_FROZEN} if frozen and config.text.target_map is None else {}
    )
    trunks = {
        "with": lambda: transferred_trunk(config, data, strategy)[0],
        "without": lambda: build_trunk(config, config.image.target, "none", strategy),
    }
    with job.clock.stage("few labels"):
        return image_worth(
            job,
            data,
            trunks,
            cache,
            {name: _right(measured[of], truth) for name, of in known.items()},
        )


def _right(measured: Measured, truth: Held) -> np.ndarray:
    return measured.probabilities.argmax(axis=1) == truth.test


def _gains(measured: dict[str, Measured], truth: Held) -> tuple[Gain, ...]:
    right = {name: _right(item, truth) for name, item in measured.items()}
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


def _seconds(stages: dict[str, float], without: Baselines | None) -> dict[str, float]:
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
        **(without.seconds(stages) if without else {}),
    }


def _histories(images, without: Baselines | None, text, zero_image) -> tuple[train.History, ...]:
    texts = [model.history for model in (text, zero_image) if model.history]
    return (*images.histories, *texts, *(without.histories if without else ()))


def _tables(worth: list[Worth], without: Baselines | None) -> tuple[report.Table, ...]:
    # With a single row it says no more than the results do.
    worth_tables = (worth_table(worth, "images"),) if len(worth) > 1 else ()
    return worth_tables + (without.tables() if without else ())
