"""From sentences to the answers of a question: BERT heads, and what is measured of them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from xmodal.bridge.bridge import Bridge
from xmodal.config.config import Config
from xmodal.core.files import shipped_path
from xmodal.data.images import ImageData
from xmodal.data.target_map import TargetMap, identity_map, read_target_map
from xmodal.evaluation.calibrated_result import CalibratedResult, calibrated_result
from xmodal.evaluation.calibration import fit_mixture, fit_temperature, match_temperature, mix, softmax
from xmodal.evaluation.intervals import Comparison, compare_paired
from xmodal.evaluation.metrics import HeldOut, Result
from xmodal.models.legibility import require_told_apart
from xmodal.models.text_encoder import TextEncoder
from xmodal.recipes.text_reading import report_reading
from xmodal.runs.session import Session
from xmodal.tasks.image_classifier import ImageClassifier
from xmodal.tasks.text_classifier import (
    TextClassifier,
    TextExamples,
    train_text_classifier,
    zero_shot_classifier,
)
from xmodal.training.trainer import Trainer
from xmodal.transfer.weights import TransferReport

# What each of the three models of a question is called in checkpoints.
STAGES = {"text": "text", "zero_image": "text alone", "text_zero_shot": "zero shot"}
# As many images a written sentence counts for in what it is taken to mean.
AS_IMAGES = 10


@dataclass(frozen=True)
class TransferredImages:
    """The image classifier with the transferred weights.

    Attributes:
        classifier: as it was trained.
        logits: class logits of the held-out images.
        temperature: calibrates them.
        transfer: which weights moved.
    """

    classifier: ImageClassifier
    logits: HeldOut
    temperature: float
    transfer: TransferReport


@dataclass(frozen=True)
class BridgeSentences:
    """What the bridge says of the images.

    Attributes:
        train: P sentences (M, P) of training images.
        probabilities: of the classes of these (M, C), as doubtful as those of the validation images.
        shares: what the patterns of sentences are said for, see `Bridge.measured_shares`.
        held_out: sentences of the held-out images, (V, P) and (N, P).
    """

    train: np.ndarray
    probabilities: np.ndarray
    shares: dict[str, np.ndarray]
    held_out: HeldOut


def bridge_sentences(bridge: Bridge, images: TransferredImages) -> BridgeSentences:
    """Puts the class logits of training images and of held-out ones into sentences."""
    train, held_out, temperature = images.classifier.train_logits(), images.logits, images.temperature
    parts = (sentences_of(bridge, part, temperature) for part in (held_out.validation, held_out.test))
    sentences = HeldOut(*parts)
    # The network is surer of the images that it learned from than of those that BERT will be told about.
    train_temperature = match_temperature(train, softmax(held_out.validation, temperature))
    probabilities = softmax(train, train_temperature)
    return BridgeSentences(
        sentences_of(bridge, train, train_temperature),
        probabilities,
        bridge.measured_shares(probabilities),
        sentences,
    )


def question_of(config: Config, data: ImageData) -> TargetMap:
    """Returns the question of --target_map, by default the images' own classes."""
    if config.text.target_map is None:
        return identity_map(data.class_names)
    return read_target_map(config.text.target_map, data.class_names)


def extra_targets(config: Config, data: ImageData) -> dict[str, TargetMap]:
    """Returns the questions of --also_ask by their names."""
    pairs = (item.partition("=")[::2] for item in config.text.also_ask)
    return {name: read_target_map(shipped_path(path), data.class_names, "also_ask") for name, path in pairs}


def require_legible(
    session: Session, questions: Sequence[TargetMap], encoder: TextEncoder
) -> dict[str, float | int | str]:
    """Refuses questions of which the encoder reads different answers as the same; before any training.

    Returns:
        What it does not know, and what it may cut, of the sentences with the first one's descriptions.
    """
    config = session.config
    written_examples = [
        _write_examples(config, question, "top1", len(config.text.template)) for question in questions
    ]
    for question, examples in zip(questions, written_examples, strict=True):
        answers = examples.targets.argmax(axis=1)
        require_told_apart(encoder, examples.texts, answers, question.names, config.text.text_encoder)
    return report_reading(session, encoder, written_examples[0].texts)


def sentences_of(bridge: Bridge, logits: np.ndarray, temperature: float) -> np.ndarray:
    """Puts class logits (N, C) into sentences (N, P)."""
    # The same ops as in the export: a probability at a threshold must not get another word there.
    sentences = bridge.sentences(tf.nn.softmax(tf.constant(logits) / temperature)).numpy()
    return np.char.decode(sentences.astype(bytes), "utf-8").astype(object)


def zero_shot_model(
    config: Config,
    question: TargetMap,
    preset: str,
    trainer: Trainer,
    encoder: TextEncoder | None = None,
) -> TextClassifier:
    """Builds what compares a sentence with the question's descriptions, see `zero_shot_classifier`."""
    return zero_shot_classifier(preset, *describe_answers(config, question), config.text, trainer, encoder)


def describe_answers(config: Config, question: TargetMap) -> tuple[np.ndarray, np.ndarray]:
    """Returns the question's descriptions as sentences (M,), and the answer of each (M,)."""
    examples = _write_examples(config, question, "top1", len(config.text.template))
    return examples.texts, examples.targets.argmax(axis=1)


def train_text_models(
    session: Session,
    question: TargetMap,
    preset: str,
    sentences: BridgeSentences,
    suffix: str = "",
    encoder: TextEncoder | None = None,
) -> dict[str, TextClassifier]:
    """Trains BERT for a question in two ways, and builds it as it comes.

    Args:
        session: the run.
        question: what is asked.
        preset: the encoder, as `text_encoder.text_encoder` takes it.
        sentences: what the bridge says of the images.
        suffix: of the names of stages, to tell questions apart.
        encoder: the preset, where it was loaded before.

    Returns:
        "text", which learns what the sentences of the training images mean for them, and what written ones
        do by their words; "zero_image", which learns written ones alone; and "text_zero_shot". With
        --text_head=zero_shot all three are the last one.
    """
    config, clock = session.config, session.clock
    with clock.stage(f"text: zero shot{suffix}"):
        zero_shot = zero_shot_model(config, question, preset, session.trainer, encoder)
    session.seconds(f"text_zero_shot{suffix}", "sentences", f"text: zero shot{suffix}")
    if config.text.text_head != "finetune":
        session.seconds(f"text{suffix}", "sentences")
        session.seconds(f"zero_image{suffix}", "sentences")
        return {"text": zero_shot, "zero_image": zero_shot, "text_zero_shot": zero_shot}
    style, count = config.text.text_style, config.text.text_examples

    def train_classifier(examples: TextExamples, name: str) -> TextClassifier:
        return train_text_classifier(
            preset, examples, len(question.names), config.text, session.trainer, name=name + suffix
        )

    with clock.stage(f"text: head{suffix}"):
        answers = np.repeat(sentences.probabilities @ _one_hot(question), sentences.train.shape[1], axis=0)
        written_examples = _write_examples(config, question, style, count, sentences.shares)
        text = train_classifier(
            expected_answers(sentences.train.ravel(), answers, written_examples), "text head"
        )
    session.seconds(f"text{suffix}", "sentences", f"text: head{suffix}")
    with clock.stage(f"text: head on text alone{suffix}"):
        zero_image = train_classifier(
            _write_examples(config, question, style, count), "text head, text alone"
        )
    session.seconds(f"zero_image{suffix}", "sentences", f"text: head on text alone{suffix}")
    return {"text": text, "zero_image": zero_image, "text_zero_shot": zero_shot}


def predict_answers(
    models: dict[str, TextClassifier], sentences: HeldOut, trainer: Trainer, suffix: str = ""
) -> dict[str, HeldOut]:
    """Returns the logits that each model of a question gives for the sentences of the held-out images."""

    texts = np.concatenate([sentences.validation, sentences.test])
    validation_count = len(sentences.validation)

    def answers(name: str) -> HeldOut:
        stage = f"{STAGES[name]}: reading{suffix}"
        logits = models[name].logits(texts, trainer, name=stage)
        return HeldOut(logits[:validation_count], logits[validation_count:])

    return {name: answers(name) for name in models}


def evaluate_extra_targets(
    session: Session, data: ImageData, preset: str, sentences: BridgeSentences
) -> tuple[dict[str, Result], tuple[Comparison, ...]]:
    """Answers the questions of --also_ask from the same sentences.

    Args:
        session: the run.
        data: the images, with the classes that tell what the right answers are.
        preset, sentences: as `train_text_models` takes them.

    Returns:
        For each question the results of all models, and what the training images gained.
    """
    results: dict[str, Result] = {}
    gains = []
    for name, question in extra_targets(session.config, data).items():
        suffix = f", {name}"
        models = train_text_models(session, question, preset, sentences, suffix)
        truth = truth_of(question, data)
        right = {}
        for kind, logits in predict_answers(models, sentences.held_out, session.trainer, suffix).items():
            note = f"the question {name!r}, answered as by {kind}"
            answer = calibrated_result(f"{kind}, {name}", logits, truth, question.names, note=note)
            results[answer.result.name] = answer.result
            right[kind] = answer.correct
        what = f"asking {name!r} with what is said of training images, and not in text alone,"
        gains.append(compare_paired(right["text"], right["zero_image"], what=what))
    return results, tuple(gains)


def truth_of(question: TargetMap, data: ImageData) -> HeldOut:
    """Returns the right answers for the held-out images, (V,) and (N,)."""
    return HeldOut(*(question.of_class[split.labels] for split in (data.validation, data.test)))


def from_classes(logits: HeldOut, question: TargetMap) -> HeldOut:
    """Answers a question from class logits: an answer has the sum of its classes' probabilities."""

    def log_probabilities(part: np.ndarray) -> np.ndarray:
        # Far from the other classes a probability rounds to zero, and its logarithm is wanted.
        return np.log(np.maximum(softmax(part) @ _one_hot(question), np.finfo(np.float64).tiny))

    return HeldOut(log_probabilities(logits.validation), log_probabilities(logits.test))


def pool_answers(image: HeldOut, text: HeldOut, truth: HeldOut) -> tuple[HeldOut, float]:
    """Mixes the calibrated probabilities of both, with the image's weight chosen on the validation images.

    Returns:
        The logarithms of the mixtures, and that weight.
    """

    def calibrate(logits: HeldOut) -> HeldOut:
        temperature = fit_temperature(logits.validation, truth.validation)
        return HeldOut(softmax(logits.validation, temperature), softmax(logits.test, temperature))

    image, text = calibrate(image), calibrate(text)
    weight = fit_mixture(image.validation, text.validation, truth.validation)
    validation, test = mix(image.validation, text.validation, weight), mix(image.test, text.test, weight)
    return HeldOut(np.log(validation), np.log(test)), weight


def evaluate_answers(
    session: Session,
    answers: dict[str, HeldOut],
    truth: HeldOut,
    question: TargetMap,
    notes: dict[str, str],
) -> dict[str, CalibratedResult]:
    """Calibrates the logits of each answer on the validation images, and measures those of the test images.

    Args:
        session: the run, with the seconds of the results.
        answers: name of a result -> logits (V, C) and (N, C).
        truth: the right answers (V,) and (N,).
        question: gives the names of the C answers.
        notes: names in the order of showing -> one sentence on where the logits come from.
    """
    return {
        name: calibrated_result(
            name,
            answers[name],
            truth,
            question.names,
            note=note,
            seconds=session.result_seconds[name],
        )
        for name, note in notes.items()
        if name in answers
    }


def expected_answers(texts: np.ndarray, answers: np.ndarray, written: TextExamples) -> TextExamples:
    """Returns what each distinct sentence means: the mean answer of the images that it is said of.

    A written sentence counts as `AS_IMAGES` images with what its words are said for, so that one that is
    said of a few images only, or of none, means something too. Those said of images and the written ones
    have an equal say: the classifier is sure of most images, and the written ones are its doubts.

    Args:
        texts: sentences that are said of images (N,).
        answers: the probabilities of the T answers for these images (N, T).
        written: distinct sentences with what they mean (U, T).
    """
    distinct_texts, index = np.unique([*texts, *written.texts], return_inverse=True)
    images = np.concatenate([np.ones(len(texts)), np.full(len(written.texts), AS_IMAGES)])
    parts = [np.full(count, 1 / count) for count in (len(texts), len(written.texts))]
    sums = np.zeros((len(distinct_texts), answers.shape[1]))
    np.add.at(sums, index, images[:, None] * np.concatenate([answers, written.targets]))
    weights = np.bincount(index, np.concatenate(parts))
    return TextExamples(
        distinct_texts.astype(object),
        (sums / sums.sum(axis=1, keepdims=True)).astype(np.float32),
        (weights / weights.mean()).astype(np.float32),
    )


def _one_hot(question: TargetMap) -> np.ndarray:
    """Returns the answer of each class (C, T)."""
    return np.eye(len(question.names))[question.of_class]


def _write_examples(
    config: Config,
    question: TargetMap,
    style: str,
    per_description: int,
    shares: dict[str, np.ndarray] | None = None,
) -> TextExamples:
    """Writes sentences with descriptions in the place of class names, and what they mean for the answers."""
    top_k = min(config.text.top_k, len(question.descriptions))
    writer = Bridge(question.descriptions, style, config.text.template, top_k)
    examples = writer.text_examples(per_description, config.run.seed, shares)
    texts, meanings = zip(*examples, strict=True)
    answers = np.stack(meanings) @ np.eye(len(question.names))[question.targets]
    weights = np.ones(len(texts), np.float32)
    return TextExamples(np.array(texts, object), answers.astype(np.float32), weights)
