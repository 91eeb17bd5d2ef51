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

    def rest(mask: np.ndarray) -> bytes:
        present_parts = (part for part, is_present in zip(parts, mask, strict=True) if is_present)
        return "".join(words[index] for part in present_parts for index in part).encode()

    return rest


def covered_picture(pixels: np.ndarray) -> Rest:
    """Returns what covers cells of a picture (H, W, 3) uint8 by its mean colour, as PNG; `CELLS` squared."""
    import tensorflow as tf

    rows, columns = (np.arange(size) * CELLS // size for size in pixels.shape[:2])
    cell = rows[:, None] * CELLS + columns[None, :]
    mean = pixels.mean(axis=(0, 1)).astype(np.uint8)
    return lambda mask: tf.io.encode_png(np.where(mask[cell][:, :, None], pixels, mean)).numpy()


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
    padding = max(round(config.seconds * config.rate) - len(samples), 0)
    padded_samples = np.pad(samples, [frame + padding // 2, frame + padding - padding // 2])
    spectrum = tf.signal.stft(padded_samples, frame, hop, pad_end=True).numpy()
    phases = np.random.default_rng(0).uniform(0, 2 * np.pi, spectrum.shape)
    # The mean of what a spectrogram shows: of decibels.
    loudness = np.abs(spectrum[np.abs(spectrum).max(axis=1) > 0])
    level = np.exp(np.mean(np.log(loudness + 1e-6))) if loudness.size else 0.0
    noise = (level * np.exp(1j * phases)).astype(np.complex64)
    mels = np.log1p(np.linspace(0, config.rate / 2, spectrum.shape[1]) / 700)
    row = (mels[-1] - mels) / (mels[-1] - np.log1p(LOWEST_HERTZ / 700))
    # The middle of each transform, in shares of the sound between what was put around it.
    column = (np.arange(len(spectrum)) * hop + frame / 2 - frame) / (len(padded_samples) - 2 * frame)
    row, column = ((part * CELLS).astype(int).clip(0, CELLS - 1) for part in (row, column))
    cell = row[None, :] * CELLS + column[:, None]
    window = tf.signal.inverse_stft_window_fn(hop)

    def rest(mask: np.ndarray) -> bytes:
        masked_samples = tf.signal.inverse_stft(
            np.where(mask[cell], spectrum, noise), frame, hop, window_fn=window
        )
        return wav_of(masked_samples.numpy()[frame : len(padded_samples) - frame], config.rate)

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
    offsets = time[None, :] - starts[:, None]
    mask = (offsets >= 0) & (offsets < 1)
    columns = (offsets * width).astype(int).clip(0, width - 1)
    aligned_maps = np.take_along_axis(maps, columns[:, None, :], axis=2) * mask[:, None, :]
    return aligned_maps.sum(axis=0) / np.maximum(mask.sum(axis=0), 1)
