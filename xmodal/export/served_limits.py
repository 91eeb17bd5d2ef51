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
        sets, known = limits.sets, limits.known
        self._least = tf.Variable(sets.least - SLACK, trainable=False, dtype=tf.float32)
        self._kept = {name: _kept(rows) for name, rows in known.kept.items()}
        self._values = {name: _kept(values) for name, values in known.values.items()}
        self._evidence = _kept(known.evidence)
        self._phrases, self._resembles = tf.constant(list(phrases)), resembles
        self._strange = 1.0 - sets.error
        of_class = None if limits.of_class is None else np.eye(len(sets.least))[limits.of_class]
        self._answers_of_classes = None if of_class is None else _kept(of_class)
        # What is built on an export asks it for this.
        self.max_error = tf.Variable(sets.error, trainable=False, dtype=tf.float32)

    def __call__(
        self,
        names: tf.Tensor,
        scores: tf.Tensor,
        logits: tf.Tensor,
        rows: Mapping[str, tf.Tensor],
        class_logits: tf.Tensor | None = None,
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
        """
        shares = tf.nn.log_softmax(scores)
        if self._answers_of_classes is not None:
            of_classes = tf.matmul(tf.nn.softmax(class_logits), self._answers_of_classes)
            logs = tf.math.log(tf.maximum(of_classes, np.finfo(np.float32).tiny))
            shares += TIE_BREAK * tf.nn.log_softmax(logs)
        certainty = tf.exp(tf.reduce_max(shares, axis=1))
        inside = shares >= self._least
        unknown = self._unknown(logits, rows)
        order = tf.argsort(tf.where(inside, shares, shares - 1e6), axis=1, direction="DESCENDING")
        inside = tf.gather(inside, order, axis=1, batch_dims=1)
        sizes = tf.reduce_sum(tf.cast(inside, tf.int32), axis=1)
        shown = tf.reduce_max(tf.concat([sizes, [1]], axis=0))
        answers = tf.where(inside, tf.gather(names, order), "")[:, :shown]
        return {
            "answers": answers,
            "certainty": certainty,
            "unknown": unknown,
            "verdict": self._verdict(scores, order, sizes, unknown),
        }

    def _unknown(self, logits, rows):
        measured = {ENERGY: -tf.reduce_logsumexp(logits, axis=1)}
        there = {ENERGY: tf.ones_like(measured[ENERGY], tf.bool)}
        for name, kept in self._kept.items():
            cosines = tf.matmul(tf.math.l2_normalize(rows[name], axis=1), kept, transpose_b=True)
            nearest = tf.math.top_k(cosines, min(NEIGHBOUR, kept.shape[0])).values[:, -1]
            measured[name] = 1.0 - nearest
            there[name] = tf.reduce_any(rows[name] != 0, axis=1)
        parts = [
            tf.where(there[name], -tf.math.log1p(-_rank(self._values[name], value)), 1.0)
            for name, value in measured.items()
        ]
        return _rank(self._evidence, tf.add_n(parts))

    def _verdict(self, scores, order, sizes, unknown):
        likely = tf.gather(self._phrases, tf.argmax(scores, axis=1))
        first, second = (
            tf.gather(self._phrases, order[:, min(place, order.shape[1] - 1)]) for place in (0, 1)
        )
        several = tf.strings.join(["one of ", tf.strings.as_string(sizes), " answers, likeliest ", first])
        either = tf.where(sizes == 2, tf.strings.join([first, " or ", second]), several)
        of_set = tf.where(sizes == 1, first, either)
        none = tf.strings.join([f"not sure enough of any; {self._resembles} ", likely])
        strange = tf.strings.join([f"{NONE_OF_THESE}; {self._resembles} ", likely])
        return tf.where(unknown > self._strange, strange, tf.where(sizes == 0, none, of_set))


def _kept(values: np.ndarray) -> tf.Variable:
    return tf.Variable(values, trainable=False, dtype=tf.float32)


def _rank(known: tf.Variable, values: tf.Tensor) -> tf.Tensor:
    below = tf.searchsorted(known, values)
    return tf.cast(below, tf.float32) / (known.shape[0] + 1)
