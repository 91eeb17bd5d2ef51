"""How `bert_news` is exported, checked and compressed."""

from collections.abc import Callable
from pathlib import Path

import tensorflow as tf

from xmodal import report
from xmodal.config.config import Config
from xmodal.data.documents import DocumentData
from xmodal.export.compressed import Examples, drawn, small_documents
from xmodal.export.served_documents import ServedDocuments
from xmodal.export.verification import Question, export_checked
from xmodal.recipes.bert_news.tables import Measured
from xmodal.tasks.text_classifier import TextClassifier
from xmodal.text.cleaning import preparation
from xmodal.training.checkpoint import Checkpoints

CHECKED_DOCUMENTS = 32


def export_bert(
    config: Config,
    bert: TextClassifier,
    measured: Measured,
    original: DocumentData,
    checkpoints: Checkpoints,
) -> dict[str, float | int | str]:
    """Exports the model, and compares it on test documents as they were written, in a fresh process."""
    served = ServedDocuments(
        text=bert,
        temperature=measured.temperature,
        prepare=text_of(config),
        names=original.class_names,
    )
    folder = config.run.saved_models_dir / config.run.experiment
    texts = [text.encode("utf-8", "replace") for text in original.test.texts[:CHECKED_DOCUMENTS]]
    question = Question({"text": texts}, measured.probabilities[:CHECKED_DOCUMENTS])
    return export_checked(served, folder, [question], checkpoints.stage("export"))


def text_of(config: Config) -> Callable[[tf.Tensor], tf.Tensor]:
    """Returns what makes the texts (B,) that BERT reads of documents (B,) as they were written, in-graph."""
    prepare = preparation(config.documents.scrub)
    return lambda documents: prepare(documents)[0]


def small_forms(
    config: Config, bert: TextClassifier, measured: Measured, original: DocumentData, exported: Path
) -> tuple[report.Table, ...]:
    """Makes small forms of the export, and measures them on test documents as they were written."""
    places = drawn(len(original.test), config.run.seed)
    texts = [text.encode("utf-8", "replace") for text in original.test.texts[places]]
    return small_documents(
        exported,
        bert,
        temperature=measured.temperature,
        prepare=text_of(config),
        names=original.class_names,
        test=Examples(texts, original.test.labels[places]),
        probabilities=measured.probabilities[places],
    )
