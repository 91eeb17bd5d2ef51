"""VGG16 -> VGG19 -> class-name text -> BERT: the main session, from top to bottom.

A base's weights move into a larger target, the target learns the images' classes, its probabilities
become sentences, and BERT answers the target question from the sentences alone.
"""

from dataclasses import replace
from functools import partial

from xmodal import report
from xmodal.bridge.bridge import Bridge
from xmodal.config.config import Config
from xmodal.core.clock import Clock
from xmodal.data.images import ImageData, ImageSplit
from xmodal.data.target_map import TargetMap
from xmodal.evaluation.calibrated_result import CalibratedResult
from xmodal.evaluation.calibration import fit_temperature
from xmodal.evaluation.metrics import HeldOut
from xmodal.export.portable import require_onnx
from xmodal.export.predictor import Item
from xmodal.recipes.explaining import with_explained
from xmodal.recipes.image_baselines import image_baselines, image_worth
from xmodal.recipes.image_training import train_images, transfer_backbone
from xmodal.recipes.search import adapt_run
from xmodal.recipes.search.images import image_space
from xmodal.recipes.text_reading import check_encoder
from xmodal.recipes.transfer_worth import Worth, worth_plot
from xmodal.recipes.vgg_to_bert.exports import export_served, said_beside, small_forms
from xmodal.recipes.vgg_to_bert.limits import image_limits
from xmodal.recipes.vgg_to_bert.media import in_words_of
from xmodal.recipes.vgg_to_bert.questions import (
    BridgeSentences,
    TransferredImages,
    bridge_sentences,
    evaluate_answers,
    evaluate_extra_targets,
    extra_targets,
    from_classes,
    pool_answers,
    predict_answers,
    question_of,
    require_legible,
    train_text_models,
    truth_of,
)
from xmodal.recipes.vgg_to_bert.several_labels import run_with_several_labels
from xmodal.recipes.vgg_to_bert.speaker import hear_speaker
from xmodal.recipes.vgg_to_bert.tables import build_report, paired_comparisons, worth_tables
from xmodal.robustness.image_attack import attack_classifiers, require_library
from xmodal.runs.inputs import build_backbone, load_configured_media
from xmodal.runs.session import Session, begin, finish, hand_over
from xmodal.tasks.image_classifier import ImageClassifier
from xmodal.tasks.text_classifier import TextClassifier
from xmodal.training.baselines import FROM_SCRATCH, NO_TRANSFER, RANDOM_FROZEN

# What is measured, in the order of showing.
NOTES = {
    "image_only": "the image classifier, with the transferred trunk",
    "text": "BERT on the sentences, taught what those of the training images and written ones mean",
    "fused": "image and text scores pooled, with a weight chosen on the validation split",
    "speaker_text": "BERT on what the speaker says in its own names, and a head taught by training images",
    "both_texts": "text and speaker_text pooled, with a weight chosen on the validation split",
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
    require_onnx(config.run)
    session = begin(config, clock)
    if config.documents.multi_label:
        return run_with_several_labels(session, transfer_backbone)
    with clock.stage("data"):
        data = load_configured_media(config)
        question = question_of(config, data)
        preset = session.text_encoder()
        encoder = check_encoder(session, preset)
        # A mistake in further questions is reported before anything is trained.
        reading = require_legible(session, [question, *extra_targets(config, data).values()], encoder)
        bridge = Bridge(data.class_names, config.text.text_style, config.text.template, config.text.top_k)
    session.check_data(data.report)
    session = adapt_run(session, lambda: image_space(session, data))
    config = session.config
    images = train_transferred(session, data)
    with clock.stage("bridge"):
        sentences = bridge_sentences(bridge, images)
    session.seconds("sentences", "image_only", "bridge")
    text_models = train_text_models(session, question, preset, sentences, encoder=encoder)
    speech = hear_speaker(session, data, question, preset)
    speaker_logits = {"speaker_text": speech.logits} if speech else {}
    class_logits, models = {"image_only": images.logits}, {"image_only": images.classifier.model}
    if config.attack.robust:
        plain, class_logits["image_plain"] = train_plain_images(session, data)
        models = {"image_plain": plain.model} | models
    truth = truth_of(question, data)
    results = evaluate(session, class_logits, text_models, sentences, speaker_logits, question, truth)
    run = build_report(session, data, question, truth, sentences, results, text_models, images, speech)
    limits = image_limits(session, data, question, images, results, truth, speech)
    run = limits.added_to(replace(run, facts=run.facts | reading))
    translate = partial(in_words_of, data.test.medium)
    text, speaker_text = text_models["text"], said_beside(speech, results, truth)
    run = hand_over(
        session,
        translate(run),
        lambda: export_served(
            session, bridge, question, images, text, results, data, sentences, speaker_text, limits.limits
        ),
    )
    answers = results["both_texts" if speech else "text"].probabilities
    run = with_explained(session, run, answers, truth.test, question.names, partial(_item, data.test))
    if config.train.baseline and moves(config):
        run = compare_without_transfer(session, run, data, question, results)
    extra_results, extra_gains = evaluate_extra_targets(session, data, preset, sentences)
    attack_comparisons, attack_tables = attack_classifiers(session, models, data)
    run = replace(run, results=run.results | extra_results, tables=run.tables + attack_tables)
    run = replace(run, gains=run.gains + extra_gains + attack_comparisons)
    return finish(session, translate(run), shrink=lambda folder: small_forms(config, images, data, folder))


def _item(test: ImageSplit, index: int) -> Item:
    return Item(test.ids[index], test.encoded(index), False)


def evaluate(
    session: Session,
    class_logits: dict[str, HeldOut],
    text_models: dict[str, TextClassifier],
    sentences: BridgeSentences,
    speaker_logits: dict[str, HeldOut],
    question: TargetMap,
    truth: HeldOut,
) -> dict[str, CalibratedResult]:
    """Measures the answers of the image classifiers, of BERT and of both.

    What was read of a speaker's names, where one speaks, is pooled with the text.
    """
    with session.clock.stage("evaluation"):
        answers = {name: from_classes(part, question) for name, part in class_logits.items()}
        answers |= predict_answers(text_models, sentences.held_out, session.trainer)
        answers["fused"], _ = pool_answers(answers["image_only"], answers["text"], truth)
        session.seconds("fused", "text")
        if speaker_logits:
            answers |= speaker_logits
            answers["both_texts"], _ = pool_answers(answers["text"], speaker_logits["speaker_text"], truth)
        return evaluate_answers(session, answers, truth, question, NOTES)


def train_transferred(session: Session, data: ImageData) -> TransferredImages:
    """Moves the base's weights into the target, and trains it on the images."""
    config, clock = session.config, session.clock
    with clock.stage("transfer"):
        backbone, transfer = transfer_backbone(config, data.train, session.trainer)
    clock.log(transfer.line())
    epsilon = max(config.attack.pixel_budgets) if config.attack.robust else 0.0
    with clock.stage("image classifier"):
        classifier, logits = train_images(
            backbone, data, config.image, session.trainer, name="images", epsilon=epsilon
        )
        temperature = fit_temperature(logits.validation, data.validation.labels)
    session.seconds("image_only", "transfer", "image classifier")
    return TransferredImages(classifier, logits, temperature, transfer)


def train_plain_images(session: Session, data: ImageData) -> tuple[ImageClassifier, HeldOut]:
    """Trains the image classifier as it is without --robust."""
    config, trainer = session.config, session.trainer
    with session.clock.stage("plain image classifier"):
        backbone, _ = transfer_backbone(config, data.train, trainer)
        result = train_images(backbone, data, config.image, trainer, name="plain images")
    session.seconds("image_plain", "transfer", "plain image classifier")
    return result


def compare_without_transfer(
    session: Session,
    run: report.Run,
    data: ImageData,
    question: TargetMap,
    measured: dict[str, CalibratedResult],
) -> report.Run:
    """Trains what has no transferred weights, and adds to a run what it reaches.

    Args:
        session: the run.
        run: what was measured before.
        data: the splits.
        question: what is asked.
        measured: the answers of that run.
    """
    without = image_baselines(session, data)
    with session.clock.stage("evaluation"):
        answers = {name: from_classes(part, question) for name, part in without.logits.items()}
        notes = {name: note for name, note in (NOTES | without.notes).items() if name in answers}
        measured = measured | evaluate_answers(session, answers, truth_of(question, data), question, notes)
    worth = worth_of_transfer(session, data, measured)
    return replace(
        run,
        results={name: item.result for name, item in measured.items()},
        gains=paired_comparisons(measured),
        histories=run.histories + without.histories,
        tables=worth_tables(worth) + without.tables() + run.tables,
        plots=(worth_plot(worth, len(data.class_names), "images"),) * (len(worth) > 1) + run.plots,
    )


def moves(config: Config) -> bool:
    """Tells whether any weights move: without, there is nothing to claim for them."""
    return config.image.image_weights != "none"


def worth_of_transfer(
    session: Session, data: ImageData, measured: dict[str, CalibratedResult]
) -> list[Worth]:
    """Compares heads on frozen backbones, with the transferred weights and with random ones, by few labels.

    With all labels it is what was measured: the better baseline stands there, the one from scratch too.
    """
    config, trainer = session.config, session.trainer
    frozen = config.image.trainable == "head" and not config.image.mirror and not config.attack.robust
    result_names = (
        {"with": "image_only", "without": NO_TRANSFER} if frozen and config.text.target_map is None else {}
    )
    backbones = {
        "with": lambda: transfer_backbone(config, data.train, trainer)[0],
        "without": lambda: build_backbone(config, config.image.target, "none", trainer),
    }
    with session.clock.stage("few labels"):
        return image_worth(
            session,
            data,
            backbones,
            {name: measured[result].correct for name, result in result_names.items()},
        )
