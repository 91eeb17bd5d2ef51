"""From encoded images to numbers.

Nothing else in the project does it: training, evaluation and the exported SavedModel all call `decode`, or
`framed` for a classifier that was trained on photographs as they are.
"""

import tensorflow as tf


def decode(encoded: tf.Tensor, image_size: int) -> tf.Tensor:
    """Decodes an image and resizes it to a square: the one way from bytes to numbers.

    Grey becomes RGB, transparency is dropped, 16 bits become 8, the first frame stands for an animation.
    The sides are scaled apart, so that nothing is cut off. EXIF rotation is not applied.

    Args:
        encoded: scalar string, a JPEG, PNG, GIF, BMP or WebP.
        image_size: side of the result, in pixels.

    Returns:
        (H, W, 3) float32 RGB, 0 to 255.

    Raises:
        tf.errors.InvalidArgumentError: for bytes that are no image, or a part of one.
    """
    return squashed(decoded_pixels(encoded), (image_size, image_size))


def squashed(pixels: tf.Tensor, size: tuple[int, int]) -> tf.Tensor:
    """Resizes whole images, (h, w, 3) or (B, h, w, 3), to (..., H, W, 3) float32; sides are scaled apart."""
    # Antialiasing makes a shrunk photo depend on all of its pixels; it changes nothing when enlarging.
    return tf.image.resize(pixels, size, method="bilinear", antialias=True)


def framed(
    pixels: tf.Tensor, size: tuple[int, int], *, crop: float = 1.0, method: str = "bilinear"
) -> tf.Tensor:
    """Cuts the middle out of photographs and resizes it: nothing is squashed, and the edges are lost.

    Args:
        pixels: (h, w, 3), or (B, h, w, 3) of the same size, RGB from 0 to 255.
        size: (H, W) of the result.
        crop: the share of what fits into the photograph at the sides' ratio that is kept, 0 to 1.
        method: of `tf.image.resize`.

    Returns:
        (..., H, W, 3) float32 RGB, 0 to 255.
    """
    whole = tf.cast(tf.shape(pixels)[-3:-1], tf.float32)
    kept = tf.maximum(tf.round(crop * tf.reduce_min(whole / size) * tf.constant(size, tf.float32)), 1.0)
    top, left = tf.unstack(tf.cast(tf.round((whole - kept) / 2), tf.int32))
    height, width = tf.unstack(tf.cast(kept, tf.int32))
    middle = pixels[..., top : top + height, left : left + width, :]
    # Cubic curves overshoot at edges.
    return tf.clip_by_value(tf.image.resize(middle, size, method=method, antialias=True), 0.0, 255.0)


def decoded_pixels(encoded: tf.Tensor | bytes) -> tf.Tensor:
    """Decodes an image in its own size: (H, W, 3) uint8 RGB; raises as `decode` does."""
    return tf.io.decode_image(encoded, channels=3, expand_animations=False)
