"""How `names_to_answers` is exported and checked: any answers can be asked of it."""

from shlex import quote

import tensorflow as tf

from xmodal.bridge.concepts import Bottleneck
from xmodal.data.images import ImageSplit
from xmodal.data.target_map import Answers
from xmodal.export.served_names import FixedAnswers, ServedAdapted, ServedConcepts, ServedNames
from xmodal.export.verification import Question, export_checked
from xmodal.models.speakers import Speaker
from xmodal.recipes.names_to_answers.readers import TEMPLATE, Words
from xmodal.recipes.names_to_answers.unlabelled import Adapted
from xmodal.runs.session import ASK, Session

CHECKED_IMAGES = 8


def export_names(
    session: Session,
    speaker: Speaker,
    words: Words,
    answers: Answers,
    test: ImageSplit,
    bottleneck: Bottleneck | None,
    changed: Adapted,
) -> dict[str, float | int | str]:
    """Exports the speaker and the encoder, and compares what they say in a fresh process."""
    sentences = [TEMPLATE.format(phrase) for phrase in words.phrases]
    fixed_answers: dict[str, FixedAnswers] = {}
    if bottleneck:
        fixed_answers["concepts"] = ServedConcepts(speaker, bottleneck)
    if changed.reader:
        student = changed.student.model if changed.student else None
        fixed_answers["adapted"] = ServedAdapted(speaker, answers.names, changed.reader, student)
    served = ServedNames(speaker, words.encoder, sentences, vectors=words.names, fixed=fixed_answers)
    images = [test.encoded(index) for index in range(min(CHECKED_IMAGES, len(test)))]
    texts = [text.encode() for text in answers.texts]
    expected = served.ask(tf.constant(images), tf.constant(texts))["probabilities"].numpy()
    questions = [Question({"image_bytes": images, "answers": texts}, expected)]
    for signature, part in fixed_answers.items():
        expected = part.answer(tf.constant(images))["probabilities"].numpy()
        questions.append(Question({"image_bytes": images}, expected, signature))
    facts = export_checked(
        served,
        session.export_folder,
        questions,
        session.checkpoints.stage("export"),
    )
    command = f"python -m xmodal.ask --model={quote(str(facts['export']))} --answers='dog,cat,truck' FOLDER"
    return facts | {ASK: command}
