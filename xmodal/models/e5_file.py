"""The file of 4 bits that holds multilingual-e5-small, read and checked.

The file begins with "E5S1", the sizes of the model and its vocabulary: pieces with their scores, and what
each character is replaced by before it is cut into pieces. A directory of tensors follows, and the tensors
themselves: float32, or Q4_0, where 32 weights share a float16 scale d and weight = (four bits - 8) d.
Every number is little endian.
"""

import itertools
import struct
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated

import numpy as np

from xmodal.core.reading import read_regular
from xmodal.core.records import Between, record_of

# The ids of XLM-R's pieces that stand for no text; <mask> is the last piece.
START, PAD, END, UNKNOWN = 0, 1, 2, 3
# Far more than the file has, in bytes.
MAX_BYTES = 2**31
BLOCK = np.dtype([("scale", "<f2"), ("pairs", "u1", 16)])
# The parts of a transformer layer, and what the file calls their weights.
PARTS = {
    "self_attention_layer/query": "q",
    "self_attention_layer/key": "k",
    "self_attention_layer/value": "v",
    "self_attention_layer/attention_output": "ao",
    "self_attention_layer_norm": "aln",
    "feedforward_intermediate_dense": "fi",
    "feedforward_output_dense": "fo",
    "feedforward_layer_norm": "oln",
}

_MAGIC = b"E5S1"
_HEADER = struct.Struct("<4sI7ifi5iQ")
_ENTRY = struct.Struct("<BIQQ")  # kind, number of weights, offset, bytes
_Q4_0 = 1  # the kind of a tensor in 4 bits; the other kind is float32


@dataclass(frozen=True)
class Sizes:
    """The sizes of the encoder, in the names of `keras_nlp.models.BertBackbone`."""

    hidden_dim: Annotated[int, Between(32, 8192)]
    num_layers: Annotated[int, Between(1, 100)]
    num_heads: Annotated[int, Between(1, 256)]
    intermediate_dim: Annotated[int, Between(32, 32768)]
    vocabulary_size: Annotated[int, Between(5, 2_000_000)]
    max_sequence_length: Annotated[int, Between(2, 32768)]
    num_segments: Annotated[int, Between(1, 16)]


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
        tensors: name -> float32 weights, flat, or blocks as `dequantise` takes them; a matrix has a row
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
        ValueError: for a file of another kind, or one whose parts do not belong together.
        OSError: when it cannot be read.
    """
    content = read_regular(path, MAX_BYTES)
    if content[:4] != _MAGIC:
        raise ValueError(f"The file must begin with {_MAGIC!r}. Received: {path} with {content[:4]!r}")
    try:
        return _parse(content, path)
    except (struct.error, OverflowError, IndexError) as error:
        raise ValueError(f"The file is damaged ({error}). Received: {path}") from error


def _parse(content: bytes, path: Path) -> Container:
    _, _, *numbers, epsilon, block, count, start, end, pad, unknown_id, length = _HEADER.unpack_from(content)
    if (block, start, pad, end, unknown_id) != (32, START, PAD, END, UNKNOWN):
        raise ValueError(
            "Q4_0 must have blocks of 32 weights, the vocabulary must begin with <s>, <pad>, </s>, <unk>. "
            f"Received: {path} with blocks of {block} and the ids {start}, {pad}, {end}, {unknown_id}"
        )
    names = [field.name for field in fields(Sizes)]
    sizes = record_of(Sizes, dict(zip(names, numbers, strict=True)))
    if not 0 < epsilon < 1 or not 5 <= count <= sizes.vocabulary_size or sizes.hidden_dim % sizes.num_heads:
        raise ValueError(f"The sizes do not belong together: {sizes}, {count} pieces, epsilon {epsilon}")
    offsets = np.frombuffer(content, "<u4", count + 1, _HEADER.size)
    scores = np.frombuffer(content, "<f4", count, _HEADER.size + offsets.nbytes)
    pieces_at = _HEADER.size + offsets.nbytes + scores.nbytes
    pieces = tuple(content[a:b].decode() for a, b in itertools.pairwise((offsets + pieces_at).tolist()))
    replacements, directory_at = _read_replacements(content, pieces_at + length)
    if pieces[:4] != ("<s>", "<pad>", "</s>", "<unk>") or not all(pieces) or len({*pieces}) < count:
        raise ValueError("The pieces must begin with <s>, <pad>, </s>, <unk>, and each be there once.")
    if offsets[-1] != length or not np.isfinite(scores).all():
        raise ValueError("The pieces must end where their text does, and have finite scores.")
    tensors = dict(_read_tensors(content, directory_at))
    _require_tensors(tensors, sizes)
    return Container(sizes, epsilon, Vocabulary(pieces, tuple(scores.tolist()), replacements), tensors)


def _require_tensors(tensors: dict[str, np.ndarray], sizes: Sizes) -> None:
    """Raises a `ValueError` unless the encoder finds each of its tensors, of its size and finite."""
    hidden, inner = sizes.hidden_dim, sizes.intermediate_dim
    if hidden % 32 or inner % 32:
        raise ValueError(f"Matrices have whole blocks of 32 in a row. Received: {sizes}")
    matrices = {"emb.word": sizes.vocabulary_size * hidden}
    vectors = {"emb.pos": sizes.max_sequence_length * hidden, "emb.type": sizes.num_segments * hidden}
    vectors |= {"emb.ln.w": hidden, "emb.ln.b": hidden}
    for layer, part in itertools.product(range(sizes.num_layers), PARTS.values()):
        name = f"l{layer}.{part}"
        if part.endswith("ln"):
            vectors |= {f"{name}.w": hidden, f"{name}.b": hidden}
        else:
            matrices[f"{name}.w"] = hidden * (inner if part in ("fi", "fo") else hidden)
            vectors[f"{name}.b"] = inner if part == "fi" else hidden
    for name, size in matrices.items():
        _require(tensors, name, BLOCK, size // 32)
    for name, size in vectors.items():
        _require(tensors, name, np.dtype("<f4"), size)


def _require(tensors: dict[str, np.ndarray], name: str, kind: np.dtype, size: int) -> None:
    tensor = tensors.get(name)
    if tensor is None or tensor.dtype != kind or len(tensor) != size:
        raise ValueError(f"The file must have {size} of {kind} as {name!r}.")
    if not np.isfinite(tensor["scale"] if kind == BLOCK else tensor).all():
        raise ValueError(f"The weights of {name!r} are not finite.")


def _read_replacements(content: bytes, start: int) -> tuple[dict[str, str], int]:
    """The table of replaced characters that begins at `start`, and where it ends."""
    (count, _), position = struct.unpack_from("<iI", content, start), start + 8
    replacements = {}
    for _ in range(count):
        character, length = struct.unpack_from("<IB", content, position)
        codes = struct.unpack_from(f"<{length}I", content, position + 5)
        replacements[chr(character)] = "".join(map(chr, codes))
        # Halves of surrogate pairs are no characters.
        f"{chr(character)}{replacements[chr(character)]}".encode()
        position += 5 + 4 * length
    return replacements, position


def _read_tensors(content: bytes, start: int) -> Iterator[tuple[str, np.ndarray]]:
    (count,), position = struct.unpack_from("<i", content, start), start + 4
    for _ in range(count):
        (length,) = struct.unpack_from("<H", content, position)
        name = content[position + 2 : position + 2 + length].decode()
        kind, weights, offset, size = _ENTRY.unpack_from(content, position + 2 + length)
        position += 2 + length + _ENTRY.size
        if kind == _Q4_0:
            yield name, np.frombuffer(content, BLOCK, size // BLOCK.itemsize, offset)
        else:
            yield name, np.frombuffer(content, "<f4", weights, offset)


def dequantise(blocks: np.ndarray) -> np.ndarray:
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
