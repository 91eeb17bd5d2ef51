"""multilingual-e5-small (Wang et al. 2024, arXiv:2402.05672) from the file of 4 bits that the asset holds.

The file begins with "E5S1", the sizes of the model and its vocabulary: pieces with their scores, and what
each character is replaced by before it is cut into pieces. A directory of tensors follows, and the tensors
themselves: float32, or Q4_0, where 32 weights share a float16 scale d and weight = (four bits - 8) d.
Every number is little endian.
"""

import itertools
import struct
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import keras
import keras_nlp
import numpy as np
import sentencepiece
import tensorflow as tf
import tensorflow_text
from sentencepiece.sentencepiece_model_pb2 import ModelProto, TrainerSpec

# What the encoder was trained to see before a text that stands alone, as against a passage to be found.
PREFIX = "query: "

DROPOUT = 0.1

# The ids of XLM-R's pieces that stand for no text; <mask> is the last piece.
START, PAD, END, UNKNOWN = 0, 1, 2, 3

_MAGIC = b"E5S1"
_HEADER = struct.Struct("<4sI7ifi5iQ")
_ENTRY = struct.Struct("<BIQQ")  # kind, number of weights, offset, bytes
_Q4_0 = 1  # the kind of a tensor in 4 bits; the other kind is float32
_BLOCK = np.dtype([("scale", "<f2"), ("pairs", "u1", 16)])

# Where the file keeps the weights of a layer of `encoder_model`, and those of a transformer layer's parts.
_LAYERS = {"embeddings_layer_norm": "emb.ln"}
_PARTS = {
    "self_attention_layer/query": "q",
    "self_attention_layer/key": "k",
    "self_attention_layer/value": "v",
    "self_attention_layer/attention_output": "ao",
    "self_attention_layer_norm": "aln",
    "feedforward_intermediate_dense": "fi",
    "feedforward_output_dense": "fo",
    "feedforward_layer_norm": "oln",
}


@dataclass(frozen=True)
class Sizes:
    """The sizes of the encoder, in the names of `keras_nlp.models.BertBackbone`."""

    hidden_dim: int
    num_layers: int
    num_heads: int
    intermediate_dim: int
    vocabulary_size: int
    max_sequence_length: int
    num_segments: int


@dataclass(frozen=True)
class Vocabulary:
    """A unigram vocabulary (Kudo 2018, arXiv:1804.10959).

    Attributes:
        pieces: the pieces, in the order of their ids.
        scores: their log probabilities.
        replaced: character -> what stands for it before the text is cut.
    """

    pieces: tuple[str, ...]
    scores: tuple[float, ...]
    replaced: dict[str, str]


@dataclass(frozen=True)
class Container:
    """What the file holds.

    Attributes:
        sizes: of the encoder.
        epsilon: of its layer normalisations.
        vocabulary: of its tokenizer.
        tensors: name -> float32 weights, flat, or blocks as `dequantised` takes them; a matrix has a row
            for each output, or for each piece of the vocabulary.
    """

    sizes: Sizes
    epsilon: float
    vocabulary: Vocabulary
    tensors: dict[str, np.ndarray]


def read(path: Path) -> Container:
    """Reads the file.

    Args:
        path: the file.

    Raises:
        ValueError: for a file of another kind.
    """
    content = path.read_bytes()
    if content[:4] != _MAGIC:
        raise ValueError(f"The file must begin with {_MAGIC!r}. Received: {path} with {content[:4]!r}")
    _, _, *sizes, epsilon, block, count, start, end, pad, unknown, length = _HEADER.unpack_from(content)
    if (block, start, pad, end, unknown) != (32, START, PAD, END, UNKNOWN):
        raise ValueError(
            "Q4_0 must have blocks of 32 weights, the vocabulary must begin with <s>, <pad>, </s>, <unk>. "
            f"Received: {path} with blocks of {block} and the ids {start}, {pad}, {end}, {unknown}"
        )
    cuts = np.frombuffer(content, "<u4", count + 1, _HEADER.size)
    scores = np.frombuffer(content, "<f4", count, _HEADER.size + cuts.nbytes)
    pieces_at = _HEADER.size + cuts.nbytes + scores.nbytes
    pieces = tuple(content[a:b].decode() for a, b in itertools.pairwise((cuts + pieces_at).tolist()))
    replaced, directory_at = _read_replaced(content, pieces_at + length)
    return Container(
        sizes=Sizes(*sizes),
        epsilon=epsilon,
        vocabulary=Vocabulary(pieces, tuple(scores.tolist()), replaced),
        tensors=dict(_read_tensors(content, directory_at)),
    )


def _read_replaced(content: bytes, start: int) -> tuple[dict[str, str], int]:
    """The table of replaced characters that begins at `start`, and where it ends."""
    (count, _), position = struct.unpack_from("<iI", content, start), start + 8
    replaced = {}
    for _ in range(count):
        character, length = struct.unpack_from("<IB", content, position)
        codes = struct.unpack_from(f"<{length}I", content, position + 5)
        replaced[chr(character)] = "".join(map(chr, codes))
        position += 5 + 4 * length
    return replaced, position


def _read_tensors(content: bytes, start: int) -> Iterator[tuple[str, np.ndarray]]:
    (count,), position = struct.unpack_from("<i", content, start), start + 4
    for _ in range(count):
        (length,) = struct.unpack_from("<H", content, position)
        name = content[position + 2 : position + 2 + length].decode()
        kind, weights, offset, size = _ENTRY.unpack_from(content, position + 2 + length)
        position += 2 + length + _ENTRY.size
        if kind == _Q4_0:
            yield name, np.frombuffer(content, _BLOCK, size // _BLOCK.itemsize, offset)
        else:
            yield name, np.frombuffer(content, "<f4", weights, offset)


def dequantised(blocks: np.ndarray) -> np.ndarray:
    """Brings blocks of Q4_0 to float32.

    Args:
        blocks: N records of a float16 `scale` and 16 bytes `pairs`; the low half of byte j is weight j
            of the block, the high half weight j + 16.

    Returns:
        32 N weights.
    """
    weights = np.empty((len(blocks), 2, 16), np.float32)
    weights[:, 0] = blocks["pairs"] & 15
    weights[:, 1] = blocks["pairs"] >> 4
    weights -= 8
    weights *= blocks["scale"].astype(np.float32)[:, None, None]
    return weights.reshape(-1)


def tokenizer_model(vocabulary: Vocabulary) -> bytes:
    """Puts a vocabulary into a serialized SentencePiece `ModelProto`, with its ids."""
    model = ModelProto()
    for piece, score in zip(vocabulary.pieces, vocabulary.scores, strict=True):
        model.pieces.add(piece=piece, score=score)
    sentencepiece.set_min_log_level(1)  # else it tells of every table that it builds
    normalizer = sentencepiece.SentencePieceNormalizer(
        norm_map=[*_composed(vocabulary.replaced), *vocabulary.replaced.items()],
        add_dummy_prefix=True,
        remove_extra_whitespaces=True,
        escape_whitespaces=True,
    )
    model.normalizer_spec.ParseFromString(normalizer.serialized_normalizer_spec())
    return _marked(model)


def reordered(xlm_roberta: bytes) -> bytes:
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
    return _marked(model)


def _marked(model: ModelProto) -> bytes:
    """Says which pieces stand for no text: one that says "<s>" or "<mask>" must not become that piece."""
    spec = model.trainer_spec
    spec.model_type = TrainerSpec.UNIGRAM
    spec.bos_id, spec.pad_id, spec.eos_id, spec.unk_id = START, PAD, END, UNKNOWN
    for index in (START, PAD, END, len(model.pieces) - 1):
        model.pieces[index].type = ModelProto.SentencePiece.CONTROL
    model.pieces[UNKNOWN].type = ModelProto.SentencePiece.UNKNOWN
    return model.SerializeToString(deterministic=True)


def _composed(replaced: dict[str, str]) -> Iterator[tuple[str, str]]:
    """Letters followed by their accents, and what stands for both; the file has single characters only.

    XLM-R's own table has these too. NFC instead would also put marks into another order than XLM-R saw.
    """
    pairs = {}
    for character in map(chr, range(0x30000)):
        apart = unicodedata.normalize("NFD", character)
        if len(apart) == 1 or not unicodedata.is_normalized("NFC", character):
            continue
        # All apart, and each accent apart from a letter that has the others already.
        forms = [apart]
        for index, accent in enumerate(apart[1:], start=1):
            forms.append(unicodedata.normalize("NFC", apart[:index] + apart[index + 1 :]) + accent)
        for form in forms:
            if unicodedata.normalize("NFC", form) == character:
                pairs[form] = replaced.get(character, character)
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
        read = {"token_ids": token_ids, "padding_mask": token_ids != self._pad}
        return read | ({"segment_ids": segment_ids} if self._segments else {})


@keras.saving.register_keras_serializable("xmodal")
class Q4Embedding(keras.layers.Layer):
    """Pieces (B, T) -> their rows of a table that stays in 4 bits (B, T, D).

    The table is not trained: the rows of the languages in the training data would move away from those
    of all others. Kept as it is, it takes an eighth of the memory, in checkpoints and exports too.

    Args:
        rows: the number of pieces.
        width: D, a multiple of 32.
    """

    def __init__(self, rows: int, width: int, trainable: bool = False, **kwargs):
        super().__init__(trainable=trainable, **kwargs)
        self.input_dim, self._width = rows, width

    def get_config(self):
        """Returns the arguments."""
        return super().get_config() | {"rows": self.input_dim, "width": self._width}

    def build(self, input_shape):
        """Makes the table: `scales` (rows, D / 32) and `pairs` (rows, D / 32, 16), as in the file."""
        blocks = (self.input_dim, self._width // 32)
        self.scales = self.add_weight(
            shape=blocks, dtype="float16", initializer="zeros", trainable=False, name="scales"
        )
        self.pairs = self.add_weight(
            shape=(*blocks, 16), dtype="uint8", initializer="zeros", trainable=False, name="pairs"
        )

    def call(self, token_ids):
        pairs = keras.ops.cast(keras.ops.take(self.pairs, token_ids, axis=0), self.compute_dtype)
        scales = keras.ops.cast(keras.ops.take(self.scales, token_ids, axis=0), self.compute_dtype)
        # By arithmetic, since LiteRT has no operations on bits.
        high = keras.ops.floor(pairs / 16)
        weights = keras.ops.stack([pairs - 16 * high, high], axis=-2) - 8
        rows = weights * scales[..., None, None]
        return keras.ops.reshape(rows, (*keras.ops.shape(token_ids), self._width))

    def compute_output_shape(self, input_shape):
        return (*input_shape, self._width)


def encoder_model(container: Container) -> keras.Model:
    """Builds the encoder with its weights.

    It is `keras_nlp.models.BertBackbone` layer by layer, by the same names, but for the table of pieces,
    which stays in 4 bits, and GELU, which is exact here as it was in training; the dense layer on the
    first token, which the file lacks, is left out.

    Args:
        container: what `read` returned.

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
        name = f"l{block}.{_PARTS[part]}"
    else:
        name = _LAYERS[layer]
    if kind == "kernel":
        # A row for each output there, an output in each column here.
        return dequantised(tensors[f"{name}.w"]).reshape(tensors[f"{name}.b"].size, -1).T.reshape(shape)
    return tensors[f"{name}.w" if kind == "gamma" else f"{name}.b"].reshape(shape)
