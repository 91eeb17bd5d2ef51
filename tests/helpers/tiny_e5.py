"""A file of the 4-bit multilingual encoder with one layer and 13 pieces."""

import struct

import numpy as np

# The pieces that stand for no text come first, as in XLM-R; "▁" stands for a space.
PIECES = ["<s>", "<pad>", "</s>", "<unk>", "▁", "a", "b", "é", "▁ab", "query", ":", "▁query", "<mask>"]
SCORES = [0.0, 0.0, 0.0, 0.0, -5.0, -4.0, -4.0, -4.0, -1.0, -2.0, -3.0, -1.0, 0.0]
REPLACED = {"\t": " ", "\u200d": " ", "ª": "a", "ﬀ": "ab"}
HIDDEN, HEADS, INTERMEDIATE, LENGTH = 64, 2, 96, 12


def q4_0(weights: np.ndarray) -> bytes:
    """Blocks of 32: the largest becomes 7 or -7 of the scale."""
    blocks = weights.reshape(-1, 32)
    scales = (np.abs(blocks).max(axis=1) / 7).astype("<f2")
    whole = np.clip(np.rint(blocks / scales[:, None].astype(np.float32)), -8, 7).astype(int) + 8
    pairs = (whole[:, :16] | whole[:, 16:] << 4).astype("u1")
    return b"".join(scale.tobytes() + row.tobytes() for scale, row in zip(scales, pairs, strict=True))


def tensors() -> dict[str, np.ndarray]:
    """The tensors of one layer; matrices are two-dimensional."""
    random = np.random.default_rng(0)
    shapes: dict[str, tuple[int, ...]] = {"emb.word": (len(PIECES), HIDDEN), "emb.pos": (LENGTH * HIDDEN,)}
    shapes |= {"emb.type": (2 * HIDDEN,), "emb.ln.w": (HIDDEN,), "emb.ln.b": (HIDDEN,)}
    for part in ("q", "k", "v", "ao", "fi", "fo"):
        outputs = INTERMEDIATE if part == "fi" else HIDDEN
        shapes |= {f"l0.{part}.w": (outputs, INTERMEDIATE if part == "fo" else HIDDEN)}
        shapes |= {f"l0.{part}.b": (outputs,)}
    for part in ("aln", "oln"):
        shapes |= {f"l0.{part}.w": (HIDDEN,), f"l0.{part}.b": (HIDDEN,)}
    return {name: random.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def tiny_e5() -> bytes:
    """Returns the content of the file."""
    blob = [piece.encode() for piece in PIECES]
    ends = np.cumsum([0, *map(len, blob)]).astype("<u4")
    sizes = (HIDDEN, 1, HEADS, INTERMEDIATE, len(PIECES), LENGTH, 2)
    head = struct.pack("<4sI7ifi5iQ", b"E5S1", 1, *sizes, 1e-12, 32, len(PIECES), 0, 2, 1, 3, ends[-1])
    head += ends.tobytes() + np.array(SCORES, "<f4").tobytes() + b"".join(blob)
    rules = b"".join(
        struct.pack(f"<IB{len(after)}I", ord(before), len(after), *map(ord, after))
        for before, after in sorted(REPLACED.items())
    )
    head += struct.pack("<iI", len(REPLACED), len(rules)) + rules
    weights = tensors()
    offset = len(head) + 4 + sum(2 + len(name) + 21 for name in weights)
    directory, body = struct.pack("<i", len(weights)), b""
    for name, tensor in weights.items():
        content = q4_0(tensor) if tensor.ndim == 2 else tensor.tobytes()
        directory += struct.pack("<H", len(name)) + name.encode()
        directory += struct.pack("<BIQQ", tensor.ndim == 2, tensor.size, offset + len(body), len(content))
        body += content
    return head + directory + body
