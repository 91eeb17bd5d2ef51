"""What people may call the images of a class: wordings to learn from, and others to be asked in."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from xmodal.bridge.class_names import readable, with_article
from xmodal.core.errors import UserError

# Learned are all phrases in all of these carriers: what stands around a name must not matter.
TEMPLATES = (
    "{}",
    "a photo of {}",
    "a picture of {}",
    "this is {}",
    "find {}",
    "please draw {}",
)
# {a} is the readable name with its article, {name} without it.
PHRASES = ("{a}", "the {name}", "one {name}", "{name}")
# For classes that are whole numbers; {figure} is the number in figures, {before} and {after} its
# neighbours in words.
NUMBER_PHRASES = (
    "{figure}",
    "the digit {name}",
    "the number {name}",
    "the figure {figure}",
    "a handwritten {name}",
    "the symbol {name}",
    "the character {figure}",
    "a written {name}",
    "number {name}",
    "the number after {before}",
    "what comes after {before}",
    "the digit that follows {before}",
    "one more than {before}",
    "{before} plus one",
    "the number before {after}",
    "what comes before {after}",
    "one less than {after}",
    "{after} minus one",
)
# Kept for testing, and never learned from.
UNSEEN = (
    "show me {a}",
    "a snapshot of the {name}",
    "I am looking for {a}",
    "it looks like {a}",
    "could you paint {a} for me",
)
UNSEEN_NUMBERS = (
    "the number {figure}",
    "a picture of the digit {figure}",
    "write the numeral {name}",
    "the digit after {before}",
    "the digit before {after}",
)


@dataclass(frozen=True)
class Captions:
    """Texts about classes.

    Attributes:
        texts: str (M,), no two of them the same.
        labels: the class of each (M,).
        templates: the pattern that each was made by (M,), such as "a photo of {a}".
    """

    texts: np.ndarray
    labels: np.ndarray
    templates: np.ndarray

    def __len__(self) -> int:
        return len(self.texts)


def write_captions(class_names: Sequence[str]) -> tuple[Captions, Captions]:
    """Writes captions of every class: those to learn from, and wordings that are kept for testing.

    Args:
        class_names: the C names, as data sets write them.

    Returns:
        The learned ones and the unseen ones; each class has some of both.

    Raises:
        UserError: when two classes are called the same, or one has no words.
    """
    patterns, number_patterns = (
        [carrier.format(phrase) for phrase in phrases for carrier in TEMPLATES]
        for phrases in (PHRASES, NUMBER_PHRASES)
    )
    return _captions(class_names, patterns, number_patterns), _captions(class_names, UNSEEN, UNSEEN_NUMBERS)


def with_descriptions(captions: Captions, texts: Sequence[str], labels: np.ndarray) -> Captions:
    """Adds texts of one's own (n,) and the classes that they are about (n,).

    Raises:
        UserError: when a text is said of two classes.
    """
    return _join(
        [
            *zip(captions.texts, captions.labels, captions.templates, strict=True),
            *((text, int(label), "--class_descriptions") for text, label in zip(texts, labels, strict=True)),
        ]
    )


def by_class(captions: Captions, classes: int) -> np.ndarray:
    """Returns the places of each class's captions (C, W), where a class with fewer has its own again."""
    indices = [np.flatnonzero(captions.labels == label) for label in range(classes)]
    width = int(np.lcm.reduce([len(class_indices) for class_indices in indices]))
    # Each caption of a class as often as every other one of it; wide tables are cut at ten times the most.
    width = min(width, 10 * max(len(class_indices) for class_indices in indices))
    return np.stack([np.resize(class_indices, width) for class_indices in indices])


def draw_captions(captions: Captions, labels: np.ndarray, classes: int, seed: Sequence[int]) -> np.ndarray:
    """Draws a caption for each example: its place (N,), of the class that `labels` (N,) tells."""
    table = by_class(captions, classes)
    return table[labels, np.random.default_rng(seed).integers(table.shape[1], size=len(labels))]


def _captions(names: Sequence[str], patterns: Sequence[str], number_patterns: Sequence[str]) -> Captions:
    return _join(
        [
            (text, label, template)
            for label, name in enumerate(names)
            for template, text in _wordings(name, patterns, number_patterns)
        ]
    )


def _wordings(
    name: str, patterns: Sequence[str], number_patterns: Sequence[str]
) -> Iterator[tuple[str, str]]:
    words = {"name": readable(name), "a": with_article(readable(name))}
    if not words["name"]:
        raise UserError(f"the class name {name!r} has no words", "name every class by `class_names`")
    if name.strip().isdecimal():
        number = int(name)
        words |= {"figure": str(number), "after": readable(str(number + 1))}
        if number:
            words["before"] = readable(str(number - 1))
        patterns = (*patterns, *number_patterns)
    for pattern in patterns:
        # What comes before zero has no word of its own here.
        if "{before}" not in pattern or "before" in words:
            yield pattern, pattern.format(**words)


def _join(rows: Sequence[tuple[str, int, str]]) -> Captions:
    first_uses: dict[str, tuple[int, str]] = {}
    for text, label, template in rows:
        # Most text encoders do not see case.
        first_label, _ = first_uses.setdefault(text.lower(), (label, template))
        if first_label != label:
            raise UserError(
                f"two classes are both called {text!r}", "tell them apart by `class_names` or in the CSV"
            )
    distinct = list(first_uses)
    spellings = {text.lower(): text for text, _, _ in reversed(rows)}
    return Captions(
        np.array([spellings[text] for text in distinct], object),
        np.array([first_uses[text][0] for text in distinct], np.int32),
        np.array([first_uses[text][1] for text in distinct], object),
    )
