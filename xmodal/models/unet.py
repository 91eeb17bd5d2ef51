"""A small U-Net that says which way a noisy picture is to be moved, given a text."""

from collections.abc import Sequence

import keras
import numpy as np

GROUPS = 8
# Of the pixels of pictures, from -1 to 1, about.
DEVIATION = 0.5
# Nearer to the end of the path than this, an error of the guess would count without limit.
LEAST_LEFT = 0.05
# Numbers that say what time it is.
TIME_WIDTH = 64
CONDITION = 128


@keras.saving.register_keras_serializable("xmodal")
class TimeFeatures(keras.layers.Layer):
    """Times (B,) from 0 to 1 -> sines and cosines (B, width) of rising frequencies (Vaswani et al. 2017)."""

    def __init__(self, width: int = TIME_WIDTH, **kwargs):
        super().__init__(**kwargs)
        self._width = width
        self._frequencies = np.exp(np.linspace(0, np.log(1000), width // 2)).astype(np.float32)

    def get_config(self):
        """Returns the arguments."""
        return super().get_config() | {"width": self._width}

    def call(self, times):
        angles = keras.ops.cast(times, "float32")[:, None] * self._frequencies
        return keras.ops.concatenate([keras.ops.sin(angles), keras.ops.cos(angles)], axis=-1)

    def compute_output_shape(self, input_shape):
        return (input_shape[0], 2 * len(self._frequencies))


@keras.saving.register_keras_serializable("xmodal")
class Modulation(keras.layers.Layer):
    """Feature maps (B, H, W, C) and (B, 2 C) -> maps, each channel scaled and shifted (Perez et al. 2018)."""

    def call(self, maps, condition):
        scale, shift = keras.ops.split(condition[:, None, None, :], 2, axis=-1)
        return maps * (1 + scale) + shift

    def compute_output_shape(self, maps_shape, condition_shape):
        return maps_shape


@keras.saving.register_keras_serializable("xmodal")
class UnitSize(keras.layers.Layer):
    """Noisy pictures (B, H, W, C) at times (B,) -> the same, of a deviation of about 1 at any time."""

    def call(self, images, times):
        times = times[:, None, None, None]
        return images * keras.ops.rsqrt((1 - times) ** 2 + (DEVIATION * times) ** 2)

    def compute_output_shape(self, images_shape, times_shape):
        return images_shape


@keras.saving.register_keras_serializable("xmodal")
class Velocity(keras.layers.Layer):
    """Pictures as they are guessed, noisy ones and times -> velocities (B, H, W, C).

    The network guesses the picture itself, not its noise or velocity: a picture has few degrees of freedom,
    and a small network need not pass all of the noise on (Li and He 2025, arXiv:2511.13720, section 4). From
    x_t = (1 - t) z + t x follows the velocity x - z = (x - x_t) / (1 - t).
    """

    def call(self, guesses, images, times):
        remaining_time = keras.ops.maximum(1 - times[:, None, None, None], LEAST_LEFT)
        return (guesses - images) / remaining_time

    def compute_output_shape(self, guesses_shape, images_shape, times_shape):
        return images_shape


def unet(
    image_size: int, text_width: int, widths: Sequence[int], patch: int, channels: int = 3
) -> keras.Model:
    """Builds a U-Net (Ronneberger et al. 2015, arXiv:1505.04597) of residual blocks.

    Time and text scale and shift the maps within every block. A vector of zeros stands for no text: what
    the network then draws is unconditional.

    Args:
        image_size: side of the pictures in pixels; a multiple of patch * 2 ** (levels - 1).
        text_width: numbers E of a text's vector, which has the length 1.
        widths: channels of each level; each has half the resolution of the one before.
        patch: side of the squares of pixels that the first level sees as one.
        channels: of the pictures, C: 3 for colours, 1 for grey.

    Returns:
        A flat model: {"image": (B, H, W, C), "time": (B,), "text": (B, E)} -> velocities
        (B, H, W, C).
    """
    image = keras.Input((image_size, image_size, channels), name="image")
    time = keras.Input((), name="time")
    text = keras.Input((text_width,), name="text")
    condition = _condition(time, text)
    maps = UnitSize(dtype="float32", name="unit_size")(image, time)
    maps = keras.layers.Conv2D(widths[0], max(3, patch), strides=patch, padding="same", name="patches")(maps)
    skips = []
    for level, width in enumerate(widths):
        if level:
            maps = keras.layers.Conv2D(width, 3, strides=2, padding="same", name=f"down{level}")(maps)
        maps = _block(maps, width, condition, f"encoder{level}")
        skips.append(maps)
    maps = _block(maps, widths[-1], condition, "middle")
    for level, width in reversed(list(enumerate(widths))):
        maps = keras.layers.Concatenate(name=f"join{level}")([maps, skips[level]])
        maps = _block(maps, width, condition, f"decoder{level}")
        if level:
            maps = keras.layers.UpSampling2D(name=f"double{level}")(maps)
            maps = keras.layers.Conv2D(widths[level - 1], 3, padding="same", name=f"up{level}")(maps)
    maps = keras.layers.Activation("silu")(_normalize(maps))
    maps = keras.layers.Conv2DTranspose(
        channels,
        patch + 2 * (patch > 1),
        strides=patch,
        padding="same",
        kernel_initializer="zeros",
        name="pixels",
    )(maps)
    velocity = Velocity(dtype="float32", name="velocity")(maps, image, time)
    return keras.Model({"image": image, "time": time, "text": text}, velocity, name="unet")


def _condition(time: keras.KerasTensor, text: keras.KerasTensor) -> keras.KerasTensor:
    time_vector = keras.layers.Dense(CONDITION, name="time_dense")(TimeFeatures(name="time_features")(time))
    # Numbers of about the size 1, as layers are made for.
    text_vector = keras.layers.Rescaling(text.shape[-1] ** 0.5, name="text_size")(text)
    text_vector = keras.layers.Dense(CONDITION, activation="silu", name="text_hidden")(text_vector)
    condition = keras.layers.Add()(
        [time_vector, keras.layers.Dense(CONDITION, name="text_dense")(text_vector)]
    )
    condition = keras.layers.Dense(CONDITION, name="condition")(keras.layers.Activation("silu")(condition))
    return keras.layers.Activation("silu")(condition)


def _block(maps: keras.KerasTensor, width: int, condition: keras.KerasTensor, name: str) -> keras.KerasTensor:
    inner = keras.layers.Activation("silu")(_normalize(maps))
    inner = keras.layers.Conv2D(width, 3, padding="same", name=f"{name}_conv1")(inner)
    shift = keras.layers.Dense(2 * width, name=f"{name}_condition")(condition)
    inner = Modulation(name=f"{name}_modulation")(_normalize(inner), shift)
    inner = keras.layers.Activation("silu")(inner)
    # At the start a block passes on what it gets.
    inner = keras.layers.Conv2D(width, 3, padding="same", kernel_initializer="zeros", name=f"{name}_conv2")(
        inner
    )
    if maps.shape[-1] != width:
        maps = keras.layers.Conv2D(width, 1, name=f"{name}_skip")(maps)
    return keras.layers.Add()([maps, inner])


def _normalize(maps: keras.KerasTensor) -> keras.KerasTensor:
    return keras.layers.GroupNormalization(int(np.gcd(GROUPS, maps.shape[-1])))(maps)
