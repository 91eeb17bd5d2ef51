"""Documents as numbers of words: the vocabulary, and the cut."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice

import numpy as np

# Letters and figures; a document of another kind has no word at all.
WORD = re.compile(r"[^\W_]+")
# Numbers of what is no word of the vocabulary.
PADDING, UNKNOWN = 0, 1


@dataclass(frozen=True)
class Numbered:
    """N documents as numbers of words.

    Attributes:
        ids: (N, T) int32, the numbers of the first T words, and then `PADDING`.
        lengths: (N,) words that were taken, at least one.
        cut: how many documents have more words than T.
        unknown: how many documents have no word of the vocabulary; they are one `UNKNOWN` word or more.
    """

    ids: np.ndarray
    lengths: np.ndarray
    cut: int
    unknown: int

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class Vocabulary:
    """The words that have a number; that of the first is 2."""

    words: tuple[str, ...]

    @cached_property
    def numbers(self) -> dict[str, int]:
        """The number of each word."""
        return {word: number for number, word in enumerate(self.words, start=UNKNOWN + 1)}

    def __len__(self) -> int:
        """Returns how many numbers there are, those of no word included."""
        return len(self.words) + UNKNOWN + 1

    def number(self, texts: Sequence[str], length: int) -> Numbered:
        """Numbers the words of texts.

        Args:
            texts: N documents. One without a word becomes one unknown word.
            length: most words T of a document; what comes after them is not read, however much it is.
        """
        ids = np.full((len(texts), length), PADDING, np.int32)
        lengths = np.ones(len(texts), np.int32)
        cut_count = 0
        for row, text in enumerate(texts):
            words = list(islice(words_of(text), length + 1))
            cut_count += len(words) > length
            numbers = [self.numbers.get(word, UNKNOWN) for word in words[:length]] or [UNKNOWN]
            ids[row, : len(numbers)] = numbers
            lengths[row] = len(numbers)
        return Numbered(ids, lengths, cut_count, int((ids <= UNKNOWN).all(axis=1).sum()))


def words_of(text: str) -> Iterator[str]:
    """Yields the words of a text in lower case, one after the other."""
    return (match.group() for match in WORD.finditer(text.lower()))


def vocabulary_of(texts: Iterable[str], size: int, *, least: int = 2) -> Vocabulary:
    """Returns the most frequent words of texts.

    Args:
        texts: documents to learn from.
        size: the most words.
        least: how often a word must occur.
    """
    counts = Counter(word for text in texts for word in words_of(text))
    # Words that are equally frequent stand in the order of the alphabet, whatever the documents' order.
    ranked_words = sorted((-count, word) for word, count in counts.items() if count >= least)
    return Vocabulary(tuple(word for _, word in ranked_words[:size]))
