"""The bridge from images to text: probabilities (B, C) -> sentences of class names (B,).

Sentences are made in two forms, Python for one row and TensorFlow ops for a batch inside a graph, from
one set of patterns and one rule. The words of the `hedged` style ("surely", "probably", "possibly") are
honest only about calibrated probabilities: see `xmodal.evaluation.calibration`.
"""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice, zip_longest
from random import Random
from typing import Any

import numpy as np
import tensorflow as tf

from xmodal.bridge.class_names import readable, with_article
from xmodal.bridge.styles import SMALLEST, STYLES, Style
from xmodal.core.errors import UserError, nearest


@dataclass(frozen=True)
class Bridge:
    """Puts probabilities over classes into sentences.

    Styles, on the probabilities p1 >= p2 >= ... of the classes in descending order (of equal ones, the
    lower index comes first), compared in float32:

    - `top1`: "a dog".
    - `topk`: "a dog, or a cat, or a deer", `top_k` classes in order. Up to C^top_k different phrases.
    - `hedged`: "surely a dog" for p1 >= 0.99; "very likely a dog, or else a cat" for p1 >= 0.95; "probably
      a dog, perhaps a cat" for p1 >= 0.7; otherwise "possibly a dog or a cat". At most 3 C^2 phrases.
    - `percent`: "94% a dog, 4% a cat, 2% a deer", with the middles of 17 ranges for probabilities, of five
      classes at most, those under 0.3% left out. It keeps more of the classifier's doubts than `hedged`, in
      more sentences, which take longer to learn.

    Attributes:
        class_names: the C names of the classes, in the order of the probabilities.
        style: a key of `STYLES`.
        templates: P texts around the phrase, each with `{}` where it goes.
        top_k: the number of classes K that `topk` names; the other styles do not read it.
        phrases: what is written of each class; () for their readable names with an article.

    Raises:
        UserError: for fewer than two classes, names without text or that read alike, an unknown style,
            a `top_k` that the classes do not fill, and templates that are missing, repeated, without
            exactly one `{}`, or with an article before it.

    Example:
        >>> bridge = Bridge(("cat", "dog"))
        >>> bridge.describe(np.array([0.8, 0.2]))
        ['a photo of probably a cat, perhaps a dog']
    """

    class_names: tuple[str, ...]
    style: str = "hedged"
    templates: tuple[str, ...] = ("a photo of {}",)
    top_k: int = 3
    phrases: tuple[str, ...] = ()

    def __post_init__(self):
        if not self.phrases:
            _check_names(self.class_names)
        elif len(self.phrases) != len(self.class_names):
            raise ValueError(f"phrases must be one for each class. Received: {len(self.phrases)}")
        _check_templates(self.templates)
        if self.style not in STYLES:
            raise UserError(f"`text_style={self.style}` is not known", nearest(str(self.style), STYLES))
        classes = len(self.class_names)
        places = self._style.places
        if places is None and not 1 <= self.top_k <= classes:
            raise UserError(
                f"`top_k={self.top_k}` does not fit {classes} classes", f"choose from 1 to {classes}"
            )
        if places is not None and places > classes and not self._style.fewer:
            raise UserError(
                f"`text_style={self.style}` names {places} classes, and there are {classes}",
                "choose another style",
            )

    @cached_property
    def class_phrases(self) -> tuple[str, ...]:
        """The C class names as they stand in sentences: readable, with their article."""
        return self.phrases or _class_phrases(self.class_names)

    @property
    def _style(self) -> Style:
        return STYLES[self.style]

    @property
    def _max_names(self) -> int:
        return min(self._style.places or self.top_k, len(self.class_names))

    def describe(self, probabilities: np.ndarray) -> list[str]:
        """Makes the sentences of one row, in plain Python.

        Args:
            probabilities: (C,), calibrated.

        Returns:
            One sentence for each of the P templates.

        Raises:
            ValueError: for another shape, or a probability that is not finite.
        """
        probabilities = np.asarray(probabilities, np.float32)
        if probabilities.shape != (len(self.class_names),):
            raise ValueError(
                f"probabilities must have the shape ({len(self.class_names)},). "
                f"Received: {probabilities.shape}"
            )
        if not np.isfinite(probabilities).all():
            raise ValueError("probabilities must be finite")
        probabilities = np.where(probabilities < SMALLEST, np.float32(0), probabilities)
        order = np.argsort(-probabilities, kind="stable")[: self._max_names]
        pattern = self._pattern(self._style.choose(probabilities[order], np.where))
        phrase = "".join(_fill(pattern, [self.class_phrases[i] for i in order]))
        return ["".join(_fill(template, [phrase])) for template in self.templates]

    def sentences(self, probabilities: tf.Tensor) -> tf.Tensor:
        """Makes the sentences of a batch with TensorFlow ops, the same strings as `describe`.

        It works inside `tf.function`, `tf.data` and a SavedModel, in O(B (C + K)).

        Args:
            probabilities: (B, C), calibrated.

        Returns:
            Strings (B, P), one for each of the P templates.

        Raises:
            ValueError: for another shape.
            tf.errors.InvalidArgumentError: when run, for a probability that is not finite.
        """
        with tf.name_scope("sentences"):
            return self._sentences(tf.cast(tf.convert_to_tensor(probabilities), tf.float32))

    def _sentences(self, probabilities: tf.Tensor) -> tf.Tensor:
        probabilities.shape.assert_is_compatible_with([None, len(self.class_names)])
        probabilities = tf.debugging.check_numerics(probabilities, "probabilities must be finite")
        probabilities = tf.where(probabilities < SMALLEST, 0.0, probabilities)
        values, indices = tf.math.top_k(probabilities, self._max_names)
        choices = self._style.choose(values, tf.where)
        before, place, after = zip(*(words.partition("{}") for words in self._style.words), strict=True)
        names = tf.gather(tf.constant(self.class_phrases), indices)
        names = tf.where(tf.gather(tf.constant(place) != "", choices), names, "")
        pieces = tf.strings.join([tf.gather(before, choices), names, tf.gather(after, choices)])
        phrase = tf.strings.reduce_join(pieces, axis=1)
        return tf.stack([tf.strings.join(_fill(template, [phrase])) for template in self.templates], axis=1)

    def measured_shares(self, probabilities: np.ndarray) -> dict[str, np.ndarray]:
        """Measures what the words of the style are said for.

        Args:
            probabilities: of N images (N, C), calibrated.

        Returns:
            Pattern -> the mean probabilities of the classes that it names, for each pattern that is said of
            an image.
        """
        ranked = -np.sort(-probabilities, axis=1)[:, : self._max_names]
        choices, index = np.unique(
            self._style.choose(ranked.astype(np.float32), np.where), axis=0, return_inverse=True
        )
        patterns = [self._pattern(choice) for choice in choices]
        return {
            pattern: ranked[index.ravel() == number, : pattern.count("{}")].mean(axis=0)
            for number, pattern in enumerate(patterns)
        }

    def _pattern(self, choice: np.ndarray) -> str:
        """Returns a phrase with a `{}` for each class that is named, by the index of the words of each."""
        return "".join(self._style.words[index] for index in choice)

    def text_examples(
        self, per_class: int, seed: int, shares: Mapping[str, np.ndarray] | None = None
    ) -> list[tuple[str, np.ndarray]]:
        """Writes sentences with what they mean without any image, to train a text head on text alone.

        A sentence means probabilities of the classes: `hedged` and `percent` give the one that they name
        first the middle of what its words are said for, and those after it most of the rest; `top1` and
        `topk` give each class two thirds of what those before it leave. The other classes share what remains.

        Patterns, templates and other classes take turns, so that a small sample holds each as often as the
        next: every run of C - 1 sentences of a pattern names each other class once in second place, and over
        all labels each class is named equally often in each place.

        Args:
            per_class: the most sentences of a class. There may be fewer: it has P in style `top1`,
                P (C-1)! / (C-K)! in `topk` and (3 C - 2) P in `hedged`. Where there are more patterns than
                that, labels take turns with them.
            seed: chooses where in the sequence of other classes to begin.
            shares: what patterns give to the classes that they name, as `measured_shares` returns it, in the
                place of what their words say, and of further patterns; not of those with too many classes.

        Returns:
            Different sentences, each with its probabilities (C,), ordered by the class that is named first.

        Raises:
            ValueError: for a `per_class` below 1.
        """
        if per_class < 1:
            raise ValueError(f"per_class must be at least 1. Received: {per_class}")
        random = Random(seed)
        # Those of a bridge with more classes may name more of them than there are here.
        further = {key: part for key, part in (shares or {}).items() if key.count("{}") <= self._max_names}
        patterns = {**self._written_shares(), **further}
        starts = [random.randrange(self._combinations(pattern)) for pattern in patterns]
        examples: list[tuple[str, np.ndarray]] = []
        for label in range(len(self.class_names)):
            streams = [
                self._sentences_of(pattern, label, start, patterns[pattern])
                for pattern, start in zip(patterns, starts, strict=True)
            ]
            if len(streams) > per_class:
                first = label * per_class % len(streams)
                streams = streams[first:] + streams[:first]
            turns = (sentence for turn in zip_longest(*streams) for sentence in turn if sentence is not None)
            examples += islice(turns, per_class)
        return examples

    def _written_shares(self) -> dict[str, np.ndarray]:
        """Returns, as `measured_shares`, what the style itself says that its words stand for."""
        rows = [
            row
            for share in self._style.shares
            for rival in self._style.rivals
            if (row := self._ranked(share, rival)) == sorted(row, reverse=True)
        ]
        return self.measured_shares(np.array(rows))

    def _ranked(self, share: float, rival: float) -> list[float]:
        """Returns probabilities of the classes that are named, of which the first has `share`."""
        ranked = [share]
        while len(ranked) < self._max_names:
            remainder = 1 - sum(ranked)
            # The last class there is has all that is left.
            is_last = len(ranked) == len(self.class_names) - 1
            ranked.append(remainder if is_last else remainder * rival)
        return ranked

    def _meaning(self, labels: Sequence[int], shares: Sequence[float] | np.ndarray) -> np.ndarray:
        """Returns the probabilities (C,) of a sentence by the classes that it names and what they have."""
        others = len(self.class_names) - len(labels)
        meaning = np.full(len(self.class_names), max(0.0, 1 - sum(shares)) / max(1, others))
        meaning[list(labels)] = shares
        return meaning

    def _combinations(self, pattern: str) -> int:
        """Returns how many orders of other classes can follow the first class of a pattern."""
        return math.perm(len(self.class_names) - 1, pattern.count("{}") - 1)

    def _sentences_of(
        self, pattern: str, label: int, start: int, shares: Sequence[float] | np.ndarray
    ) -> Iterator[tuple[str, np.ndarray]]:
        """Yields each sentence of a pattern that names `label` first, once, with its probabilities."""
        classes, combinations = len(self.class_names), self._combinations(pattern)
        # Steps of about the golden ratio spread any number of turns evenly over the combinations; a step
        # without a common divisor comes to all of them.
        step = combinations * 618 // 1000 or 1
        while math.gcd(step, combinations) != 1:
            step += 1
        for turn in range(combinations * len(self.templates)):
            lap, place = divmod(turn, combinations)
            index = (start + place * step) % combinations
            # Other classes are counted from the label on: the same turn names another for each label.
            shifts = _arrangement(index, range(1, classes), pattern.count("{}") - 1)
            labels = [(label + shift) % classes for shift in (0, *shifts)]
            names = [self.class_phrases[index] for index in labels]
            template = self.templates[(place + lap + label) % len(self.templates)]
            sentence = "".join(_fill(template, ["".join(_fill(pattern, names))]))
            yield sentence, self._meaning(labels, shares)


def _class_phrases(class_names: Sequence[str]) -> tuple[str, ...]:
    return tuple(with_article(readable(name)) for name in class_names)


def _check_names(class_names: Sequence[str]) -> None:
    if len(class_names) < 2:
        raise UserError(
            f"sentences need at least two classes, not {len(class_names)}", "give data of more classes"
        )
    name_by_phrase: dict[str, str] = {}
    for name, phrase in zip(class_names, _class_phrases(class_names), strict=True):
        if not phrase:
            raise UserError(f"the class name {name!r} has no words", "name every class by `class_names`")
        # Most text encoders do not see case.
        key = phrase.casefold()
        if key in name_by_phrase:
            raise UserError(
                f"the class names {name_by_phrase[key]!r} and {name!r} both read as {phrase!r}",
                "tell them apart by `class_names`",
            )
        name_by_phrase[key] = name


def _check_templates(templates: Sequence[str]) -> None:
    if not templates:
        raise UserError("there is no `template`", "give one such as 'a photo of {}'")
    for template in templates:
        if template.count("{}") != 1:
            raise UserError(
                f"`template={template!r}` has {template.count('{}')} places for the class",
                "write {} once, as in 'a photo of {}'",
            )
        article = re.search(r"\b(?:an?|the)\s+\{\}", template, re.IGNORECASE)
        if article:
            raise UserError(
                f"`template={template!r}` has an article before the class, which brings its own",
                f"write {template.replace(article[0], '{}')!r}",
            )
    if len(set(templates)) < len(templates):
        duplicate = next(template for template in templates if templates.count(template) > 1)
        raise UserError(f"`template={duplicate!r}` is given twice", "give each template once")


def _fill(pattern: str, parts: Sequence[Any]) -> list[Any]:
    """Returns the pieces of a pattern with `parts`, strings or string tensors, in its places."""
    pieces: list[Any] = pattern.split("{}")
    result = pieces[:1]
    # A pattern may have fewer places than there are parts: the classes after its last are not named.
    for part, piece in zip(parts, pieces[1:], strict=False):
        result += [part, piece]
    return result


def _arrangement(index: int, items: Sequence[int], length: int) -> list[int]:
    """Returns the arrangement of `length` items that has this number; its first item changes fastest."""
    remaining_items, arrangement = list(items), []
    for _ in range(length):
        index, place = divmod(index, len(remaining_items))
        arrangement.append(remaining_items.pop(place))
    return arrangement
