"""What is shown of pictures, sounds and videos that were answered."""

import tensorflow as tf
from tiny_sounds import tone, wav
from tiny_videos import animation, moving

from xmodal.export.asked_media import picture_of


def test_a_picture_shows_itself():
    encoded = tf.io.encode_png(tf.zeros([4, 5, 3], tf.uint8)).numpy()
    assert picture_of(encoded) == encoded


def test_a_sound_shows_its_spectrogram():
    picture = tf.io.decode_png(picture_of(wav(tone(1000))))
    assert picture.shape == (128, 128, 3)
    assert picture.numpy().max() > 200


def test_an_animation_is_a_picture():
    encoded = animation(moving((200, 20, 20)))
    assert picture_of(encoded) == encoded
