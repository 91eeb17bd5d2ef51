"""What the answers to documents promise."""

import numpy as np

from xmodal.data.documents import DocumentData, DocumentSplit
from xmodal.evaluation.answer_sets import set_scores
from xmodal.evaluation.calibrated_result import CalibratedResult
from xmodal.evaluation.metrics import HeldOut
from xmodal.evaluation.open_set import fit_known_inputs
from xmodal.recipes.limits import MeasuredLimits, measure_limits, sample_positions
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

    How strange a document is, is measured by the logits and by the encoder's vectors.

    Args:
        session: the run.
        bert: the exported classifier.
        data: the documents as they are read.
        served: its answers.
        compared: other answers, whose errors are drawn beside.
    """

    def vectors(split: DocumentSplit) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        indices = sample_positions(len(split))
        return indices, {"vectors": bert.vectors(split.texts[indices], session.trainer)}

    with session.clock.stage("limits"):
        _, train_rows = vectors(data.train)
        validation, validation_rows = vectors(data.validation)
        test, test_rows = vectors(data.test)
        known_inputs = fit_known_inputs(train_rows, served.logits.validation[validation], validation_rows)
        return measure_limits(
            known_inputs,
            known_inputs.unknown(served.logits.test[test], test_rows),
            HeldOut(set_scores(served.logits.validation), set_scores(served.logits.test)),
            HeldOut(data.validation.labels, data.test.labels),
            data.class_names,
            {item.result.name: item for item in (served, compared)},
            max_error=session.config.trust.max_error,
        )
