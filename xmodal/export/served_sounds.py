"""The path from a sound, or a text, to an answer, as a SavedModel keeps it."""

from typing import Any

import numpy as np
import tensorflow as tf

from xmodal.data.sound_format import SoundFormat
from xmodal.data.sounds import all_windows
from xmodal.data.wav_files import wav_of
from xmodal.export.served_images import ServedImages

# What is heard where there is no sound.
SILENCE = wav_of(np.zeros(8000, np.float32), 8000)


class ServedSounds(ServedImages):
    """As `ServedImages`, for WAV in the place of images: its signatures take `audio_bytes`.

    Sounds are decoded, resampled and made pictures in-graph.

    Args:
        sound: rate, seconds and the most seconds of a sound.
        parts: those of `ServedImages`; its `image_model` takes windows (B, n, H, H, 3), see `over_windows`.
    """

    noun, input_name = "sound", "audio_bytes"

    def __init__(self, *, sound: SoundFormat, **parts: Any):
        super().__init__(**parts)
        self._sound = sound
        # What is built on an export asks it for these.
        self.max_seconds = tf.Variable(sound.max_seconds, trainable=False, dtype=tf.float32)
        self.seconds = tf.Variable(sound.seconds, trainable=False, dtype=tf.float32)
        self.rate = tf.Variable(sound.rate, trainable=False, dtype=tf.int32)

    def _pixels(self, image_bytes):
        limit = self._sound.max_seconds
        return all_windows(image_bytes, tf.identity, self._image_size, self._sound, limit)

    def _or_nothing(self, image_bytes):
        return or_silence(image_bytes)


def or_silence(audio_bytes: tf.Tensor) -> tf.Tensor:
    """Returns encoded sounds (B,), a silent one where there is ""."""
    return tf.where(tf.strings.length(audio_bytes) > 0, audio_bytes, SILENCE)
