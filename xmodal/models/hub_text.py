"""Text encoders of KerasHub, each with its own tokenizer: what they read and what they give.

BERT, RoBERTa, DistilBERT, ALBERT, ELECTRA, DeBERTa, XLM-RoBERTa, FNet, and whatever else turns one text into
a sequence of token vectors.
"""

import textwrap
from typing import Any

import keras
import keras_nlp

from xmodal.core.errors import UserError
from xmodal.models import e5


@keras.saving.register_keras_serializable("xmodal")
class PadTo(keras.layers.Layer):
    """Token ids, or the like, (B, T) -> (B, length), filled up at their end.

    Args:
        length: at least T.
        value: what they are filled with.
    """

    def __init__(self, length: int, value: int = 0, **kwargs):
        super().__init__(**kwargs)
        self._length, self._value = length, value

    def get_config(self):
        """Returns the arguments."""
        return super().get_config() | {"length": self._length, "value": self._value}

    def call(self, tokens):
        batch, width = keras.ops.shape(tokens)
        padding = keras.ops.full((batch, self._length - width), self._value, dtype=tokens.dtype)
        return keras.ops.reshape(keras.ops.concatenate([tokens, padding], axis=1), (-1, self._length))

    def compute_output_shape(self, input_shape):
        return (input_shape[0], self._length)


@keras.saving.register_keras_serializable("xmodal")
class CutTo(keras.layers.Layer):
    """Vectors (B, L, D) and a mask (B, T) -> the first T vectors of each row (B, T, D)."""

    def call(self, vectors, valid_mask):
        return vectors[:, : keras.ops.shape(valid_mask)[1]]

    def compute_output_shape(self, vectors_shape, valid_mask_shape):
        return (vectors_shape[0], valid_mask_shape[1], vectors_shape[2])


def load_encoder(preset: str) -> tuple[keras.Model, keras.layers.Layer]:
    """Loads an encoder and the tokenizer that belongs to it.

    Args:
        preset: a folder, or a handle that `keras_nlp.models.Backbone.from_preset` reads.

    Raises:
        UserError: when it cannot be loaded, or does not turn one text into a sequence of vectors.
    """
    try:
        backbone = keras_nlp.models.Backbone.from_preset(preset)
        tokenizer = keras_nlp.models.Tokenizer.from_preset(preset)
    except Exception as error:
        raise UserError(
            f"the text encoder {preset!r} could not be loaded "
            f"({type(error).__name__}: {textwrap.shorten(str(error), 200)})",
            "check the name and the network, or use `text_encoder=minilm_l6`",
        ) from error
    pieces, vectors = tokenizer.vocabulary_size(), getattr(backbone, "vocabulary_size", None)
    if vectors is not None and pieces > vectors:
        raise UserError(
            f"the tokenizer of {preset!r} knows {pieces:,} pieces, its network has vectors for {vectors:,}",
            "give a preset whose files belong together",
        )
    input_names = set(backbone.input) if isinstance(backbone.input, dict) else set()
    if "token_ids" not in input_names or not input_names <= {"token_ids", "segment_ids", "padding_mask"}:
        raise UserError(
            f"the text encoder {preset!r} ({type(backbone).__name__}) does not read one text alone",
            "choose one such as BERT, RoBERTa or DeBERTa, or use `text_encoder=minilm_l6`",
        )
    return backbone, tokenizer


def token_model(backbone: keras.Model, tokenizer: keras.layers.Layer, sequence_length: int) -> keras.Model:
    """Lets an encoder give the vectors of its tokens.

    One that does not read which tokens are padding, FNet, mixes padding into every vector: it reads as much
    of it as in an export, however long the texts of a batch are.

    Args:
        backbone, tokenizer: what `load_encoder` returned.
        sequence_length: the most tokens.

    Returns:
        A flat model: token_ids and padding_mask, each (B, T), and what else it reads -> vectors (B, T, D).
    """
    if "padding_mask" in backbone.input:
        return keras.Model(backbone.input, _vectors(backbone))
    inputs = {name: keras.Input((None,), dtype="int32", name=name) for name in backbone.input}
    values = {"token_ids": padding_of(tokenizer), "segment_ids": 0}
    padded_inputs = {
        id(tensor): PadTo(sequence_length, values[name], name=f"padded_{name}")(tensor)
        for name, tensor in inputs.items()
    }

    def call(layer: keras.Layer, *args: Any, **kwargs: Any) -> Any:
        return layer(*(padded_inputs.get(id(arg), arg) for arg in args), **kwargs)

    vector_model = keras.Model(backbone.input, _vectors(backbone))
    model = keras.models.clone_model(vector_model, input_tensors=inputs, call_function=call)
    model.set_weights(vector_model.get_weights())
    mask = keras.Input((None,), dtype="int32", name="padding_mask")
    vectors = CutTo(name="cut")(model.output, mask)
    return keras.Model({**inputs, "padding_mask": mask}, vectors)


def _vectors(backbone: keras.Model) -> keras.KerasTensor:
    return backbone.output["sequence_output"] if isinstance(backbone.output, dict) else backbone.output


def padding_of(tokenizer: keras.layers.Layer) -> int:
    """Returns the id of a tokenizer's padding."""
    return int(tokenizer.pad_token_id)


def preprocessor_of(backbone: keras.Model, tokenizer: keras.layers.Layer, sequence_length: int) -> Any:
    """Returns what turns strings (B,) into the inputs of an encoder, each (B, T), in-graph.

    Each text stands between the start and the end token that the encoder was trained with.
    """
    segments = "segment_ids" in backbone.input
    if isinstance(tokenizer, keras_nlp.models.XLMRobertaTokenizer):
        proto = e5.reorder_pieces(tokenizer.proto)
        return e5.Preprocessor(proto, sequence_length, prefix="", segments=segments)
    if isinstance(tokenizer, keras_nlp.tokenizers.SentencePieceTokenizer):
        special_ids = (tokenizer.cls_token_id, padding_of(tokenizer), tokenizer.sep_token_id)
        return e5.Preprocessor(
            tokenizer.proto, sequence_length, prefix="", marks=special_ids, segments=segments
        )
    bert_preprocessor = keras_nlp.models.BertTextClassifierPreprocessor
    kinds = keras_nlp.models.TextClassifierPreprocessor.__subclasses__()
    matches = (kind for kind in kinds if kind.backbone_cls is type(backbone))
    # ELECTRA, which has none, reads what BERT reads.
    return next(matches, bert_preprocessor)(tokenizer, sequence_length=sequence_length)


def unknown_token(tokenizer: keras.layers.Layer) -> int | None:
    """Returns the token of a word that is not known; None where there are pieces for nearly everything."""
    if isinstance(tokenizer, keras_nlp.tokenizers.WordPieceTokenizer):
        return tokenizer.token_to_id("[UNK]")
    return None
