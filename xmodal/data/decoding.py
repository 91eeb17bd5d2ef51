"""From encoded images to numbers.

Nothing else in the project does it: training, evaluation and the exported SavedModel all call `decode`, or
`center_crop` for a classifier that was trained on photographs as they are.
"""

import tensorflow as tf

from xmodal.data import image_headers as headers
from xmodal.data.image_files import why_undecodable

# Decoded, that many pixels take 300 MB.
MAX_PIXELS = 100_000_000
TOO_MANY = "too many pixels"
# Each byte as a string: there is no op that makes one of a number.
BYTES = tuple(bytes([value]) for value in range(256))


def decode(encoded: tf.Tensor, image_size: int, max_pixels: int = MAX_PIXELS) -> tf.Tensor:
    """Decodes an image and resizes it to a square: the one way from bytes to numbers.

    Grey becomes RGB, transparency white, 16 bits become 8, the first frame stands for an animation, and EXIF
    rotation is applied. The sides are scaled apart, so that nothing is cut off.

    Args:
        encoded: scalar string, a JPEG, PNG, GIF, BMP or WebP.
        image_size: side of the result, in pixels.
        max_pixels: of the encoded image; more are not decoded. 0 for no limit.

    Returns:
        (H, W, 3) float32 RGB, 0 to 255.

    Raises:
        tf.errors.InvalidArgumentError: for bytes that are no image, or a part of one.
    """
    return resize_pixels(decode_pixels(encoded, max_pixels), (image_size, image_size))


def resize_pixels(pixels: tf.Tensor, size: tuple[int, int]) -> tf.Tensor:
    """Resizes whole images, (h, w, 3) or (B, h, w, 3), to (..., H, W, 3) float32; sides are scaled apart."""
    # Antialiasing makes a shrunk photo depend on all of its pixels; it changes nothing when enlarging.
    return tf.image.resize(pixels, size, method="bilinear", antialias=True)


def center_crop(
    pixels: tf.Tensor, size: tuple[int, int], *, crop: float = 1.0, method: str = "bilinear"
) -> tf.Tensor:
    """Cuts the middle out of photographs and resizes it: nothing is squashed, and the edges are lost.

    No pixel is cut off for the crop where a photograph has no more of them than the result: a small picture
    has no margin to lose. (Chosen on training images of CIFAR-10, 32 pixels enlarged to 224: seen whole they
    are answered better.)

    Args:
        pixels: (h, w, 3), or (B, h, w, 3) of the same size, RGB from 0 to 255.
        size: (H, W) of the result.
        crop: the share of what fits into the photograph at the sides' ratio that is kept, 0 to 1; more where
            that would be smaller than the result.
        method: of `tf.image.resize`.

    Returns:
        (..., H, W, 3) float32 RGB, 0 to 255.
    """
    full_size = tf.cast(tf.shape(pixels)[-3:-1], tf.float32)
    fit_scale = tf.reduce_min(full_size / size)
    scale = tf.maximum(crop * fit_scale, tf.minimum(fit_scale, 1.0))
    crop_size = tf.maximum(tf.round(scale * tf.constant(size, tf.float32)), 1.0)
    top, left = tf.unstack(tf.cast(tf.round((full_size - crop_size) / 2), tf.int32))
    height, width = tf.unstack(tf.cast(crop_size, tf.int32))
    middle = pixels[..., top : top + height, left : left + width, :]
    # Cubic curves overshoot at edges.
    return tf.clip_by_value(tf.image.resize(middle, size, method=method, antialias=True), 0.0, 255.0)


def decode_pixels(encoded: tf.Tensor | bytes, max_pixels: int = MAX_PIXELS) -> tf.Tensor:
    """Decodes an image in its own size, as it is meant to be seen.

    It is turned as its EXIF orientation says, and what is transparent in it is laid on white.

    Args:
        encoded: scalar string, a JPEG, PNG, GIF, BMP or WebP.
        max_pixels: more are not decoded; 0 for no limit.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        tf.errors.InvalidArgumentError: for bytes that are no image, a part of one, or one that is too large.
    """
    return _decode_pixels(encoded, max_pixels)


def why_not_decoded(encoded: bytes, error: tf.errors.OpError) -> str:
    """Says what is wrong with an image that `decode_pixels` refused with an error."""
    if TOO_MANY not in str(error):
        return why_undecodable(encoded)
    height, width = headers.declared_size(tf.constant(encoded)).numpy()
    return f"{width:,} x {height:,} pixels, which are too many"


@tf.function(input_signature=[tf.TensorSpec([], tf.string), tf.TensorSpec([], tf.int64)], autograph=False)
def _decode_pixels(encoded: tf.Tensor, max_pixels: tf.Tensor) -> tf.Tensor:
    def require_size(size: tf.Tensor) -> tf.Tensor:
        # Before anything is decoded: a file of a megabyte can declare gigabytes.
        size_check = tf.debugging.Assert(
            (max_pixels <= 0) | (size[0] * size[1] <= max_pixels), [f"{TOO_MANY}:", size, max_pixels]
        )
        with tf.control_dependencies([size_check]):
            return tf.identity(encoded)

    def jpeg() -> tuple[tf.Tensor, tf.Tensor]:
        return _native(require_size(headers.jpeg_size(encoded)), 3), headers.jpeg_exif(encoded)

    def png() -> tuple[tf.Tensor, tf.Tensor]:
        return _png(require_size(headers.png_size(encoded))), headers.png_exif(encoded)

    def gif() -> tuple[tf.Tensor, tf.Tensor]:
        return _native(gif_on_white(require_size(headers.gif_size(encoded))), 3), no_exif

    def bmp() -> tuple[tf.Tensor, tf.Tensor]:
        return _bmp(require_size(headers.bmp_size(encoded))), no_exif

    def webp() -> tuple[tf.Tensor, tf.Tensor]:
        return _webp(require_size(headers.webp_size(encoded))), headers.webp_exif(encoded)

    def other() -> tuple[tf.Tensor, tf.Tensor]:
        return _native(encoded, 3), no_exif

    no_exif = tf.constant(0, tf.int64)
    decoders = [jpeg, png, gif, bmp, webp, other]
    pixels, exif = tf.switch_case(headers.kind_of(encoded), decoders)
    pixels = _on_white(tf.ensure_shape(pixels, [None, None, None]))
    upright_pixels = tf.cond(
        exif > 0, lambda: _turn_upright(pixels, headers.orientation(encoded, exif)), lambda: pixels
    )
    return tf.ensure_shape(upright_pixels, [None, None, 3])


def _turn_upright(pixels: tf.Tensor, orientation: tf.Tensor) -> tf.Tensor:
    """Turns an image as EXIF says, 1 to 8: over its diagonal, then left to right, then upside down."""
    transposed_pixels = tf.cond(orientation >= 5, lambda: tf.transpose(pixels, [1, 0, 2]), lambda: pixels)
    step_x = tf.where(_is_any_of(orientation, (2, 3, 6, 7)), -1, 1)
    step_y = tf.where(_is_any_of(orientation, (3, 4, 7, 8)), -1, 1)
    return transposed_pixels[::step_y, ::step_x]


def _is_any_of(value: tf.Tensor, choices: tuple[int, ...]) -> tf.Tensor:
    return tf.reduce_any(tf.equal(value, tf.constant(choices, value.dtype)))


def _on_white(pixels: tf.Tensor) -> tf.Tensor:
    """Lays an image (H, W, C) of 1 to 4 channels on white: (H, W, 3); the last of 2 or 4 is its alpha."""

    def composite() -> tf.Tensor:
        channels = tf.shape(pixels)[-1]
        colours = pixels[..., : channels - 1 + channels % 2]
        # Grey is repeated as it meets alpha or the three channels of white.
        alpha = tf.cond(
            tf.equal(channels % 2, 0),
            lambda: pixels[..., channels - 1 :],
            lambda: tf.ones_like(colours) * 255,
        )
        return tf.cond(
            tf.reduce_all(tf.equal(alpha, 255)),
            lambda: tf.broadcast_to(colours, tf.concat([tf.shape(pixels)[:2], [3]], axis=0)),
            lambda: _blend(colours, alpha),
        )

    is_plain = tf.equal(tf.shape(pixels)[-1], 3)
    return tf.ensure_shape(tf.cond(is_plain, lambda: pixels, composite), [None, None, 3])


def _blend(colours: tf.Tensor, alpha: tf.Tensor) -> tf.Tensor:
    """Lays colours (H, W, 1 or 3) on white by their alpha, 255 for what covers it: (H, W, 3)."""
    opacity = tf.cast(alpha, tf.int32) * tf.ones([3], tf.int32)
    return tf.cast((tf.cast(colours, tf.int32) * opacity + 255 * (255 - opacity) + 127) // 255, tf.uint8)


def _png(encoded: tf.Tensor) -> tf.Tensor:
    """Decodes a PNG with its alpha, which may be a colour of its own that is declared transparent."""
    depth, colour_type = headers.number(encoded, 24, 1), headers.number(encoded, 25, 1)
    # The decoder finds such a colour with four channels alone, but then fills in a wrong alpha of few bits.
    whole_bytes = (depth >= 8) & _is_any_of(colour_type, (0, 2))
    return tf.cond(
        whole_bytes,
        lambda: _native(encoded, 4),
        lambda: _native(encoded, 0),
    )


def _native(encoded: tf.Tensor, channels: int) -> tf.Tensor:
    """Decodes what TensorFlow itself reads, with the channels of the file for 0; of an animation, a frame."""
    return tf.io.decode_image(encoded, channels=channels, expand_animations=False)


def _webp(encoded: tf.Tensor) -> tf.Tensor:
    """Decodes a WebP; of an animation the first frame."""
    return tf.cond(
        headers.webp_is_animated(encoded),
        lambda: _first_webp_frame(encoded),
        lambda: _native(encoded, 0),
    )


def _first_webp_frame(encoded: tf.Tensor) -> tf.Tensor:
    """Decodes the first frame of an animated WebP, and lays it on a transparent canvas (RFC 9649, 2.7.1.1).

    Made an image of its own first: where one frame is asked for, TensorFlow's decoder writes all of them into
    the memory of one.
    """
    at = headers.webp_first_frame(encoded)
    canvas = headers.webp_size(encoded)
    corner = 2 * tf.stack([headers.number(encoded, at + 11, 3), headers.number(encoded, at + 8, 3)])
    size = 1 + tf.stack([headers.number(encoded, at + 17, 3), headers.number(encoded, at + 14, 3)])
    margin = canvas - corner - size
    check = tf.debugging.Assert(
        (at > 0) & tf.reduce_all(margin >= 0), ["a WebP without a first frame:", canvas]
    )
    with tf.control_dependencies([check]):
        length = headers.number(encoded, at + 4, 4) - 16
    picture = headers.slice_of(encoded, at + 24, length)
    # The header of a picture with alpha, of the frame's width and height.
    header = [b"VP8X\x0a\0\0\0\x10\0\0\0", headers.slice_of(encoded, at + 14, 6)]
    still_image = tf.strings.join([b"RIFF", _four_bytes(length + 22), b"WEBP", *header, picture])
    pixels = _native(still_image, 0)
    alpha = 255 * tf.ones_like(pixels[..., : 4 - tf.shape(pixels)[-1]])
    return tf.pad(tf.concat([pixels, alpha], -1), tf.concat([tf.stack([corner, margin], 1), [[0, 0]]], 0))


def _four_bytes(value: tf.Tensor) -> tf.Tensor:
    """Returns a number as four bytes, the least first."""
    parts = tf.bitwise.right_shift(value, tf.constant([0, 8, 16, 24], tf.int64)) % 256
    return tf.strings.reduce_join(tf.gather(BYTES, parts))


def _bmp(encoded: tf.Tensor) -> tf.Tensor:
    """Decodes a BMP; one of up to 8 bits a pixel has numbers of colours in its palette."""
    return tf.cond(
        headers.number(encoded, 28, 2) <= 8,
        lambda: _bmp_of_palette(encoded),
        lambda: _opaque_if_unused(_native(encoded, 0)),
    )


def _opaque_if_unused(pixels: tf.Tensor) -> tf.Tensor:
    """Drops a fourth channel of zeros: most programs leave it empty (BITMAPINFOHEADER, biBitCount)."""
    is_empty = tf.equal(tf.shape(pixels)[-1], 4) & tf.reduce_all(tf.equal(pixels[..., 3:], 0))
    return tf.cond(is_empty, lambda: pixels[..., :3], lambda: pixels)


def _bmp_of_palette(encoded: tf.Tensor) -> tf.Tensor:
    """Decodes a BMP of 1, 4 or 8 bits a pixel, not compressed (BITMAPINFOHEADER) -> (H, W, 3)."""
    start, header = headers.number(encoded, 10, 4), headers.number(encoded, 14, 4)
    height, width = tf.unstack(headers.bmp_size(encoded))
    bits = headers.number(encoded, 28, 2)
    is_supported = tf.equal(headers.number(encoded, 30, 4), 0) & _is_any_of(bits, (1, 4, 8)) & (header >= 40)
    check = tf.debugging.Assert(is_supported, ["a BMP of a kind that is not read:", bits])
    with tf.control_dependencies([check]):
        palette = _raw(encoded, 14 + header, tf.minimum((start - 14 - header) // 4, 256) * 4)
    # Blue, green, red and nothing.
    palette = tf.reshape(palette, [-1, 4])[:, 2::-1]
    row = (width * bits + 31) // 32 * 4
    rows = tf.cast(tf.reshape(_raw(encoded, start, row * height), [height, row]), tf.int64)
    # The leftmost pixel is in the highest bits of a byte.
    shifts = tf.range(8 - bits, -1, -bits)
    numbers = tf.bitwise.right_shift(rows[:, :, None], shifts) % tf.bitwise.left_shift(
        tf.constant(1, tf.int64), bits
    )
    pixels = tf.gather(palette, tf.reshape(numbers, [height, -1])[:, :width])
    top_down = headers.number(encoded, 22, 4) >= 2**31
    return tf.cond(top_down, lambda: pixels, lambda: pixels[::-1])


def gif_on_white(encoded: tf.Tensor) -> tf.Tensor:
    """Makes the transparent colour of a GIF's first frame white and opaque; the decoder leaves it black."""
    control, colours = headers.gif_transparency(encoded)

    def replace_colour() -> tf.Tensor:
        flags = headers.number(encoded, control + 3, 1)
        index = colours + 3 * headers.number(encoded, control + 6, 1)
        white_gif = _replace_bytes(encoded, index, tf.constant(b"\xff\xff\xff"))
        opaque_flags = tf.gather(BYTES, tf.bitwise.bitwise_and(flags, 0xFE))
        return _replace_bytes(white_gif, control + 3, opaque_flags)

    return tf.cond(control > 0, replace_colour, lambda: encoded)


def _replace_bytes(encoded: tf.Tensor, at: tf.Tensor, content: tf.Tensor) -> tf.Tensor:
    """Puts bytes in the place of as many others."""
    start = headers.slice_of(encoded, 0, at)
    end = headers.slice_of(
        encoded, at + tf.cast(tf.strings.length(content), tf.int64), tf.strings.length(encoded)
    )
    return tf.strings.join([start, content, end])


def _raw(encoded: tf.Tensor, at: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
    return tf.io.decode_raw(headers.slice_of(encoded, at, size), tf.uint8)
