"""Clean texts without personal data: the same TensorFlow ops at training, evaluation and in the export."""

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from html.entities import html5, name2codepoint
from typing import NamedTuple

import numpy as np
import tensorflow as tf
import tensorflow_text as tf_text

from xmodal.text.personal_data import KINDS_BY_REGION, MARKS, Kind

# Cleaning leaves no control characters, so that these can stand around what is looked at.
_OPEN = "\x1e"
# A character by its number or its name; escaped twice where it went through two programs.
_ENTITY = r"&(?:amp;)*(?:#\d{1,7};?|#[xX][0-9a-fA-F]{1,6};?|[A-Za-z][A-Za-z0-9]{1,24};)"
# HTML 4's names, also shouted, and HTML 5's for what ASCII has.
_CODES = {
    **{name.upper(): code for name, code in name2codepoint.items()},
    **name2codepoint,
    **{
        name[:-1]: ord(text)
        for name, text in html5.items()
        if name[-1] == ";" and "!" <= text <= "~" and len(text) == 1
    },
}
_HIDDEN = r"(?is)<(?:script|style)\b[^>]*>.*?</(?:script|style)\s*>|<!--.*?-->"
_TAG = r"</?[A-Za-z][A-Za-z0-9:-]*(?:\s[^<>]*)?/?>"
# An address in angle brackets is no tag, and one inside a tag is to be counted.
_TAG_WITHOUT_ADDRESS = r"</?[A-Za-z][A-Za-z0-9:-]*(?:\s[^<>@]*)?/?>"


def clean_texts(texts: tf.Tensor) -> tf.Tensor:
    """Normalises texts (B,), in-graph: one form for what looks the same, and nothing that does not show.

    Invalid UTF-8 becomes U+FFFD; entities and markup go; compatibility characters are composed (NFKC: Unicode
    Standard Annex 15); control and format characters, such as zero-width ones and marks of direction,
    go; all white space becomes single spaces. Joiners go too, which some scripts, such as Persian,
    show.
    """
    with tf.name_scope("clean"):
        texts = _strip_markup(tf.strings.unicode_transcode(texts, "UTF-8", "UTF-8"), _TAG)
        return _normalize_spaces(texts)


def scrub_texts(texts: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
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
        texts = _strip_markup(tf.strings.unicode_transcode(texts, "UTF-8", "UTF-8"), _TAG_WITHOUT_ADDRESS)
        texts = _normalize_spaces(texts)
        counts = {mark: tf.zeros_like(tf.strings.length(texts)) for mark in MARKS}
        for region, kinds in KINDS_BY_REGION.items():
            texts = _replace_region(texts, region, kinds, counts)
        texts = _normalize_spaces(tf.strings.regex_replace(texts, _TAG, " "))
        return texts, tf.stack([counts[mark] for mark in MARKS], axis=1)


def preparation(scrub: bool) -> Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]:
    """Returns what documents (B,) are read through: `scrub_texts`, or `clean_texts` without marks."""
    return scrub_texts if scrub else _without_marks


def text_of(scrub: bool) -> Callable[[tf.Tensor], tf.Tensor]:
    """Returns what makes the texts (B,) that are read of those that were written (B,), in-graph."""
    prepare = preparation(scrub)
    return lambda texts: prepare(texts)[0]


def _without_marks(texts: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    return clean_texts(texts), tf.zeros((tf.size(texts), len(MARKS)), tf.int32)


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
    parts = [encoded[start : start + batch_size] for start in range(0, len(encoded), batch_size)] or [[]]
    prepare = _SCRUB if scrub else _CLEAN

    def read(part: list[bytes]) -> tuple[list[str], np.ndarray]:
        prepared_texts, counts = prepare(tf.constant(part, tf.string))
        return [text.decode() for text in prepared_texts.numpy()], counts.numpy()

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        results = list(pool.map(read, parts))
    texts = np.empty(len(encoded), object)
    texts[:] = [text for part, _ in results for text in part]
    return texts, np.concatenate([counts for _, counts in results])


def _strip_markup(texts: tf.Tensor, tag: str) -> tf.Tensor:
    texts = _without_entities(texts)
    texts = tf.strings.regex_replace(texts, _HIDDEN, " ")
    texts = tf.strings.regex_replace(texts, tag, " ")
    texts = tf_text.normalize_utf8(texts, "NFKC")
    return tf.strings.regex_replace(texts, r"[\p{Cf}\x{FE00}-\x{FE0F}]+", "")


def _without_entities(texts: tf.Tensor) -> tf.Tensor:
    """Puts characters in the place of HTML's entities (named ones, decimal and hexadecimal numbers)."""
    texts = tf.strings.regex_replace(texts, _OPEN, " ")
    pieces = _pieces(texts, _ENTITY)
    entities = pieces.matches
    names = tf.strings.regex_replace(entities, r"^&(?:amp;)*([^;]*);?$", r"\1")
    codes = tf.where(
        tf.strings.regex_full_match(names, r"#\d+"),
        tf.strings.to_number(tf.strings.regex_replace(names, r"^(?:#(\d+)|.*)$", r"0\1"), tf.int32),
        tf.where(tf.strings.regex_full_match(names, "#[xX].*"), _hexadecimal(names), _code_points(names)),
    )
    # Neither halves of surrogate pairs nor control characters.
    is_valid = (codes > 31) & (codes < 0x110000) & ((codes < 0xD800) | (codes > 0xDFFF))
    characters = tf.strings.unicode_encode(tf.where(is_valid, codes, 32)[:, None], "UTF-8")
    # Escaped twice: what a document about HTML shows stays visible.
    is_escaped = tf.strings.regex_full_match(entities, "&amp;.*") & tf.strings.regex_full_match(
        characters, "[<>&]"
    )
    decoded_pieces = tf.where(
        is_valid & ~is_escaped, characters, tf.strings.regex_replace(entities, "^&amp;", "&")
    )
    return pieces.join(decoded_pieces)


def _hexadecimal(words: tf.Tensor) -> tf.Tensor:
    """Reads words (M,) such as "#x40"."""
    letters = tf.strings.regex_replace(tf.strings.lower(words), "^#x", "")
    codes = tf.cast(tf.io.decode_raw(letters, tf.uint8, fixed_length=6), tf.int32)
    values = tf.where(codes >= ord("a"), codes - ord("a") + 10, codes - ord("0"))
    value = tf.zeros_like(codes[:, 0])
    for index in range(6):
        value = tf.where(codes[:, index] > 0, 16 * value + values[:, index], value)
    return value


def _code_points(words: tf.Tensor) -> tf.Tensor:
    """Returns the code points of words (M,) such as "uuml", 0 for words that are no names."""
    distinct_words, index = tf.unique(words)
    is_match = tf.equal(distinct_words[:, None], tf.constant(list(_CODES))[None, :])
    codes = tf.reduce_sum(tf.where(is_match, tf.constant(list(_CODES.values())), 0), axis=1)
    return tf.gather(codes, index)


def _normalize_spaces(texts: tf.Tensor) -> tf.Tensor:
    return tf.strings.strip(tf.strings.regex_replace(texts, r"[\s\p{Z}\p{Cc}]+", " "))


class _Pieces(NamedTuple):
    """Texts (B,) that were cut where a pattern is.

    Attributes:
        values: the pieces of all texts (P,), in order.
        rows: the text of each piece (P,).
        texts: B.
        at: which pieces fit the pattern (M,).
        matches: these pieces (M,).
    """

    values: tf.Tensor
    rows: tf.Tensor
    texts: tf.Tensor
    at: tf.Tensor
    matches: tf.Tensor

    def join(self, matches: tf.Tensor) -> tf.Tensor:
        """Returns the texts (B,) with others (M,) in the place of the pieces that fit."""
        values = tf.tensor_scatter_nd_update(self.values, self.at[:, None], matches)
        return tf.strings.unsorted_segment_join(values, self.rows, self.texts)

    def sum_by_text(self, counts: tf.Tensor) -> tf.Tensor:
        """Returns the sums (B,) of what belongs to the pieces that fit (M,)."""
        return tf.math.unsorted_segment_sum(counts, tf.gather(self.rows, self.at), self.texts)


def _pieces(texts: tf.Tensor, pattern: str) -> _Pieces:
    """Cuts texts (B,) where a pattern is."""
    # Without a group of its own RE2 needs no second pass.
    marked_texts = tf.strings.regex_replace(texts, pattern, rf"{_OPEN}\0{_OPEN}")
    # Ragged tensors do the same with many more operations, which take their time when a graph is built.
    indices, values, _ = tf.raw_ops.StringSplitV2(input=marked_texts, sep=_OPEN)
    # Between two separators stands what fits: every second piece of a text.
    at = tf.where(indices[:, 1] % 2 == 1)[:, 0]
    return _Pieces(values, indices[:, 0], tf.size(texts, tf.int64), at, tf.gather(values, at))


def _replace_region(
    texts: tf.Tensor, region: str, kinds: Sequence[Kind], counts: dict[str, tf.Tensor]
) -> tf.Tensor:
    """Puts marks in, and counts them, where a region is: what is quick to find, and rare."""
    pieces = _pieces(texts, region)
    parts = pieces.matches
    for kind in kinds:
        parts, count = _replace_kind(parts, kind)
        counts[kind.mark] += pieces.sum_by_text(count)
    return pieces.join(parts)


def _replace_kind(texts: tf.Tensor, kind: Kind) -> tuple[tf.Tensor, tf.Tensor]:
    """Puts the kind's mark in the place of the candidates that are of that kind, and counts them."""
    with tf.name_scope(kind.mark.strip("[]")):
        pieces = _pieces(texts, kind.candidate)
        candidates = pieces.matches
        whole_pattern = f"^({kind.before})(?:{kind.pattern})$"
        matches = tf.strings.regex_full_match(candidates, f"(?:{kind.before})(?:{kind.pattern})")
        if kind.unless:
            matches &= ~tf.strings.regex_full_match(candidates, kind.unless)
        if kind.check is not None:
            numbers = (
                tf.strings.regex_replace(candidates, f"^(?:{kind.before})", "") if kind.before else candidates
            )
            matches &= kind.check(tf.where(matches, numbers, ""))
        marks = (
            tf.strings.regex_replace(candidates, whole_pattern, rf"\1{kind.mark}")
            if kind.before
            else kind.mark
        )
        new_texts = pieces.join(tf.where(matches, marks, candidates))
        return new_texts, pieces.sum_by_text(tf.cast(matches, tf.int32))


def _trace_once(prepare: Callable) -> Callable:
    return tf.function(prepare, input_signature=[tf.TensorSpec([None], tf.string)], autograph=False)


_SCRUB, _CLEAN = _trace_once(scrub_texts), _trace_once(_without_marks)
