"""What the answers to documents promise."""

import numpy as np

from xmodal.data.documents import DocumentData, DocumentSplit
from xmodal.evaluation.answer_sets import set_scores
from xmodal.evaluation.calibrated_result import CalibratedResult
from xmodal.evaluation.metrics import HeldOut
from xmodal.evaluation.open_set import fit_known_inputs
from xmodal.recipes.limits import MeasuredLimits, measured_limits, sampled
from xmodal.runs.session import Session
from xmodal.tasks.text_classifier import TextClassifier


def document_limits(
    session: Session,
    bert: TextClassifier,
    data: DocumentData,
    served: CalibratedResult,
    compared: CalibratedResult,
) -> MeasuredLimits:
    """Fits and measures what is promised of the exported answers to documents.

    How strange a document is, is told by the logits and by the encoder's vectors.

    Args:
        session: the run.
        bert: the exported classifier.
        data: the documents as they are read.
        served: its answers.
        compared: other answers, whose errors are drawn beside.
    """

    def vectors(split: DocumentSplit) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        picked = sampled(len(split))
        return picked, {"vectors": bert.vectors(split.texts[picked], session.trainer)}

    with session.clock.stage("limits"):
        _, kept = vectors(data.train)
        validation, known_rows = vectors(data.validation)
        test, rows = vectors(data.test)
        known = fit_known_inputs(kept, served.logits.validation[validation], known_rows)
        return measured_limits(
            known,
            known.unknown(served.logits.test[test], rows),
            HeldOut(set_scores(served.logits.validation), set_scores(served.logits.test)),
            HeldOut(data.validation.labels, data.test.labels),
            data.class_names,
            {item.result.name: item for item in (served, compared)},
            max_error=session.config.trust.max_error,
        )
