"""Random changes of training spectrograms: what another speaker, room or microphone would change."""

import math
from collections.abc import Sequence

import tensorflow as tf

from xmodal.config.sound import SOUND_AUGMENTATIONS
from xmodal.core.errors import UserError, nearest
from xmodal.data.sounds import RANGE

SHIFT = 0.1  # of the time
SPEED = 0.2
PITCH, WARP = 0.05, 0.1  # of the frequencies, up or down, and stretched from the lowest on
MASKS, MASK = 2, 0.15  # of the time, and of the frequencies
# Decibels below the loudest: where there is noise, and how uneven it is.
QUIETEST, NOISIEST, SPECKLE = -90.0, -25.0, 3.0
DRAWS = 7 + 4 * MASKS


def sound_draws(count: int | tf.Tensor, seed: Sequence[int] | tf.Tensor) -> tf.Tensor:
    """Draws what `augment_spectrograms` takes, and before it the place of a window in a longer sound.

    Args:
        count: B.
        seed: (2,) integers. The same seed gives the same numbers.

    Returns:
        (B, 15) float32 from -1 to 1.
    """
    return tf.random.stateless_uniform((count, DRAWS), seed, minval=-1.0, alg="philox")


def augment_spectrograms(pictures: tf.Tensor, kinds: Sequence[str], draws: tf.Tensor) -> tf.Tensor:
    """Changes each spectrogram a little.

    Args:
        pictures: (B, H, W, 3) float32, as `sounds.spectrogram` makes them.
        kinds: any of "shift" (in time, up to a tenth), "speed" (up to 20% faster or slower), "pitch" (all
            frequencies up or down by up to a twentieth of the mel scale, and stretched by up to 10%, as vocal
            tracts of other lengths do: Jaitly and Hinton 2013), "mask" (two bands of frequencies and two of
            the time are left out: SpecAugment, Park et al. 2019, arXiv:1904.08779) and "noise" (added in
            power).
        draws: (B, 15) from `sound_draws`: a kind takes the same ones whatever other kinds stand beside it.

    Returns:
        (B, H, W, 3) float32.

    Raises:
        UserError: for an unknown kind.
    """
    for kind in kinds:
        if kind not in SOUND_AUGMENTATIONS:
            raise UserError(
                f"the augmentation {kind!r} is not one of sounds", nearest(kind, SOUND_AUGMENTATIONS)
            )
    _, shift, speed, pitch, warp, level, slope = tf.unstack(draws[:, :7], axis=1)
    pictures = _warp(
        pictures,
        shift=SHIFT * shift if "shift" in kinds else tf.zeros_like(shift),
        speed=1 + SPEED * speed if "speed" in kinds else tf.ones_like(speed),
        pitch=PITCH * pitch if "pitch" in kinds else tf.zeros_like(pitch),
        stretch=1 + WARP * warp if "pitch" in kinds else tf.ones_like(warp),
    )
    if "noise" in kinds:
        pictures = _add_noise(pictures, QUIETEST + (level + 1) / 2 * (NOISIEST - QUIETEST), slope)
    return _mask_bands(pictures, (draws[:, 7:] + 1) / 2) if "mask" in kinds else pictures


def _warp(
    pictures: tf.Tensor, shift: tf.Tensor, speed: tf.Tensor, pitch: tf.Tensor, stretch: tf.Tensor
) -> tf.Tensor:
    """Resamples pictures once, each by the numbers of its own (B,); outside of a sound is silence."""
    height, width = (tf.cast(side, tf.float32) for side in tf.unstack(tf.shape(pictures)[1:3]))
    zeros = tf.zeros_like(shift)
    # The op asks where each output pixel comes from.
    x0 = (width - 1) / 2 * (1 - speed) + shift * width
    y0 = (height - 1) * (1 - stretch) + pitch * height
    outputs = tf.raw_ops.ImageProjectiveTransformV3(
        images=pictures,
        transforms=tf.stack([speed, zeros, x0, zeros, stretch, y0, zeros, zeros], axis=1),
        output_shape=tf.shape(pictures)[1:3],
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="CONSTANT",
    )
    return tf.ensure_shape(outputs, pictures.shape)


def _add_noise(pictures: tf.Tensor, level: tf.Tensor, slope: tf.Tensor) -> tf.Tensor:
    """Adds the power of a noise of so many decibels (B,), of which high frequencies have more or less."""

    def speckle(draws: tf.Tensor) -> tf.Tensor:
        seed = tf.cast(draws * 2**30, tf.int32)
        return tf.random.stateless_normal(size, seed, stddev=SPECKLE, alg="philox")

    size = tf.shape(pictures)[1:3]
    rows = tf.linspace(1.0, -1.0, size[0])[:, None]
    speckle_noise = tf.map_fn(speckle, tf.stack([level, slope], axis=1) / RANGE)
    noise = level[:, None, None] + RANGE / 8 * slope[:, None, None] * rows + speckle_noise
    # Decibels to powers of e and back.
    nepers = math.log(10) / 10
    decibels = (
        tf.reduce_logsumexp(nepers * tf.stack([(pictures[..., 0] / 255 - 1) * RANGE, noise]), axis=0) / nepers
    )
    return tf.repeat(tf.clip_by_value(255 * (1 + decibels / RANGE), 0, 255)[..., None], 3, axis=3)


def _mask_bands(pictures: tf.Tensor, draws: tf.Tensor) -> tf.Tensor:
    """Makes bands of frequencies and of the time black, by numbers (B, 4 * MASKS) from 0 to 1."""
    _, height, width, _ = tf.unstack(tf.shape(pictures))

    def mask(side: tf.Tensor, places: tf.Tensor, sizes: tf.Tensor) -> tf.Tensor:
        size = sizes * MASK
        start = (places * (1 - size))[:, None]
        at = tf.linspace(0.0, 1.0, side)
        return tf.cast((at < start) | (at >= start + size[:, None]), tf.float32)

    for number in range(MASKS):
        places_y, sizes_y, places_x, sizes_x = tf.unstack(draws[:, 4 * number : 4 * number + 4], axis=1)
        pictures *= mask(height, places_y, sizes_y)[:, :, None, None]
        pictures *= mask(width, places_x, sizes_x)[:, None, :, None]
    return pictures
