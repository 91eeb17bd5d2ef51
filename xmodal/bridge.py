"""The bridge from images to text: probabilities (B, C) -> sentences of class names (B,).

Sentences are made in two forms, Python for one row and TensorFlow ops for a batch inside a graph, from
one set of patterns and one rule. Calibration stands here too, because the words of the `hedged` style
("surely", "probably", "possibly") are honest only about calibrated probabilities.
"""

import math
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice, zip_longest
from random import Random
from typing import Any, Literal, get_args

import numpy as np
import tensorflow as tf

from xmodal.errors import UserError, nearest

Style = Literal["top1", "topk", "hedged"]
STYLES: tuple[str, ...] = get_args(Style)

# Least probabilities of the class that the hedged style names first, for all but its weakest words. They are
# float32 because the graph compares in float32.
SURE, LIKELY, PROBABLE = np.float32(0.99), np.float32(0.95), np.float32(0.7)
# TensorFlow's threads take subnormal numbers for zero, NumPy does not: below this, all are ties.
SMALLEST = np.finfo(np.float32).smallest_normal
# In the order of `_hedge`. They name two classes at most, so there are never more than 3 C^2 of these
# phrases, however many the images: equal sentences are merged, and BERT reads each once.
HEDGES = (
    "surely {}",
    "very likely {}, or else {}",
    "probably {}, perhaps {}",
    "possibly {} or {}",
)
# What the class named first has where no image says more: the middle of what each of these is said for.
HEDGED_SHARES = (0.995, 0.97, 0.825, 0.52)
# What a class named later has of what those before it leave.
HEDGED_RIVAL, LISTED = 0.8, 2 / 3

# Temperatures outside are of no use, and a bracket makes the search safe.
TEMPERATURES = (1e-3, 1e3)
# No float32 probability is to be trusted below its resolution; above all, a zero must not veto.
FLOOR = float(np.finfo(np.float32).eps)

# fmt: off
_UNITS = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
)
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
# fmt: on
_PREPOSITIONS = ("at", "for", "from", "in", "of", "on", "with", "without")
# Nouns that the rule "ends in s" gets wrong.
_PLURAL = re.compile(
    "algae|bacteria|bikinis|cattle|children|dice|emus|feet|fungi|geese|kiwis|lice|men|menus|mice|oxen|people"
    "|police|skis|taxis|teeth|women"
)
_SINGULAR = re.compile(
    "alias|atlas|bias|biceps|canvas|chaos|christmas|cosmos|cyclops|gas|lens|mercedes|pancreas|rhinoceros"
    "|series|species|thermos|triceps|yes"
)
# Abbreviations without a vowel that are read as words.
_SPOKEN = ("mr", "mrs", "ms", "mt", "st")
# The letters whose names begin with a vowel sound: "an F", "an x-ray".
_VOWEL_NAMED = "aefhilmnorsx"
# An h that is not heard; then vowels that are heard as "w" or "y".
_SILENT_H = re.compile(r"hour|heir|honest|hono")
_CONSONANT_SOUND = re.compile(
    r"e[uw]|one(?:sie)?(?![a-z])|once(?![a-z])|oui|uni(?![dmn])|u(?:k|v|sb)(?![a-z])|u[bcfghjkqrst][aeiou]"
)


def readable(name: str) -> str:
    """Turns a class name as data sets write it into words.

    - snake_case, kebab-case, CamelCase and dotted.names become words with one space between them.
    - A slash stays: "t_shirt/top" -> "t-shirt/top". "Or" is the bridge's own word for a choice between
      classes, and "possibly a t-shirt or top or a shirt" would not say which is which.
    - Words are lower-cased, except what is spelled out when read: capitals of at most three letters or
      without a vowel ("TV", "USA flag", "HTML page").
    - Whole numbers up to 100 become words; above, figures are mostly names ("Boeing 747") and stay, as
      do figures that are part of a word ("3d", "mp3") or of a range ("30-40").
    - A WordNet id or an ordering number before the name goes: "n02085620-Chihuahua", "001.Albatross".
    - One letter before a word is joined to it: "x_ray" -> "x-ray".
    - Scripts other than Latin stay as they are.

    Args:
        name: the class name.

    Returns:
        The words, "" when the name has none.
    """
    name = unicodedata.normalize("NFC", name).strip()
    if re.fullmatch(r"-[0-9]+", name):
        return f"minus {_number(name[1:])}"
    name = re.sub(r"^n[0-9]{8}[\W_]+(?=\w)", "", name)
    name = re.sub(r"^(?:[0-9]+\.|0[0-9]+[-_. ]+)(?=[^\W\d_])", "", name)
    return "/".join(filter(None, map(_readable_part, name.split("/"))))


def with_article(name: str) -> str:
    """Puts "a" or "an" before a readable name, by the sound that it begins with.

    Sounds: "an apple", "a unicorn", "an hour", "a one", "an 8", "an 18", "an LED", "an x-ray". None
    is put before plurals ("trousers", "people"), before names with letters that are not Latin, or
    where an article stands already. Latin names are taken for English nouns that can be counted.

    Args:
        name: a name as `readable` returns it.

    Returns:
        The name, with its article where it takes one.
    """
    words = name.split()
    if len(words) > 1 and words[0].lower() in ("a", "an", "the"):
        return name
    start = re.search(r"[^\W_]+", name)
    if start is None or not all(map(_is_latin, filter(str.isalpha, name))) or _is_plural(name):
        return name
    return f"{'an' if _begins_with_vowel_sound(start[0]) else 'a'} {name}"


@dataclass(frozen=True)
class Bridge:
    """Puts probabilities over classes into sentences.

    Styles, on the probabilities p1 >= p2 >= ... of the classes in descending order (of equal ones, the
    lower index comes first), compared in float32:

    - `top1`: "a dog".
    - `topk`: "a dog, or a cat, or a deer", `top_k` classes in order. Up to C^top_k different phrases.
    - `hedged`: "surely a dog" for p1 >= 0.99; "very likely a dog, or else a cat" for p1 >= 0.95; "probably
      a dog, perhaps a cat" for p1 >= 0.7; otherwise "possibly a dog or a cat". At most 3 C^2 phrases.

    Attributes:
        class_names: the C names of the classes, in the order of the probabilities.
        style: one of `STYLES`.
        templates: P texts around the phrase, each with `{}` where it goes.
        top_k: the number of classes K that `topk` names; the other styles do not read it.

    Raises:
        UserError: for fewer than two classes, names without text or that read alike, an unknown style,
            a `top_k` that the classes do not fill, and templates that are missing, repeated, without
            exactly one `{}`, or with an article before it.
    """

    class_names: tuple[str, ...]
    style: Style
    templates: tuple[str, ...] = ("a photo of {}",)
    top_k: int = 3

    def __post_init__(self):
        _check_names(self.class_names)
        _check_templates(self.templates)
        if self.style not in STYLES:
            raise UserError(f"--text_style={self.style} is not known", nearest(str(self.style), STYLES))
        if self.style == "topk" and not 1 <= self.top_k <= len(self.class_names):
            raise UserError(
                f"--top_k={self.top_k} does not fit {len(self.class_names)} classes",
                f"choose from 1 to {len(self.class_names)}",
            )

    @cached_property
    def class_phrases(self) -> tuple[str, ...]:
        """The C class names as they stand in sentences: readable, with their article."""
        return _class_phrases(self.class_names)

    @cached_property
    def _patterns(self) -> tuple[str, ...]:
        if self.style == "hedged":
            return HEDGES
        return (", or ".join(["{}"] * (1 if self.style == "top1" else self.top_k)),)

    @property
    def _named(self) -> int:
        return max(pattern.count("{}") for pattern in self._patterns)

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
        order = np.argsort(-probabilities, kind="stable")[: self._named]
        choice = 0
        if self.style == "hedged":
            choice = int(_hedge(probabilities[order[0]], np.where))
        phrase = "".join(_filled(self._patterns[choice], [self.class_phrases[i] for i in order]))
        return ["".join(_filled(template, [phrase])) for template in self.templates]

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
        values, indices = tf.math.top_k(probabilities, self._named)
        names = tf.unstack(tf.gather(tf.constant(self.class_phrases), indices), num=self._named, axis=1)
        # Joining every pattern and then choosing costs a little more than choosing first, and keeps the
        # patterns whole.
        phrases = [tf.strings.join(_filled(pattern, names)) for pattern in self._patterns]
        phrase = phrases[0]
        if self.style == "hedged":
            choice = _hedge(values[:, 0], tf.where)
            phrase = tf.gather(tf.stack(phrases, axis=1), choice, batch_dims=1)
        return tf.stack([tf.strings.join(_filled(template, [phrase])) for template in self.templates], axis=1)

    def measured_shares(self, probabilities: np.ndarray) -> dict[str, np.ndarray]:
        """Measures what the words of the style are said for.

        Args:
            probabilities: of N images (N, C), calibrated.

        Returns:
            Pattern -> the mean probabilities of the classes that it names, for each pattern that is said of
            an image.
        """
        ranked = -np.sort(-probabilities, axis=1)
        choices = np.zeros(len(ranked), int)
        if self.style == "hedged":
            choices = _hedge(ranked[:, 0].astype(np.float32), np.where)
        return {
            pattern: ranked[choices == choice, : pattern.count("{}")].mean(axis=0)
            for choice, pattern in enumerate(self._patterns)
            if (choices == choice).any()
        }

    def text_examples(
        self, per_class: int, seed: int, shares: Mapping[str, np.ndarray] | None = None
    ) -> list[tuple[str, np.ndarray]]:
        """Writes sentences with what they mean without any image, to train a text head on text alone.

        A sentence means probabilities of the classes: `hedged` gives the one that it names first the middle
        of what its words are said for, and a second one most of the rest; `top1` and `topk` give each class
        two thirds of what those before it leave. The other classes share what remains.

        Patterns, templates and other classes take turns, so that a small sample holds each as often as the
        next: every run of C - 1 sentences of a pattern names each other class once in second place, and over
        all labels each class is named equally often in each place.

        Args:
            per_class: the most sentences of a class. There may be fewer: it has P in style `top1`,
                P (C-1)! / (C-K)! in `topk` and (3 C - 2) P in `hedged`.
            seed: chooses where in the sequence of other classes to begin.
            shares: what patterns give to the classes that they name, as `measured_shares` returns it, in the
                place of what their words say.

        Returns:
            Different sentences, each with its probabilities (C,), ordered by the class that is named first.

        Raises:
            ValueError: for a `per_class` below 1.
        """
        if per_class < 1:
            raise ValueError(f"per_class must be at least 1. Received: {per_class}")
        random = Random(seed)
        starts = [random.randrange(self._combinations(pattern)) for pattern in self._patterns]
        examples: list[tuple[str, np.ndarray]] = []
        for label in range(len(self.class_names)):
            streams = [
                self._sentences_of(pattern, label, start, (shares or {}).get(pattern, self._shares(pattern)))
                for pattern, start in zip(self._patterns, starts, strict=True)
            ]
            turns = (sentence for turn in zip_longest(*streams) for sentence in turn if sentence is not None)
            examples += islice(turns, per_class)
        return examples

    def _shares(self, pattern: str) -> list[float]:
        """Returns the probabilities that a pattern gives to the classes that it names, in their order."""
        hedged = pattern in HEDGES
        shares = [HEDGED_SHARES[HEDGES.index(pattern)] if hedged else LISTED]
        others = pattern.count("{}") - 1
        for number in range(1, others + 1):
            left = 1 - sum(shares)
            # The last class there is has all that is left.
            alone = number == len(self.class_names) - 1
            shares.append(left if alone else left * (HEDGED_RIVAL if hedged else LISTED))
        return shares

    def _meaning(self, named: Sequence[int], shares: Sequence[float] | np.ndarray) -> np.ndarray:
        """Returns the probabilities (C,) of a sentence by the classes that it names and what they have."""
        others = len(self.class_names) - len(named)
        meaning = np.full(len(self.class_names), max(0.0, 1 - sum(shares)) / max(1, others))
        meaning[list(named)] = shares
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
            named = [(label + shift) % classes for shift in (0, *shifts)]
            names = [self.class_phrases[index] for index in named]
            template = self.templates[(place + lap + label) % len(self.templates)]
            sentence = "".join(_filled(template, ["".join(_filled(pattern, names))]))
            yield sentence, self._meaning(named, shares)


def softmax(logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """Returns the softmax of logits (..., C) divided by a temperature, in float64."""
    scaled = np.asarray(logits, np.float64) / temperature
    exponents = np.exp(scaled - scaled.max(axis=-1, keepdims=True))
    return exponents / exponents.sum(axis=-1, keepdims=True)


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """Finds the temperature T that calibrates softmax(logits / T) on held-out examples.

    T minimises the negative log likelihood, which is convex in 1/T (Guo et al. 2017, arXiv:1706.04599,
    section 4.2). Where every example is right the likelihood has no maximum and T falls to zero, so one
    example's weight is given to all classes alike, as Platt did ("Probabilistic Outputs for Support
    Vector Machines", 1999, section 2.2): N right answers of N make the confidence about 1 - 1/N, not 1.

    Args:
        logits: (N, C), of examples that the classifier was not trained on.
        labels: (N,), class indices.

    Returns:
        T, within `TEMPERATURES`; 1.0 when the logits of every row are equal, where any T would do.

    Raises:
        ValueError: for shapes, labels or values that do not fit.
    """
    logits, labels = _checked_scores(logits, labels)
    logits = logits - logits.max(axis=1, keepdims=True)
    if not logits.any():
        return 1.0
    n = len(labels)
    target = (n * logits[np.arange(n), labels] + logits.mean(axis=1)).mean() / (n + 1)

    def slope(log_inverse: float) -> float:
        expected = (softmax(logits, math.exp(-log_inverse)) * logits).sum(axis=1).mean()
        return expected - target

    coldest, hottest = map(math.log, TEMPERATURES)
    return math.exp(-_root(slope, -hottest, -coldest))


def mix(p_a: np.ndarray, p_b: np.ndarray, weight: float) -> np.ndarray:
    """Pools two sets of probabilities (N, C): softmax(w log p_a + (1 - w) log p_b).

    Log-linear, not linear, because the sources are not independent (the sentence was made from the
    image): it adds scores s(x, c) with weights that sum to one, so that evidence is not counted twice,
    and what both agree on keeps its confidence, where a linear pool of calibrated sources is always
    under-confident (Genest and Zidek 1986; Ranjan and Gneiting 2010).

    Args:
        p_a, p_b: probabilities (N, C).
        weight: w in [0, 1], the share of `p_a`.

    Returns:
        Probabilities (N, C) in float64.
    """
    return softmax(weight * _logs(p_a) + (1 - weight) * _logs(p_b))


def fit_mixture(p_a: np.ndarray, p_b: np.ndarray, labels: np.ndarray) -> float:
    """Finds the weight for `mix` that minimises the negative log likelihood, which is convex in it.

    Args:
        p_a, p_b: probabilities (N, C) of held-out examples.
        labels: (N,), class indices.

    Returns:
        w in [0, 1], the share of `p_a`; 0.0 where any w would do.

    Raises:
        ValueError: for shapes, labels or values that do not fit.
    """
    p_a, labels = _checked_scores(p_a, labels)
    p_b, labels = _checked_scores(p_b, labels)
    if p_a.shape != p_b.shape:
        raise ValueError(f"p_a and p_b must have one shape. Received: {p_a.shape} and {p_b.shape}")
    logs_b = _logs(p_b)
    difference = _logs(p_a) - logs_b
    target = difference[np.arange(len(labels)), labels].mean()

    def slope(weight: float) -> float:
        return (softmax(logs_b + weight * difference) * difference).sum(axis=1).mean() - target

    return _root(slope, 0.0, 1.0)


def _readable_part(part: str) -> str:
    # Between figures a hyphen is a range and a dot is decimal.
    part = re.sub(r"_|(?<![0-9])[-.]|[-.](?![0-9])", " ", part)
    words = [word for token in part.split() for word in _camel_words(token)]
    if len(words) > 1 and re.fullmatch(r"[b-zB-Z]", words[0]) and words[1].isalpha():
        return " ".join([f"{words[0]}-{_cased(words[1])}", *map(_cased, words[2:])])
    return " ".join(map(_cased, words))


def _camel_words(token: str) -> list[str]:
    words, start = [], 0
    for i in range(1, len(token)):
        before, rest = token[i - 1], token[i:]
        # Not after the first letter: iPhone, eBook.
        lower_to_upper = i > 1 and before.islower() and rest[0].isupper()
        # The last capital of a run begins a word (USAFlag), but not before the s of a plural (TVs).
        last_capital = (
            before.isalnum()
            and not before.islower()
            and rest[0].isupper()
            and rest[1:2].islower()
            and rest[1:] != "s"
        )
        # Figures after a word (class12), but not after a short one (mp3, ak47).
        word = token[start:i]
        figures = len(word) > 2 and word.isalpha() and re.fullmatch(r"[0-9]+", rest)
        if lower_to_upper or last_capital or figures:
            words.append(word)
            start = i
    return [*words, token[start:]]


def _cased(word: str) -> str:
    if re.fullmatch(r"[0-9]+", word):
        return _number(word)
    return word if _is_spelled_capitals(word) else word.lower()


def _number(figures: str) -> str:
    number = int(figures)
    if number < 20:
        return _UNITS[number]
    if number < 100:
        tens, units = divmod(number, 10)
        return _TENS[tens - 2] + (f"-{_UNITS[units]}" if units else "")
    return "one hundred" if number == 100 else str(number)


def _is_spelled_capitals(word: str) -> bool:
    return word.isupper() and (len(word) <= 3 or not re.search(r"[AEIOUY]", word))


def _is_latin(letter: str) -> bool:
    return letter.isascii() or unicodedata.name(letter, "").startswith("LATIN")


def _is_plural(name: str) -> bool:
    head: list[str] = []
    for word in re.split(r"[,(]", name)[0].split():
        if head and word in _PREPOSITIONS:
            break
        head.append(word)
    noun = head[-1] if head else ""
    if _PLURAL.fullmatch(noun):
        return True
    if _SINGULAR.fullmatch(noun) or noun.isupper() or len(noun) < 3:
        return False
    return noun.endswith("s") and not noun.endswith(("ss", "us", "is", "'s"))


def _begins_with_vowel_sound(word: str) -> bool:
    figures = re.match(r"[0-9]+", word)
    if figures:
        # Eight...; eleven or eighteen, also of thousands; years and hundreds as 1815 and 1100.
        two = figures[0][:2] in ("11", "18")
        return figures[0][0] == "8" or (two and len(figures[0]) % 3 != 0)
    letters = re.match(r"[^\W\d_]*", word)[0]  # type: ignore[index]
    plain = unicodedata.normalize("NFD", letters).lower()
    spelled = len(letters) == 1 or _is_spelled_capitals(letters) or not re.search(r"[aeiouyæœø]", plain)
    if spelled and plain not in _SPOKEN:
        return plain[0] in _VOWEL_NAMED
    if plain[0] in "aeiouæœø":
        return not _CONSONANT_SOUND.match(plain)
    return _SILENT_H.match(plain) is not None


def _class_phrases(class_names: Sequence[str]) -> tuple[str, ...]:
    return tuple(with_article(readable(name)) for name in class_names)


def _check_names(class_names: Sequence[str]) -> None:
    if len(class_names) < 2:
        raise UserError(
            f"sentences need at least two classes, not {len(class_names)}", "give data of more classes"
        )
    seen: dict[str, str] = {}
    for name, phrase in zip(class_names, _class_phrases(class_names), strict=True):
        if not phrase:
            raise UserError(f"the class name {name!r} has no words", "name every class by --class_names")
        # Most text encoders do not see case.
        key = phrase.casefold()
        if key in seen:
            raise UserError(
                f"the class names {seen[key]!r} and {name!r} both read as {phrase!r}",
                "tell them apart by --class_names",
            )
        seen[key] = name


def _check_templates(templates: Sequence[str]) -> None:
    if not templates:
        raise UserError("there is no --template", "give one such as 'a photo of {}'")
    for template in templates:
        if template.count("{}") != 1:
            raise UserError(
                f"--template={template!r} has {template.count('{}')} places for the class",
                "write {} once, as in 'a photo of {}'",
            )
        article = re.search(r"\b(?:an?|the)\s+\{\}", template, re.IGNORECASE)
        if article:
            raise UserError(
                f"--template={template!r} has an article before the class, which brings its own",
                f"write {template.replace(article[0], '{}')!r}",
            )
    if len(set(templates)) < len(templates):
        repeated = next(template for template in templates if templates.count(template) > 1)
        raise UserError(f"--template={repeated!r} is given twice", "give each template once")


def _hedge(first: Any, where: Callable) -> Any:
    """The rule of the hedged style: the index in `HEDGES`, by `np.where` or by `tf.where`."""
    return where(first >= SURE, 0, where(first >= LIKELY, 1, where(first >= PROBABLE, 2, 3)))


def _filled(pattern: str, parts: Sequence[Any]) -> list[Any]:
    """Returns the pieces of a pattern with `parts`, strings or string tensors, in its places."""
    pieces: list[Any] = pattern.split("{}")
    filled = pieces[:1]
    # A pattern may have fewer places than there are parts: the classes after its last are not named.
    for part, piece in zip(parts, pieces[1:], strict=False):
        filled += [part, piece]
    return filled


def _arrangement(index: int, items: Sequence[int], length: int) -> list[int]:
    """Returns the arrangement of `length` items that has this number; its first item changes fastest."""
    remaining, chosen = list(items), []
    for _ in range(length):
        index, place = divmod(index, len(remaining))
        chosen.append(remaining.pop(place))
    return chosen


def _logs(probabilities: np.ndarray) -> np.ndarray:
    return np.log(np.maximum(np.asarray(probabilities, np.float64), FLOOR))


def _checked_scores(scores: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    scores, labels = np.asarray(scores, np.float64), np.asarray(labels)
    if scores.ndim != 2 or labels.shape != scores.shape[:1] or not scores.size:
        raise ValueError(
            f"expected scores (N, C) and labels (N,) with N > 0. Received: {scores.shape} and {labels.shape}"
        )
    if not np.isfinite(scores).all():
        raise ValueError("scores must be finite")
    if not np.issubdtype(labels.dtype, np.integer) or labels.min() < 0 or labels.max() >= scores.shape[1]:
        raise ValueError(f"labels must be class indices below {scores.shape[1]}")
    return scores, labels


def _root(rising: Callable[[float], float], low: float, high: float) -> float:
    """Returns where a rising function is zero on [low, high], or the end nearest to that."""
    if rising(low) >= 0:
        return low
    if rising(high) <= 0:
        return high
    while high - low > 1e-7:
        middle = (low + high) / 2
        if rising(middle) < 0:
            low = middle
        else:
            high = middle
    return (low + high) / 2
