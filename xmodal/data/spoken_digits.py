"""Spoken digits, said on the spot by eSpeak NG in a process of its own."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from xmodal.core.errors import UserError
from xmodal.data import espeak_process
from xmodal.data.examples import Example
from xmodal.data.wav_files import wav_of_bytes

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
ACCENTS = (
    *("en", "en-us", "en-029", "en-gb-scotland", "en-gb-x-rp", "en-gb-x-gbclan", "en-gb-x-gbcwmd"),
    "en-us-nyc",
)
VOICES = ("m1", "m2", "m3", "m4", "m5", "m6", "m7", "m8", "f1", "f2", "f3", "f4", "f5")
SPEAKERS, TIMES = 39, 4


def spoken_digits(folder: Path) -> list[Example]:
    """Returns ten digits, said four times by each of 39 speakers: WAV, all of them as train.

    A speaker is an accent, a voice, a pitch and a pace, and a group: no speaker is in train and in test.

    Args:
        folder: of the asset: the library and its tables.

    Raises:
        UserError: when the library does not run here.
    """
    orders = list(_orders())
    lines = "\n".join("\t".join(map(str, order.line)) for order in orders)
    command = [sys.executable, espeak_process.__file__, str(folder)]
    process = subprocess.run(command, input=lines.encode(), capture_output=True)
    if process.returncode:
        error_lines = process.stderr.decode(errors="replace").strip().splitlines()
        reason = error_lines[-1] if error_lines else f"it ended with {process.returncode}"
        raise UserError(
            f"eSpeak NG, which says the digits of spoken_digits, does not run here ({reason})",
            "it needs Linux on x86-64; elsewhere give sounds of your own as sounds:PATH",
        )
    sounds = _sounds(process.stdout)
    return [
        Example(sound, f"spoken_digits/{order.name}.wav", str(order.digit), "train", group=order.speaker)
        for sound, order in zip(sounds, orders, strict=True)
    ]


class _Order(NamedTuple):
    """What is to be said: how examples name it, and the process' line of it."""

    name: str
    digit: int
    speaker: str
    line: tuple[str, str, int, int]


def _orders() -> Iterator[_Order]:
    for number in range(SPEAKERS):
        voice = f"{ACCENTS[number % len(ACCENTS)]}+{VOICES[number % len(VOICES)]}"
        speaker = f"{voice}_{number}"
        pace, pitch = 120 + 67 * number % 90, 25 + 41 * number % 50
        for digit, word in enumerate(WORDS):
            for time in range(TIMES):
                line = (word, voice, pace + 12 * time, pitch + 5 * (time - digit % 2))
                yield _Order(f"{speaker}_{word}_{time}", digit, speaker, line)


def _sounds(content: bytes) -> Iterator[bytes]:
    """Yields the WAVs of what `espeak_process` wrote."""
    rate, at = int.from_bytes(content[:4], "little"), 4
    while at < len(content):
        size = int.from_bytes(content[at : at + 4], "little")
        yield wav_of_bytes(content[at + 4 : at + 4 + size], rate)
        at += 4 + size
