"""What made an answer: the parts of a picture, the words of a text, found by leaving them out."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from xmodal.core.console import log_error
from xmodal.core.errors import UserError
from xmodal.core.files import atomic_write
from xmodal.export.predictor import Answer, Item, Predictor
from xmodal.report.figures import SHEET
from xmodal.report.why_sheet import Explained, why_sheet

# Cells of a picture along each side, of which a square of so many is covered at once.
CELLS, COVERED = 8, 2
# Of a longer text several words are one part.
MAX_PARTS = 48
# How many parts a curve removes in how many steps, and random orders that it is compared with.
STEPS, RANDOM_ORDERS = 8, 3
# Of a sheet: each answer takes some hundred questions.
EXPLAINED = 12
WORD = re.compile(r"\S+\s*")

# Which parts are there, bool (K, n) -> the probability of the answer (K,).
Ask = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Curves:
    """How the probability of an answer falls and rises with its parts, as means over the curves, 0 to 1.

    Deletion takes the most important parts away first, and insertion puts them back first (Petsiuk et al.
    2018, arXiv:1806.07421, section 4): a map that found what counts has a low deletion and a high insertion,
    against those of parts in random order.

    Attributes:
        deletion, insertion: of the parts in the order of their importance.
        random_deletion, random_insertion: the means of random orders.
    """

    deletion: float
    insertion: float
    random_deletion: float
    random_insertion: float

    @property
    def line(self) -> str:
        """The four numbers in words."""
        return (
            f"deletion {self.deletion:.2f} (random {self.random_deletion:.2f}), "
            f"insertion {self.insertion:.2f} (random {self.random_insertion:.2f})"
        )


@dataclass(frozen=True)
class Why:
    """What made an answer.

    Attributes:
        item: what was answered.
        answer: the answer.
        cells: how much of the probability each cell of the picture carries (CELLS, CELLS), None for a text.
        words: the words that were read, with the same.
        curves: of the picture, or of the text; measures whether the parts count.
    """

    item: Item
    answer: Answer
    cells: np.ndarray | None
    words: tuple[tuple[str, float], ...]
    curves: Curves


def why(predictor: Predictor, item: Item, answer: Answer, *, seed: int = 0) -> Why:
    """Finds what made an answer: the model is asked again without parts of what it was asked.

    Of a picture, squares are covered by its mean colour (occlusion: Zeiler and Fergus 2014, arXiv:1311.2901,
    section 4.2), and a cell carries the mean fall of the probability of all squares over it. Of a text, or
    of the sentence that was read of a picture, words are left out one by one (Li et al. 2016,
    arXiv:1612.08220). It takes some hundred questions, and no gradient: any export can be asked.

    Args:
        predictor: the model.
        item: a picture or a text that it answered.
        answer: this answer.
        seed: of the random orders.

    Raises:
        UserError: for a pair, whose two sides would have to be told apart, and for a sound or a video.
    """
    if item.text is not None:
        raise UserError("a pair is answered from two sides", "ask for its picture or its text alone")
    if predictor.medium.noun != "picture" and not item.is_text:
        raise UserError(
            f"a {predictor.medium.noun} has no parts that could be covered",
            "ask for a text, or a model of pictures",
        )
    if item.is_text:
        ask, words = _of_words(predictor, item.content.decode(), answer.label)
        importance = _left_out(ask, len(words))
        weighted = tuple(zip(words, importance.tolist(), strict=True))
        return Why(item, answer, None, weighted, _curves(ask, importance, seed))
    ask = _of_cells(predictor, item.content, answer.label)
    importance = _occluded(ask)
    cells = importance.reshape(CELLS, CELLS)
    return Why(item, answer, cells, _read_words(predictor, answer), _curves(ask, importance, seed))


def write_why(
    path: Path,
    predictor: Predictor,
    items: Sequence[Item],
    answers: Sequence[Answer],
    *,
    overwrite: bool = False,
) -> None:
    """Writes a sheet of what made the first answers, and tells the words and the curves of each.

    Args:
        path: a PNG file.
        predictor: the model.
        items, answers: what it was asked, and what it answered.
        overwrite: replace a file that is no sheet.

    Raises:
        UserError: for pairs, and when nothing was answered.
    """
    from xmodal.report.figures import thumbnail

    answered = [pair for pair in zip(items, answers, strict=True) if not pair[1].problem]
    if not answered:
        raise UserError("there is no answer to explain with `why`", "give pictures or texts that can be read")
    explained = [why(predictor, item, answer) for item, answer in answered[:EXPLAINED]]
    rows = [
        Explained(
            f"{found.answer.item}: {found.answer.probability:.0%} {found.answer.label}; {found.curves.line}",
            None if found.cells is None else thumbnail(found.item.content, 256),
            found.cells,
            found.words,
        )
        for found in explained
    ]
    with atomic_write(path, SHEET, overwrite=overwrite) as file:
        file.write(why_sheet(rows))
    if len(answered) > EXPLAINED:
        log_error(f"{path} has the first {EXPLAINED} of {len(answered)} answers")


def _read_words(predictor: Predictor, answer: Answer) -> tuple[tuple[str, float], ...]:
    """The words of the first sentence that was read of a picture, where the model takes texts."""
    sentence = answer.read.partition(" | ")[0]
    if not (predictor.takes_texts and sentence):
        return ()
    ask, words = _of_words(predictor, sentence, answer.label)
    return tuple(zip(words, _left_out(ask, len(words)).tolist(), strict=True))


def _of_words(predictor: Predictor, text: str, label: str) -> tuple[Ask, list[str]]:
    """Returns what asks for parts of a text, and these: words, or several where there are many."""
    spans = WORD.findall(text)
    parts = ["".join(some) for some in np.array_split(np.array(spans, object), min(MAX_PARTS, len(spans)))]

    def ask(there: np.ndarray) -> np.ndarray:
        texts = ["".join(part for part, kept in zip(parts, row, strict=True) if kept) for row in there]
        # Of nothing at all it is asked as of a full stop: an empty text is refused.
        return _probabilities(predictor, [Item("", (text or ".").encode(), True) for text in texts], label)

    return ask, [part.strip() for part in parts]


def _of_cells(predictor: Predictor, encoded: bytes, label: str) -> Ask:
    import tensorflow as tf

    from xmodal.report.figures import thumbnail

    # What an export makes smaller than that anyway does not need to be encoded so often.
    pixels = thumbnail(encoded, 256)
    rows, columns = (np.arange(size) * CELLS // size for size in pixels.shape[:2])
    cell = rows[:, None] * CELLS + columns[None, :]
    mean = pixels.mean(axis=(0, 1)).astype(np.uint8)

    def ask(there: np.ndarray) -> np.ndarray:
        covered = (np.where(row[cell][:, :, None], pixels, mean) for row in there)
        items = [Item("", tf.io.encode_png(picture).numpy(), False) for picture in covered]
        return _probabilities(predictor, items, label)

    return ask


def _probabilities(predictor: Predictor, items: Sequence[Item], label: str) -> np.ndarray:
    return np.array([answer.probabilities[label] for answer in predictor(items)])


def _left_out(ask: Ask, parts: int) -> np.ndarray:
    """Returns the fall of the probability without each of the parts (n,)."""
    there = np.concatenate([np.ones((1, parts), bool), ~np.eye(parts, dtype=bool)])
    whole, *without = ask(there)
    return whole - np.array(without)


def _occluded(ask: Ask) -> np.ndarray:
    """Returns the mean fall of the probability over all squares that cover each cell (n,)."""
    starts = [(row, column) for row in range(CELLS - COVERED + 1) for column in range(CELLS - COVERED + 1)]
    squares = np.zeros((len(starts), CELLS, CELLS), bool)
    for square, (row, column) in zip(squares, starts, strict=True):
        square[row : row + COVERED, column : column + COVERED] = True
    covered = squares.reshape(len(starts), -1)
    whole, *without = ask(np.concatenate([np.ones((1, CELLS**2), bool), ~covered]))
    return (whole - np.array(without)) @ covered / covered.sum(axis=0)


def _curves(ask: Ask, importance: np.ndarray, seed: int) -> Curves:
    random = np.random.default_rng(seed)
    orders = [np.argsort(-importance, kind="stable")]
    orders += [random.permutation(len(importance)) for _ in range(RANDOM_ORDERS)]
    removed = np.linspace(0, len(importance), min(STEPS, len(importance)) + 1).round().astype(int)
    gone = np.zeros((len(orders), len(removed), len(importance)), bool)
    for masks, order in zip(gone, orders, strict=True):
        for mask, count in zip(masks, removed, strict=True):
            mask[order[:count]] = True
    flat = gone.reshape(-1, len(importance))
    deletion, insertion = (ask(there).reshape(len(orders), -1).mean(axis=1) for there in (~flat, flat))
    return Curves(
        float(deletion[0]), float(insertion[0]), float(deletion[1:].mean()), float(insertion[1:].mean())
    )
