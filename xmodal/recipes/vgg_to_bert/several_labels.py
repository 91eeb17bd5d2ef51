"""`vgg_to_bert` on images of which each has several labels, or none: "a photo of a dog and a ball".

The same path as with one label: the transferred network tells which labels it sees, these are put into a
sentence, and BERT answers from the sentence alone, each label as a question of its own.
"""

from collections.abc import Callable
from functools import partial

import keras
import numpy as np
import tensorflow as tf

from xmodal import report
from xmodal.bridge.class_names import readable, with_article
from xmodal.config.config import Config
from xmodal.core.errors import UserError
from xmodal.data.images import ImageData, ImageSplit
from xmodal.data.table_format import COLUMNS
from xmodal.evaluation.calibrated_result import CalibratedResult
from xmodal.evaluation.intervals import compare_paired
from xmodal.evaluation.metrics import HeldOut
from xmodal.evaluation.several_labels import sigmoid
from xmodal.export.served_several import LabelSentences, ServedSeveralImages
from xmodal.export.verification import Question
from xmodal.recipes.export import export_model
from xmodal.recipes.image_training import train_images
from xmodal.recipes.label_tables import label_tables, named_labels
from xmodal.recipes.text_reading import check_encoder
from xmodal.runs.inputs import build_backbone, load_configured_images
from xmodal.runs.session import Session, finish
from xmodal.tasks.image_classifier import ImageClassifier
from xmodal.tasks.labelling import SEVERAL_LABELS
from xmodal.tasks.text_classifier import TextClassifier, TextExamples, merge, train_text_classifier
from xmodal.training.baselines import RANDOM_FROZEN
from xmodal.training.trainer import Trainer
from xmodal.transfer.weights import TransferReport

NOTES = {
    "text": "BERT on the sentences, taught what those of the training images and of single labels mean",
    "image_only": "the image classifier, with the transferred trunk",
    RANDOM_FROZEN: "the target of random weights by the same protocol",
}
LEFT_OUT = (
    "with --multi_label there are no sets of answers, other questions, amounts a class, attacks, speaker, "
    "training from scratch or small forms"
)
CHECKED_IMAGES, GALLERY_EACH = 32, 8
# As many images the sentence of a single label counts for in what it is taken to mean.
AS_IMAGES = 10
# The most sentences of an epoch, where there are fewer distinct ones.
MAX_SENTENCES = 2000

Backbone = Callable[[Config, ImageSplit, Trainer], tuple[keras.Model, TransferReport]]


def run_with_several_labels(session: Session, transferred: Backbone) -> report.Run:
    """Runs the experiment.

    Args:
        session: the run.
        transferred: builds the target's backbone with the base's weights.

    Raises:
        UserError: for labels in columns of their own, and when the data cannot be learned from.
    """
    config, clock, trainer = session.config, session.clock, session.trainer
    if config.documents.multi_label == COLUMNS:
        raise UserError(
            f"`multi_label={COLUMNS}` is for documents",
            "write labels into the column label, and give what stands between them, such as |",
        )
    with clock.stage("data"):
        data = load_configured_images(config, config.documents.multi_label)
        preset = session.text_encoder()
        check_encoder(session, preset)
    session.check_data(data.report)
    clock.log(LEFT_OUT)
    with clock.stage("transfer"):
        backbone, transfer = transferred(config, data.train, trainer)
    clock.log(transfer.line())
    classifier, result = _train_and_measure(session, backbone, data, "image_only", "images")
    assert result.thresholds is not None
    sentences = LabelSentences(data.class_names, result.thresholds, result.temperature, config.text.template)
    text, text_result, words = _train_reader(session, preset, data, classifier, result, sentences)
    results = {"text": text_result, "image_only": result}
    if config.train.baseline and config.image.image_weights != "none":
        untrained = build_backbone(config, config.image.target, "none", trainer)
        _, results[RANDOM_FROZEN] = _train_and_measure(session, untrained, data, RANDOM_FROZEN, RANDOM_FROZEN)
    facts, tables = label_tables(results, "text", data, config.run.seed)
    pairs = (
        ("image_only", RANDOM_FROZEN, "transfer of weights"),
        ("text", "image_only", "answering through text"),
    )
    run = report.Run(
        **session.metadata(),
        title=f"{config.image.base} to {config.image.target} to text of several labels to BERT",
        data=data.report,
        results={name: item.result for name, item in results.items()},
        gains=tuple(
            compare_paired(results[a].correct, results[b].correct, what=what)
            for a, b, what in pairs
            if b in results
        ),
        transfer=transfer,
        histories=(*classifier.histories, *([text.history] if text.history else [])),
        gallery=_gallery(data, text_result, words.test),
        facts=facts,
        tables=tables,
        headline="text",
    )
    return finish(
        session, run, partial(_export, session, data, classifier, sentences, text, text_result, words.test)
    )


def _train_and_measure(
    session: Session, backbone: keras.Model, data: ImageData, name: str, stage: str
) -> tuple[ImageClassifier, CalibratedResult]:
    """Trains a head, or more, on a backbone, and measures which labels it gives."""
    clock_stage = "image classifier" if stage == "images" else name
    with session.clock.stage(clock_stage):
        classifier, logits = train_images(
            backbone, data, session.config.image, session.trainer, name=stage, loss=SEVERAL_LABELS.loss
        )
    earlier_stages = ("transfer",) if stage == "images" else ()
    return classifier, _measure(session, name, logits, data, *earlier_stages, clock_stage)


def _measure(session: Session, name: str, logits: HeldOut, data: ImageData, *stages: str) -> CalibratedResult:
    truth = HeldOut(data.validation.targets, data.test.targets)
    seconds = session.seconds(name, *stages)
    return SEVERAL_LABELS.calibrated(name, logits, truth, data.class_names, note=NOTES[name], seconds=seconds)


def _train_reader(
    session: Session,
    preset: str,
    data: ImageData,
    classifier: ImageClassifier,
    image_result: CalibratedResult,
    sentences: LabelSentences,
) -> tuple[TextClassifier, CalibratedResult, HeldOut]:
    """Trains BERT on the sentences of the training images, and has it read those of the held-out ones."""
    config, trainer, names = session.config.text, session.trainer, data.class_names
    with session.clock.stage("text: head"):
        logits = classifier.train_logits()
        train_sentences = _words(sentences, logits)
        probabilities = np.repeat(sigmoid(logits, image_result.temperature), train_sentences.shape[1], axis=0)
        label_sentences = [
            pattern.replace("{}", with_article(readable(name)))
            for name in names
            for pattern in config.template
        ]
        texts = [*train_sentences.ravel(), *label_sentences]
        targets = np.concatenate([probabilities, np.repeat(np.eye(len(names)), len(config.template), axis=0)])
        weights = np.concatenate([np.ones(train_sentences.size), np.full(len(label_sentences), AS_IMAGES)])
        text = train_text_classifier(
            preset,
            _repeat(merge(texts, targets, weights), len(logits)),
            len(names),
            config,
            trainer,
            name="text head",
            loss=SEVERAL_LABELS.loss,
        )
    with session.clock.stage("text: reading"):
        words = HeldOut(
            *(_words(sentences, part) for part in (image_result.logits.validation, image_result.logits.test))
        )
        answers = HeldOut(text.logits(words.validation, trainer), text.logits(words.test, trainer))
    stages = ("image_only", "text: head", "text: reading")
    return text, _measure(session, "text", answers, data, *stages), words


def _repeat(examples: TextExamples, images: int) -> TextExamples:
    """Repeats distinct sentences up to the number of images: few label sets would make few steps an epoch."""
    times = max(1, min(images, MAX_SENTENCES) // len(examples.texts))
    return TextExamples(
        np.tile(examples.texts, times),
        np.tile(examples.targets, (times, 1)),
        np.tile(examples.weights / times, times),
    )


def _words(sentences: LabelSentences, logits: np.ndarray) -> np.ndarray:
    """Puts logits (N, C) into sentences (N, P), by the same operations as in the export."""
    return np.char.decode(sentences(tf.constant(logits, tf.float32)).numpy().astype(bytes), "utf-8").astype(
        object
    )


def _gallery(data: ImageData, item: CalibratedResult, words: np.ndarray) -> tuple[report.GalleryItem, ...]:
    answer_mask, names = item.probabilities >= item.thresholds, data.class_names
    indices = [
        index
        for right in (False, True)
        for index in np.flatnonzero(item.correct == right)[:GALLERY_EACH].tolist()
    ]
    return tuple(
        report.GalleryItem(
            png=data.test.picture(index),
            id=data.test.ids[index],
            truth=named_labels(data.test.targets[index], names),
            predicted=named_labels(answer_mask[index], names),
            probability=float(item.probabilities[index].max()),
            sentence=" | ".join(words[index]),
            kind="right" if item.correct[index] else "wrong",
        )
        for index in indices
    )


def _export(
    session: Session,
    data: ImageData,
    classifier: ImageClassifier,
    sentences: LabelSentences,
    text: TextClassifier,
    text_result: CalibratedResult,
    words: np.ndarray,
) -> dict[str, float | int | str]:
    """Exports the models, and compares their answers for some test images in a fresh process."""
    assert text_result.thresholds is not None
    served = ServedSeveralImages(
        image_model=classifier.model,
        image_size=session.config.data.image_size,
        max_pixels=session.config.data.max_pixels,
        sentences=sentences,
        text=text,
        temperature=text_result.temperature,
        thresholds=text_result.thresholds,
        names=data.class_names,
    )
    sample = words[:CHECKED_IMAGES]
    images = {"image_bytes": [data.test.encoded(index) for index in range(len(sample))]}
    first = [sentence.encode() for sentence in sample[:, 0]]
    text_probabilities = sigmoid(text.logits(sample[:, 0], session.trainer.alone()), text_result.temperature)
    questions = [
        Question(images, text_result.probabilities[:CHECKED_IMAGES]),
        Question({"text": first}, text_probabilities, "text"),
    ]
    return export_model(session, served, questions)
