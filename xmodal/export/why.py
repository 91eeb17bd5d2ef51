"""What made an answer: the parts of a picture or a sound, the words of a text.

Each is told in two ways: by leaving parts out, which any export can be asked, and by gradients, which the
export computes itself (`served_why`). Both are measured by what happens without the parts that they name.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from xmodal.core.console import log_error
from xmodal.core.errors import UserError
from xmodal.core.files import atomic_write
from xmodal.evaluation.part_curves import Ask, part_curves
from xmodal.export.covered import (
    CELLS,
    Rest,
    covered_picture,
    covered_sound,
    map_of_windows,
    parts_of,
    text_without,
    words_of,
)
from xmodal.export.predictor import Answer, Item, Predictor
from xmodal.report.figures import SHEET
from xmodal.report.records import Explained, Explanation
from xmodal.report.why_sheet import why_sheet

# Cells of which a square is covered at once, along each side.
COVERED = 2
# Of a sheet: each answer takes some hundred questions.
EXPLAINED = 12
# Of a picture, the longer side; what an export makes smaller anyway need not be encoded so often.
SIDE = 256


def why(predictor: Predictor, item: Item, answer: Answer, *, seed: int = 0) -> Explained:
    """Finds what made an answer.

    Of a picture, squares are covered by its mean colour, and of a sound by noise of its mean loudness
    (occlusion: Zeiler and Fergus 2014, arXiv:1311.2901, section 4.2); a cell carries the mean fall of the
    probability of all squares over it. Beside that stands Grad-CAM (`served_why.gradient_maps`): where the
    network sees the class that it finds likeliest. A video has no map. Of a text, of a pair's too, and of the
    sentence that was read of a picture, a sound or a video, words are left out one by one (Li et al. 2016,
    arXiv:1612.08220), and beside that stand integrated gradients (`served_why.WordShares`) where the text
    alone has this answer. Where names are mixed by their weights, no words are told.

    Args:
        predictor: the model.
        item: what it answered.
        answer: this answer.
        seed: of the random orders.
    """
    picture: np.ndarray | None = None
    maps: tuple[Explanation, ...] = ()
    if not item.is_text and item.content and predictor.medium.noun in ("picture", "sound"):
        picture, maps = _of_picture(predictor, item, answer, seed)
    words, of_words = _of_text(predictor, item, answer, seed)
    return Explained(answer.item, answer.label, answer.probability, picture, maps, words, of_words)


def write_why(
    path: Path,
    predictor: Predictor,
    items: Sequence[Item],
    answers: Sequence[Answer],
    *,
    overwrite: bool = False,
) -> None:
    """Writes a sheet of what made the first answers.

    Args:
        path: a PNG file.
        predictor: the model.
        items, answers: what it was asked, and what it answered.
        overwrite: replace a file that is no sheet.

    Raises:
        UserError: when nothing was answered.
    """
    pairs = [pair for pair in zip(items, answers, strict=True) if not pair[1].problem]
    if not pairs:
        raise UserError("there is no answer to explain with `why`", "give what can be read")
    rows = [why(predictor, item, answer) for item, answer in pairs[:EXPLAINED]]
    with atomic_write(path, SHEET, overwrite=overwrite) as file:
        file.write(why_sheet(rows))
    if len(pairs) > EXPLAINED:
        log_error(f"{path} has the first {EXPLAINED} of {len(pairs)} answers")


def _of_picture(
    predictor: Predictor, item: Item, answer: Answer, seed: int
) -> tuple[np.ndarray, tuple[Explanation, ...]]:
    """Returns what is shown of a picture or a sound, and where its answer comes from."""
    pixels, content, rest = _cover_parts(predictor, item.content)
    ask = _make_ask(predictor, rest, lambda encoded: replace(item, content=encoded), answer.label)
    shares = {"occlusion": _occlude_squares(ask)}
    if predictor.explain_images is not None:
        contents = predictor.asked_why("why", replace(item, content=content))
        heatmap = predictor.explain_images(*([part] for part in contents))["map"][0]
        if heatmap.ndim == 3:
            assert predictor.medium.sound
            heatmap = map_of_windows(heatmap, content, predictor.medium.sound)
        shares["Grad-CAM"] = _resize_to_cells(heatmap)
    return pixels, _measure_shares(ask, shares, seed)


def _cover_parts(predictor: Predictor, encoded: bytes) -> tuple[np.ndarray, bytes, Rest]:
    """Returns the pixels of a picture or of a sound, what is asked of it, and what covers its parts."""
    from xmodal.report.figures import decode_picture, thumbnail

    medium = predictor.medium
    if medium.sound is None:
        pixels = thumbnail(encoded, SIDE)
        return pixels, encoded, covered_picture(pixels)
    wav = medium.prepared(encoded)
    return decode_picture(medium.picture(encoded)), wav, covered_sound(wav, medium.sound)


def _of_text(
    predictor: Predictor, item: Item, answer: Answer, seed: int
) -> tuple[tuple[str, ...], tuple[Explanation, ...]]:
    """Returns the words that were read, and which of them made the answer."""
    if item.text is not None:
        text, pair = item.text.decode(), item
    elif item.is_text:
        text, pair = item.content.decode(), None
    else:
        # Of a picture the first sentence that was read of it.
        text, pair = answer.read.partition(" | ")[0] if predictor.reads_sentences else "", None
    if not (predictor.takes_texts and text.strip()):
        return (), ()
    outputs = _integrate_gradients(predictor, text, pair, answer.label)
    words = [word.decode() for word in outputs["words"][0] if word] if outputs else words_of(text)
    if not words:
        return (), ()
    parts = parts_of(words)

    def item_of(text: bytes) -> Item:
        # Of nothing at all it is asked as of a full stop: an empty text is refused.
        return replace(pair, text=text) if pair and pair.content else Item("", text or b".", True)

    ask = _make_ask(predictor, text_without(words, parts), item_of, answer.label)
    shares, differences = {"left out": _leave_parts_out(ask, len(parts))}, {}
    if outputs:
        method = "integrated gradients"
        shares[method] = np.array([outputs["shares"][0][part].sum() for part in parts])
        differences[method] = float(outputs["difference"][0])
    part_texts = tuple("".join(words[index] for index in part).strip() for part in parts)
    return part_texts, _measure_shares(ask, shares, seed, differences)


def _integrate_gradients(
    predictor: Predictor, text: str, pair: Item | None, label: str
) -> dict[str, np.ndarray] | None:
    """Returns what an export tells of words; None where it does not, or the text alone has another answer."""
    if predictor.explain_texts is None:
        return None
    if len(predictor.signatures["why_text"]) > 1:
        pair_item = replace(pair or Item("", b"", False), text=text.encode())
        return predictor.explain_texts(*([part] for part in predictor.asked_why("why_text", pair_item)))
    (answer,) = predictor([Item("", text.encode(), True)])
    return predictor.explain_texts([text.encode()]) if answer.label == label else None


def _make_ask(predictor: Predictor, rest: Rest, item_of: Callable[[bytes], Item], label: str) -> Ask:
    """Returns what asks for the probability of an answer without parts of an input."""

    def ask(mask: np.ndarray) -> np.ndarray:
        items = [item_of(rest(row)) for row in mask]
        return np.array([answer.probabilities[label] for answer in predictor(items)])

    return ask


def _measure_shares(
    ask: Ask, shares: dict[str, np.ndarray], seed: int, differences: dict[str, float] | None = None
) -> tuple[Explanation, ...]:
    curves = part_curves(ask, [part.ravel() for part in shares.values()], seed)
    return tuple(
        Explanation(method, part, curve, (differences or {}).get(method))
        for (method, part), curve in zip(shares.items(), curves, strict=True)
    )


def _leave_parts_out(ask: Ask, parts: int) -> np.ndarray:
    """Returns the fall of the probability without each of the parts (n,)."""
    masks = np.concatenate([np.ones((1, parts), bool), ~np.eye(parts, dtype=bool)])
    full, *rest = ask(masks)
    return full - np.array(rest)


def _occlude_squares(ask: Ask) -> np.ndarray:
    """Returns the mean fall of the probability over all squares that cover each cell (CELLS, CELLS)."""
    starts = [(row, column) for row in range(CELLS - COVERED + 1) for column in range(CELLS - COVERED + 1)]
    squares = np.zeros((len(starts), CELLS, CELLS), bool)
    for square, (row, column) in zip(squares, starts, strict=True):
        square[row : row + COVERED, column : column + COVERED] = True
    masks = squares.reshape(len(starts), -1)
    full, *rest = ask(np.concatenate([np.ones((1, CELLS**2), bool), ~masks]))
    return ((full - np.array(rest)) @ masks / masks.sum(axis=0)).reshape(CELLS, CELLS)


def _resize_to_cells(heatmap: np.ndarray) -> np.ndarray:
    """Resizes a map (h, w) to the cells (CELLS, CELLS)."""
    import tensorflow as tf

    return tf.image.resize(heatmap[:, :, None], (CELLS, CELLS), "bilinear", antialias=True).numpy()[:, :, 0]
