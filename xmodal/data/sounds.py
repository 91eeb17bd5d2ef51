"""From samples to spectrograms: a sound becomes log-mel pictures, which an image network reads.

As Hershey et al. 2017 (arXiv:1609.09430) classify sounds by networks made for images. All of it is
TensorFlow's ops, so that training, evaluation and the exported SavedModel see the same.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import tensorflow as tf

from xmodal.data.sound_format import SoundFormat
from xmodal.data.wav_files import wav_of
from xmodal.data.waves import decode_wave, resample
from xmodal.data.windows import ABSENT, windows_of

# Seconds of a frame of the Fourier transform, and between two.
FRAME, HOP = 0.032, 0.01
LOWEST_HERTZ = 60.0
# From the loudest of a sound down to black, in decibels.
RANGE = 80.0
# That far below the loudest part of a sound is silence: before and after it, and in a whole spectrogram.
SILENCE = 40.0
# Seconds of the parts by which silence is found.
PART = 0.02
# Spectrograms of a sound that are read at most, evenly from its beginning to its end.
MAX_WINDOWS = 16
# Of a sound in a page.
CLIP_SECONDS, CLIP_RATE = 2.0, 8_000
# Side of a picture that a report shows.
PICTURE = 128
SMALLEST = 1e-10


@dataclass(frozen=True)
class SpectrogramShape:
    """How a sound is cut into the H frames of a spectrogram of H frequencies.

    Attributes:
        side: H.
        rate: samples a second.
        hop: samples between two transforms.
        hops: transforms of which a frame is the mean.
        frame: samples of a transform, before it is filled up with zeros.
        transform: the same with zeros, enough to tell the lowest frequencies apart.
    """

    side: int
    rate: int
    hop: int
    hops: int
    frame: int
    transform: int

    @property
    def samples(self) -> int:
        """How many a spectrogram is made of."""
        return self.side * self.hop * self.hops


def spectrogram_shape(side: int, config: SoundFormat) -> SpectrogramShape:
    """Returns the cut of a spectrogram with so many frames and frequencies."""
    rate = config.rate
    step = config.seconds * rate / side
    hops = max(1, math.ceil(step / (HOP * rate)))
    frame = round(FRAME * rate)
    # Mel frequencies (O'Shaughnessy 1987) lie closest at the lowest.
    top_mel = 1127 * math.log1p(rate / 2 / 700)
    spacing = top_mel / (side + 1) * 700 / 1127
    transform = 2 ** math.ceil(math.log2(max(frame, 1.25 * rate / spacing)))
    return SpectrogramShape(side, rate, max(1, math.ceil(step / hops)), hops, frame, transform)


def read_sound(encoded: tf.Tensor, config: SoundFormat, max_seconds: float = 0.0) -> tf.Tensor:
    """Decodes a WAV, at the rate of the settings and without the silence before and after it: (S,)."""
    samples, rate = decode_wave(encoded, max_seconds)
    return without_silence(resample(samples, rate, config.rate), config.rate)


def without_silence(samples: tf.Tensor, rate: int) -> tf.Tensor:
    """Cuts off what is `SILENCE` below the loudest part of a sound, before it and after it."""
    size = round(PART * rate)
    parts = tf.reshape(tf.pad(samples, [[0, -tf.size(samples) % size]]), [-1, size])
    loudness = tf.reduce_mean(tf.square(parts), axis=1)
    loud_parts = tf.where(loudness >= tf.reduce_max(loudness) * 10 ** (-SILENCE / 10))[:, 0]
    return samples[loud_parts[0] * size : (loud_parts[-1] + 1) * size]


def spectrograms(encoded: tf.Tensor, side: int, config: SoundFormat, max_seconds: float = 0.0) -> tf.Tensor:
    """Returns the spectrograms of a sound, one for each window, which overlap by half or are spread evenly.

    Args:
        encoded: scalar string, a WAV.
        side: H, of the frames and of the frequencies.
        config: rate and seconds.
        max_seconds: of the sound; longer ones are not decoded; 0 for no limit.

    Returns:
        (n, H, H, 3) float32, grey from 0 to 255, high frequencies on top; n is 1 to `MAX_WINDOWS`. What is
        silent in a sound that is not has `ABSENT` everywhere.

    Raises:
        tf.errors.InvalidArgumentError: for what cannot be decoded, see `decode_wave`.
    """
    shape = spectrogram_shape(side, config)
    samples = _pad_to(read_sound(encoded, config, max_seconds), shape.samples)
    slack = tf.size(samples) - shape.samples
    count = tf.minimum(-(-slack // (shape.samples // 2)) + 1, MAX_WINDOWS)
    starts = tf.range(count) * slack // tf.maximum(count - 1, 1)
    levels = _decibels(tf.gather(samples, starts[:, None] + tf.range(shape.samples)), shape)
    peak = tf.reduce_max(levels)
    is_silent = tf.reduce_max(levels, axis=[1, 2]) < peak - SILENCE
    pictures = _grey(levels - peak)
    return tf.where(is_silent[:, None, None, None], ABSENT, pictures)


def all_windows(
    items: tf.Tensor,
    wav: Callable[[tf.Tensor], tf.Tensor],
    side: int,
    config: SoundFormat,
    limit: float = 0.0,
) -> tf.Tensor:
    """Returns the spectrograms of sounds (B,), see `spectrograms`: (B, n, H, H, 3), n of the longest.

    Args:
        items: what `wav` makes an encoded WAV of, one by one.
        wav: see there.
        side, config: as `spectrograms` takes them.
        limit: seconds of a sound; longer ones are not decoded; 0 for no limit.
    """
    return windows_of(items, lambda item: spectrograms(wav(item), side, config, limit), side)


def picture_of_sound(encoded: bytes, config: SoundFormat) -> bytes:
    """Returns a PNG of the whole of a sound, however long it is."""
    samples = read_sound(tf.constant(encoded), config)
    seconds = max(config.seconds, len(samples) / config.rate)
    picture = spectrogram(tf.constant(encoded), PICTURE, replace(config, seconds=seconds))
    return tf.io.encode_png(tf.cast(picture, tf.uint8)).numpy()


def short_wav(encoded: bytes) -> bytes:
    """Returns the first seconds of a WAV, small enough to be shown in a page: 8 kHz, one channel, 16 bits."""
    samples, rate = decode_wave(encoded, 0.0)
    clip = samples[: int(CLIP_SECONDS * int(rate))]
    return wav_of(resample(clip, rate, CLIP_RATE).numpy(), CLIP_RATE)


def spectrogram(
    encoded: tf.Tensor, side: int, config: SoundFormat, place: float | tf.Tensor = 0.0
) -> tf.Tensor:
    """Returns one spectrogram of a sound (H, H, 3), as `spectrograms` does.

    Args:
        encoded, side, config: as there.
        place: of its window in a longer sound, from -1 for the beginning to 1 for the end.
    """
    shape = spectrogram_shape(side, config)
    samples = _pad_to(read_sound(encoded, config), shape.samples)
    slack = tf.cast(tf.size(samples) - shape.samples, tf.float32)
    start = tf.cast((tf.cast(place, tf.float32) + 1) / 2 * slack, tf.int32)
    levels = _decibels(samples[None, start : start + shape.samples], shape)
    return _grey(levels - tf.reduce_max(levels))[0]


def _pad_to(samples: tf.Tensor, size: int) -> tf.Tensor:
    """Puts a short sound into the middle of silence."""
    padding = tf.maximum(size - tf.size(samples), 0)
    return tf.pad(samples, [[padding // 2, padding - padding // 2]])


def _decibels(windows: tf.Tensor, shape: SpectrogramShape) -> tf.Tensor:
    """Returns the loudness of sounds (n, S) by frame and mel frequency (n, H, H)."""
    frames = _frames(windows, shape) * tf.signal.hann_window(shape.frame)
    spectrum = tf.signal.rfft(frames, [shape.transform])
    power = tf.square(tf.math.real(spectrum)) + tf.square(tf.math.imag(spectrum))
    bins = shape.transform // 2 + 1
    weights = tf.signal.linear_to_mel_weight_matrix(
        shape.side, bins, shape.rate, LOWEST_HERTZ, shape.rate / 2
    )
    mel = tf.reshape(power @ weights, [-1, shape.side, shape.hops, shape.side])
    return 10 / math.log(10) * tf.math.log(tf.reduce_mean(mel, axis=2) + SMALLEST)


def _frames(windows: tf.Tensor, shape: SpectrogramShape) -> tf.Tensor:
    """Cuts sounds (n, S) into overlapping frames (n, S / hop, frame), as `tf.signal.frame` does.

    It copies whole blocks of a hop, where `tf.signal.frame` gathers blocks of the greatest common divisor of
    hop and frame: single samples, mostly.
    """
    count, overlap = shape.side * shape.hops, max(shape.frame - shape.hop, 0)
    block_count = -(-shape.frame // shape.hop)
    padding = (count + block_count - 1) * shape.hop - shape.samples
    windows = tf.pad(windows, [[0, 0], [overlap // 2, padding - overlap // 2]])
    starts = range(0, block_count * shape.hop, shape.hop)
    shifted_windows = [windows[:, start : start + count * shape.hop] for start in starts]
    blocks = [tf.reshape(part, [-1, count, shape.hop]) for part in shifted_windows]
    return tf.concat(blocks, axis=2)[..., : shape.frame]


def _grey(decibels: tf.Tensor) -> tf.Tensor:
    """Makes pictures (n, F, T, 3) of loudness by frame and frequency (n, T, F), 0 for the loudest."""
    pictures = tf.clip_by_value(255 * (1 + decibels / RANGE), 0.0, 255.0)
    return tf.repeat(tf.transpose(pictures, [0, 2, 1])[:, ::-1, :, None], 3, axis=3)
