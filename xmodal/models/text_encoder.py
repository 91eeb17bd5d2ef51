"""Text encoders: strings -> sentence vectors."""

import os
import textwrap
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import keras
import keras_nlp
import numpy as np
import tensorflow as tf

from xmodal.assets.catalog import E5_FILE
from xmodal.assets.presets import text_encoder_path
from xmodal.core.errors import UserError
from xmodal.core.files import cache_folder
from xmodal.kernels.layers import all_layers
from xmodal.kernels.transformers import fuse_layers
from xmodal.models import e5, e5_file, trainable
from xmodal.models.hub_text import (
    load_encoder,
    preprocessor_of,
    token_model,
    unknown_token,
)
from xmodal.models.trainable import _is_multilingual_table, set_trainable


@keras.saving.register_keras_serializable("xmodal")
class MeanPool(keras.layers.Layer):
    """The mean of token vectors (B, T, D) over the tokens that are to be kept (B, T) -> (B, D)."""

    def call(self, vectors, valid_mask):
        weights = keras.ops.expand_dims(keras.ops.cast(valid_mask, vectors.dtype), axis=-1)
        count = keras.ops.maximum(keras.ops.sum(weights, axis=1), 1.0)
        return keras.ops.sum(vectors * weights, axis=1) / count

    def compute_output_shape(self, vectors_shape, valid_mask_shape):
        return (vectors_shape[0], vectors_shape[2])


def bert_word_vectors(preset: str, words: Sequence[str], width: int) -> np.ndarray:
    """Returns vectors of words from a BERT's own table of word pieces.

    A word has the mean of its pieces' vectors; of these the `width` principal components are taken, and
    scaled to a mean square of 1.

    Args:
        preset: a folder or a handle that `hub_text.load_encoder` reads.
        words: V of them.
        width: numbers D of a vector.

    Returns:
        (V, D) float32.

    Raises:
        UserError: when the preset cannot be read, or its vectors are shorter than `width`.
    """
    backbone, tokenizer = load_encoder(preset)
    table = backbone.token_embedding.embeddings.numpy()
    if width > table.shape[1]:
        raise UserError(
            f"vectors of {width} numbers cannot come from {preset!r}, whose own have {table.shape[1]}",
            "use `word_vectors=random` or another `text_encoder`",
        )
    vectors = np.stack([table[pieces].mean(axis=0) for pieces in tokenizer(list(words))])
    vectors -= vectors.mean(axis=0)
    _, directions = np.linalg.eigh(vectors.T @ vectors)
    vectors = vectors @ directions[:, ::-1][:, :width]
    return (vectors / np.sqrt(np.mean(vectors**2))).astype(np.float32)


@dataclass(frozen=True)
class TextEncoder:
    """A text encoder and the tokenizer that belongs to it.

    Attributes:
        preprocessor: strings (B,) -> token_ids, segment_ids, padding_mask, each (B, T); runs in-graph.
        model: those three -> sentence vectors (B, D), the mean over the tokens (Reimers and Gurevych
            2019, arXiv:1908.10084); those of multilingual-e5-small have the length sqrt(D).
        unknown: the token of a word that is not known; None where there are pieces for nearly everything.
    """

    preprocessor: "keras.layers.Layer | e5.Preprocessor | Renumbered"
    model: keras.Model
    unknown: int | None = None

    def tokens(self, texts) -> dict[str, tf.Tensor]:
        """Returns the encoder's inputs for texts (B,), in-graph or eagerly."""
        return self.preprocessor(tf.convert_to_tensor(texts, tf.string))

    def padded(self, texts: Iterable[str | bytes]) -> dict[str, np.ndarray]:
        """Returns the inputs of known texts (N,), padded to the longest of them and not to the limit."""
        texts = list(texts)
        batches = [tf.constant(texts[start : start + 64], tf.string) for start in range(0, len(texts), 64)]
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            parts = list(pool.map(self._traced_preprocessor, batches))
        tokens = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        length = int(tokens["padding_mask"].sum(axis=1).max())
        return {name: value[:, :length] for name, value in tokens.items()}

    @cached_property
    def _traced_preprocessor(self) -> Callable[[tf.Tensor], dict[str, tf.Tensor]]:
        # Traced once for all calls: a search asks for few texts many times.
        signature = [tf.TensorSpec([None], tf.string)]
        return tf.function(self.preprocessor, input_signature=signature, autograph=False)

    def knows(self, texts: Iterable[str]) -> np.ndarray:
        """Tells of each text (N,) whether one word of it is known, in part at least."""
        tokens = self.padded(texts)
        # Between the first and the last, which mark the ends.
        inner = np.cumsum(tokens["padding_mask"], axis=1)
        inner = (inner > 1) & (inner < inner[:, -1:])
        return (inner & (tokens["token_ids"] != self.unknown)).any(axis=1)


def text_encoder(
    preset: str, sequence_length: int, *, cache: Path | None = None, offline: bool = False
) -> TextEncoder:
    """Loads a text encoder: strings -> sentence vectors.

    Args:
        preset: a named asset such as "minilm_l6", which is fetched once; a preset of KerasHub such as
            "bert_tiny_en_uncased"; "hf://..." or "kaggle://..."; or a folder that holds one.
        sequence_length: the number of tokens T; longer texts are cut.
        cache: folder of fetched assets; None for the usual one.
        offline: make no attempt to fetch.

    Returns:
        The tokenizer, strings (B,) -> inputs (B, T), and the Keras model, these -> vectors (B, D).

    Raises:
        UserError: for an unknown name, when the preset cannot be fetched or read, or when it takes fewer
            tokens than `sequence_length`.

    Example:
        >>> encoder = text_encoder("bert", sequence_length=16)  # a folder; or "minilm_l6", a preset, hf://...
        >>> encoder.model(encoder.preprocessor(["a photo of a cat"])).shape
        TensorShape([1, 16])
    """
    if not Path(preset).is_dir():
        preset = text_encoder_path(preset, cache=cache or cache_folder(), offline=offline)
    reader = next(
        (reader for name, reader in READERS.items() if (Path(preset) / name).is_file()), _of_keras_hub
    )
    return reader(preset, sequence_length)


def _of_keras_hub(preset: str, sequence_length: int) -> TextEncoder:
    backbone, tokenizer = load_encoder(preset)
    longest = getattr(backbone, "max_sequence_length", None)
    if longest is not None:
        _check_length(sequence_length, longest, preset)
    # Among BERTs, only multilingual-e5-small has it.
    is_e5 = isinstance(backbone, keras_nlp.models.BertBackbone) and isinstance(
        tokenizer, keras_nlp.models.XLMRobertaTokenizer
    )
    if is_e5:
        preprocessor: Any = e5.Preprocessor(e5.reorder_pieces(tokenizer.proto), sequence_length)
    else:
        preprocessor = preprocessor_of(backbone, tokenizer, sequence_length)
    tokens = token_model(backbone, tokenizer, sequence_length)
    model = _sentence_encoder(tokens.input, tokens.output, unit_length=is_e5)
    set_trainable(model, "all")
    return TextEncoder(preprocessor, model, unknown_token(tokenizer))


class Renumbered:
    """Strings (B,) -> the inputs of an encoder that has vectors for some of the pieces alone.

    Args:
        preprocessor: gives those of the encoder that has vectors for all of them.
        numbers: what the number of each piece becomes (V,).
    """

    def __init__(self, preprocessor: Callable[[tf.Tensor], dict[str, tf.Tensor]], numbers: np.ndarray):
        self._preprocessor, self._numbers = preprocessor, numbers

    def __call__(self, texts):
        tokens = self._preprocessor(texts)
        return tokens | {"token_ids": tf.gather(self._numbers, tokens["token_ids"])}


def with_random_weights(encoder: TextEncoder, texts: Iterable[str | bytes]) -> TextEncoder:
    """Builds the same encoder with the weights of a new BERT: truncated normal ones of 0.02, biases of 0.

    They are drawn from Keras' global generator: set its seed before. What would be spoiled by training in a
    table of many languages has not been learned here, so the table learns too. Of its pieces only those that
    occur in the texts have a vector each; all others, from which nothing could be learned, share one.

    Args:
        encoder: whose architecture and tokenizer are taken.
        texts: that it is going to learn from (N,).
    """
    tables = [layer for layer in all_layers(encoder.model) if _is_multilingual_table(layer)]
    preprocessor, unknown_id, rows = encoder.preprocessor, encoder.unknown, 0
    if tables:
        counts = np.bincount(encoder.padded(texts)["token_ids"].ravel())
        used_ids = np.argsort(-counts, kind="stable")[
            : min(np.count_nonzero(counts), trainable.MULTILINGUAL_VOCABULARY - 1)
        ]
        rows = len(used_ids) + 1
        numbers = np.zeros(tables[0].input_dim, np.int32)
        numbers[used_ids] = np.arange(1, rows)
        preprocessor = Renumbered(preprocessor, numbers)
        unknown_id = None if unknown_id is None else int(numbers[unknown_id])

    def new(layer: keras.Layer) -> keras.Layer:
        if layer in tables:
            start = keras.initializers.TruncatedNormal(stddev=0.02)
            return keras.layers.Embedding(rows, layer.output.shape[-1], start, name=layer.name)
        config = layer.get_config()
        if any(table in all_layers(layer) for table in tables):
            # The table and the positions in one layer.
            config["vocabulary_size"] = rows
        return layer.__class__.from_config(config)

    model = keras.models.clone_model(encoder.model, clone_function=new)
    fuse_layers(model)
    return TextEncoder(preprocessor, model, unknown_id)


def is_new(model: keras.Model) -> bool:
    """Tells whether a BERT was never trained: its biases are all 0 still, the scales of its norms all 1."""
    start = {"bias": 0, "beta": 0, "gamma": 1}
    return all(
        np.all(weight.numpy() == start[weight.name]) for weight in model.weights if weight.name in start
    )


def _multilingual_e5(preset: str, sequence_length: int) -> TextEncoder:
    path = Path(preset) / E5_FILE
    try:
        container = e5_file.read(path)
        tokenizer = e5.tokenizer_model(container.vocabulary)
    except (OSError, ValueError, RuntimeError) as error:
        raise UserError(
            f"the text encoder {str(path)!r} could not be loaded ({textwrap.shorten(str(error), 200)})",
            "fetch it again, or use another `text_encoder`",
        ) from error
    _check_length(sequence_length, container.sizes.max_sequence_length, preset)
    model = e5.encoder_model(container)
    preprocessor = e5.Preprocessor(tokenizer, sequence_length)
    return TextEncoder(preprocessor, _sentence_encoder(model.input, model.output, unit_length=True))


def _sentence_encoder(
    inputs: dict[str, keras.KerasTensor], vectors: keras.KerasTensor, *, unit_length: bool
) -> keras.Model:
    outputs = MeanPool(name="mean_pool")(vectors, inputs["padding_mask"])
    if unit_length:
        # E5's vectors are meant to have one length; with this one, a head reads features of size 1.
        outputs = keras.layers.UnitNormalization(name="one_length")(outputs)
        outputs = keras.layers.Rescaling(vectors.shape[-1] ** 0.5, name="feature_size")(outputs)
    model = keras.Model(inputs, outputs, name="sentence_encoder")
    fuse_layers(model)
    return model


def _check_length(sequence_length: int, longest: int, preset: str) -> None:
    if sequence_length > longest:
        raise UserError(
            f"`sequence_length={sequence_length}` is more than the {longest} tokens that {preset!r} reads",
            "choose a smaller one",
        )


# A file that the folder of an encoder of a kind of its own holds -> what reads that folder, for a number of
# tokens.
READERS: dict[str, Callable[[str, int], TextEncoder]] = {E5_FILE: _multilingual_e5}
