"""The path from a document to an answer, as a SavedModel keeps it."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from xmodal.evaluation.limits import AnswerLimits
from xmodal.export.served_limits import ServedLimits
from xmodal.export.served_several import SeveralLabels
from xmodal.export.served_why import word_shares
from xmodal.export.serving import TEXT, Inference, Labelled, Tokenizer, labelled_answer
from xmodal.tasks.text_classifier import TextClassifier


class ServedDocuments(Labelled):
    """The path from a document, as it is written, to an answer, as a SavedModel keeps it.

    Args:
        text: texts -> logits of the classes (B, C).
        temperature: calibrates these.
        prepare: documents (B,) -> texts (B,), such as `text.cleaning.scrub_texts`, in-graph.
        names: the classes, C of them.
        limits: what is promised of the answers; None promises nothing.
        thresholds: of the classes (C,), of which a document may have several: each is given where its
            probability reaches them. None where it has one.
        explained: whether it tells what words carry, for which the model needs true gradients; nothing is
            told of several labels.
    """

    def __init__(
        self,
        *,
        text: TextClassifier,
        temperature: float,
        prepare: Callable[[tf.Tensor], tf.Tensor],
        names: tuple[str, ...],
        limits: AnswerLimits | None = None,
        thresholds: np.ndarray | None = None,
        explained: bool = True,
    ):
        super().__init__(names)
        self._answer = labelled_answer if thresholds is None else SeveralLabels(names, thresholds)
        vectors_and_logits = [text.encoder.model.output, text.model.output] if limits else None
        # One pass gives both, where both are wanted.
        self._model = Inference(
            keras.Model(text.model.input, vectors_and_logits) if vectors_and_logits else text.model
        )
        self._preprocessor = Tokenizer(text.encoder.preprocessor)
        self._temperature = temperature
        self._prepare = prepare
        self._limits = ServedLimits(limits, names, "it reads most like") if limits else None
        self._words = (
            word_shares(text.model, self._preprocessor) if explained and thresholds is None else None
        )
        if self._words:
            self.explain_texts = tf.function(self._explain, input_signature=[TEXT], autograph=False)

    @tf.function(input_signature=[TEXT], autograph=False)
    def answer_texts(self, text):
        """Documents (B,) -> label, probability, probabilities (B, C) and what was read of them (B,).

        With limits also what `ServedLimits` tells, and with thresholds what `SeveralLabels` does.
        """
        texts = self._prepare(text)
        outputs = self._model(self._preprocessor(texts))
        vectors, logits = (None, outputs) if self._limits is None else outputs
        answer = self._answer(logits / self._temperature, self._names) | {"read": texts}
        if self._limits is None:
            return answer
        return answer | self._limits(self._names, logits, logits, {"vectors": vectors})

    def signatures(self) -> dict[str, Any]:
        """Returns the functions that are served, by name."""
        explanation = {"why_text": self.explain_texts} if self._words else {}
        return {"serving_default": self.answer_texts, "labels": self.tell_labels} | explanation

    def _explain(self, text):
        """Documents (B,) -> "words" that were read (B, T), "shares", "difference", see `WordShares`."""
        assert self._words
        return self._words(self._prepare(text), lambda logits: tf.nn.softmax(logits / self._temperature))
