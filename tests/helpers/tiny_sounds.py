"""WAV of every layout, written byte by byte, and a folder of two kinds of tones."""

import struct
from pathlib import Path

import numpy as np

PCM, FLOAT, EXTENSIBLE = 1, 3, 0xFFFE


def wav(samples, rate=8000, bits=16, codec=PCM, *, extensible=False, before=b"", declared=None) -> bytes:
    """Returns samples (S,) or (S, channels), -1 to 1, as a WAV.

    Args:
        samples, rate, bits, codec: what it holds.
        extensible: with the longer header of WAVE_FORMAT_EXTENSIBLE.
        before: a chunk between the header and the samples.
        declared: the bytes that the header claims, where they are not those that are there.
    """
    samples = np.asarray(samples, np.float64)
    channels = 1 if samples.ndim == 1 else samples.shape[1]
    data = encoded(samples.ravel(), bits, codec)
    width = (bits + 7) // 8
    layout = struct.pack(
        "<HHIIHH", *(EXTENSIBLE if extensible else codec, channels, rate, rate * channels * width),
        *(channels * width, bits),
    )  # fmt: skip
    if extensible:
        layout += struct.pack("<HHIH", 22, bits, 0, codec) + bytes(14)
    size = len(data) if declared is None else declared
    chunks = b"fmt " + struct.pack("<I", len(layout)) + layout + before
    chunks += b"data" + struct.pack("<I", size) + data
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks


def encoded(samples, bits, codec) -> bytes:
    """Returns samples (S,) as the bytes of a WAV."""
    if codec == FLOAT:
        return samples.astype({32: "<f4", 64: "<f8"}[bits]).tobytes()
    if bits == 8:
        return (np.round(samples * 127) + 128).astype(np.uint8).tobytes()
    whole = np.round(samples * (2 ** (bits - 1) - 1)).astype("<i8")
    return whole.view(np.uint8).reshape(-1, 8)[:, : bits // 8].tobytes()


def tone(hertz, seconds=0.5, rate=8000, loudness=0.5):
    """Returns the samples (S,) of a sine."""
    return loudness * np.sin(2 * np.pi * hertz * np.arange(int(seconds * rate)) / rate)


def save_tiny_sounds(folder: Path) -> None:
    """Writes 20 high tones (cat) and 20 low ones (dog) of five speakers, and one file that is no sound."""
    rng = np.random.default_rng(0)
    for number in range(40):
        name = ("cat", "dog")[number % 2]
        samples = tone((1500, 300)[number % 2] * rng.uniform(0.9, 1.1), rng.uniform(0.2, 2.0))
        samples += 0.01 * rng.normal(size=len(samples))
        path = folder / name / f"speaker{number // 2 % 5}_{number}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(wav(samples))
    (folder / "cat" / "speaker0_bad.wav").write_bytes(b"RIFF")
