"""A bidirectional LSTM over word vectors."""

import keras
import numpy as np


@keras.saving.register_keras_serializable("xmodal")
class Trim(keras.layers.Layer):
    """Word numbers (B, L) with zeros at the end -> (B, T), T the most words that one of the batch has."""

    def call(self, ids):
        longest = keras.ops.max(keras.ops.sum(keras.ops.cast(ids != 0, "int32"), axis=1))
        return ids[:, :longest]

    def compute_output_shape(self, input_shape):
        return (input_shape[0], None)


@keras.saving.register_keras_serializable("xmodal")
class MeanMaxPool(keras.layers.Layer):
    """Mean and maximum of word vectors (B, T, D) over the words that are to be kept (B, T) -> (B, 2 D).

    Where none is to be kept, all are zero.
    """

    supports_masking = True

    def compute_mask(self, *args):
        """Returns None: what comes out has no words any more."""

    def call(self, vectors, valid_mask):
        weights = keras.ops.expand_dims(keras.ops.cast(valid_mask, vectors.dtype), axis=-1)
        count = keras.ops.maximum(keras.ops.sum(weights, axis=1), 1.0)
        highest = keras.ops.max(keras.ops.where(weights > 0, vectors, -np.inf), axis=1)
        highest = keras.ops.where(keras.ops.isfinite(highest), highest, 0.0)
        return keras.ops.concatenate([keras.ops.sum(vectors * weights, axis=1) / count, highest], axis=-1)

    def compute_output_shape(self, vectors_shape, valid_mask_shape):
        return (vectors_shape[0], 2 * vectors_shape[2])


def bilstm(word_vectors: np.ndarray, length: int, *, units: int, dropout: float) -> keras.Model:
    """Builds an encoder of documents: two bidirectional LSTMs, the mean and the maximum of their outputs.

    Padding is masked: it changes nothing, and what stands beside a document in its batch does not either.
    The maximum is that of Conneau et al. 2017 (arXiv:1705.02364).

    Args:
        word_vectors: what the embedding starts as (V, D), a row for each word's number.
        length: the most words L of a document.
        units: of each LSTM, in each direction.
        dropout: the rate behind the embedding and behind each LSTM.

    Returns:
        A flat model: numbers of words (B, L), each 0 behind a document's end -> features (B, 4 * units).
    """
    ids = keras.Input((length,), dtype="int32", name="words")
    trimmed_ids = Trim(name="trim")(ids)
    mask = trimmed_ids != 0
    start = keras.initializers.Constant(word_vectors)
    vectors = keras.layers.Embedding(*word_vectors.shape, embeddings_initializer=start, name="embedding")(
        trimmed_ids
    )
    vectors = keras.layers.Dropout(dropout, name="embedding_dropout")(vectors)
    for number in (1, 2):
        lstm = keras.layers.LSTM(units, return_sequences=True)
        vectors = keras.layers.Bidirectional(lstm, name=f"lstm{number}")(vectors, mask=mask)
        vectors = keras.layers.Dropout(dropout, name=f"lstm{number}_dropout")(vectors)
    return keras.Model(ids, MeanMaxPool(name="features")(vectors, mask), name="bilstm")
