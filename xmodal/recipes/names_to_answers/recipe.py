"""Photographs without labels -> the names of a ready classifier -> the answers that were typed.

What the classifier sees becomes words, and the words carry what it never learned. Labels measure, where there
are any; a few of them teach, where that is asked for.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from xmodal import report
from xmodal.bridge.class_names import readable
from xmodal.bridge.name_answers import name_weights
from xmodal.config.config import Config
from xmodal.config.names import NOISY_STUDENT, SELF_TRAIN
from xmodal.core.clock import Clock
from xmodal.evaluation.calibration import softmax
from xmodal.evaluation.intervals import Comparison, compare_paired
from xmodal.evaluation.metrics import Result, evaluate
from xmodal.models.speakers import Speaker, make_speaker
from xmodal.models.text_encoder import text_encoder
from xmodal.recipes.few_labels import Shots, learning_curve, shots_plot, shots_table
from xmodal.recipes.names_to_answers.concepts import bottleneck_of, concepts_table, require_labels
from xmodal.recipes.names_to_answers.exports import export_names
from xmodal.recipes.names_to_answers.photographs import Photographs, Question, photographs_of, question_of
from xmodal.recipes.names_to_answers.readers import (
    READERS,
    TEMPLATE,
    Words,
    name_mixture,
    sentences_of,
    with_name_text,
    words_of,
)
from xmodal.recipes.names_to_answers.student import transfer_student
from xmodal.recipes.names_to_answers.tables import NOTES, answer_table, gallery
from xmodal.recipes.names_to_answers.unlabelled import adapt
from xmodal.recipes.seeing import SEEING, Seen, see
from xmodal.recipes.text_reading import Facts, report_reading
from xmodal.runs.session import Session, begin, finish

PLAIN = "name_mixture_plain"
CONCEPTS = "concepts"


def run(config: Config, clock: Clock) -> report.Run:
    """Runs the experiment and leaves its files in `config.run.output_dir`.

    Args:
        config: all flags, as dataclasses.
        clock: times the stages, and says how it goes.

    Returns:
        What was reported.
    """
    session = begin(config, clock)
    names, trainer = config.names, session.trainer
    with clock.stage("data"):
        photographs = photographs_of(config)
        question = question_of(config, photographs)
        require_labels(config, question)
    session.check_data(photographs.report)
    network = transfer_student(session, photographs)
    speaker, words, facts = speaker_and_words(session, question)
    needs_training = names.adapt in (SELF_TRAIN, NOISY_STUDENT) or any(names.shots) or bool(names.concepts)
    with clock.stage(SEEING):
        splits = {"test": photographs.test} | (
            {"train": photographs.train} if needs_training and photographs.train else {}
        )
        speaker_outputs = {
            part: see(speaker, split, trainer, config.train.batch_size, name=f"seeing, {part}")
            for part, split in splits.items()
        }
    answer_logits, mixture = read_answers(session, speaker, words, speaker_outputs)
    adaptation = adapt(session, photographs, question.answers.names, speaker_outputs, mixture, network)
    answer_logits = adaptation.read | answer_logits
    bottleneck = None
    if names.concepts:
        with clock.stage(CONCEPTS):
            bottleneck = bottleneck_of(session, words, speaker_outputs, question)
            answer_logits[CONCEPTS] = bottleneck(speaker_outputs["test"].features)
        session.seconds(CONCEPTS, SEEING, CONCEPTS)
    curve: list[Shots] = []
    if any(names.shots):
        features = {part: outputs.features for part, outputs in speaker_outputs.items()}
        with clock.stage("few labels"):
            curve = learning_curve(
                names.shots, names.draws, config.run.seed, features, adaptation.logits, question.right
            )
    run = build_report(
        session, speaker, words, photographs, question, speaker_outputs["test"].logits, answer_logits, curve
    )
    run = replace(run, facts=run.facts | facts)
    if student := adaptation.student:
        run = replace(run, histories=student.histories, transfer=student.transfer)
    if bottleneck:
        run = replace(run, tables=(*run.tables, concepts_table(bottleneck.head)))
    return finish(
        session,
        run,
        lambda: export_names(
            session, speaker, words, question.answers, photographs.test, bottleneck, adaptation
        ),
    )


def speaker_and_words(session: Session, question: Question) -> tuple[Speaker, Words, Facts]:
    """Builds the speaker, reads its names and the answers, and returns facts of that reading too."""
    config, names, trainer = session.config, session.config.names, session.trainer
    with session.clock.stage("speaker and words"), trainer.scope():
        speaker = make_speaker(names.speaker, names.speaker_names, config.run.offline)
        speaker = replace(speaker, max_pixels=config.data.max_pixels)
        encoder = text_encoder(session.text_encoder(), config.text.sequence_length)
        words = words_of(trainer, encoder, speaker, question.answers, names.name_text)
        read_texts = [*question.answers.texts, *(TEMPLATE.format(phrase) for phrase in words.phrases)]
        return speaker, words, report_reading(session, encoder, read_texts)


def read_answers(
    session: Session, speaker: Speaker, words: Words, seen: dict[str, Seen]
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Reads answers from the names that a speaker sees, in all ways that the flags ask for.

    Returns:
        Logits of the answers (B, C) for the test images, by the way, the first one for the headline; and
        those of the mixture of the names, by part.
    """
    names, clock = session.config.names, session.clock
    answer_logits: dict[str, np.ndarray] = {}
    for name in names.readers:
        with clock.stage(name):
            answer_logits[name] = READERS[name](words, seen["test"])
    if names.name_text != "plain":
        with clock.stage(PLAIN):
            answer_logits[PLAIN] = name_mixture(with_name_text(words, speaker, "plain"), seen["test"])
    for name in answer_logits:
        session.seconds(name, SEEING, name)
    return answer_logits, {part: name_mixture(words, outputs) for part, outputs in seen.items()}


def build_report(
    session: Session,
    speaker: Speaker,
    words: Words,
    photographs: Photographs,
    question: Question,
    logits: np.ndarray,
    read: dict[str, np.ndarray],
    curve: Sequence[Shots],
) -> report.Run:
    """Puts together what is reported of the speaker's logits (B, N) and of the answers read from them."""
    answers, config = question.answers, session.config
    headline = next(iter(read))
    probabilities = softmax(read[headline])
    predictions = probabilities.argmax(axis=1)
    weights = name_weights(words.names, words.descriptions, words.targets)
    results = results_of(session, read, question)
    return report.Run(
        **session.metadata(),
        title="Names to answers",
        data=photographs.report,
        results=results,
        gains=gains_of(read, question, config.names.name_text),
        transfer=None,
        histories=(),
        gallery=gallery(
            photographs.test,
            probabilities,
            question.right.get("test"),
            sentences_of(tuple(map(readable, speaker.class_names)), logits),
            answers.names,
            config.run.seed,
        ),
        facts={
            "speaker": speaker.name,
            "names that it knows": len(speaker.class_names),
            "images": len(predictions),
        },
        headline=headline if results else None,
        tables=(
            answer_table(answers.names, predictions, weights, logits, speaker.class_names),
            *([shots_table(curve, results[headline].accuracy)] if curve else []),
        ),
        plots=(shots_plot(curve, results[headline].accuracy),) if curve else (),
    )


def results_of(session: Session, read: dict[str, np.ndarray], question: Question) -> dict[str, Result]:
    """Measures each way to read, where the right answers are known."""
    if not question.right:
        return {}
    return {
        name: evaluate(
            name,
            softmax(logits),
            question.right["test"],
            question.answers.names,
            note=NOTES[name],
            seconds=session.result_seconds[name],
        )
        for name, logits in read.items()
    }


def gains_of(read: dict[str, np.ndarray], question: Question, name_text: str) -> tuple[Comparison, ...]:
    """Compares what was read two by two: first what the words of the names are worth."""
    if not question.right:
        return ()
    right = {name: logits.argmax(axis=1) == question.right["test"] for name, logits in read.items()}
    pairs = [
        (NOISY_STUDENT, SELF_TRAIN, "teaching a second network"),
        (SELF_TRAIN, "name_mixture", "training on images without labels"),
        ("prior", "name_mixture", "finding how frequent the answers are"),
        ("concepts", "name_mixture", "learning answers from concepts"),
        ("name_mixture", PLAIN, f"writing {name_text} of the names"),
        ("name_mixture", "top1_sentence", "reading all names and not the first alone"),
    ]
    return tuple(
        compare_paired(right[a], right[b], what=what) for a, b, what in pairs if a in right and b in right
    )
