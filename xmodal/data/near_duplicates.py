"""Documents that are nearly the same, found by MinHash: a line more, another date, an edited copy."""

import re
import zlib
from collections.abc import Sequence
from itertools import islice

import numpy as np

# A word, or a sign of a script that writes no blanks between them.
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]|[^\W\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]+")
# Documents with fewer words say too little; of longer ones the first are looked at.
SHORT, MAX_WORDS = 8, 200
# Values of a signature, in bands that are compared whole (Broder, 1997; Leskovec et al., Mining of Massive
# Datasets, chapter 3): two documents with 80% of their runs in common meet in one of 16 bands of 4 values
# with a probability of 0.9998.
BANDS, ROWS = 16, 4
ALIKE = 0.8


def near_duplicates(texts: Sequence[str], splits: Sequence[str]) -> list[tuple[int, int]]:
    """Returns pairs of documents of two splits that have about 80% of their runs of three words in common.

    Args:
        texts: N of them.
        splits: of each; of a pair with one in "test" that one is the second, otherwise that of "validation".

    Returns:
        For each document that has such another one, its position and that of the first of these.
    """
    signatures = [signature(text) for text in texts]
    weight = {"train": 0, "validation": 1, "test": 2}
    buckets: dict[tuple[int, bytes], list[int]] = {}
    for position, values in enumerate(signatures):
        if values is not None and splits[position] != "train":
            for band, part in enumerate(values.reshape(BANDS, ROWS)):
                buckets.setdefault((band, part.tobytes()), []).append(position)
    pairs = []
    for position, values in enumerate(signatures):
        if values is None:
            continue
        candidates = {
            other
            for band, part in enumerate(values.reshape(BANDS, ROWS))
            for other in buckets.get((band, part.tobytes()), ())[:50]
            if weight[splits[other]] > weight[splits[position]]
        }
        matches = [other for other in sorted(candidates) if np.mean(values == signatures[other]) >= ALIKE]
        if matches:
            pairs.append((position, matches[0]))
    return pairs


def signature(text: str) -> np.ndarray | None:
    """Returns the MinHash of a document (64,): the smallest values of its runs under as many hashes."""
    words = [match[0] for match in islice(_WORD.finditer(text.lower()), MAX_WORDS)]
    if len(words) < SHORT:
        return None
    codes = np.array([zlib.crc32(word.encode("utf-8", "surrogatepass")) for word in words], np.uint64)
    runs = codes[:-2] * np.uint64(1_000_003) + codes[1:-1] * np.uint64(10_007) + codes[2:]
    # Multiply-shift (Dietzfelbinger et al., 1997): the upper half of a product that overflows.
    return ((runs[None, :] * _FACTORS[:, None] + _OFFSETS[:, None]) >> np.uint64(32)).min(axis=1)


_CHANCE = np.random.default_rng(0)
_FACTORS = _CHANCE.integers(0, 1 << 63, BANDS * ROWS, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
_OFFSETS = _CHANCE.integers(0, 1 << 63, BANDS * ROWS, dtype=np.uint64)
