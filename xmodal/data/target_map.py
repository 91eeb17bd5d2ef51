"""Texts read from files: the target map, a question put in words alone, and what classes are about."""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from os.path import isfile
from pathlib import Path

import numpy as np

from xmodal.bridge.class_names import with_article
from xmodal.core.errors import UserError, nearest
from xmodal.core.files import path_of
from xmodal.core.formatting import first_few
from xmodal.core.reading import read_regular

# No such table has more.
MAX_BYTES = 64 * 2**20


@dataclass(frozen=True)
class TargetMap:
    """A question about images, given by descriptions and their answers.

    Attributes:
        names: the answers, C of them.
        descriptions: texts (M,) such as class names.
        targets: the answer to each description (M,), as an index into `names`.
        of_class: the answer for each class of the images, as an index into `names`.
    """

    names: tuple[str, ...]
    descriptions: tuple[str, ...]
    targets: np.ndarray
    of_class: np.ndarray


@dataclass(frozen=True)
class Answers:
    """Answers to choose from, in words.

    Attributes:
        names: what they are called, C of them.
        texts: descriptions of them (M,).
        targets: the answer that each describes (M,), as an index into `names`.
    """

    names: tuple[str, ...]
    texts: tuple[str, ...]
    targets: np.ndarray


def describe_answers(descriptions: Mapping[str, Sequence[str]]) -> Answers:
    """Returns answers by what describes them: name -> one text or several.

    Raises:
        UserError: for fewer than two answers, and one without a description.

    Example:
        >>> describe_answers({"wet": ["a fish", "a frog"], "dry": ["a camel"]}).texts
        ('a fish', 'a frog', 'a camel')
    """
    names = tuple(descriptions)
    if len(names) < 2:
        raise UserError(f"{len(names)} answers leave nothing to choose", "give two or more")
    texts = [[texts] if isinstance(texts, str) else [*texts] for texts in descriptions.values()]
    missing_names = [
        name for name, own_texts in zip(names, texts, strict=True) if not "".join(own_texts).strip()
    ]
    if missing_names:
        raise UserError(f"nothing describes the answer {missing_names[0]!r}", "give a text for each answer")
    targets = np.repeat(np.arange(len(names)), [len(own_texts) for own_texts in texts])
    return Answers(names, tuple(text for own_texts in texts for text in own_texts), targets)


def parse_answers(words: str) -> Answers:
    """Reads answers that are typed, with commas between them; each is put as "a photo of a NAME".

    Raises:
        UserError: for fewer than two answers, and one that is empty or given twice.

    Example:
        >>> parse_answers("dog, owl").texts
        ('a photo of a dog', 'a photo of an owl')
    """
    names = [" ".join(name.split()) for name in words.split(",")]
    folded_names = [name.casefold() for name in names]
    for place, name in enumerate(names):
        if not name:
            raise UserError(f"one of the answers in {words!r} is empty", "write words between the commas")
        if folded_names.index(name.casefold()) < place:
            raise UserError(f"{name!r} stands twice among the answers", "give each answer once")
    return _answers({f"a photo of {with_article(name)}": name for name in names})


def read_answers(words: str, flag: str = "answers") -> Answers:
    """Reads answers that are typed, see `parse_answers`, or a CSV with the columns description,target.

    Args:
        words: names with commas between them; or the path of a CSV, of which descriptions stay as they are.
        flag: the flag that gives them.

    Raises:
        UserError: for fewer than two answers, one that is empty or given twice, and a file that is none.
    """
    path = path_of(words)
    if path.suffix.lower() == ".csv" or isfile(path):
        return _answers(_answer_by_description(path, f"`{flag}={words}`"))
    return parse_answers(words)


def _answers(answers: dict[str, str]) -> Answers:
    names = tuple(dict.fromkeys(answers.values()))
    if len(names) < 2:
        raise UserError(f"{names[0]!r} is the only answer", "give at least two to choose from")
    return Answers(names, tuple(answers), np.array([names.index(name) for name in answers.values()]))


def identity_map(class_names: Sequence[str]) -> TargetMap:
    """Returns the map that asks for the images' own classes."""
    indices = np.arange(len(class_names))
    return TargetMap(tuple(class_names), tuple(class_names), indices, indices)


def read_target_map(path: Path, class_names: Sequence[str], flag: str = "target_map") -> TargetMap:
    """Reads a CSV with the columns description,target.

    Every class name must be among the descriptions, for only these tell what the right answer for an
    image is; further descriptions are more text to learn from.

    Args:
        path: the file, in UTF-8.
        class_names: the names of the images' classes.
        flag: the flag that names the file.

    Raises:
        UserError: when the file cannot be read, lacks a column, answers a description twice, leaves
            a class out or has fewer than two answers.
    """
    flag = f"`{flag}={path}`"
    answers = _answer_by_description(path, flag)
    missing_names = [name for name in class_names if name not in answers]
    if missing_names:
        raise UserError(
            f"{flag} has no description for {len(missing_names)} of the classes: "
            f"{', '.join(missing_names[:5])}",
            "add a line for each class",
        )
    names = tuple(dict.fromkeys(answers.values()))
    if len(names) < 2:
        raise UserError(f"{flag} has only the answer {names[0]!r}", "give at least two answers")
    index = {name: position for position, name in enumerate(names)}
    return TargetMap(
        names=names,
        descriptions=tuple(answers),
        targets=np.array([index[answer] for answer in answers.values()]),
        of_class=np.array([index[answers[name]] for name in class_names]),
    )


def read_descriptions(path: Path, class_names: Sequence[str]) -> tuple[list[str], np.ndarray]:
    """Reads a CSV with the columns name,description: in words, what classes are about.

    Args:
        path: the file, in UTF-8; several lines may describe one class, and a class may have none.
        class_names: the names of the C classes.

    Returns:
        The descriptions, and the class of each, as an index into `class_names` (M,): none when not one of
        the classes is described, for then the file belongs to other data.

    Raises:
        UserError: when the file cannot be read, lacks a column or names a class beside those of the data.
    """
    flag = f"`class_descriptions={path}`"
    index = {name: position for position, name in enumerate(class_names)}
    rows = list(_pairs(path, flag, "name", "description"))
    texts: list[str] = []
    targets: list[int] = []
    # Not even by a slip of the pen.
    if not any(name in index or get_close_matches(name, index, 1) for _, (name, _) in rows):
        return texts, np.array(targets, np.int64)
    for line, (name, description) in rows:
        if name not in index:
            raise UserError(
                f"{flag} line {line} describes {name!r}, which is no class",
                f"{nearest(name, index)} (or give `class_descriptions=` to do without)",
            )
        texts.append(description)
        targets.append(index[name])
    return texts, np.array(targets, np.int64)


def _answer_by_description(path: Path, flag: str) -> dict[str, str]:
    """The answer to each description of a CSV with the columns description,target."""
    answers: dict[str, str] = {}
    for line, (description, target) in _pairs(path, flag, "description", "target"):
        if answers.setdefault(description, target) != target:
            raise UserError(
                f"{flag} line {line} answers {description!r} with {target!r} after {answers[description]!r}",
                "keep one of them",
            )
    return answers


def _pairs(path: Path, flag: str, first: str, second: str) -> Iterator[tuple[int, tuple[str, str]]]:
    """Yields what two columns of a CSV hold in each line, with the line's number."""
    try:
        text = read_regular(path, MAX_BYTES).decode("utf-8-sig")
        rows = list(csv.DictReader(io.StringIO(text, newline="")))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{flag} cannot be read ({error})", "give a CSV file in UTF-8") from error
    if not rows or not {first, second} <= set(rows[0]):
        columns = first_few([repr(name) for name in rows[0]], 10) if rows else "none"
        raise UserError(
            f"{flag} has no rows with the columns {first} and {second} (there are {columns})",
            "add a header and rows",
        )
    for line, row in enumerate(rows, start=2):
        pair = (row[first] or "").strip(), (row[second] or "").strip()
        if not all(pair):
            raise UserError(f"{flag} line {line} lacks a {first} or a {second}", "fill in both")
        yield line, pair
