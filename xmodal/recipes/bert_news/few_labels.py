"""What the names of classes are worth to `bert_news` where few documents are labelled."""

from dataclasses import replace

import numpy as np

from xmodal import report
from xmodal.bridge.class_names import readable
from xmodal.bridge.name_answers import SCALE, similarities
from xmodal.data.documents import DocumentData
from xmodal.data.target_map import read_descriptions
from xmodal.models.legibility import require_told_apart
from xmodal.models.text_encoder import TextEncoder, text_encoder
from xmodal.recipes.few_labels import learning_curve, shots_plot, shots_table
from xmodal.runs.session import Session
from xmodal.tasks.text_classifier import TextClassifier


def with_few_labels(run: report.Run, session: Session, preset: str, data: DocumentData) -> report.Run:
    """Compares probes of a few labelled documents with and without what the names of their classes say.

    BERT is as it comes: the names, and descriptions where there are any, are the first shot, and labelled
    documents the next ones.

    Args:
        run: what is reported so far.
        session: the run.
        preset: the encoder, as `text_encoder.text_encoder` takes it.
        data: documents as BERT is to read them.

    Returns:
        The same with a table and a plot of that; without `shots` as it was.
    """
    names, trainer = session.config.names, session.trainer
    if not any(names.shots):
        return run
    with session.clock.stage("few labels"):
        with trainer.scope():
            encoder = text_encoder(preset, session.config.text.sequence_length)
        bert = TextClassifier(encoder, encoder.model, None)
        splits = {"train": data.train, "test": data.test}
        vectors = {part: bert.vectors(split.texts, trainer) for part, split in splits.items()}
        texts, targets = describe_classes(session, data.class_names)
        document_vectors = bert.vectors(texts, trainer)
        logits = {
            part: SCALE * similarities(rows, document_vectors, targets) for part, rows in vectors.items()
        }
        labels = {part: split.labels for part, split in splits.items()}
        curve = learning_curve(names.shots, names.draws, session.config.run.seed, vectors, logits, labels)
    without_labels = float(np.mean(logits["test"].argmax(axis=1) == labels["test"]))
    return replace(
        run,
        tables=(shots_table(curve, without_labels), *run.tables),
        plots=(*run.plots, shots_plot(curve, without_labels)),
    )


def require_known_names(session: Session, encoder: TextEncoder, class_names: tuple[str, ...]) -> None:
    """Refuses, where the names of classes are to be the first shot, names that the encoder cannot tell apart.

    Raises:
        UserError: for two such names.
    """
    if any(session.config.names.shots) and not session.config.documents.multi_label:
        texts, targets = describe_classes(session, class_names)
        require_told_apart(encoder, texts, targets, class_names, session.config.text.text_encoder)


def describe_classes(session: Session, class_names: tuple[str, ...]) -> tuple[list[str], np.ndarray]:
    """Returns the names of the classes and what describes them (M,), and the class of each (M,)."""
    names, targets = [readable(name) for name in class_names], np.arange(len(class_names))
    path = session.config.scorer.class_descriptions
    if path is None:
        return names, targets
    descriptions, of_class = read_descriptions(path, class_names)
    return names + descriptions, np.concatenate([targets, of_class])
