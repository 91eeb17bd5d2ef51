"""How `bert_news` is exported, checked and compressed."""

from pathlib import Path

from xmodal import report
from xmodal.config.config import Config
from xmodal.data.documents import DocumentData
from xmodal.evaluation.calibrated_result import CalibratedResult
from xmodal.evaluation.limits import AnswerLimits
from xmodal.export.compressed import Examples, example_indices, small_documents
from xmodal.export.portable import export_portable, save_text_inputs
from xmodal.export.served_documents import ServedDocuments
from xmodal.export.verification import Question
from xmodal.recipes.export import export_model
from xmodal.runs.session import Session
from xmodal.tasks.text_classifier import TextClassifier
from xmodal.text.cleaning import text_of

CHECKED_DOCUMENTS = 32


def export_bert(
    session: Session,
    bert: TextClassifier,
    measured: CalibratedResult,
    original: DocumentData,
    limits: AnswerLimits | None,
) -> dict[str, float | int | str]:
    """Exports the model, and compares it on test documents as they were written, in a fresh process."""
    served = ServedDocuments(
        text=bert,
        temperature=measured.temperature,
        prepare=text_of(session.config.documents.scrub),
        names=original.class_names,
        limits=limits,
        thresholds=measured.thresholds,
    )
    texts = [text.encode("utf-8", "replace") for text in original.test.texts[:CHECKED_DOCUMENTS]]
    question = Question({"text": texts}, measured.probabilities[:CHECKED_DOCUMENTS])
    facts = export_model(session, served, [question])
    if session.config.run.portable and measured.thresholds is None:
        facts |= export_portable(
            Path(str(facts["export"])),
            bert.model,
            temperature=measured.temperature,
            names=original.class_names,
            save_inputs=save_text_inputs(bert.encoder, text_of(session.config.documents.scrub)),
            inputs=texts,
            expected=question.expected,
        )
    return facts


def small_forms(
    config: Config, bert: TextClassifier, measured: CalibratedResult, original: DocumentData, exported: Path
) -> tuple[report.Table, ...]:
    """Makes small forms of the export, and measures them on test documents as they were written."""
    indices = example_indices(len(original.test), config.run.seed)
    texts = [text.encode("utf-8", "replace") for text in original.test.texts[indices]]
    return small_documents(
        exported,
        bert,
        temperature=measured.temperature,
        prepare=text_of(config.documents.scrub),
        names=original.class_names,
        test=Examples(texts, original.test.labels[indices]),
        probabilities=measured.probabilities[indices],
    )
