"""A sheet of what made answers: pictures with maps on them, and words with bars."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import numpy as np

from xmodal.core.formatting import printable, truncate
from xmodal.report.figures import drawing, encode_figure
from xmodal.report.records import Explained

# Of the words of a text.
MAX_WORDS = 14
# Blue for an answer and red against it, and weaker ones for a second method.
FOR, AGAINST, STRENGTHS = "#2166ac", "#b2182b", (1.0, 0.45)


def why_sheet(rows: Sequence[Explained]) -> bytes:
    """Draws a row for each answer, as PNG: the picture, the maps on it, and its words by what they carry.

    Blue is for the answer and red against it, in points of the probability.
    """
    from matplotlib.figure import Figure

    columns = max([1, *(1 + len(row.maps) for row in rows)])
    with drawing("why"):
        figure = Figure(figsize=(3.6 + 1.9 * columns, 2.9 * len(rows)), layout="constrained")
        parts = figure.subfigures(len(rows), 1, squeeze=False)[:, 0]
        for part, row in zip(parts, rows, strict=True):
            lines = [row.title, *(entry.line for entry in (*row.maps, *row.of_words))]
            title_lines = [
                line for text in lines for line in textwrap.wrap(printable(text), 26 * columns, max_lines=2)
            ]
            part.suptitle("\n".join(title_lines), fontsize=8, x=0.02, ha="left")
            *pictures, words_axes = part.subplots(1, columns + 1, width_ratios=(*[1] * columns, 1.9))
            for axes in pictures:
                axes.set_axis_off()
            if row.picture is not None:
                pictures[0].imshow(row.picture)
                for axes, entry in zip(pictures[1:], row.maps, strict=False):
                    _draw_map(axes, row.picture, entry.shares)
                    axes.set_title(entry.method, fontsize=8)
            _draw_words(words_axes, row)
        return encode_figure(figure)


def draw_map(picture: np.ndarray, shares: np.ndarray) -> bytes:
    """Draws a map on a picture, as PNG.

    Args:
        picture: (H, W, 3) uint8.
        shares: how much each cell carries (n, n).
    """
    from matplotlib.figure import Figure

    height, width = picture.shape[:2]
    with drawing("map"):
        figure = Figure(figsize=(1.6, 1.6 * height / width))
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set_axis_off()
        _draw_map(axes, picture, shares)
        return encode_figure(figure)


def _draw_map(axes, picture: np.ndarray, shares: np.ndarray) -> None:
    height, width = picture.shape[:2]
    axes.imshow(np.repeat(picture.mean(axis=2, keepdims=True), 3, axis=2).astype(np.uint8))
    largest = max(float(np.abs(shares).max()), 1e-6)
    axes.imshow(
        shares,
        cmap="RdBu",
        vmin=-largest,
        vmax=largest,
        alpha=0.55,
        extent=(-0.5, width - 0.5, height - 0.5, -0.5),
        interpolation="bicubic",
    )


def _draw_words(axes, row: Explained) -> None:
    if not row.of_words:
        axes.set_axis_off()
        return
    heaviest = np.max([np.abs(entry.shares) for entry in row.of_words], axis=0)
    indices = np.sort(np.argsort(-heaviest, kind="stable")[:MAX_WORDS])
    height = 0.8 / len(row.of_words)
    for place, (entry, strength) in enumerate(zip(row.of_words, STRENGTHS, strict=False)):
        points = 100 * entry.shares[indices]
        colours = [FOR if share >= 0 else AGAINST for share in points]
        positions = np.arange(len(indices)) + height * (place - (len(row.of_words) - 1) / 2)
        axes.barh(positions, points, height, color=colours, alpha=strength, label=entry.method)
    axes.set_yticks(
        range(len(indices)),
        [truncate(printable(row.words[index]), 24) for index in indices],
        fontsize=min(8, 90 / len(indices)),
    )
    axes.invert_yaxis()
    methods = [entry.method for entry in row.of_words]
    weaker_note = f"; weaker: {methods[1]}" if len(methods) > 1 else ""
    axes.set_xlabel(f"points of the probability, {methods[0]}{weaker_note}", fontsize=7)
    axes.tick_params(axis="x", labelsize=7)
