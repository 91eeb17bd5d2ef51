"""From sentences to the answers of a question: BERT heads, and what is measured of them."""

from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from xmodal.bridge.bridge import Bridge
from xmodal.config.config import Config
from xmodal.core.clock import Clock
from xmodal.core.files import shipped
from xmodal.data.images import ImageData
from xmodal.data.target_map import TargetMap, identity_map, read_target_map
from xmodal.evaluation.calibration import fit_mixture, fit_temperature, mix, softmax
from xmodal.evaluation.intervals import Gain, paired_gain
from xmodal.evaluation.metrics import Held, Result, evaluate
from xmodal.tasks.text_classifier import (
    TextClassifier,
    TextExamples,
    train_text_classifier,
    zero_shot_classifier,
)
from xmodal.training.checkpoint import Checkpoints

# What each of the three readers of a question is called in checkpoints.
STAGES = {"text": "text", "zero_image": "text alone", "text_zero_shot": "zero shot"}
# As many images a written sentence counts for in what it is taken to mean.
AS_IMAGES = 10


@dataclass(frozen=True)
class Said:
    """What the bridge says of the images.

    Attributes:
        learned: P sentences (M, P) of training images.
        probabilities: of the classes of these (M, C), calibrated.
        shares: what the patterns of sentences are said for, see `Bridge.measured_shares`.
        words: sentences of the held-out images, (V, P) and (N, P).
    """

    learned: np.ndarray
    probabilities: np.ndarray
    shares: dict[str, np.ndarray]
    words: Held


def said_of(bridge: Bridge, learned: np.ndarray, held_out: Held, temperature: float) -> Said:
    """Puts class logits of training images (M, C) and of held-out ones into sentences."""
    words = Held(*(sentences_of(bridge, part, temperature) for part in (held_out.validation, held_out.test)))
    probabilities = softmax(learned, temperature)
    return Said(
        sentences_of(bridge, learned, temperature),
        probabilities,
        bridge.measured_shares(probabilities),
        words,
    )


@dataclass(frozen=True)
class Measured:
    """A result, the calibrated probabilities (N, C) of the test images behind it, and their temperature."""

    result: Result
    probabilities: np.ndarray
    temperature: float


def question_of(config: Config, data: ImageData) -> TargetMap:
    """Returns the question of --target_map, by default the images' own classes."""
    if config.text.target_map is None:
        return identity_map(data.class_names)
    return read_target_map(config.text.target_map, data.class_names)


def further_questions(config: Config, data: ImageData) -> dict[str, TargetMap]:
    """Returns the questions of --also_ask by their names."""
    named = (item.partition("=")[::2] for item in config.text.also_ask)
    return {name: read_target_map(shipped(path), data.class_names, "also_ask") for name, path in named}


def sentences_of(bridge: Bridge, logits: np.ndarray, temperature: float) -> np.ndarray:
    """Puts class logits (N, C) into sentences (N, P)."""
    # The same ops as in the export: a probability at a threshold must not get another word there.
    sentences = bridge.sentences(tf.nn.softmax(tf.constant(logits) / temperature)).numpy()
    return np.char.decode(sentences.astype(bytes), "utf-8").astype(object)


def zero_shot_of(config: Config, question: TargetMap, preset: str, strategy) -> TextClassifier:
    """Builds the text classifier that compares with the question's descriptions."""
    described = _written(config, question, "top1", len(config.text.template))
    targets = described.targets.argmax(axis=1)
    return zero_shot_classifier(preset, described.texts, targets, config=config.text, strategy=strategy)


def readers(
    config: Config,
    question: TargetMap,
    preset: str,
    said: Said,
    strategy: tf.distribute.Strategy,
    checkpoints: Checkpoints,
    clock: Clock,
    of: str = "",
) -> dict[str, TextClassifier]:
    """Trains BERT for a question in two ways, and builds it as it comes.

    Args:
        config: all flags.
        question: what is asked.
        preset: the encoder, as `text_encoder.text_encoder` takes it.
        said: what the bridge says of the images.
        strategy: the tf.distribute strategy.
        checkpoints: where the trainings are kept.
        clock: times the stages.
        of: added to the names of stages, to tell questions apart.

    Returns:
        "text", which learns what the sentences of the training images mean for them, and what written ones
        do by their words; "zero_image", which learns written ones alone; and "text_zero_shot". With
        --text_head=zero_shot all three are the last one.
    """
    with clock.stage(f"text: zero shot{of}"):
        text = zero_image = zero_shot = zero_shot_of(config, question, preset, strategy)
    if config.text.text_head == "finetune":
        style, count = config.text.text_style, config.text.text_examples

        def trained(examples: TextExamples, stage: str) -> TextClassifier:
            return train_text_classifier(
                preset,
                examples,
                len(question.names),
                config=config.text,
                seed=config.run.seed,
                strategy=strategy,
                stage=stage + of,
                checkpoints=checkpoints,
                training=config.train,
            )

        with clock.stage(f"text: head{of}"):
            answers = np.repeat(said.probabilities @ _one_hot(question), said.learned.shape[1], axis=0)
            written = _written(config, question, style, count, said.shares)
            text = trained(expected(said.learned.ravel(), answers, written), "text head")
        with clock.stage(f"text: head on text alone{of}"):
            zero_image = trained(_written(config, question, style, count), "text head, text alone")
    return {"text": text, "zero_image": zero_image, "text_zero_shot": zero_shot}


def read(
    readers: dict[str, TextClassifier], words: Held, strategy, checkpoints, of: str = ""
) -> dict[str, Held]:
    """Lets each reader of a question read the sentences of the held-out images, to its logits."""

    def logits(name: str, texts: np.ndarray, part: str) -> np.ndarray:
        stage = f"{STAGES[name]}: reading, {part}{of}"
        return readers[name].logits(texts, strategy, stage=stage, checkpoints=checkpoints)

    return {
        name: Held(logits(name, words.validation, "validation"), logits(name, words.test, "test"))
        for name in readers
    }


def further_answers(
    config: Config,
    data: ImageData,
    preset: str,
    said: Said,
    strategy: tf.distribute.Strategy,
    checkpoints: Checkpoints,
    clock: Clock,
) -> tuple[dict[str, Result], tuple[Gain, ...]]:
    """Answers the questions of --also_ask from the same sentences.

    Args:
        config, preset, said, strategy, checkpoints, clock: as `readers` takes them.
        data: the images, with the classes that tell what the right answers are.

    Returns:
        For each question the results of all readers, and what the training images gained.
    """
    results: dict[str, Result] = {}
    gains = []
    for name, question in further_questions(config, data).items():
        of = f", {name}"
        asked = readers(config, question, preset, said, strategy, checkpoints, clock, of)
        truth = truth_of(question, data)
        right = {}
        for kind, logits in read(asked, said.words, strategy, checkpoints, of).items():
            note = f"the question {name!r}, answered as by {kind}"
            answer = measure(f"{kind}, {name}", logits, truth, question, note)
            results[answer.result.name] = answer.result
            right[kind] = answer.probabilities.argmax(axis=1) == truth.test
        what = f"asking {name!r} with what is said of training images, and not in text alone,"
        gains.append(paired_gain(right["text"], right["zero_image"], what=what))
    return results, tuple(gains)


def truth_of(question: TargetMap, data: ImageData) -> Held:
    """Returns the right answers for the held-out images, (V,) and (N,)."""
    return Held(*(question.of_class[split.labels] for split in (data.validation, data.test)))


def from_classes(logits: Held, question: TargetMap) -> Held:
    """Answers a question from class logits: an answer has the sum of its classes' probabilities."""

    def answered(part: np.ndarray) -> np.ndarray:
        # Far from the other classes a probability rounds to zero, and its logarithm is wanted.
        return np.log(np.maximum(softmax(part) @ _one_hot(question), np.finfo(np.float64).tiny))

    return Held(answered(logits.validation), answered(logits.test))


def pooled(image: Held, text: Held, truth: Held) -> tuple[Held, float]:
    """Mixes the calibrated probabilities of both, with the image's weight chosen on the validation images.

    Returns:
        The logarithms of the mixtures, and that weight.
    """

    def calibrated(logits: Held) -> Held:
        temperature = fit_temperature(logits.validation, truth.validation)
        return Held(softmax(logits.validation, temperature), softmax(logits.test, temperature))

    image, text = calibrated(image), calibrated(text)
    weight = fit_mixture(image.validation, text.validation, truth.validation)
    validation, test = mix(image.validation, text.validation, weight), mix(image.test, text.test, weight)
    return Held(np.log(validation), np.log(test)), weight


def measure(
    name: str,
    logits: Held,
    truth: Held,
    question: TargetMap,
    note: str,
    seconds: float | None = None,
) -> Measured:
    """Calibrates logits on the validation images, and measures those of the test images.

    Args:
        name: of the result.
        logits: (V, C) and (N, C).
        truth: the right answers (V,) and (N,).
        question: gives the names of the C answers.
        note: one sentence on where the logits come from.
        seconds: wall time that it took.
    """
    temperature = fit_temperature(logits.validation, truth.validation)
    probabilities = softmax(logits.test, temperature)
    result = evaluate(
        name,
        probabilities,
        truth.test,
        question.names,
        uncalibrated=softmax(logits.test),
        note=note,
        seconds=seconds,
    )
    return Measured(result, probabilities, temperature)


def expected(texts: np.ndarray, answers: np.ndarray, written: TextExamples) -> TextExamples:
    """Returns what each distinct sentence means: the mean answer of the images that it is said of.

    A written sentence counts as `AS_IMAGES` images with what its words are said for, so that one that is
    said of a few images only, or of none, means something too. Those said of images and the written ones
    have an equal say: of the images that it learned from, the classifier is mostly sure; the doubts that it
    has about others are among the written sentences.

    Args:
        texts: sentences that are said of images (N,).
        answers: the probabilities of the T answers for these images (N, T).
        written: distinct sentences with what they mean (U, T).
    """
    distinct, place = np.unique([*texts, *written.texts], return_inverse=True)
    images = np.concatenate([np.ones(len(texts)), np.full(len(written.texts), AS_IMAGES)])
    say = np.concatenate([np.ones(len(texts)) / len(texts), np.ones(len(written.texts)) / len(written.texts)])
    sums = np.zeros((len(distinct), answers.shape[1]))
    np.add.at(sums, place, images[:, None] * np.concatenate([answers, written.targets]))
    weights = np.bincount(place, say)
    return TextExamples(
        distinct.astype(object),
        (sums / sums.sum(axis=1, keepdims=True)).astype(np.float32),
        (weights / weights.mean()).astype(np.float32),
    )


def _one_hot(question: TargetMap) -> np.ndarray:
    """Returns the answer of each class (C, T)."""
    return np.eye(len(question.names))[question.of_class]


def _written(
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
