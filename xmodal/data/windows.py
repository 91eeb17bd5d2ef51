"""Several pictures of one example: the windows of a sound, the frames of a video."""

from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from xmodal.data.decoding import resize_pixels

# What is in the place of a picture that an example does not have, beside others that have more.
ABSENT = -1.0


def windows_of(items: tf.Tensor, read: Callable[[tf.Tensor], tf.Tensor], side: int) -> tf.Tensor:
    """Reads the pictures of examples (B,), one by one.

    Args:
        items: what `read` makes pictures (n, H, H, 3) float32 of.
        read: see there.
        side: H.

    Returns:
        (B, n, H, H, 3), n of the longest, and `ABSENT` everywhere in the place of missing ones.
    """
    spec = tf.RaggedTensorSpec([None, side, side, 3], tf.float32, ragged_rank=0)
    windows = tf.map_fn(read, items, fn_output_signature=spec)
    return windows.to_tensor(ABSENT, shape=[None, None, side, side, 3])


def pad_frames(videos: Sequence[np.ndarray], side: int) -> np.ndarray:
    """Brings the frames of several videos (n, h, w, 3) to one size and number: (B, n, H, H, 3) float32."""
    frame_count = max(len(frames) for frames in videos)
    padded_videos = np.full((len(videos), frame_count, side, side, 3), ABSENT, np.float32)
    for row, frames in zip(padded_videos, videos, strict=True):
        row[: len(frames)] = resize_pixels(frames, (side, side))
    return padded_videos
