"""Answers of `names_to_answers` by way of concepts, whose weights can be read and edited."""

import numpy as np

from xmodal import report
from xmodal.bridge.concepts import (
    TEMPLATE,
    Bottleneck,
    ConceptHead,
    concepts_of,
    fit_concept_head,
    read_concept_head,
)
from xmodal.bridge.name_answers import unit
from xmodal.config.config import Config
from xmodal.core.errors import UserError
from xmodal.core.files import write_text
from xmodal.recipes.names_to_answers.photographs import Question
from xmodal.recipes.names_to_answers.readers import Words
from xmodal.recipes.seeing import Seen
from xmodal.runs.session import Session
from xmodal.tasks.projection import train_projection

TABLE = "concepts.csv"
CONCEPTS_EACH = 8


def require_labels(config: Config, question: Question) -> None:
    """Refuses to learn answers from concepts without labels."""
    if config.names.concepts and not question.right and not config.names.concept_weights:
        raise UserError(
            f"`concepts={config.names.concepts}` learns from labels, and `dataset={config.data.dataset}` has "
            "none",
            "give labelled images, or weights that a run wrote by `concept_weights`",
        )


def bottleneck_of(session: Session, words: Words, seen: dict[str, Seen], question: Question) -> Bottleneck:
    """Learns answers from concepts, or reads weights that were edited.

    The weights are left in the run's folder, as a table.

    Args:
        session: the run.
        words: reads concepts, and has read the speaker's names.
        seen: what the speaker makes of the images of each part.
        question: the answers, and those that are right.
    """
    names = session.config.names
    part = "train" if "train" in seen else "test"
    answers = question.answers.names
    edited_head = read_concept_head(names.concept_weights, answers) if names.concept_weights else None
    concepts = edited_head.concepts if edited_head else concepts_of(names.concepts)
    features, logits = seen[part].features, seen[part].logits
    projection = train_projection(features, logits, words.names, words.trainer, name="concepts: projection")
    vectors = unit(words.read([TEMPLATE.format(concept) for concept in concepts])).T
    weights, bias = projection.weights @ vectors, projection.bias @ vectors
    scores = features @ weights + bias
    head = edited_head or fit_concept_head(scores, question.right[part], concepts, answers)
    if session.checkpoints.writes:
        write_text(session.config.run.output_dir / TABLE, head.table())
    return Bottleneck(weights, bias, head)


def concepts_table(head: ConceptHead) -> report.Table:
    """Tells which concepts speak most for each answer, and which against it."""
    rows = []
    for answer, weights in zip(head.answers, head.weights.T, strict=True):
        order = np.argsort(-weights, kind="stable")
        most, least = order[:CONCEPTS_EACH], order[::-1][: CONCEPTS_EACH // 2]
        rows.append((answer, *(", ".join(head.concepts[index] for index in part) for part in (most, least))))
    caption = f"Concepts that speak for each answer and against it; {TABLE} has all weights, to be edited"
    return report.Table(caption, ("answer", "for it", "against it"), tuple(rows))
