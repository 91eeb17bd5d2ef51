"""What the headers of encoded images say, read by TensorFlow's ops alone, so that an export keeps them too.

Every function takes a scalar string tensor. A broken header leads to nothing here: whether the image can be
decoded is for its decoder to tell.
"""

from collections.abc import Callable
from functools import partial

import tensorflow as tf

# Segments or chunks that are looked at for EXIF; a file may have thousands of them.
MAX_STEPS = 1000
# Kinds that are decoded, and how all but WebP begin.
KINDS = ("JPEG", "PNG", "GIF", "BMP", "WebP")
SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF8", b"BM")
# The tag of TIFF 6.0 that EXIF 2.32 takes over.
ORIENTATION = 0x0112


def begins(encoded: tf.Tensor, signature: bytes, at: int | tf.Tensor = 0) -> tf.Tensor:
    """Tells whether bytes stand at a position."""
    return tf.equal(slice_of(encoded, at, len(signature)), signature)


def number(encoded: tf.Tensor, at: int | tf.Tensor, size: int, *, little: bool = True) -> tf.Tensor:
    """Returns an unsigned number of some bytes, int64; of those behind the end of an image, 0.

    Args:
        encoded: the image.
        at: the position of the first byte.
        size: how many: 1, 2, 3 or 4.
        little: the least byte comes first.
    """
    part = slice_of(encoded, at, size)
    if size == 3:
        low, high = number(part, 0, 2), number(part, 2, 1)
        return low + 2**16 * high
    dtype = {1: tf.uint8, 2: tf.uint16, 4: tf.int32}[size]
    values = tf.io.decode_raw(part, dtype, little_endian=little, fixed_length=size)
    value = tf.cast(tf.reshape(values, []), tf.int64)
    # There is no such op for unsigned numbers of four bytes.
    return value % 2**32 if size == 4 else value


def kind_of(encoded: tf.Tensor) -> tf.Tensor:
    """Returns the position of an image's kind in `KINDS`, the one behind the last for no image; int32."""
    head = slice_of(encoded, 0, 12)
    matches = tf.stack([*(begins(head, start) for start in SIGNATURES), begins(head, b"WEBP", 8)])
    # The first that is true, or the one behind all.
    return tf.cast(tf.argmax(tf.concat([matches, [True]], axis=0)), tf.int32)


def declared_size(encoded: tf.Tensor) -> tf.Tensor:
    """Returns the height and width that the header of an image declares (2,), int64; zeros for no image."""
    sizes = (jpeg_size, png_size, gif_size, bmp_size, webp_size, lambda image: tf.zeros([2], tf.int64))
    return tf.switch_case(kind_of(encoded), [partial(size, encoded) for size in sizes])


def jpeg_size(encoded: tf.Tensor) -> tf.Tensor:
    """As `declared_size`, of a JPEG."""
    return tf.cast(tf.image.extract_jpeg_shape(encoded)[:2], tf.int64)


def png_size(encoded: tf.Tensor) -> tf.Tensor:
    """As `declared_size`, of a PNG."""
    return tf.stack([number(encoded, at, 4, little=False) for at in (20, 16)])


def gif_size(encoded: tf.Tensor) -> tf.Tensor:
    """As `declared_size`, of a GIF."""
    return tf.stack([number(encoded, at, 2) for at in (8, 6)])


def bmp_size(encoded: tf.Tensor) -> tf.Tensor:
    """As `declared_size`, of a BMP."""
    height = number(encoded, 22, 4)
    # Negative for rows from the top down.
    size = tf.stack([tf.where(height < 2**31, height, 2**32 - height), number(encoded, 18, 4)])
    # OS/2 has numbers of two bytes (BITMAPCOREHEADER).
    os2_size = tf.stack([number(encoded, 20, 2), number(encoded, 18, 2)])
    return tf.where(tf.equal(number(encoded, 14, 4), 12), os2_size, size)


def webp_size(encoded: tf.Tensor) -> tf.Tensor:
    """As `declared_size`, of a WebP (RFC 9649)."""
    bits, form = number(encoded, 21, 4), slice_of(encoded, 12, 4)
    extended_size = tf.stack([number(encoded, 27, 3), number(encoded, 24, 3)]) + 1
    lossless_size = tf.stack([bits // 2**14 % 2**14, bits % 2**14]) + 1
    lossy_size = tf.stack([number(encoded, 28, 2), number(encoded, 26, 2)]) % 2**14
    return tf.where(
        tf.equal(form, b"VP8X"), extended_size, tf.where(tf.equal(form, b"VP8L"), lossless_size, lossy_size)
    )


def webp_is_animated(encoded: tf.Tensor) -> tf.Tensor:
    """Tells whether a WebP says that it has several frames (RFC 9649, section 2.7.1)."""
    return begins(encoded, b"VP8X", 12) & tf.equal(number(encoded, 20, 1) // 2 % 2, 1)


def webp_first_frame(encoded: tf.Tensor) -> tf.Tensor:
    """Returns where the first frame of an animated WebP begins, 0 where there is none; int64."""
    return _first(encoded, 12, _webp_frame)


def jpeg_exif(encoded: tf.Tensor) -> tf.Tensor:
    """Returns where the EXIF of a JPEG begins, 0 where there is none; int64."""
    return _first(encoded, 2, _jpeg_segment)


def png_exif(encoded: tf.Tensor) -> tf.Tensor:
    """As `jpeg_exif`, of a PNG."""
    return _first(encoded, 8, _png_chunk)


def webp_exif(encoded: tf.Tensor) -> tf.Tensor:
    """As `jpeg_exif`, of a WebP."""
    return _first(encoded, 12, _webp_chunk)


def gif_transparency(encoded: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns where the extension stands that makes a colour of a GIF's first frame transparent, 0 for none.

    And where that frame's colours begin (GIF89a, sections 18 to 23).
    """

    def size_of_table(flags: tf.Tensor) -> tf.Tensor:
        return tf.where(flags >= 128, 3 * tf.bitwise.left_shift(tf.constant(2, tf.int64), flags % 8), 0)

    def step(
        at: tf.Tensor, is_inside: tf.Tensor, control: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        value = number(encoded, at, 1)
        is_control = ~is_inside & tf.equal(number(encoded, at + 1, 1), 0xF9)
        # Within an extension blocks follow each other, each after its size, to one of size 0.
        next_start = tf.where(is_inside, at + 1 + value, at + 2)
        return next_start, tf.where(is_inside, value > 0, True), tf.where(is_control, at, control)

    length = _length(encoded)
    frame, _, control = tf.while_loop(
        lambda at, is_inside, control: (at < length) & (is_inside | tf.equal(number(encoded, at, 1), 0x21)),
        step,
        (13 + size_of_table(number(encoded, 10, 1)), tf.constant(False), tf.constant(0, tf.int64)),
        maximum_iterations=MAX_STEPS,
    )
    has_own_colours = number(encoded, frame + 9, 1) >= 128
    is_transparent = (control > 0) & tf.equal(number(encoded, control + 3, 1) % 2, 1)
    colours = tf.where(has_own_colours, frame + 10, tf.constant(13, tf.int64))
    return tf.where(is_transparent, control, 0), colours


def _jpeg_segment(encoded: tf.Tensor, at: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns where the EXIF of a segment begins, 0 for another one, and where the next segment does."""
    marker = number(encoded, at, 2, little=False)
    is_exif = tf.equal(marker, 0xFFE1) & begins(encoded, b"Exif\0\0", at + 4)
    # The picture itself comes after the marker SOS.
    has_next = (marker >= 0xFFC0) & tf.not_equal(marker, 0xFFDA)
    next_start = at + 2 + number(encoded, at + 2, 2, little=False)
    return tf.where(is_exif, at + 10, 0), tf.where(has_next, next_start, _length(encoded))


def _png_chunk(encoded: tf.Tensor, at: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    next_start = at + 12 + number(encoded, at, 4, little=False)
    is_picture = begins(encoded, b"IDAT", at + 4)
    return (
        tf.where(begins(encoded, b"eXIf", at + 4), at + 8, 0),
        tf.where(is_picture, _length(encoded), next_start),
    )


def _webp_chunk(encoded: tf.Tensor, at: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    size = number(encoded, at + 4, 4)
    # Some programs write the header of JPEG's segment too.
    start = at + 8 + tf.where(begins(encoded, b"Exif\0\0", at + 8), tf.constant(6, tf.int64), 0)
    return tf.where(begins(encoded, b"EXIF", at), start, 0), at + 8 + size + size % 2


def _webp_frame(encoded: tf.Tensor, at: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    size = number(encoded, at + 4, 4)
    return tf.where(begins(encoded, b"ANMF", at), at, 0), at + 8 + size + size % 2


def _first(encoded: tf.Tensor, start: int, step: Callable) -> tf.Tensor:
    """Goes from part to part of a file until one has EXIF; returns where that begins, or 0."""
    length = _length(encoded)
    position, _ = tf.while_loop(
        lambda position, at: tf.equal(position, 0) & (at < length),
        lambda position, at: step(encoded, at),
        (tf.constant(0, tf.int64), tf.constant(start, tf.int64)),
        maximum_iterations=MAX_STEPS,
    )
    return position


def orientation(encoded: tf.Tensor, start: tf.Tensor) -> tf.Tensor:
    """Returns the orientation in the first directory of a TIFF, as EXIF has it: 1 to 8, int64.

    It is 1 where there is none (TIFF 6.0, section 2).

    Args:
        encoded: the image that holds the TIFF.
        start: where it begins there.
    """
    little = begins(encoded, b"II", start)

    def count(at: tf.Tensor, size: int) -> tf.Tensor:
        return tf.where(little, number(encoded, at, size), number(encoded, at, size, little=False))

    directory = start + count(start + 4, 4)
    # Entries of twelve bytes: tag, type, count, value; a short value comes first.
    table = tf.io.decode_raw(slice_of(encoded, directory + 2, 12 * count(directory, 2)), tf.uint8)
    table = tf.cast(tf.reshape(table[: tf.size(table) // 12 * 12], [-1, 12]), tf.int64)
    tags = tf.where(little, table[:, 0] + 256 * table[:, 1], 256 * table[:, 0] + table[:, 1])
    values = tf.where(little, table[:, 8], table[:, 9])
    value = tf.reduce_max(tf.where(tf.equal(tags, ORIENTATION), values, 0))
    return tf.where((value >= 1) & (value <= 8), value, 1)


def slice_of(encoded: tf.Tensor, at: int | tf.Tensor, size: int | tf.Tensor) -> tf.Tensor:
    """Returns some bytes, fewer at the end of an image."""
    at = tf.minimum(tf.cast(at, tf.int64), _length(encoded))
    return tf.strings.substr(encoded, at, tf.cast(size, tf.int64))


def _length(encoded: tf.Tensor) -> tf.Tensor:
    return tf.cast(tf.strings.length(encoded), tf.int64)
