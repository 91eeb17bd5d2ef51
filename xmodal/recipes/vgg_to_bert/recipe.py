"""VGG16 -> VGG19 -> class-name text -> BERT: the main job, from top to bottom.

A base's weights move into a larger target, the target learns the images' classes, its probabilities
become sentences, and BERT answers the target question from the sentences alone.
"""

import keras
import numpy as np

from xmodal import report
from xmodal.assets.presets import text_encoder_path
from xmodal.bridge.bridge import Bridge
from xmodal.config.config import Config
from xmodal.core.clock import Clock
from xmodal.core.files import cache_folder
from xmodal.data.images import ImageData, batches
from xmodal.evaluation.calibration import fit_temperature
from xmodal.evaluation.metrics import Held
from xmodal.export.served_images import Served
from xmodal.export.verification import export_checked
from xmodal.recipes.image_baselines import image_baselines, image_worth
from xmodal.recipes.image_training import train_images
from xmodal.recipes.transfer_worth import Worth, worth_plot
from xmodal.recipes.vgg_to_bert.exports import export_questions, small_forms
from xmodal.recipes.vgg_to_bert.questions import (
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
from xmodal.recipes.vgg_to_bert.tables import (
    gallery_items,
    image_and_text_histories,
    paired_gains,
    projected_points,
    report_tables,
    right_answers,
    seconds_of_results,
)
from xmodal.robustness.attacked import training_cost
from xmodal.robustness.image_attack import attack_classifiers, require_library
from xmodal.runs.inputs import build_trunk, configured_images, feature_cache
from xmodal.runs.session import Job, begin, finish
from xmodal.training.baselines import FROM_SCRATCH, NO_TRANSFER, RANDOM_FROZEN
from xmodal.training.feature_cache import FeatureCache
from xmodal.training.strategy import workers
from xmodal.transfer.weights import TransferReport, transfer_weights

PROBE_IMAGES = 64
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
        preset = text_encoder_path(config.text.text_encoder, cache=cache_folder(), offline=config.run.offline)
        bridge = Bridge(data.class_names, config.text.text_style, config.text.template, config.text.top_k)
    job.check_data(data.report)

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
        seconds = seconds_of_results(clock.seconds, without)
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
        gains=paired_gains(measured, truth) + labels_gained + foiled,
        transfer=transfer,
        histories=image_and_text_histories(images, without, text, asked["zero_image"]),
        gallery=gallery_items(config, data, measured["text"].probabilities, truth.test, words.test, question),
        facts={
            **(training_cost("image_only", "image_plain", seconds) if budget else {}),
            "temperature of the image classifier": temperature,
            "weight of the image in fused": image_weight,
            "sentences": words.validation.size + words.test.size,
            "distinct sentences": len(np.unique(np.concatenate([words.validation, words.test]))),
        },
        headline="text",
        tables=report_tables(worth, without) + under_attack,
        plots=(worth_plot(worth, len(data.class_names), "images"),) if len(worth) > 1 else (),
        points=projected_points(data.test, truth.test, words.test, text, question, strategy),
    )

    def exported() -> dict[str, float | int | str]:
        folder = config.run.saved_models_dir / config.run.experiment
        served = Served(
            image_model=images.model,
            image_size=config.data.image_size,
            temperature=temperature,
            bridge=bridge,
            text=text,
            text_temperature=measured["text"].temperature,
            names=question.names,
        )
        logits = answers["text"].test / measured["text"].temperature
        asked = export_questions(data.test, words.test, logits, text, measured["text"].temperature, strategy)
        return export_checked(served, folder, asked, checkpoints.stage("export"))

    return finish(
        job, run, exported, lambda folder: small_forms(config, images.model, temperature, data, folder)
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
    """Compares heads on frozen trunks, with the transferred weights and with random ones, by few labels.

    With all labels it is what was measured: the better baseline stands there, the one from scratch too.
    """
    config, strategy = job.config, job.strategy
    frozen = config.image.trainable == "head" and not config.image.mirror and not config.attack.robust
    known = (
        {"with": "image_only", "without": NO_TRANSFER} if frozen and config.text.target_map is None else {}
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
            {name: right_answers(measured[of], truth) for name, of in known.items()},
        )
