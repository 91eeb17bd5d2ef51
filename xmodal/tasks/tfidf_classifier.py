"""The baseline for documents: logistic regression on TF-IDF."""

from dataclasses import dataclass, replace

import keras
import numpy as np
import tensorflow as tf

from xmodal.config.training import TrainConfig
from xmodal.data.batches import array_batches
from xmodal.tasks.text_classifier import TextExamples
from xmodal.training.losses import cross_entropy
from xmodal.training.progress import History
from xmodal.training.steps import Loss
from xmodal.training.trainer import Trainer

# As a Chinese or Japanese text has no spaces, each of its characters is a word.
_CHARACTERS = r"([\p{Han}\p{Hiragana}\p{Katakana}])"
BATCH = 64
EPOCHS = 30
LEARNING_RATE = 0.03


@keras.saving.register_keras_serializable("xmodal")
def one_word_each(texts):
    """Lower case, letters and digits only, and spaces around what is a word by itself."""
    lowercase_texts = tf.strings.lower(texts, encoding="utf-8")
    return tf.strings.regex_replace(
        tf.strings.regex_replace(lowercase_texts, r"[^\p{L}\p{N}\p{M}]+", " "), _CHARACTERS, r" \1 "
    )


@keras.saving.register_keras_serializable("xmodal")
class SparseLogits(keras.layers.Layer):
    """A linear head on sparse rows: word numbers (B, U), 0 for none, and their values (B, U) -> (B, C).

    Args:
        words: how many there are, 0 included.
        classes: C.
    """

    def __init__(self, words: int, classes: int, **kwargs):
        super().__init__(**kwargs)
        self._sizes = {"words": words, "classes": classes}
        self._rows = keras.layers.Embedding(words, classes, embeddings_initializer="zeros")
        self._bias = self.add_weight(shape=(classes,), initializer="zeros", name="bias")

    def get_config(self):
        """Returns the arguments."""
        return super().get_config() | self._sizes

    def build(self, word_shape, value_shape):
        """Makes the table of the words' weights."""
        self._rows.build(word_shape)

    def call(self, word, value):
        return keras.ops.einsum("buc,bu->bc", self._rows(word), value) + self._bias

    def compute_output_shape(self, word_shape, value_shape):
        return (word_shape[0], self._bias.shape[0])


@dataclass(frozen=True)
class TfIdf:
    """What turns texts into sparse rows of TF-IDF, each of length 1.

    Attributes:
        vectorization: texts (B,) -> (B, V), fitted to the training texts.
    """

    vectorization: keras.layers.TextVectorization

    def rows(self, texts: np.ndarray) -> dict[str, np.ndarray]:
        """Returns word (N, U) int32 and value (N, U) float32, with 0 where a text has fewer words."""
        sparse_rows = []
        for start in range(0, len(texts), 512):
            dense = self.vectorization(tf.constant(list(texts[start : start + 512]), tf.string)).numpy()
            # The first one stands for all unknown words.
            dense[:, 0] = 0
            dense /= np.maximum(np.linalg.norm(dense, axis=1, keepdims=True), np.finfo(np.float32).tiny)
            sparse_rows += [(np.flatnonzero(row), row[np.flatnonzero(row)]) for row in dense]
        width = max(1, *(len(words) for words, _ in sparse_rows))
        word, value = np.zeros((len(texts), width), np.int32), np.zeros((len(texts), width), np.float32)
        for index, (words, values) in enumerate(sparse_rows):
            word[index, : len(words)], value[index, : len(words)] = words, values
        return {"word": word, "value": value}


@dataclass(frozen=True)
class Baseline:
    """A trained baseline: `logits` of texts (N,) are (N, C)."""

    features: TfIdf
    model: keras.Model
    history: History

    def logits(self, texts: np.ndarray, trainer: Trainer) -> np.ndarray:
        """Returns the logits (N, C) of texts (N,)."""
        rows = array_batches(self.features.rows(texts), batch_size=BATCH)
        return trainer.predict(self.model, rows)


def train_baseline(
    examples: TextExamples,
    validation: TextExamples,
    classes: int,
    trainer: Trainer,
    *,
    words: int,
    name: str = "tf_idf",
    loss: Loss | keras.losses.Loss | None = None,
) -> Baseline:
    """Trains logistic regression on TF-IDF until the validation loss rises.

    Args:
        examples: what to learn.
        validation: what to stop by.
        classes: the number of targets C.
        trainer: trains it by an optimizer of its own; its seed is that of the order.
        words: the most words that are known, the most frequent ones.
        name: what progress, history and checkpoints call it.
        loss: of logits; None for the cross-entropy.
    """
    trainer = replace(trainer, config=TrainConfig(weight_decay=0.0))
    vectorization = keras.layers.TextVectorization(
        max_tokens=words, standardize=one_word_each, output_mode="tf_idf"
    )
    vectorization.adapt(tf.data.Dataset.from_tensor_slices(list(examples.texts)).batch(512))
    features = TfIdf(vectorization)
    with trainer.scope():
        inputs = {
            "word": keras.Input((None,), dtype="int32", name="word"),
            "value": keras.Input((None,), name="value"),
        }
        vocabulary_size = vectorization.vocabulary_size()
        logits = SparseLogits(vocabulary_size, classes, name="logits")(inputs["word"], inputs["value"])
        model = keras.Model(inputs, logits, name="tf_idf")
    rows = features.rows(examples.texts)
    train_examples = rows, examples.targets, examples.weights
    history = trainer.fit(
        model,
        lambda epoch: array_batches(*train_examples, batch_size=BATCH, shuffle_seed=(trainer.seed, epoch)),
        loss=loss or cross_entropy(),
        learning_rate=LEARNING_RATE,
        epochs=EPOCHS,
        validation=array_batches(
            features.rows(validation.texts), validation.targets, validation.weights, batch_size=1024
        ),
        patience=3,
        name=name,
    )
    return Baseline(features, model, history)
