"""Batches of spectrograms, read from files or bytes of WAV, FLAC and OGG."""

from collections.abc import Callable, Sequence
from functools import partial

import tensorflow as tf

from xmodal.data.sound_augmentation import augment_spectrograms
from xmodal.data.sound_files import as_wav
from xmodal.data.sound_format import SoundFormat
from xmodal.data.sounds import all_windows, spectrogram
from xmodal.data.waves import is_wav


def sound_reader(
    in_memory: bool, sound: SoundFormat, side: int, augment: Sequence[str], *, windows: bool
) -> Callable[[tf.Tensor, tf.Tensor | None], tf.Tensor]:
    """Returns what reads sounds (B,), with the draws (B, D) of `sound_draws` or none.

    Args:
        in_memory: they are encoded sounds and not paths.
        sound: how they are read.
        side: H.
        augment: kinds of augmentation, where draws are given.
        windows: all spectrograms of each.

    Returns:
        A function that gives spectrograms (B, H, H, 3), or all windows (B, n, H, H, 3).
    """

    def wav(item: tf.Tensor) -> tf.Tensor:
        encoded = item if in_memory else tf.io.read_file(item)
        by_library = partial(tf.numpy_function, as_wav, [encoded], tf.string, stateful=False)
        return tf.ensure_shape(tf.cond(is_wav(encoded), lambda: encoded, by_library), [])

    def read_all(items: tf.Tensor, draws: tf.Tensor | None) -> tf.Tensor:
        return all_windows(items, wav, side, sound)

    def read_one(items: tf.Tensor, draws: tf.Tensor | None) -> tf.Tensor:
        places = tf.zeros(tf.shape(items)) if draws is None else draws[:, 0]
        pictures = tf.map_fn(
            lambda row: spectrogram(wav(row[0]), side, sound, row[1]),
            (items, places),
            fn_output_signature=tf.TensorSpec((side, side, 3), tf.float32),
        )
        return pictures if draws is None else augment_spectrograms(pictures, augment, draws)

    return read_all if windows else read_one
