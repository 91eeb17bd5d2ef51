"""Concepts between images and answers: 128 that are shipped, or others, and weights to read and to edit.

A concept bottleneck without labels of concepts (Koh et al. 2020, arXiv:2007.04612; Oikarinen et al. 2023,
arXiv:2304.06129): an image has a score for each concept by its words, and a linear head answers from these.
"""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np

from xmodal.bridge.adaptation import fit_probe, standardiser
from xmodal.core.errors import UserError
from xmodal.core.reading import read_regular
from xmodal.evaluation.calibration import fit_temperature

# What stands for the list beside this file.
SHIPPED = "shipped"
# How a concept is written for an encoder.
TEMPLATE = "a photo of something that {}"
BIAS = "(bias)"
# No such list or table has more bytes.
MAX_BYTES = 2**24


@dataclass(frozen=True)
class ConceptHead:
    """Answers from scores of concepts, by weights that can be read.

    Attributes:
        concepts: K of them.
        answers: C of them.
        mean, scale: of the scores of each concept (K,): a weight counts their deviations.
        weights: how much each concept speaks for each answer (K, C).
        bias: (C,).
    """

    concepts: tuple[str, ...]
    answers: tuple[str, ...]
    mean: np.ndarray
    scale: np.ndarray
    weights: np.ndarray
    bias: np.ndarray

    def __call__(self, scores: np.ndarray) -> np.ndarray:
        """Returns logits (B, C) from scores of the concepts (B, K)."""
        return (scores - self.mean) / self.scale @ self.weights + self.bias

    def table(self) -> str:
        """Returns the weights as a CSV: a concept a row, an answer a column, the bias in the first row.

        `read_concept_head` reads it again, edited or not: a weight of 0 leaves a concept out of an answer.
        """
        text = io.StringIO()
        rows = csv.writer(text, lineterminator="\n")
        rows.writerow(["concept", "mean", "scale", *self.answers])
        rows.writerow([BIAS, 0, 1, *(f"{value:.6g}" for value in self.bias)])
        columns = zip(self.concepts, self.mean, self.scale, self.weights, strict=True)
        for concept, mean, scale, weights in columns:
            rows.writerow([concept, *(f"{value:.8g}" for value in (mean, scale, *weights))])
        return text.getvalue()


@dataclass(frozen=True)
class Bottleneck:
    """From a speaker's features to answers, with nothing between them but scores of concepts.

    Attributes:
        weights, bias: features (B, D) -> scores of the concepts (B, K), by (D, K) and (K,).
        head: answers from these.
    """

    weights: np.ndarray
    bias: np.ndarray
    head: ConceptHead

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """Returns logits of the answers (B, C)."""
        return self.head(features @ self.weights + self.bias)


def concepts_of(spec: str) -> tuple[str, ...]:
    """Returns the concepts of a list: "shipped" for the 128 beside this file, or a file with one a line.

    A concept goes on from "a photo of something that", such as "has wheels".

    Raises:
        UserError: for a file that cannot be read, or has fewer than two concepts or one of them twice.

    Example:
        >>> concepts_of("shipped")[0]
        'has wheels'
    """
    if spec == SHIPPED:
        text = (files("xmodal.bridge") / "concepts.txt").read_text(encoding="utf-8")
    else:
        text = _text(Path(spec), f"`concepts={spec}`", "a text in UTF-8 with a concept a line")
    concepts = tuple(" ".join(line.split()) for line in text.splitlines() if line.strip())
    if len(concepts) < 2:
        raise UserError(f"`concepts={spec}` has {len(concepts)}", "write two concepts or more, one a line")
    duplicate = next((concept for concept in concepts if concepts.count(concept) > 1), None)
    if duplicate:
        raise UserError(f"`concepts={spec}` has {duplicate!r} twice", "write each concept once")
    return concepts


def fit_concept_head(
    scores: np.ndarray, labels: np.ndarray, concepts: Sequence[str], answers: Sequence[str]
) -> ConceptHead:
    """Learns answers from scores of concepts: ridge regression, as sure as it was right.

    Args:
        scores: (n, K).
        labels: the right answers (n,).
        concepts, answers: K and C of them.
    """
    standardise = standardiser(scores)
    probe = fit_probe(standardise(scores), labels, np.zeros((len(labels), len(answers))), offsets=(0.0,))
    deviation = standardise.scale / np.sqrt(scores.shape[1])
    weights = probe.weights / np.sqrt(scores.shape[1])
    # The scores of ridge regression are no logits.
    confidence = 1 / fit_temperature((scores - standardise.mean) / deviation @ weights, labels)
    return ConceptHead(
        tuple(concepts),
        tuple(answers),
        standardise.mean,
        deviation,
        confidence * weights,
        np.zeros(len(answers)),
    )


def read_concept_head(path: Path, answers: Sequence[str]) -> ConceptHead:
    """Reads a table that `ConceptHead.table` wrote, perhaps edited since; rows may be gone.

    Args:
        path: the file.
        answers: what its columns are to be, in any order.

    Raises:
        UserError: for a file that cannot be read, other columns, or a cell that is no number.
    """
    flag = f"`concept_weights={path}`"
    rows = list(csv.DictReader(io.StringIO(_text(path, flag, "a CSV that a run wrote"), newline="")))
    columns = ["concept", "mean", "scale", *answers]
    missing_columns = [name for name in columns if not rows or name not in rows[0]]
    if missing_columns:
        raise UserError(
            f"{flag} has no column {missing_columns[0]!r}", f"keep the columns {', '.join(columns)}"
        )
    names = [str(row["concept"]).strip() for row in rows]
    if names[0] != BIAS or len(rows) < 3:
        raise UserError(f"{flag} has no row {BIAS} with two concepts below it", "keep them")
    numbers = np.array([[_number(row[name], flag, row["concept"]) for name in columns[1:]] for row in rows])
    if (numbers[:, 1] <= 0).any():
        raise UserError(f"{flag} has a scale that is not positive", "keep the column as it was")
    mean, scale, weights = numbers[1:, 0], numbers[1:, 1], numbers[1:, 2:]
    return ConceptHead(tuple(names[1:]), tuple(answers), mean, scale, weights, numbers[0, 2:])


def _number(cell: str | None, flag: str, row: str) -> float:
    try:
        value = float(cell or "")
    except ValueError:
        value = np.nan
    if not np.isfinite(value):
        raise UserError(f"{flag} has {cell!r} in the row {row!r}", "write a number")
    return value


def _text(path: Path, flag: str, description: str) -> str:
    try:
        return read_regular(path, MAX_BYTES).decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{flag} cannot be read ({error})", f"give {description}") from error
