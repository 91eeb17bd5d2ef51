"""The frames of a GIF by TensorFlow's ops alone, so that an export keeps them too."""

import tensorflow as tf

from xmodal.data import image_headers as headers
from xmodal.data.decoding import gif_on_white
from xmodal.data.image_files import HEAD
from xmodal.data.video_files import kind_by_content
from xmodal.data.video_format import VideoFormat

# A pixel.
BLACK = b"GIF89a\1\0\1\0\x80\0\0\0\0\0\xff\xff\xff!\xf9\4\0\0\0\0\0,\0\0\0\0\1\0\1\0\0\2\2D\1\0;"
UNLIKE = "a GIF whose frames are not laid one on another: give its frames"
TOO_MANY = "a GIF of too many pixels"
# Bytes before a frame: an extension, and behind it the frame's place (GIF89a, sections 20 and 23).
CONTROL, PLACE = 8, 10


def gif_frames(encoded: tf.Tensor, most: int, max_pixels: int) -> tf.Tensor:
    """Decodes the frames of a GIF that are looked at, as `videos.frames_of` does.

    TensorFlow's decoder lays each frame on the one before. Of files where a frame is taken away again before
    the next one, it would show what was never to be seen: they are refused.

    Args:
        encoded: scalar string.
        most: frames that are wanted, at equal distances.
        max_pixels: of all its frames together, which are decoded at once; 0 for no limit.

    Returns:
        (n, H, W, 3) uint8 RGB, n at least 1 and at most `most`.

    Raises:
        tf.errors.InvalidArgumentError: for what is no GIF or a part of one, and for those that are refused.
    """
    controls, size = _controls(encoded), headers.gif_size(encoded)
    pixel_count = tf.maximum(tf.shape(controls, tf.int64)[0], 1) * size[0] * size[1]
    checks = [
        tf.debugging.Assert((max_pixels <= 0) | (pixel_count <= max_pixels), [f"{TOO_MANY}:", pixel_count]),
        tf.debugging.Assert(_are_laid_on_another(controls, size), [UNLIKE]),
    ]
    with tf.control_dependencies(checks):
        frames = tf.io.decode_gif(gif_on_white(encoded))
    count = tf.shape(frames)[0]
    parts = tf.minimum(count, most)
    return tf.gather(frames, (2 * tf.range(parts) + 1) * count // (2 * parts))


def _controls(encoded: tf.Tensor) -> tf.Tensor:
    """Returns the bytes of each extension before a frame, and of the frame's place: (n, 18) int64."""
    content = tf.io.decode_raw(encoded, tf.uint8)
    padded_content = tf.pad(content, [[0, CONTROL + PLACE]])
    # That these bytes occur by chance in a compressed frame is a matter of one in 10**12 bytes.
    fixed_bytes = {0: 0x21, 1: 0xF9, 2: 4, 7: 0}
    matches = tf.reduce_all(
        [tf.equal(padded_content[at : at + tf.size(content)], value) for at, value in fixed_bytes.items()],
        axis=0,
    )
    starts = tf.where(matches)
    return tf.cast(tf.gather(padded_content, starts + tf.range(CONTROL + PLACE, dtype=tf.int64)), tf.int64)


def _are_laid_on_another(controls: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
    """Tells whether the frames of a GIF of (H, W) are seen as they are when each is laid on the last one."""
    left, top, width, height = (
        controls[:, CONTROL + at] + 256 * controls[:, CONTROL + at + 1] for at in (1, 3, 5, 7)
    )
    is_full = tf.equal(controls[:, CONTROL], 0x2C) & tf.equal(left + top, 0)
    is_full &= tf.equal(height, size[0]) & tf.equal(width, size[1])
    is_clear, colour = tf.equal(controls[:, 3] % 2, 1), controls[:, 6]
    is_removed = controls[:, 3] // 4 % 8 >= 2
    has_hidden = tf.reduce_any(is_removed[:-1] & ~(is_full & ~is_clear)[1:])
    # The one colour that the first frame does not have becomes white in all of them.
    has_other_colour = tf.reduce_any(is_clear[:1] & (~is_clear | tf.not_equal(colour, colour[:1])))
    return tf.reduce_all(is_full[:1]) & ~has_hidden & ~has_other_colour


def problem_in_graph(encoded: bytes, video: VideoFormat) -> str:
    """Says why an export cannot decode a video by itself, though its frames may be read; "" when it can."""
    kind = kind_by_content(encoded[:HEAD])
    if kind != "GIF":
        return f"{kind or 'no video'}, and a model decodes GIF alone"
    try:
        gif_frames(tf.constant(encoded), video.frames, video.max_pixels)
    except tf.errors.InvalidArgumentError as error:
        return next((problem for problem in (UNLIKE, TOO_MANY) if problem in str(error)), "corrupt GIF")
    return ""
