"""Random changes of training images."""

from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
import tensorflow as tf

from xmodal.config.image import AUGMENTATIONS
from xmodal.core.errors import UserError, nearest

SHIFT = 0.08  # of the side
CROP = 1 / 8  # of the side: 4 pixels of 32
ROTATION = np.pi / 18  # 10 degrees
ZOOM = 0.1


def draws(count: int | tf.Tensor, seed: Sequence[int] | tf.Tensor) -> tf.Tensor:
    """Draws what `augment_images` takes.

    Args:
        count: B.
        seed: (2,) integers. The same seed gives the same numbers.

    Returns:
        (B, 7) float32 from -1 to 1.
    """
    # Two shapes, because each shape has numbers of its own: what was added leaves the others as they were.
    seeds = (seed, tf.random.fold_in(seed, 1, alg="philox"))
    samples = [
        tf.random.stateless_uniform((count, size), part_seed, minval=-1.0, alg="philox")
        for size, part_seed in zip((5, 2), seeds, strict=True)
    ]
    return tf.concat(samples, axis=1)


def augment_images(images: tf.Tensor, kinds: Sequence[str], draws: tf.Tensor) -> tf.Tensor:
    """Moves each image a little, by one random affine map, so that it is resampled once.

    Where the map reaches outside the image, the pixel at the edge goes on: black would make wedges that
    no test image has, and mirroring would show parts of the object twice.

    Args:
        images: (B, H, W, 3) float32.
        kinds: any of "flip" (left to right, one image in two), "shift" (up to 8% of the side each way),
            "crop" (up to an eighth of the side each way in whole pixels, as by padding the image and cutting
            it out again), "rotate" (up to 10 degrees) and "zoom" (up to 10% in or out).
        draws: (B, 7) from `draws`: a kind takes the same ones whatever other kinds stand beside it.

    Returns:
        (B, H, W, 3) float32.

    Raises:
        UserError: for an unknown kind.
    """
    for kind in kinds:
        if kind not in AUGMENTATIONS:
            raise UserError(f"unknown augmentation {kind!r}", nearest(kind, AUGMENTATIONS))
    height, width = tf.unstack(tf.shape(images)[1:3])
    flip, shift_x, shift_y, turn, scale, crop_x, crop_y = tf.unstack(draws, axis=1)
    flip = tf.where(flip < 0, -1.0, 1.0) if "flip" in kinds else tf.ones_like(flip)
    shift, rotation, zoom = (
        limit * (kind in kinds) for kind, limit in (("shift", SHIFT), ("rotate", ROTATION), ("zoom", ZOOM))
    )
    angle = turn * rotation
    size = 1 + scale * zoom

    # The op asks where each output pixel comes from: input = matrix (output - centre) + centre + move.
    centre_x, centre_y = (tf.cast(side - 1, tf.float32) / 2 for side in (width, height))
    xx, xy = flip * tf.cos(angle) / size, -tf.sin(angle) / size
    yx, yy = flip * tf.sin(angle) / size, tf.cos(angle) / size
    x0 = centre_x - xx * centre_x - xy * centre_y + shift_x * shift * tf.cast(width, tf.float32)
    y0 = centre_y - yx * centre_x - yy * centre_y + shift_y * shift * tf.cast(height, tf.float32)
    if "crop" in kinds:
        x0 += tf.round(crop_x * CROP * tf.cast(width, tf.float32))
        y0 += tf.round(crop_y * CROP * tf.cast(height, tf.float32))
    zeros = tf.zeros_like(xx)
    outputs = tf.raw_ops.ImageProjectiveTransformV3(
        images=images,
        transforms=tf.stack([xx, xy, x0, yx, yy, y0, zeros, zeros], axis=1),
        output_shape=tf.stack([height, width]),
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="NEAREST",
    )
    return tf.ensure_shape(outputs, images.shape)


@lru_cache(maxsize=16)
def trace_augmentation(kinds: tuple[str, ...]) -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor]:
    """Returns `augment_images`, of images (B, H, W, 3) and draws (B, 7), as one function traced once."""
    return tf.function(lambda images, rows: augment_images(images, kinds, rows), autograph=False)
