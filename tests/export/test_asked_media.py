"""What is shown of pictures, sounds and videos that were answered."""

import sys
from types import SimpleNamespace

import pytest
import tensorflow as tf
from tiny_sounds import tone, wav
from tiny_videos import animation, moving

from xmodal.export.asked_media import asked_medium, picture_of


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


def listening(input_name, **numbers):
    """Returns what stands for an export that takes sounds, or videos."""

    def answer(**inputs):
        return {"label": tf.constant(["seven"])}

    inputs = {input_name: tf.TensorSpec([None], tf.string)}
    signature = tf.function(answer).get_concrete_function(**inputs)
    values = {name: tf.constant(value) for name, value in numbers.items()}
    return SimpleNamespace(signatures={"serving_default": signature, "frames": signature}, **values)


@pytest.mark.parametrize(
    ("loaded", "package", "encoded", "extra"),
    [
        (listening("audio_bytes", rate=8000), "soundfile", b"fLaC" + bytes(40), "sound"),
        (
            listening("video_bytes", frames=8, max_seconds=60.0, max_pixels=1000, image_side=32),
            "av",
            bytes(4) + b"ftypisom" + bytes(40),
            "video",
        ),
    ],
    ids=["FLAC", "MP4"],
)
def test_what_needs_a_package_that_is_missing_is_a_problem_of_its_own(
    loaded, package, encoded, extra, monkeypatch
):
    monkeypatch.setitem(sys.modules, package, None)
    medium = asked_medium(loaded)
    for problem in (medium.problem, medium.problem_beside):
        told = problem(encoded)
        assert f"not read: {'FLAC and OGG' if extra == 'sound' else 'MP4 and other containers'} need" in told
        assert f"pip install -c constraints.txt -e '.[{extra}]'" in told
