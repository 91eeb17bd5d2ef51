"""How figures and names are put on paper, the same everywhere."""

import unicodedata
from collections.abc import Sequence

# Up to this many examples, a tenth of a point is all that an accuracy can resolve.
TENTHS = 1000


# Marks that change the direction of the text after them, so that a name looks like another one.
DIRECTIONS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
# Control characters, halves of surrogate pairs, separators of lines and paragraphs.
UNSHOWN = ("Cc", "Cs", "Zl", "Zp")


def printable(text: str) -> str:
    """Replaces what no font shows, no file takes, or a terminal obeys; a text is one line then.

    File names that are not UTF-8 reach Python with halves of surrogate pairs in them.
    """
    return "".join("\ufffd" if _is_hidden(c) else c for c in text)


def escape(text: str) -> str:
    """Puts what `printable` replaces as `\\u001b`, as JSON may have it; ends of lines and tabs stay."""
    return "".join(f"\\u{ord(c):04x}" if _is_hidden(c) and c not in "\n\t" else c for c in text)


def _is_hidden(character: str) -> bool:
    return (not character.isascii() and character in DIRECTIONS) or unicodedata.category(character) in UNSHOWN


def truncate(text: str, size: int, *, keep: str = "start") -> str:
    """Shortens text to `size` characters, and keeps its "start" or its "end"."""
    if len(text) <= size:
        return text
    return text[: size - 1] + "…" if keep == "start" else "…" + text[1 - size :]


def first_few(names: Sequence[str], most: int = 3) -> str:
    """Returns the first few names with commas between them, and how many more there are."""
    suffix = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + suffix


def capitalize(sentence: str) -> str:
    """Returns a sentence with a capital letter at its beginning."""
    return sentence[:1].upper() + sentence[1:]


def percent(share: float, n: int) -> str:
    """Returns a share of n examples such as "98.2%"."""
    return f"{100 * share:.{1 if n <= TENTHS else 2}f}%"


def interval(ci95: tuple[float, float], n: int) -> str:
    """Returns an interval of shares such as "97.2% to 98.9%"."""
    return " to ".join(percent(limit, n) for limit in ci95)


def change(before: float | None, after: float, arrow: str = "→") -> str:
    """Returns "0.071 → 0.008", or "0.008" when nothing was measured before."""
    return f"{after:.3f}" if before is None else f"{before:.3f} {arrow} {after:.3f}"


def duration(seconds: float) -> str:
    """Returns "0.4 s", "12.3 s", "4 min 07 s" or "2 h 05 min"."""
    if seconds < 99.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def format_number(value: float | int | str) -> str:
    """Returns a fact as text: four significant digits, thousands set apart."""
    if isinstance(value, str):
        return value
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def confused_pairs(
    confusion: tuple[tuple[int, ...], ...], class_names: tuple[str, ...]
) -> list[tuple[int, str, str]]:
    """Returns (count, truth, answer) for every kind of mistake that was made, the most frequent first."""
    pairs = [
        (count, class_names[truth], class_names[answer])
        for truth, row in enumerate(confusion)
        for answer, count in enumerate(row)
        if count and truth != answer
    ]
    return sorted(pairs, key=lambda pair: -pair[0])


def plural(count: int, noun: str) -> str:
    """Returns a count with its noun, such as "1 epoch" or "1,200 epochs"."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
