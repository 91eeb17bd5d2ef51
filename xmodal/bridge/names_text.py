"""What a classifier's names say, as sentences: with WordNet's words for them where they are ImageNet's.

The file beside this one has the 1,000 classes of ImageNet in their usual order, with the synonyms and the
hypernyms of WordNet 3.0 (Princeton University; its licence stands beside it).
"""

import csv
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Literal, get_args

from xmodal.bridge.class_names import readable, with_article
from xmodal.core.errors import UserError, nearest

NameText = Literal["plain", "synonyms", "ancestors"]
NAME_TEXTS: tuple[str, ...] = get_args(NameText)

# Nearer ones tell kinds apart, farther ones make all names alike. Of 0 to 10, chosen on every second
# photograph that has a kind (5 is best) and training images of CIFAR-10 (10 is a point better than 5).
ANCESTORS = 5


@dataclass(frozen=True)
class WordnetName:
    """A class of ImageNet.

    Attributes:
        wordnet: the id of its synset, such as "n02085620".
        name: what it is mostly called, with what it is a kind of where another class is called the same:
            "crane (wading bird)" and "crane (lifting device)".
        synonyms: what else.
        ancestors: what it is a kind of, the nearest first.
    """

    wordnet: str
    name: str
    synonyms: tuple[str, ...]
    ancestors: tuple[str, ...]


@cache
def imagenet_names() -> tuple[WordnetName, ...]:
    """Returns the 1,000 classes of ImageNet, in the order of its classifiers.

    Example:
        >>> imagenet_names()[151].ancestors[:2]
        ('toy dog', 'dog')
    """
    table = (files("xmodal.bridge") / "imagenet_names.csv").read_text(encoding="utf-8")
    rows = list(csv.DictReader(table.splitlines()))
    uses = Counter(row["name"] for row in rows)
    return tuple(_wordnet_name(row, is_shared=uses[row["name"]] > 1) for row in rows)


def _wordnet_name(row: dict[str, str], *, is_shared: bool) -> WordnetName:
    synonyms, ancestors = (tuple(row[column].split("; ")) for column in ("synonyms", "ancestors"))
    others = tuple(word for word in synonyms if word != row["name"])
    name = f"{row['name']} ({ancestors[0]})" if is_shared else row["name"]
    return WordnetName(row["wordnet"], name, others, ancestors)


def names_text(
    names: Sequence[str],
    wordnet: Sequence[str] | None = None,
    *,
    style: str = "plain",
    ancestors: int = ANCESTORS,
    template: str = "a photo of {}",
) -> tuple[str, ...]:
    """Puts each name of a classifier into a sentence.

    - `plain`: "a photo of a Chihuahua".
    - `synonyms`: "a photo of a mortarboard, also called a mortar board".
    - `ancestors`: "a photo of a Chihuahua, a kind of toy dog, dog".

    Args:
        names: the C names.
        wordnet: their ids in WordNet, as ImageNet has them; None when they are not of ImageNet.
        style: one of `NAME_TEXTS`.
        ancestors: the most hypernyms of a name, the nearest first.
        template: a text with `{}` where the name goes.

    Returns:
        C sentences.

    Raises:
        UserError: for an unknown style, or one that needs WordNet without ids.

    Example:
        >>> names_text(["Chihuahua"], ["n02085620"], style="ancestors", ancestors=2)
        ('a photo of a Chihuahua, a kind of toy dog, dog',)
    """
    if style not in NAME_TEXTS:
        raise UserError(f"the text of names {style!r} is not known", nearest(style, NAME_TEXTS))
    if style != "plain" and wordnet is None:
        raise UserError(f"{style} are known of the names of ImageNet alone", "use the plain names")
    if wordnet is None:
        return tuple(template.format(with_article(readable(name))) for name in names)
    entry_by_wordnet = {entry.wordnet: entry for entry in imagenet_names()}
    return tuple(template.format(_phrase(entry_by_wordnet[key], style, ancestors)) for key in wordnet)


def _phrase(entry: WordnetName, style: str, ancestors: int) -> str:
    phrase = with_article(entry.name)
    if style == "synonyms" and entry.synonyms:
        return f"{phrase}, also called {', '.join(map(with_article, entry.synonyms))}"
    if style == "ancestors" and entry.ancestors[:ancestors]:
        return f"{phrase}, a kind of {', '.join(entry.ancestors[:ancestors])}"
    return phrase
