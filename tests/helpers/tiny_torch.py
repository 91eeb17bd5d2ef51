"""A dict of tensors as torch saved it in its old format, put together by hand."""

import pickle
import struct

import numpy as np

MAGIC, VERSION = 0x1950A86A20F9469CFC6C, 1001


def header(magic: int = MAGIC, version: int = VERSION) -> bytes:
    parts = (magic, version, {"protocol_version": 1001, "little_endian": True, "type_sizes": {}})
    return b"".join(pickle.dumps(part, protocol=2) for part in parts)


def text(word: str) -> bytes:
    return b"X" + struct.pack("<I", len(word)) + word.encode()


def tensor(key="1", size=6, offset=0, shape=b"K\x02K\x03", strides=b"K\x03K\x01", kind="FloatStorage"):
    """The instructions that make a tensor of 2 by 3 in C order, as torch writes them."""
    storage = b"(" + text("storage") + f"ctorch\n{kind}\n".encode() + text(key) + text("cpu")
    storage += b"M" + struct.pack("<H", size) + b"Nt" + b"Q"
    arguments = b"(" + storage + b"K" + bytes([offset]) + b"(" + shape + b"t(" + strides + b"t\x89}t"
    return b"ctorch._utils\n_rebuild_tensor_v2\n" + arguments + b"R"


def content(tensors: bytes, keys=("1",), values=tuple(range(6)), dtype="<f4") -> bytes:
    array = np.array(values, dtype)
    listed = b"\x80\x02](" + b"".join(map(text, keys)) + b"e."
    stored = struct.pack("<q", len(values)) + array.tobytes()
    return header() + b"\x80\x02}(" + tensors + b"u." + listed + stored
