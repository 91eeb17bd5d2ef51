"""From encoded sounds to samples, by TensorFlow's ops alone, so that an export keeps them too.

`tf.audio.decode_wav` reads 16 bits alone. Here WAV (RIFF, and its 64-bit form RF64) is read with PCM of 8 to
32 bits and floats of 32 or 64, in any number of channels and at any rate.
"""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from xmodal.data.image_headers import begins, number, slice_of

# Chunks that are looked at: before the samples there may be some of names, dates and cue points.
MAX_CHUNKS = 100
PCM, FLOAT, EXTENSIBLE = 1, 3, 0xFFFE
# What is decoded at most, and at least: of a tenth of that, a spectrum says nothing.
MAX_SECONDS, MIN_SECONDS = 60.0, 0.02
# Times full scale; what is read as a float may be anything.
LOUDEST = 1e12
# What a program writes that does not know yet how long a sound will be.
OPEN_SIZES = (0, 2**32 - 1)
# Zero crossings of the sinc on either side, and the share of the band that it lets through.
CROSSINGS, PASSED = 16, 0.95
# Samples that are resampled at once: each takes some hundred bytes of filters.
BLOCK = 8192

# What is wrong with a sound, in the order of looking.
NOT_WAV = "not a WAV"
NO_FORMAT = "a WAV without a format"
CODEC = "a WAV of a codec or a number of bits that is not read"
CUT = "truncated WAV"
LONG = "too long"
SHORT = "too short"
NOT_FINITE = "has samples that are not numbers, or far beyond full scale"
PROBLEMS = (NOT_WAV, NO_FORMAT, CODEC, CUT, LONG, SHORT, NOT_FINITE)


def decode_wave(encoded: tf.Tensor | bytes, max_seconds: float = MAX_SECONDS) -> tuple[tf.Tensor, tf.Tensor]:
    """Decodes a WAV at its own rate; several channels become their mean.

    Args:
        encoded: scalar string.
        max_seconds: longer ones are not decoded; 0 for no limit.

    Returns:
        Samples (S,) float32, -1 to 1 at full scale, and how many of them a second has, int64.

    Raises:
        tf.errors.InvalidArgumentError: that names one of `PROBLEMS`, for what is no WAV, a part of one,
            too long or too short, of another codec, or with samples that are not finite.
    """
    return _decode_wave(encoded, max_seconds)


def is_wav(encoded: tf.Tensor) -> tf.Tensor:
    """Tells whether bytes begin as a WAV."""
    return (begins(encoded, b"RIFF") | begins(encoded, b"RF64")) & begins(encoded, b"WAVE", 8)


@tf.function(input_signature=[tf.TensorSpec([], tf.string), tf.TensorSpec([], tf.float32)], autograph=False)
def _decode_wave(encoded: tf.Tensor, max_seconds: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    encoded = _require(encoded, is_wav(encoded), NOT_WAV)
    layout, start, size = _chunks(encoded)
    channels, rate, bits = (number(encoded, layout + at, width) for at, width in ((2, 2), (4, 4), (14, 2)))
    encoded = _require(encoded, (layout > 0) & (channels > 0) & (rate > 0) & (bits > 0), NO_FORMAT)
    codec = number(encoded, layout, 2)
    # The first two bytes of an extended format's own number (WAVEFORMATEXTENSIBLE, SubFormat).
    codec = tf.where(tf.equal(codec, EXTENSIBLE), number(encoded, layout + 24, 2), codec)
    width = (bits + 7) // 8
    kind = _kind_of(codec, width)
    encoded = _require(encoded, kind >= 0, CODEC, codec, bits)
    available_bytes = tf.cast(tf.strings.length(encoded), tf.int64) - start
    is_open = tf.reduce_any(tf.equal(size, tf.constant(OPEN_SIZES, tf.int64)))
    encoded = _require(encoded, (start > 0) & (is_open | (size <= available_bytes)), CUT)
    frames = tf.where(is_open, available_bytes, size) // tf.maximum(width * channels, 1)
    seconds = tf.cast(frames, tf.float32) / tf.cast(tf.maximum(rate, 1), tf.float32)
    encoded = _require(encoded, (max_seconds <= 0) | (seconds <= max_seconds), LONG, seconds)
    encoded = _require(encoded, seconds >= MIN_SECONDS, SHORT, frames)
    data = slice_of(encoded, start, frames * width * channels)
    decoders = [_reader(data, read) for read in READERS]
    samples = tf.switch_case(tf.cast(tf.maximum(kind, 0), tf.int32), decoders)
    samples = tf.reduce_mean(tf.reshape(samples, [frames, channels]), axis=1)
    # Neither of NaN nor of infinity; of more than that the power is infinite.
    return _require(samples, tf.reduce_all(tf.abs(samples) < LOUDEST), NOT_FINITE), rate


def _require(value: tf.Tensor, condition: tf.Tensor, problem: str, *numbers: tf.Tensor) -> tf.Tensor:
    with tf.control_dependencies([tf.debugging.Assert(condition, [f"{problem}:", *numbers])]):
        return tf.identity(value)


def _chunks(encoded: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Returns where the format and the samples begin, 0 for not at all, and the samples' bytes; int64."""
    length = tf.cast(tf.strings.length(encoded), tf.int64)
    zero = tf.constant(0, tf.int64)

    def step(at, layout, start, size):
        declared = number(encoded, at + 4, 4)
        is_layout, is_data = begins(encoded, b"fmt ", at), begins(encoded, b"data", at)
        layout = tf.where(is_layout, at + 8, layout)
        start, size = tf.where(is_data, at + 8, start), tf.where(is_data, declared, size)
        return at + 8 + declared + declared % 2, layout, start, size

    def goes_on(at, layout, start, size):
        return (at + 8 <= length) & tf.equal(start, 0)

    initial_state = (tf.constant(12, tf.int64), zero, zero, zero)
    return tf.while_loop(goes_on, step, initial_state, maximum_iterations=MAX_CHUNKS)[1:]


def _kind_of(codec: tf.Tensor, width: tf.Tensor) -> tf.Tensor:
    """Returns the position in `READERS` of samples of so many bytes, -1 for those that are not read."""
    kinds = {(PCM, 1): 0, (PCM, 2): 1, (PCM, 3): 2, (PCM, 4): 3, (FLOAT, 4): 4, (FLOAT, 8): 5}
    codec_kind = tf.constant(-1)
    for (known_codec, size), kind in kinds.items():
        codec_kind = tf.where(tf.equal(codec, known_codec) & tf.equal(width, size), kind, codec_kind)
    return codec_kind


def _reader(data: tf.Tensor, read: Callable[[tf.Tensor], tf.Tensor]) -> Callable[[], tf.Tensor]:
    return lambda: read(data)


def _bytes(data: tf.Tensor) -> tf.Tensor:
    # The one kind with unsigned samples.
    return (tf.cast(tf.io.decode_raw(data, tf.uint8), tf.float32) - 128) / 2**7


def _of_two_bytes(data: tf.Tensor) -> tf.Tensor:
    return tf.cast(tf.io.decode_raw(data, tf.int16), tf.float32) / 2**15


def _of_three_bytes(data: tf.Tensor) -> tf.Tensor:
    parts = tf.cast(tf.reshape(tf.io.decode_raw(data, tf.uint8), [-1, 3]), tf.int32)
    value = parts[:, 0] + 2**8 * parts[:, 1] + 2**16 * parts[:, 2]
    return tf.cast(tf.where(value >= 2**23, value - 2**24, value), tf.float32) / 2**23


def _of_four_bytes(data: tf.Tensor) -> tf.Tensor:
    return tf.cast(tf.io.decode_raw(data, tf.int32), tf.float32) / 2**31


def _floats(data: tf.Tensor) -> tf.Tensor:
    return tf.io.decode_raw(data, tf.float32)


def _doubles(data: tf.Tensor) -> tf.Tensor:
    return tf.cast(tf.io.decode_raw(data, tf.float64), tf.float32)


READERS = (_bytes, _of_two_bytes, _of_three_bytes, _of_four_bytes, _floats, _doubles)


def resample(samples: tf.Tensor, rate: tf.Tensor, new_rate: int) -> tf.Tensor:
    """Brings samples to another rate, without what the lower of both rates cannot hold.

    By a sinc in a Hann window, at the exact place of each new sample (Smith 2002, "Digital audio resampling",
    ccrma.stanford.edu/~jos/resample). Of the rates' least whole ratio every place between two samples that
    occurs has a filter of its own.

    Args:
        samples: (S,) float32.
        rate: samples a second, int64.
        new_rate: those of the result.

    Returns:
        (ceil(S new_rate / rate),) float32.
    """
    return tf.cond(
        tf.equal(rate, new_rate),
        lambda: samples,
        lambda: _resample(samples, tf.cast(rate, tf.int64), new_rate),
    )


def _resample(samples: tf.Tensor, rate: tf.Tensor, new_rate: int) -> tf.Tensor:
    divisor = _greatest_divisor(rate, tf.constant(new_rate, tf.int64))
    steps, phases = rate // divisor, new_rate // divisor  # of 1 / phases of an old sample each
    # Crossings lie apart as samples of the lower rate do.
    stretch = tf.maximum(tf.cast(rate, tf.float32) / new_rate, 1.0)
    reach = tf.cast(tf.math.ceil(CROSSINGS * stretch), tf.int64)
    taps = tf.range(-reach + 1, reach + 1)
    filters = _filters(tf.cast(tf.range(phases), tf.float32) / tf.cast(phases, tf.float32), taps, stretch)
    padded_samples = tf.pad(samples, [[reach, reach + 1]])

    def block(start: tf.Tensor) -> tf.Tensor:
        index = start + tf.range(BLOCK, dtype=tf.int64)
        at = tf.minimum(index * steps // phases, tf.size(samples, tf.int64) - 1)
        neighbours = tf.gather(padded_samples, at[:, None] + reach + taps)
        return tf.reduce_sum(neighbours * tf.gather(filters, index * steps % phases), axis=1)

    count = -(-tf.size(samples, tf.int64) * new_rate // rate)
    blocks = tf.map_fn(
        block, tf.range(0, count, BLOCK), fn_output_signature=tf.TensorSpec([BLOCK], tf.float32)
    )
    return tf.reshape(blocks, [-1])[:count]


def _filters(fractions: tf.Tensor, taps: tf.Tensor, stretch: tf.Tensor) -> tf.Tensor:
    """Returns the weights (P, T) of the samples at some taps (T,) for places behind the sample 0 (P,)."""
    distance = (tf.cast(taps, tf.float32) - fractions[:, None]) / stretch
    angle = np.pi * PASSED * distance
    sinc = tf.where(tf.equal(angle, 0), 1.0, tf.sin(angle) / tf.where(tf.equal(angle, 0), 1.0, angle))
    window = tf.square(tf.cos(np.pi / 2 * tf.clip_by_value(distance / CROSSINGS, -1, 1)))
    weights = sinc * window
    # A constant stays what it is.
    return weights / tf.reduce_sum(weights, axis=1, keepdims=True)


def _greatest_divisor(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    divisor, _ = tf.while_loop(lambda a, b: b > 0, lambda a, b: (b, a % b), (a, b))
    return divisor
