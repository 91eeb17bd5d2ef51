"""Clean texts without personal data: the same TensorFlow ops at training, evaluation and in the export."""

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import tensorflow as tf
import tensorflow_text as tf_text

from xmodal.text.personal_data import KINDS, MARKS, Kind

# Cleaning leaves no control characters, so that these can stand around what is looked at.
_OPEN = "\x1e"
_ENTITIES = {
    "&nbsp;|&#160;": " ",
    "&lt;|&#60;": "<",
    "&gt;|&#62;": ">",
    "&quot;|&#34;": '"',
    "&apos;|&#39;": "'",
    "&#64;|&commat;": "@",
    "&amp;|&#38;": "&",
}
_HIDDEN = r"(?is)<(?:script|style)\b[^>]*>.*?</(?:script|style)\s*>|<!--.*?-->"
_TAG = r"</?[A-Za-z][A-Za-z0-9:-]*(?:\s[^<>]*)?/?>"
# An address in angle brackets is no tag, and one inside a tag is to be counted.
_TAG_WITHOUT_ADDRESS = r"</?[A-Za-z][A-Za-z0-9:-]*(?:\s[^<>@]*)?/?>"


def cleaned(texts: tf.Tensor) -> tf.Tensor:
    """Normalises texts (B,), in-graph: one form for what looks the same, and nothing that does not show.

    Invalid UTF-8 becomes U+FFFD; entities and markup go; compatibility characters are composed (NFKC: Unicode
    Standard Annex 15); control and format characters, such as zero-width ones and marks of direction,
    go; all white space becomes single spaces. Joiners go too, which some scripts, such as Persian,
    show.
    """
    with tf.name_scope("clean"):
        texts = _plain(tf.strings.unicode_transcode(texts, "UTF-8", "UTF-8"), _TAG)
        return _spaced(texts)


def scrubbed(texts: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Cleans texts and puts typed marks, such as [EMAIL], in the place of personal data, in-graph.

    What is found: URLs with a password or a secret parameter, e-mail addresses, IBANs, payment cards,
    Chinese resident identity, US social security and UK national insurance numbers, IP addresses and
    telephone numbers. Checksums are verified where there are any. Names and street addresses stay.

    Args:
        texts: (B,) UTF-8 strings.

    Returns:
        The texts (B,), and how many of each of `MARKS` were put in (B, M).
    """
    with tf.name_scope("scrub"):
        texts = _plain(tf.strings.unicode_transcode(texts, "UTF-8", "UTF-8"), _TAG_WITHOUT_ADDRESS)
        texts = _spaced(texts)
        counts = {mark: tf.zeros_like(tf.strings.length(texts)) for mark in MARKS}
        for kind in KINDS:
            with tf.name_scope(kind.mark.strip("[]")):
                texts, count = _replaced(texts, kind)
                counts[kind.mark] += count
        texts = _spaced(tf.strings.regex_replace(texts, _TAG, " "))
        return texts, tf.stack([counts[mark] for mark in MARKS], axis=1)


def preparation(scrub: bool) -> Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]:
    """Returns what is done to documents (B,) before they are read: `scrubbed`, or `cleaned` without marks."""
    return scrubbed if scrub else _without_marks


def _without_marks(texts: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    return cleaned(texts), tf.zeros((tf.size(texts), len(MARKS)), tf.int32)


def prepare_texts(
    texts: Iterable[str], *, scrub: bool = True, batch_size: int = 64
) -> tuple[np.ndarray, np.ndarray]:
    """Cleans texts on all cores.

    Args:
        texts: N of them.
        scrub: put marks in the place of personal data too.
        batch_size: how many are read together.

    Returns:
        The texts (N,), objects, and how many of each of `MARKS` were put in (N, M).
    """
    # A lone surrogate, which Python's strings may hold, is no UTF-8.
    encoded = [text.encode("utf-8", "replace") for text in texts]
    parts = [encoded[start : start + batch_size] for start in range(0, len(encoded), batch_size)]
    prepare = _SCRUBBED if scrub else _CLEANED

    def read(part: list[bytes]) -> tuple[list[str], np.ndarray]:
        found, counts = prepare(tf.constant(part, tf.string))
        return [text.decode() for text in found.numpy()], counts.numpy()

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        done = list(pool.map(read, parts))
    texts = np.empty(len(encoded), object)
    texts[:] = [text for part, _ in done for text in part]
    return texts, np.concatenate([counts for _, counts in done])


def _plain(texts: tf.Tensor, tag: str) -> tf.Tensor:
    for entity, character in _ENTITIES.items():
        texts = tf.strings.regex_replace(texts, f"(?i){entity}", character.replace("\\", "\\\\"))
    texts = tf.strings.regex_replace(texts, _HIDDEN, " ")
    texts = tf.strings.regex_replace(texts, tag, " ")
    texts = tf_text.normalize_utf8(texts, "NFKC")
    return tf.strings.regex_replace(texts, r"[\p{Cf}\x{FE00}-\x{FE0F}]+", "")


def _spaced(texts: tf.Tensor) -> tf.Tensor:
    return tf.strings.strip(tf.strings.regex_replace(texts, r"[\s\p{Z}\p{Cc}]+", " "))


def _replaced(texts: tf.Tensor, kind: Kind) -> tuple[tf.Tensor, tf.Tensor]:
    """Puts the kind's mark in the place of the candidates that are of that kind, and counts them."""
    marked = tf.strings.regex_replace(texts, f"({kind.candidate})", rf"{_OPEN}\1{_OPEN}")
    pieces = tf.strings.split(marked, _OPEN)
    flat = pieces.flat_values
    # Between two separators stands a candidate: every second piece of a text.
    place = tf.range(tf.size(flat)) - tf.cast(tf.gather(pieces.row_starts(), pieces.value_rowids()), tf.int32)
    found = (place % 2 == 1) & tf.strings.regex_full_match(flat, kind.pattern)
    if kind.check is not None:
        found &= kind.check(tf.where(found, flat, ""))
    joined = pieces.with_flat_values(tf.where(found, kind.mark, flat))
    counts = tf.reduce_sum(pieces.with_flat_values(tf.cast(found, tf.int32)), axis=1)
    return tf.strings.reduce_join(joined, axis=1), counts


def _traced_once(prepare: Callable) -> Callable:
    return tf.function(prepare, input_signature=[tf.TensorSpec([None], tf.string)], autograph=False)


_SCRUBBED, _CLEANED = _traced_once(scrubbed), _traced_once(_without_marks)
