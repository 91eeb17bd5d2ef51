"""Class names as words that BERT reads, with their articles."""

import re
import unicodedata

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
_PRONOUN = re.compile(r"(?:any|every|no|some)(?:body|one|thing)(?![a-z])", re.IGNORECASE)
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
    is put before plurals ("trousers", "people"), before "something that flies", before names with
    letters that are not Latin, or where an article stands already. Latin names are taken for
    English nouns that can be counted.

    Args:
        name: a name as `readable` returns it.

    Returns:
        The name, with its article where it takes one.
    """
    words = name.split()
    if (len(words) > 1 and words[0].lower() in ("a", "an", "the")) or _PRONOUN.match(name):
        return name
    start = re.search(r"[^\W_]+", name)
    if start is None or not all(map(_is_latin, filter(str.isalpha, name))) or _is_plural(name):
        return name
    return f"{'an' if _begins_with_vowel_sound(start[0]) else 'a'} {name}"


def _readable_part(part: str) -> str:
    # Between figures a hyphen is a range and a dot is decimal.
    part = re.sub(r"_|(?<![0-9])[-.]|[-.](?![0-9])", " ", part)
    words = [word for token in part.split() for word in _camel_words(token)]
    if len(words) > 1 and re.fullmatch(r"[b-zB-Z]", words[0]) and words[1].isalpha():
        return " ".join([f"{words[0]}-{_lowercase(words[1])}", *map(_lowercase, words[2:])])
    return " ".join(map(_lowercase, words))


def _camel_words(token: str) -> list[str]:
    words, start = [], 0
    for i in range(1, len(token)):
        previous, rest = token[i - 1], token[i:]
        # Not after the first letter: iPhone, eBook.
        lower_to_upper = i > 1 and previous.islower() and rest[0].isupper()
        # The last capital of a run begins a word (USAFlag), but not before the s of a plural (TVs).
        last_capital = (
            previous.isalnum()
            and not previous.islower()
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


def _lowercase(word: str) -> str:
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
    if not letters:
        # As of "%s" and of a word in quotes.
        return False
    base_letters = unicodedata.normalize("NFD", letters).lower()
    is_spelled = (
        len(letters) == 1 or _is_spelled_capitals(letters) or not re.search(r"[aeiouyæœø]", base_letters)
    )
    if is_spelled and base_letters not in _SPOKEN:
        return base_letters[0] in _VOWEL_NAMED
    if base_letters[0] in "aeiouæœø":
        return not _CONSONANT_SOUND.match(base_letters)
    return _SILENT_H.match(base_letters) is not None
