"""From encoded images to numbers.

`decode` is the only code in the project that does it: training, evaluation and the exported
SavedModel all call it.
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
    # Antialiasing makes a shrunk photo depend on all of its pixels; it changes nothing when enlarging.
    size = (image_size, image_size)
    return tf.image.resize(decoded_pixels(encoded), size, method="bilinear", antialias=True)


def decoded_pixels(encoded: tf.Tensor | bytes) -> tf.Tensor:
    """Decodes an image in its own size: (H, W, 3) uint8 RGB; raises as `decode` does."""
    return tf.io.decode_image(encoded, channels=3, expand_animations=False)
