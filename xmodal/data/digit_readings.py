"""Written readings of digits, typed in a hurry: with slips of the keyboard, and of another digit at times."""

from collections.abc import Sequence

import numpy as np

from xmodal.text.typos import add_typos

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
# What a hasty reader takes each digit for.
LOOKALIKES = ("69", "74", "71", "85", "97", "36", "05", "19", "36", "47")
TEMPLATES = ("{}", "a {}", "number {}", "the digit {}", "looks like {}", "I read {}", "{}, I think")


def write_readings(digits: Sequence[int], *, misread: float, slips: float, seed: int) -> np.ndarray:
    """Writes down what somebody read in the picture of each digit.

    Half of the readings are in figures. All chance follows from the seed and the place of a digit.

    Args:
        digits: N of them, 0 to 9.
        misread: the share that is taken for a digit that looks alike.
        slips: the share of the letters that a slip of the keyboard falls on, see `xmodal.text.typos`.
        seed: of all chance.

    Returns:
        (N,) objects, each a str.
    """
    rng = np.random.default_rng((seed, 0))
    is_misread = rng.random(len(digits)) < misread
    lookalike_numbers = rng.integers(2, size=len(digits))
    in_figures = rng.integers(2, size=len(digits)).astype(bool)
    template_numbers = rng.integers(len(TEMPLATES), size=len(digits))
    texts = []
    for index, digit in enumerate(digits):
        reading = int(LOOKALIKES[digit][lookalike_numbers[index]]) if is_misread[index] else digit
        texts.append(
            TEMPLATES[template_numbers[index]].format(reading if in_figures[index] else WORDS[reading])
        )
    return add_typos(texts, slips, (seed, 1))
