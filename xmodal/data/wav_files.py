"""Sounds written as WAV."""

import struct

import numpy as np


def wav_of(samples: np.ndarray, rate: int) -> bytes:
    """Encodes samples (S,), -1 to 1 at full scale, as a WAV of one channel and 16 bits.

    Example:
        >>> wav_of(np.zeros(8, np.float32), 8000)[:4]
        b'RIFF'
    """
    return wav_of_bytes(np.round(np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes(), rate)


def wav_of_bytes(data: bytes, rate: int) -> bytes:
    """Puts the header of a WAV before samples of 16 bits."""
    layout = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, rate, 2 * rate, 2, 16)
    chunks = layout + struct.pack("<4sI", b"data", len(data)) + data
    return struct.pack("<4sI4s", b"RIFF", 4 + len(chunks), b"WAVE") + chunks
