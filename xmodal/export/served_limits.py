"""What an answer promises, as a SavedModel tells it beside the answer."""

from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf

from xmodal.evaluation.answer_sets import TIE_BREAK
from xmodal.evaluation.limits import NONE_OF_THESE, AnswerLimits
from xmodal.evaluation.open_set import ENERGY, NEIGHBOUR

# The same sums in float32 and in other batches: an example at a threshold belongs to the set.
SLACK = 1e-5


class ServedLimits(tf.Module):
    """Tells the set of answers, how strange an input is, and both in words.

    Args:
        limits: as they were fitted.
        phrases: the answers as a sentence has them, such as "a bicycle".
        resembles: how a sentence says that the input is like one of them, such as "it looks most like".
    """

    def __init__(self, limits: AnswerLimits, phrases: Sequence[str], resembles: str):
        super().__init__()
        sets, known_inputs = limits.sets, limits.known
        # Those of `sets` first.
        thresholds = [part.least for part in (sets, *limits.sets_of_parts.values())]
        self._least = _constant(np.array(thresholds) - SLACK)
        self._kept = {name: _constant(rows) for name, rows in known_inputs.kept.items()}
        self._values = {name: _constant(values) for name, values in known_inputs.values.items()}
        self._evidence = _constant(known_inputs.evidence)
        self._phrases, self._resembles = tf.constant(list(phrases)), resembles
        self._strange = 1.0 - sets.error
        class_matrix = None if limits.of_class is None else np.eye(len(sets.least))[limits.of_class]
        self._answers_of_classes = None if class_matrix is None else _constant(class_matrix)
        # What is built on an export asks it for this.
        self.max_error = tf.Variable(sets.error, trainable=False, dtype=tf.float32)

    def __call__(
        self,
        names: tf.Tensor,
        scores: tf.Tensor,
        logits: tf.Tensor,
        rows: Mapping[str, tf.Tensor],
        class_logits: tf.Tensor | None = None,
        part: tf.Tensor | int = 0,
    ) -> dict[str, tf.Tensor]:
        """Returns "answers" (B, S), "certainty" (B,), "unknown" (B,) and "verdict" (B,).

        Certainty is that of the first answer, from 0 to 1: it orders inputs by how likely their answers are
        right, those with equal probabilities too, and is no probability itself.

        The answers of a set stand in the order of their probabilities, and "" after them; S is the size of
        the largest set of the batch, and 1 at least.

        Args:
            names: of the answers (T,).
            scores: logits of the answers before calibration (B, T).
            logits: those whose energy counts (B, C).
            rows: name of a measure -> what stands for the inputs (B, D).
            class_logits: of an image model (B, C), where they break ties.
            part: whose sets count (B,): 0 for `AnswerLimits.sets`, n for the n-th of `sets_of_parts`.
        """
        shares = tf.nn.log_softmax(scores)
        if self._answers_of_classes is not None:
            class_shares = tf.matmul(tf.nn.softmax(class_logits), self._answers_of_classes)
            logs = tf.math.log(tf.maximum(class_shares, np.finfo(np.float32).tiny))
            shares += TIE_BREAK * tf.nn.log_softmax(logs)
        certainty = tf.exp(tf.reduce_max(shares, axis=1))
        in_set = shares >= tf.gather(self._least, part)
        unknown = self._unknown(logits, rows)
        order = tf.argsort(tf.where(in_set, shares, shares - 1e6), axis=1, direction="DESCENDING")
        in_set = tf.gather(in_set, order, axis=1, batch_dims=1)
        sizes = tf.reduce_sum(tf.cast(in_set, tf.int32), axis=1)
        width = tf.reduce_max(tf.concat([sizes, [1]], axis=0))
        answers = tf.where(in_set, tf.gather(names, order), "")[:, :width]
        return {
            "answers": answers,
            "certainty": certainty,
            "unknown": unknown,
            "verdict": self._verdict(scores, order, sizes, unknown),
        }

    def _unknown(self, logits, rows):
        measures = {ENERGY: -tf.reduce_logsumexp(logits, axis=1)}
        masks = {ENERGY: tf.ones_like(measures[ENERGY], tf.bool)}
        for name, references in self._kept.items():
            cosines = tf.matmul(tf.math.l2_normalize(rows[name], axis=1), references, transpose_b=True)
            nearest = tf.math.top_k(cosines, min(NEIGHBOUR, references.shape[0])).values[:, -1]
            measures[name] = 1.0 - nearest
            masks[name] = tf.reduce_any(rows[name] != 0, axis=1)
        parts = [
            tf.where(masks[name], -tf.math.log1p(-_rank(self._values[name], value)), 1.0)
            for name, value in measures.items()
        ]
        return _rank(self._evidence, tf.add_n(parts))

    def _verdict(self, scores, order, sizes, unknown):
        likely_phrase = tf.gather(self._phrases, tf.argmax(scores, axis=1))
        first, second = (
            tf.gather(self._phrases, order[:, min(place, order.shape[1] - 1)]) for place in (0, 1)
        )
        count_text = tf.strings.join(["one of ", tf.strings.as_string(sizes), " answers, likeliest ", first])
        choice_text = tf.where(sizes == 2, tf.strings.join([first, " or ", second]), count_text)
        set_text = tf.where(sizes == 1, first, choice_text)
        unsure_text = tf.strings.join([f"not sure enough of any; {self._resembles} ", likely_phrase])
        strange_text = tf.strings.join([f"{NONE_OF_THESE}; {self._resembles} ", likely_phrase])
        return tf.where(unknown > self._strange, strange_text, tf.where(sizes == 0, unsure_text, set_text))


def _constant(values: np.ndarray) -> tf.Variable:
    return tf.Variable(values, trainable=False, dtype=tf.float32)


def _rank(sorted_values: tf.Variable, values: tf.Tensor) -> tf.Tensor:
    counts = tf.searchsorted(sorted_values, values)
    return tf.cast(counts, tf.float32) / (sorted_values.shape[0] + 1)
