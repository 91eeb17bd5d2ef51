"""The path from a document to an answer, as a SavedModel keeps it."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from xmodal.export.serving import TEXT, Inference, Labelled, Tokenizer, labelled_answer
from xmodal.tasks.text_classifier import TextClassifier


class ServedDocuments(Labelled):
    """The path from a document, as it is written, to an answer, as a SavedModel keeps it.

    Args:
        text: texts -> logits of the classes (B, C).
        temperature: calibrates these.
        prepare: documents (B,) -> texts (B,), such as `xmodal.text.cleaning.scrubbed` or `cleaned`, in-graph.
        names: the classes, C of them.
    """

    def __init__(
        self,
        *,
        text: TextClassifier,
        temperature: float,
        prepare: Callable[[tf.Tensor], tf.Tensor],
        names: tuple[str, ...],
    ):
        super().__init__(names)
        self._model = Inference(text.model)
        self._preprocessor = Tokenizer(text.encoder.preprocessor)
        self._temperature = temperature
        self._prepare = prepare

    @tf.function(input_signature=[TEXT], autograph=False)
    def answer_texts(self, text):
        """Documents (B,) -> label, probability, probabilities (B, C) and what was read of them (B,)."""
        read = self._prepare(text)
        logits = self._model(self._preprocessor(read))
        return labelled_answer(logits / self._temperature, self._names) | {"read": read}

    def signatures(self) -> dict[str, Any]:
        """Returns the functions that are served, by name."""
        return {"serving_default": self.answer_texts, "labels": self.tell_labels}
