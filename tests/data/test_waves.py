"""WAV of all bit depths, layouts and rates becomes samples at one rate; everything else is refused."""

import numpy as np
import pytest
import tensorflow as tf
from tiny_sounds import FLOAT, PCM, tone, wav

from xmodal.data import waves
from xmodal.data.sound_audit import look_at_sound, problem_of_sound

SAMPLES = tone(440) + tone(100, loudness=0.2)


def decoded(encoded, limit=60.0):
    samples, rate = waves.decode_wave(tf.constant(encoded), limit)
    return samples.numpy(), int(rate)


@pytest.mark.parametrize("extensible", [False, True])
@pytest.mark.parametrize(
    ("bits", "codec", "within"),
    [(8, PCM, 1e-2), (16, PCM, 1e-4), (24, PCM, 1e-6), (32, PCM, 1e-7), (32, FLOAT, 1e-7), (64, FLOAT, 1e-7)],
)
def test_every_depth_is_read(bits, codec, within, extensible):
    samples, rate = decoded(wav(SAMPLES, 11025, bits, codec, extensible=extensible))
    assert rate == 11025
    np.testing.assert_allclose(samples, SAMPLES, atol=within)


@pytest.mark.parametrize("bits", [8, 24])
def test_channels_become_their_mean(bits):
    three = np.stack([SAMPLES, np.zeros_like(SAMPLES), -SAMPLES / 2], axis=1)
    samples, _ = decoded(wav(three, bits=bits))
    np.testing.assert_allclose(samples, SAMPLES / 6, atol=1e-2)


def test_other_chunks_are_passed_over_also_of_an_odd_size():
    samples, _ = decoded(wav(SAMPLES, before=b"LIST\x03\0\0\0abc\0"))
    np.testing.assert_allclose(samples, SAMPLES, atol=1e-4)


@pytest.mark.parametrize("declared", [0, 2**32 - 1])
def test_a_stream_whose_length_was_not_known_is_read_to_its_end(declared):
    samples, _ = decoded(wav(SAMPLES, declared=declared))
    assert len(samples) == len(SAMPLES)


def with_one(value):
    samples = SAMPLES.copy()
    samples[7] = value
    return wav(samples, bits=32, codec=FLOAT)


@pytest.mark.parametrize(
    ("encoded", "problem"),
    [
        (b"", "empty file"),
        (b"hello, this is a text", "not a sound"),
        (b"ID3\x04" + bytes(100), "MP3, which is not read: convert it to WAV or FLAC"),
        (b"RIFF\x04\0\0\0WAVE", "a WAV without a format"),
        (b"RIFF\x04\0\0\0AVI LIST", "not a sound"),
        (wav(SAMPLES)[:-100], "truncated WAV"),
        (wav(SAMPLES)[:44], "truncated WAV"),
        (wav(SAMPLES)[:30], "a WAV without a format"),
        (wav(SAMPLES, bits=16, codec=2), "WAV of codec 2 with 16 bits, which is not read: convert it to PCM"),
        (wav([0.5]), "too short: 1 sample"),
        (wav(np.zeros(0), declared=0), "too short: 0 samples"),
        (with_one(np.nan), "has samples that are not numbers, or far beyond full scale"),
        (with_one(-np.inf), "has samples that are not numbers, or far beyond full scale"),
        (with_one(1e20), "has samples that are not numbers, or far beyond full scale"),
        (wav(np.zeros(8000 * 61), bits=8), "too long: 61 seconds"),
    ],
)
def test_what_cannot_be_read_is_told_in_a_line(encoded, problem):
    assert problem_of_sound(encoded, 60.0) == problem
    assert look_at_sound(encoded, 60.0).problem == problem
    with pytest.raises(tf.errors.InvalidArgumentError):
        decoded(encoded)


@pytest.mark.parametrize("length", range(0, 60))
def test_a_header_cut_anywhere_is_refused_and_breaks_nothing(length):
    assert problem_of_sound(wav(SAMPLES)[:length], 60.0)


def test_a_header_of_zeros_is_refused():
    encoded = bytearray(wav(SAMPLES))
    encoded[20:36] = bytes(16)
    assert problem_of_sound(bytes(encoded), 60.0)


@pytest.mark.parametrize("rate", [8000, 11025, 16000, 22050, 32000, 44100, 47999, 48000])
@pytest.mark.parametrize("new_rate", [8000, 16000])
def test_another_rate_keeps_what_is_heard_and_drops_what_it_cannot_hold(rate, new_rate):
    samples = tf.constant(tone(1000, 0.25, rate), tf.float32)
    changed = waves.resample(samples, tf.constant(rate, tf.int64), new_rate).numpy()
    assert len(changed) == -(-len(samples) * new_rate // rate)
    middle = slice(200, -200)
    np.testing.assert_allclose(changed[middle], tone(1000, 0.25, new_rate)[: len(changed)][middle], atol=1e-3)
    if 0.6 * new_rate < rate / 2:
        above = tf.constant(tone(0.6 * new_rate, 0.25, rate), tf.float32)
        assert (
            np.abs(waves.resample(above, tf.constant(rate, tf.int64), new_rate).numpy()[middle]).max() < 2e-3
        )


def test_silence_and_clipping_are_doubts():
    assert look_at_sound(wav(np.zeros(4000)), 60.0).doubt == "silent"
    assert look_at_sound(wav(np.clip(4 * SAMPLES, -1, 1)), 60.0).doubt == "clipped"
    assert look_at_sound(wav(SAMPLES), 60.0).doubt == ""


def test_the_same_samples_have_the_same_digest_in_any_file():
    one, other = wav(SAMPLES), wav(SAMPLES, before=b"LIST\x04\0\0\0abcd", extensible=True)
    assert look_at_sound(one, 60.0).digest == look_at_sound(other, 60.0).digest
    assert look_at_sound(one, 60.0).digest != look_at_sound(wav(SAMPLES, 8001), 60.0).digest
