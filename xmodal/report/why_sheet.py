"""A sheet of what made answers: pictures with maps on them, and words with bars."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from xmodal.core.formatting import printable, truncate
from xmodal.report.figures import drawing, encoded_figure

# Of the words of a text.
MAX_WORDS = 14


@dataclass(frozen=True)
class Explained:
    """A row of the sheet.

    Attributes:
        title: the answer, and how far its parts carry it.
        picture: (H, W, 3) uint8, None for a text.
        cells: how much each cell of the picture carries (n, n).
        words: the words that were read, with how much each carries.
    """

    title: str
    picture: np.ndarray | None
    cells: np.ndarray | None
    words: tuple[tuple[str, float], ...]


def why_sheet(rows: Sequence[Explained]) -> bytes:
    """Draws a row for each answer, as PNG: the picture, the map on it, and its words by what they carry.

    Blue is for the answer and red against it, in shares of the probability.
    """
    from matplotlib.figure import Figure

    with drawing("why"):
        figure = Figure(figsize=(9, 2.6 * len(rows)), layout="constrained")
        parts = figure.subfigures(len(rows), 1, squeeze=False)[:, 0]
        for part, row in zip(parts, rows, strict=True):
            part.suptitle(
                "\n".join(textwrap.wrap(printable(row.title), 110, max_lines=2)),
                fontsize=9,
                x=0.02,
                ha="left",
            )
            left, middle, right = part.subplots(1, 3, width_ratios=(1, 1, 1.6))
            for axes in (left, middle):
                axes.set_axis_off()
            if row.picture is not None and row.cells is not None:
                left.imshow(row.picture)
                _draw_map(middle, row.picture, row.cells)
            _draw_words(right, row.words)
        return encoded_figure(figure)


def _draw_map(axes, picture: np.ndarray, cells: np.ndarray) -> None:
    height, width = picture.shape[:2]
    axes.imshow(np.repeat(picture.mean(axis=2, keepdims=True), 3, axis=2).astype(np.uint8))
    largest = max(float(np.abs(cells).max()), 1e-6)
    axes.imshow(
        cells,
        cmap="RdBu",
        vmin=-largest,
        vmax=largest,
        alpha=0.55,
        extent=(-0.5, width - 0.5, height - 0.5, -0.5),
        interpolation="bicubic",
    )


def _draw_words(axes, words: Sequence[tuple[str, float]]) -> None:
    if not words:
        axes.set_axis_off()
        return
    counted = sorted(range(len(words)), key=lambda index: -abs(words[index][1]))[:MAX_WORDS]
    shown = [words[index] for index in sorted(counted)]
    falls = [100 * fall for _, fall in shown]
    axes.barh(range(len(shown)), falls, color=["#2166ac" if fall >= 0 else "#b2182b" for fall in falls])
    axes.set_yticks(
        range(len(shown)),
        [truncate(printable(word), 24) for word, _ in shown],
        fontsize=min(8, 90 / len(shown)),
    )
    axes.invert_yaxis()
    axes.set_xlabel("points of the probability without it", fontsize=7)
    axes.tick_params(axis="x", labelsize=7)
