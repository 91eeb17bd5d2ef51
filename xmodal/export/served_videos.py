"""The path from a video, or a text, to an answer, as a SavedModel keeps it."""

from typing import Any

import tensorflow as tf

from xmodal.data.decoding import resize_pixels
from xmodal.data.gif_frames import BLACK, gif_frames
from xmodal.data.video_format import VideoFormat
from xmodal.data.windows import windows_of
from xmodal.export.served_images import ServedImages

FRAMES = tf.TensorSpec([None, None, None, None, 3], tf.float32, name="frames")


class ServedVideos(ServedImages):
    """As `ServedImages`, for GIF in the place of images: its signatures take `video_bytes`.

    GIF are decoded in-graph. One more signature, "frames", takes what was decoded elsewhere, as `Predictor`
    does for every kind of video: frames (B, n, H, W, 3) from 0 to 255, below 0 in the place of missing ones.

    Args:
        video: how many frames are looked at, and the limits.
        parts: those of `ServedImages`; its `image_model` takes frames (B, n, H, H, 3), see `over_windows`.
    """

    noun, input_name = "video", "video_bytes"

    def __init__(self, *, video: VideoFormat, **parts: Any):
        super().__init__(**parts)
        self._video = video
        # What is built on an export asks it for these.
        self.frames = tf.Variable(video.frames, trainable=False, dtype=tf.int32)
        self.max_seconds = tf.Variable(video.max_seconds, trainable=False, dtype=tf.float32)
        self.answer_frames = tf.function(self._answer, input_signature=[FRAMES], autograph=False)

    def signatures(self) -> dict[str, Any]:
        """Returns the functions that are served, by name."""
        return super().signatures() | {"frames": self.answer_frames}

    def _pixels(self, image_bytes):
        if image_bytes.dtype != tf.string:
            return self._resized(image_bytes)
        return windows_of(image_bytes, self._frames_of, self._image_size)

    def _frames_of(self, encoded):
        frames = gif_frames(encoded, self._video.frames, self._video.max_pixels)
        return resize_pixels(frames, (self._image_size, self._image_size))

    def _resized(self, frames):
        flat_frames = resize_pixels(
            tf.reshape(frames, [-1, *tf.unstack(tf.shape(frames)[2:4]), 3]), (self._image_size,) * 2
        )
        return tf.reshape(flat_frames, [*tf.unstack(tf.shape(frames)[:2]), *flat_frames.shape[1:]])

    def _or_nothing(self, image_bytes):
        return tf.where(tf.strings.length(image_bytes) > 0, image_bytes, BLACK)
