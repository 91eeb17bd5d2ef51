"""What is wrong with a sound, found before training and not after it."""

import re

import numpy as np
import tensorflow as tf

from xmodal.data import waves
from xmodal.data.audit import Scan, content_digest
from xmodal.data.sound_files import as_wav, why_undecodable

# Below it, of full scale, there is nothing to hear.
SILENT = 1e-4
# At full scale, and the share of samples there that is more than a peak.
FULL, CLIPPED = 0.999, 0.005


def look_at_sound(encoded: bytes, max_seconds: float) -> Scan:
    """Decodes a sound, and says what is wrong with it.

    Args:
        encoded: a WAV, FLAC or OGG.
        max_seconds: longer ones are not decoded.

    Raises:
        UserError: for FLAC and OGG, when the package that reads them is not installed.
    """
    wave, problem = _wave_or_problem(encoded, max_seconds)
    if wave is None:
        return Scan(b"", problem)
    samples, rate = (part.numpy() for part in wave)
    return Scan(content_digest(np.append(samples, np.float32(rate))), "", _doubt(samples))


def problem_of_sound(encoded: bytes, max_seconds: float) -> str:
    """Says why a sound cannot be read; "" when it can.

    Raises:
        UserError: for FLAC and OGG, when the package that reads them is not installed.
    """
    return _wave_or_problem(encoded, max_seconds)[1]


def _wave_or_problem(encoded: bytes, max_seconds: float) -> tuple[tuple[tf.Tensor, tf.Tensor] | None, str]:
    """Returns what `waves.decode_wave` gives, or None and why it cannot be read."""
    try:
        return waves.decode_wave(as_wav(encoded, max_seconds), max_seconds), ""
    except ValueError as error:
        return None, str(error)
    except tf.errors.InvalidArgumentError as error:
        return None, why_not_decoded(encoded, error)


def why_not_decoded(encoded: bytes, error: tf.errors.OpError) -> str:
    """Says what is wrong with a sound that `decode_wave` refused with an error."""
    problem = next((problem for problem in waves.PROBLEMS if f"{problem}:" in str(error)), waves.CUT)
    numbers = [float(number) for number in re.findall(r"\[([-+.e0-9]+)\]", str(error))]
    if problem == waves.NOT_WAV:
        return why_undecodable(encoded)
    if problem == waves.LONG:
        return f"too long: {numbers[0]:,.0f} seconds"
    if problem == waves.SHORT:
        return f"too short: {numbers[0]:,.0f} sample" + ("" if numbers[0] == 1 else "s")
    if problem == waves.CODEC:
        codec, bits = map(int, numbers)
        return f"WAV of codec {codec} with {bits} bits, which is not read: convert it to PCM"
    return problem


def _doubt(samples: np.ndarray) -> str:
    """Says what is doubtful about a sound (S,) that can be read; "" for nothing."""
    loudness = np.abs(samples)
    if loudness.max() < SILENT:
        return "silent"
    # More than full scale is no clipping: samples of floats may have it.
    return "clipped" if np.mean((loudness >= FULL) & (loudness <= 1.0)) > CLIPPED else ""
