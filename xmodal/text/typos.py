"""Typing noise: slips of the finger in documents, which follow from a seed alone.

Four kinds of slip, as in Belinkov and Bisk 2018 (arXiv:1711.02173) and Gao et al. 2018 (arXiv:1801.04354):
a neighbouring key, two letters in the wrong order, one left out, one typed twice.
"""

import random
import re
from collections.abc import Callable, Sequence

import numpy as np

from xmodal.text.personal_data import MARKS

_ROWS = (("qwertyuiop", 0.0), ("asdfghjkl", 0.25), ("zxcvbnm", 0.75))
_PLACES = {
    letter: (column + offset, row)
    for row, (letters, offset) in enumerate(_ROWS)
    for column, letter in enumerate(letters)
}
# The keys that touch each key of an English keyboard.
NEIGHBOURS = {
    letter: "".join(
        other
        for other, (across, down) in _PLACES.items()
        if other != letter and abs(across - x) <= 1 and abs(down - y) <= 1
    )
    for letter, (x, y) in _PLACES.items()
}
# Marks stay whole; an ideograph is a word by itself, since nothing stands between words there.
_MARK = "|".join(map(re.escape, MARKS))
_IDEOGRAPH = r"[\u3400-\u9fff\uf900-\ufaff]"
_LETTERS = r"(?:(?![\u3400-\u9fff\uf900-\ufaff])[^\W\d_])+"
_PIECES = re.compile(f"({_MARK}|{_IDEOGRAPH}|{_LETTERS})")


def pieces_of(text: str) -> list[str]:
    """Cuts a text into what stands between words, at even places, and words, at odd ones.

    A word is a run of letters, one ideograph, or a mark such as [EMAIL].
    """
    return _PIECES.split(text)


def add_typos(
    texts: Sequence[str] | np.ndarray, rates: float | np.ndarray, seed: Sequence[int]
) -> np.ndarray:
    """Puts slips into texts; what is no letter stays, and marks such as [EMAIL] do.

    Args:
        texts: N of them.
        rates: the share of letters that a slip falls on, one number for all or (N,).
        seed: numbers that all chance follows from; each text has its own.

    Returns:
        (N,) objects.
    """
    noisy_texts = np.empty(len(texts), object)
    for index, (text, rate) in enumerate(zip(texts, np.broadcast_to(rates, len(texts)), strict=True)):
        noisy_texts[index] = (
            _add_slips(text, float(rate), random.Random(repr((*seed, index)))) if rate else text
        )
    return noisy_texts


def training_rates(count: int, most: float, seed: Sequence[int]) -> np.ndarray:
    """Draws rates of slips (N,) to train with: for about half of the texts none, for others up to `most`."""
    return np.maximum(0.0, np.random.default_rng(tuple(seed)).uniform(-most, most, count))


def misspellings(word: str, chance: random.Random) -> list[str]:
    """Returns the word with one slip of each kind within it; its first and its last letter stay.

    People read such words nearly as well (Rawlinson 1976). Words of less than three letters have none.
    """
    if len(word) < 3:
        return []
    variants = []
    for slip in _SLIPS:
        letters = list(word)
        # Two letters in the wrong order are both to be inner ones.
        last = len(word) - (2 if slip is _swap else 1)
        if last > 1:
            slip(letters, chance.randrange(1, last), chance)
            variants.append("".join(letters))
    return [other for other in dict.fromkeys(variants) if other != word]


def _add_slips(text: str, rate: float, chance: random.Random) -> str:
    pieces = pieces_of(text)
    for number in range(1, len(pieces), 2):
        if pieces[number] in MARKS:
            continue
        letters = list(pieces[number])
        for index in range(len(letters)):
            if chance.random() < rate:
                chance.choice(_SLIPS)(letters, index, chance)
        pieces[number] = "".join(letters)
    return "".join(pieces)


def _neighbour(letters: list[str], index: int, chance: random.Random) -> None:
    letter = letters[index]
    neighbours = NEIGHBOURS.get(letter.lower())
    if neighbours is None:
        # On other keyboards than the English one: two keys at once.
        _double(letters, index, chance)
        return
    other = chance.choice(neighbours)
    letters[index] = other.upper() if letter.isupper() else other


def _swap(letters: list[str], index: int, chance: random.Random) -> None:
    if index + 1 < len(letters):
        letters[index], letters[index + 1] = letters[index + 1], letters[index]


def _leave_out(letters: list[str], index: int, chance: random.Random) -> None:
    letters[index] = ""


def _double(letters: list[str], index: int, chance: random.Random) -> None:
    letters[index] *= 2


_SLIPS: tuple[Callable[[list[str], int, random.Random], None], ...] = (
    _neighbour,
    _swap,
    _leave_out,
    _double,
)
