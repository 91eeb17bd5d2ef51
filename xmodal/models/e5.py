"""multilingual-e5-small (Wang et al. 2024, arXiv:2402.05672): its tokenizer and its encoder."""

import unicodedata
from collections.abc import Iterator

import keras
import keras_nlp
import numpy as np
import sentencepiece
import tensorflow as tf
import tensorflow_text
from sentencepiece.sentencepiece_model_pb2 import ModelProto, TrainerSpec

from xmodal.models.e5_file import END, PAD, PARTS, START, UNKNOWN, Container, Vocabulary, dequantise
from xmodal.models.q4_embedding import Q4Embedding

# What the encoder was trained to see before a text that stands alone, as against a passage to be found.
PREFIX = "query: "

DROPOUT = 0.1

# Where the file keeps the weights of a layer of `encoder_model`.
_LAYERS = {"embeddings_layer_norm": "emb.ln"}


def tokenizer_model(vocabulary: Vocabulary) -> bytes:
    """Puts a vocabulary into a serialized SentencePiece `ModelProto`, with its ids."""
    model = ModelProto()
    for piece, score in zip(vocabulary.pieces, vocabulary.scores, strict=True):
        model.pieces.add(piece=piece, score=score)
    sentencepiece.set_min_log_level(1)  # else it tells of every table that it builds
    normalizer = sentencepiece.SentencePieceNormalizer(
        norm_map=[*_compositions(vocabulary.replaced), *vocabulary.replaced.items()],
        add_dummy_prefix=True,
        remove_extra_whitespaces=True,
        escape_whitespaces=True,
    )
    model.normalizer_spec.ParseFromString(normalizer.serialized_normalizer_spec())
    return _mark_special(model)


def reorder_pieces(xlm_roberta: bytes) -> bytes:
    """Puts XLM-R's own `ModelProto` into the order of ids that its encoders were trained with.

    That model begins with <unk>, <s>, </s>, and has no <pad> and no <mask>.
    """
    model = ModelProto.FromString(xlm_roberta)
    texts = list(model.pieces)[3:]
    del model.pieces[:]
    for piece in ("<s>", "<pad>", "</s>", "<unk>"):
        model.pieces.add(piece=piece, score=0.0)
    model.pieces.extend(texts)
    model.pieces.add(piece="<mask>", score=0.0)
    return _mark_special(model)


def _mark_special(model: ModelProto) -> bytes:
    """Says which pieces stand for no text: one that says "<s>" or "<mask>" must not become that piece."""
    spec = model.trainer_spec
    spec.model_type = TrainerSpec.UNIGRAM
    spec.bos_id, spec.pad_id, spec.eos_id, spec.unk_id = START, PAD, END, UNKNOWN
    for index in (START, PAD, END, len(model.pieces) - 1):
        model.pieces[index].type = ModelProto.SentencePiece.CONTROL
    model.pieces[UNKNOWN].type = ModelProto.SentencePiece.UNKNOWN
    return model.SerializeToString(deterministic=True)


def _compositions(replacements: dict[str, str]) -> Iterator[tuple[str, str]]:
    """Letters followed by their accents, and what stands for both; the file has single characters only.

    XLM-R's own table has these too. NFC instead would also put marks into another order than XLM-R saw.
    """
    pairs = {}
    for character in map(chr, range(0x30000)):
        letters = unicodedata.normalize("NFD", character)
        if len(letters) == 1 or not unicodedata.is_normalized("NFC", character):
            continue
        # All apart, and each accent apart from a letter that has the others already.
        forms = [letters]
        for index, accent in enumerate(letters[1:], start=1):
            forms.append(unicodedata.normalize("NFC", letters[:index] + letters[index + 1 :]) + accent)
        for form in forms:
            if unicodedata.normalize("NFC", form) == character:
                pairs[form] = replacements.get(character, character)
    yield from pairs.items()


class Preprocessor(tf.Module):
    """Strings (B,) -> token_ids, segment_ids, padding_mask, each (B, T); runs in-graph.

    An export keeps the tokenizer as a constant of its graph.

    Args:
        model: a serialized SentencePiece `ModelProto` with the ids of the encoder.
        sequence_length: the number of tokens T; longer texts are cut.
        prefix: what is put before each text.
        marks: the ids of the start, the padding and the end.
        segments: whether the encoder reads segment_ids.
    """

    def __init__(
        self,
        model: bytes,
        sequence_length: int,
        prefix: str = PREFIX,
        marks: tuple[int, int, int] = (START, PAD, END),
        segments: bool = True,
    ):
        super().__init__()
        self._model = model
        self._prefix = prefix
        self._segments = segments
        start, self._pad, end = marks
        self._packer = keras_nlp.layers.MultiSegmentPacker(
            sequence_length, start_value=start, end_value=end, pad_value=self._pad
        )

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="texts")])
    def __call__(self, texts):
        # A tokenizer made outside of a graph is lost when a seed is set, since TensorFlow then empties
        # the cache that holds it (keras-team/keras-hub#1573). A graph makes its own, once.
        tokenizer = tensorflow_text.SentencepieceTokenizer(self._model, tf.int32)
        pieces = tokenizer.tokenize(tf.strings.join([self._prefix, texts]))
        token_ids, segment_ids = self._packer(pieces)
        inputs = {"token_ids": token_ids, "padding_mask": token_ids != self._pad}
        return inputs | ({"segment_ids": segment_ids} if self._segments else {})


def encoder_model(container: Container) -> keras.Model:
    """Builds the encoder with its weights.

    It is `keras_nlp.models.BertBackbone` layer by layer, by the same names, but for the table of pieces,
    which stays in 4 bits, and GELU, which is exact here as it was in training; the dense layer on the
    first token, which the file lacks, is left out.

    Args:
        container: what `e5_file.read` returned.

    Returns:
        token_ids, segment_ids, padding_mask, each (B, T) -> token vectors (B, T, D).
    """
    sizes, tensors = container.sizes, container.tensors
    # That of BERT, for a copy that begins at random.
    initializer = keras.initializers.TruncatedNormal(stddev=0.02)
    inputs = {
        name: keras.Input((None,), dtype="int32", name=name)
        for name in ("token_ids", "segment_ids", "padding_mask")
    }
    tokens = Q4Embedding(sizes.vocabulary_size, sizes.hidden_dim, name="token_embedding")(inputs["token_ids"])
    segments = keras.layers.Embedding(
        sizes.num_segments, sizes.hidden_dim, embeddings_initializer=initializer, name="segment_embedding"
    )(inputs["segment_ids"])
    positions = keras_nlp.layers.PositionEmbedding(
        sizes.max_sequence_length, initializer=initializer, name="position_embedding"
    )(tokens)
    x = keras.layers.Add(name="embeddings_add")((tokens, positions, segments))
    x = keras.layers.LayerNormalization(epsilon=container.epsilon, name="embeddings_layer_norm")(x)
    x = keras.layers.Dropout(DROPOUT, name="embeddings_dropout")(x)
    for index in range(sizes.num_layers):
        x = keras_nlp.layers.TransformerEncoder(
            sizes.intermediate_dim,
            sizes.num_heads,
            dropout=DROPOUT,
            activation="gelu",
            layer_norm_epsilon=container.epsilon,
            kernel_initializer=initializer,
            name=f"transformer_layer_{index}",
        )(x, padding_mask=inputs["padding_mask"])
    model = keras.Model(inputs, x, name="multilingual_e5_small")
    for variable in model.weights:
        variable.assign(_weight(tensors, variable.path, variable.shape))
    return model


def _weight(tensors: dict[str, np.ndarray], path: str, shape: tuple[int, ...]) -> np.ndarray:
    """The weights of the variable of `encoder_model` with this path and shape."""
    if path == "token_embedding/scales":
        return tensors["emb.word"]["scale"].reshape(shape)
    if path == "token_embedding/pairs":
        return tensors["emb.word"]["pairs"].reshape(shape)
    if path == "position_embedding/embeddings":
        return tensors["emb.pos"].reshape(shape)
    if path == "segment_embedding/embeddings":
        return tensors["emb.type"].reshape(shape)
    layer, _, kind = path.rpartition("/")
    if layer.startswith("transformer_layer_"):
        block, _, part = layer.removeprefix("transformer_layer_").partition("/")
        name = f"l{block}.{PARTS[part]}"
    else:
        name = _LAYERS[layer]
    if kind == "kernel":
        # A row for each output there, an output in each column here.
        return dequantise(tensors[f"{name}.w"]).reshape(tensors[f"{name}.b"].size, -1).T.reshape(shape)
    return tensors[f"{name}.w" if kind == "gamma" else f"{name}.b"].reshape(shape)
