"""Flagfiles that a person can read: flags in groups, with the reason of each."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

WIDTH = 106


@dataclass(frozen=True)
class Choice:
    """Flags that belong together.

    Attributes:
        why: what they follow from, in words.
        flags: each a line of the flagfile.
    """

    why: str
    flags: tuple[str, ...]


def flagfile(name: str, head: str, fixed: Sequence[str], choices: Sequence[Choice]) -> str:
    """Returns the text of a flagfile.

    Args:
        name: of the file, for the command in its head.
        head: what was found, a sentence.
        fixed: the flags of the experiment and the data.
        choices: what fits it.
    """
    lines = [f"# {head}", f"#   python -m xmodal.run --flagfile={name}", *fixed]
    for choice in choices:
        lines += ["", *(f"# {line}" for line in _wrap(choice.why)), *choice.flags]
    return "\n".join(lines) + "\n"


def flag_line(name: str, value: Any) -> str:
    """Returns the line of a flag with a word, a number or a tuple of words.

    Example:
        >>> flag_line("augment", ("flip", "shift"))
        '--augment=flip,shift'
    """
    return f"--{name}={','.join(value) if isinstance(value, tuple) else value}"


def _wrap(words: str) -> list[str]:
    return textwrap.wrap(words, WIDTH)
