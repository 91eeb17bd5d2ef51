"""Pictures, sounds and texts without some of their parts, to ask a model what its answer hangs on."""

import re
from collections.abc import Callable, Sequence

import numpy as np

from xmodal.data.sound_format import SoundFormat

# Parts of a picture along each side; those of a sound are as many in time and in frequency.
CELLS = 8
# Of a longer text several words are one part.
MAX_PARTS = 48
# Chinese and Japanese have no spaces between words.
LETTER_WORD = r"[\u3040-\u30ff\u3400-\u9fff]"
WORD = re.compile(rf"{LETTER_WORD}\s*|(?:(?!{LETTER_WORD})\S)+\s*")
# Places in time that a cell has, where windows of a sound are laid side by side.
FINER = 16
# Seconds of a Fourier transform, of which every fourth part one begins.
FRAME = 0.032

# Which parts are there, bool (n,) -> the rest of the input, encoded.
Rest = Callable[[np.ndarray], bytes]


def words_of(text: str) -> list[str]:
    """Returns the words of a text, each with the white space behind it."""
    return WORD.findall(text.strip())


def parts_of(words: Sequence[str]) -> list[np.ndarray]:
    """Returns which words are one part (n,), of `MAX_PARTS` at most."""
    return np.array_split(np.arange(len(words)), min(MAX_PARTS, len(words)))


def text_without(words: Sequence[str], parts: Sequence[np.ndarray]) -> Rest:
    """Returns what leaves parts of a text out."""

    def rest(there: np.ndarray) -> bytes:
        kept = (part for part, is_there in zip(parts, there, strict=True) if is_there)
        return "".join(words[index] for part in kept for index in part).encode()

    return rest


def covered_picture(pixels: np.ndarray) -> Rest:
    """Returns what covers cells of a picture (H, W, 3) uint8 by its mean colour, as PNG; `CELLS` squared."""
    import tensorflow as tf

    rows, columns = (np.arange(size) * CELLS // size for size in pixels.shape[:2])
    cell = rows[:, None] * CELLS + columns[None, :]
    mean = pixels.mean(axis=(0, 1)).astype(np.uint8)
    return lambda there: tf.io.encode_png(np.where(there[cell][:, :, None], pixels, mean)).numpy()


def covered_sound(wav: bytes, config: SoundFormat) -> Rest:
    """Returns what covers cells of a spectrogram by noise of its mean loudness, as WAV; `CELLS` squared.

    The first cells are those of the highest frequencies, which are as far apart as in `sounds.spectrograms`.

    Args:
        wav: the sound.
        config: how it is read.
    """
    import tensorflow as tf

    from xmodal.data.sounds import LOWEST_HERTZ, read_sound
    from xmodal.data.wav_files import wav_of

    samples = read_sound(tf.constant(wav), config).numpy()
    frame = 4 * round(FRAME * config.rate / 4)
    hop = frame // 4
    missing = max(round(config.seconds * config.rate) - len(samples), 0)
    whole = np.pad(samples, [frame + missing // 2, frame + missing - missing // 2])
    heard = tf.signal.stft(whole, frame, hop, pad_end=True).numpy()
    phases = np.random.default_rng(0).uniform(0, 2 * np.pi, heard.shape)
    # The mean of what a spectrogram shows: of decibels.
    loudness = np.abs(heard[np.abs(heard).max(axis=1) > 0])
    level = np.exp(np.mean(np.log(loudness + 1e-6))) if loudness.size else 0.0
    noise = (level * np.exp(1j * phases)).astype(np.complex64)
    mels = np.log1p(np.linspace(0, config.rate / 2, heard.shape[1]) / 700)
    row = (mels[-1] - mels) / (mels[-1] - np.log1p(LOWEST_HERTZ / 700))
    # The middle of each transform, in shares of the sound between what was put around it.
    column = (np.arange(len(heard)) * hop + frame / 2 - frame) / (len(whole) - 2 * frame)
    row, column = ((part * CELLS).astype(int).clip(0, CELLS - 1) for part in (row, column))
    cell = row[None, :] * CELLS + column[:, None]
    window = tf.signal.inverse_stft_window_fn(hop)

    def rest(there: np.ndarray) -> bytes:
        left = tf.signal.inverse_stft(np.where(there[cell], heard, noise), frame, hop, window_fn=window)
        return wav_of(left.numpy()[frame : len(whole) - frame], config.rate)

    return rest


def map_of_windows(maps: np.ndarray, wav: bytes, config: SoundFormat) -> np.ndarray:
    """Lays maps of the windows of a sound (n, h, w) side by side, as means where they overlap: (h, W).

    Args:
        maps: of the windows that `sounds.spectrograms` cuts.
        wav, config: as `covered_sound` takes them.
    """
    import tensorflow as tf

    from xmodal.data.sounds import read_sound

    windows, _, width = maps.shape
    seconds = len(read_sound(tf.constant(wav), config)) / config.rate
    # In windows.
    length = max(seconds / config.seconds, 1.0)
    time = (np.arange(FINER * CELLS) + 0.5) / (FINER * CELLS) * length
    starts = np.arange(windows) * (length - 1) / max(windows - 1, 1)
    within = time[None, :] - starts[:, None]
    there = (within >= 0) & (within < 1)
    columns = (within * width).astype(int).clip(0, width - 1)
    placed = np.take_along_axis(maps, columns[:, None, :], axis=2) * there[:, None, :]
    return placed.sum(axis=0) / np.maximum(there.sum(axis=0), 1)
