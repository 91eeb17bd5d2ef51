"""Batches of the frames of videos, read from files or bytes."""

from collections.abc import Callable, Sequence

import tensorflow as tf

from xmodal.data.augmentation import augment_images, draws
from xmodal.data.decoding import resize_pixels
from xmodal.data.video_format import VideoFormat
from xmodal.data.videos import frames_of
from xmodal.data.windows import windows_of


def video_draws(count: int | tf.Tensor, seed: Sequence[int] | tf.Tensor) -> tf.Tensor:
    """Draws which frame of a video is taken, then what `augment_images` takes: (B, 8) from -1 to 1."""
    place = tf.random.stateless_uniform(
        (count, 1), tf.random.fold_in(seed, 2, alg="philox"), minval=-1.0, alg="philox"
    )
    return tf.concat([place, draws(count, seed)], axis=1)


def video_reader(
    in_memory: bool, video: VideoFormat, side: int, augment: Sequence[str], *, windows: bool
) -> Callable[[tf.Tensor, tf.Tensor | None], tf.Tensor]:
    """Returns what reads videos (B,), with the draws (B, 8) of `video_draws` or none.

    Args:
        in_memory: they are encoded videos and not paths.
        video: how they are read.
        side: H.
        augment: kinds of augmentation, where draws are given.
        windows: all frames of each that are looked at, and not one alone.

    Returns:
        A function that gives one frame of each (B, H, H, 3), or all (B, n, H, H, 3).
    """

    def frames(item: tf.Tensor) -> tf.Tensor:
        encoded = item if in_memory else tf.io.read_file(item)
        pixels = tf.numpy_function(
            lambda content: frames_of(content, video), [encoded], tf.uint8, stateful=False
        )
        return resize_pixels(tf.ensure_shape(pixels, [None, None, None, 3]), (side, side))

    def read_all(items: tf.Tensor, row_draws: tf.Tensor | None) -> tf.Tensor:
        return windows_of(items, frames, side)

    def frame_at(row: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        all_frames, (_, place) = frames(row[0]), row
        count = tf.shape(all_frames)[0]
        return all_frames[tf.cast((place + 1) / 2 * tf.cast(count, tf.float32), tf.int32) % count]

    def read_one(items: tf.Tensor, row_draws: tf.Tensor | None) -> tf.Tensor:
        # Without draws that in the middle.
        places = tf.zeros(tf.shape(items)) if row_draws is None else row_draws[:, 0]
        spec = tf.TensorSpec((side, side, 3), tf.float32)
        pictures = tf.map_fn(frame_at, (items, places), fn_output_signature=spec)
        return pictures if row_draws is None else augment_images(pictures, augment, row_draws[:, 1:])

    return read_all if windows else read_one
