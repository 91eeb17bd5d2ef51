"""Digits that eSpeak NG says: the same each time, by speakers that no two splits share."""

import wave
from io import BytesIO

import pytest

from xmodal.core.errors import UserError
from xmodal.data.spoken_digits import SPEAKERS, TIMES, WORDS, _orders, _sounds, spoken_digits


def test_what_is_said_names_every_speaker_digit_and_time_once():
    orders = list(_orders())
    assert len(orders) == SPEAKERS * TIMES * len(WORDS)
    assert len({order.name for order in orders}) == len(orders)
    assert len({order.speaker for order in orders}) == SPEAKERS
    for order in orders:
        _, _, pace, pitch = order.line
        assert 80 <= pace <= 450
        assert 0 <= pitch <= 99


def test_what_the_process_writes_is_cut_into_sounds():
    written = (8000).to_bytes(4, "little")
    written += b"".join(len(part).to_bytes(4, "little") + part for part in (bytes(800), bytes(1600)))
    sounds = list(_sounds(written))
    assert [len(sound) for sound in sounds] == [844, 1644]
    with wave.open(BytesIO(sounds[1])) as file:
        assert (file.getframerate(), file.getnframes(), file.getnchannels()) == (8000, 800, 1)


def test_a_library_that_does_not_run_is_told_in_a_line(tmp_path):
    (tmp_path / "libespeak-ng.so").write_bytes(b"no library")
    with pytest.raises(UserError, match="does not run here"):
        spoken_digits(tmp_path)


@pytest.mark.slow
def test_digits_are_said():
    from xmodal.assets.fetch import locate
    from xmodal.core.files import cache_folder

    examples = spoken_digits(locate("spoken_digits", cache=cache_folder(), offline=False))
    assert {example.class_name for example in examples} == set("0123456789")
    assert len({example.item for example in examples}) == len(examples)
    with wave.open(BytesIO(examples[0].item)) as file:
        assert 0.2 < file.getnframes() / file.getframerate() < 1.5
