"""Answers in words that a text encoder knows and can tell apart, or one line that says which it cannot."""

import re
from collections.abc import Callable, Sequence

import numpy as np

from xmodal.core.errors import UserError
from xmodal.data.target_map import Answers

# Two texts with a cosine above it are the same pieces to an encoder.
ALIKE = 0.99999
# Letters that are not Latin: words of them, or each for itself, as an encoder splits some scripts.
OTHER_LETTER = r"[^\W\d_A-Za-z\u00c0-\u024f]"
BLANKED = ((rf"{OTHER_LETTER}+", "\u16a0"), (OTHER_LETTER, " \u16a0 "))


def require_apart(answers: Answers, vectors: np.ndarray) -> None:
    """Raises a `UserError` when descriptions of two answers have one vector."""
    for start in range(0, len(vectors), 1000):
        cosines = vectors[start : start + 1000] @ vectors.T
        matches = (cosines > ALIKE) & (answers.targets[start : start + 1000, None] != answers.targets)
        if matches.any():
            one, other = (answers.texts[index] for index in np.argwhere(matches)[0] + (start, 0))
            raise UserError(
                f"the text encoder reads {one!r} and {other!r} alike",
                "put them in other words, or use an export whose encoder reads their language",
            )


def require_known(
    answers: Answers, vectors: np.ndarray, embedded: Callable[[Sequence[bytes]], np.ndarray]
) -> None:
    """Raises a `UserError` for a description whose other letters read as an unknown rune does."""
    for pattern, unknown in BLANKED:
        blank_texts = [re.sub(pattern, unknown, text) for text in answers.texts]
        indices = [index for index, text in enumerate(blank_texts) if text != answers.texts[index]]
        if not indices:
            return
        blank_vectors = embedded([blank_texts[index].encode() for index in indices])
        cosines = np.sum(vectors[indices] * blank_vectors, axis=1)
        if cosines.max() > ALIKE:
            text = answers.texts[indices[cosines.argmax()]]
            raise UserError(
                f"the text encoder knows no word of the answer {text!r}",
                "use other words, or an export whose encoder reads their language",
            )
