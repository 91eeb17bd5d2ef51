"""Plots by matplotlib: SVG that takes its colours from the page, and pixels for TensorBoard.

matplotlib is imported when the first plot is drawn, and pyplot, with its global state, never.
"""

from __future__ import annotations

import io
import re
import struct
import textwrap
import warnings
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from html import escape
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from xmodal.core.formatting import percent, printable, truncate
from xmodal.report import markup
from xmodal.report.records import GalleryItem, Plot

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from xmodal.evaluation.metrics import Result
    from xmodal.training.progress import History

# What a sheet says of who drew it, as a PNG may.
DRAWN_BY = b"tEXtSoftware\0xmodal"
SHEET = re.compile(re.escape(DRAWN_BY))
# The signature and the header of a PNG have so many bytes.
PNG_HEAD = 33
# matplotlib wants colours that it knows; `_svg` puts the page's own in their place, for light and dark.
INK, FAINT, FIRST, SECOND, QUIET = "#0a0b01", "#0a0b02", "#0a0b03", "#0a0b04", "#0a0b07"
FURTHER = {"#0a0b05": "var(--right)", "#0a0b06": "var(--wrong)", QUIET: "var(--quiet)"}
PAGE_COLOURS = {
    INK: "currentColor",
    FAINT: "var(--rule)",
    FIRST: "var(--first)",
    SECOND: "var(--second)",
    **FURTHER,
}
LINE_COLOURS = (FIRST, SECOND, *FURTHER)
# Some readers do not tell all the colours apart: each line has a dash and a mark too.
DASHES: tuple[Any, ...] = ("solid", (0, (4, 2)), (0, (1, 1)), (0, (5, 1, 1, 1)))
MARKS = ("o", "s", "^")
PAGE_STYLE: dict[str, Any] = {
    "axes.edgecolor": FAINT,
    "axes.facecolor": "none",
    "axes.grid": True,
    "axes.labelcolor": INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 10,
    "figure.facecolor": "none",
    "grid.color": FAINT,
    "legend.borderaxespad": 0,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "text.color": INK,
    "xtick.color": FAINT,
    "xtick.labelcolor": INK,
    "ytick.color": FAINT,
    "ytick.labelcolor": INK,
}
KIND_COLOURS = {"right": "#1a7f4b", "wrong": "#c0392b", "unsure": "#a86a00", "unknown": "#333333"}

# Of every plot on the page, in inches: they are scaled alike, so letters are of one size.
WIDTH = 4.4
# Characters of a title's line, of a name in a legend, and of one that has another beside it.
TITLE, LEGEND, HALF = 54, 60, 28
# Up to so many points, each has a mark and a tick of its own.
FEW_POINTS = 12
NUMBERED_CLASSES = 20
NAMED_CLASSES = 40
DPI = 100
# Pictures with shorter sides are enlarged with their pixels kept square.
SMALL = 128
# Tried, where they are installed, for names that matplotlib's own font cannot write.
OTHER_FONTS = ("Noto Sans CJK SC", "Noto Sans CJK JP", "Source Han Sans SC", "PingFang SC", "Microsoft YaHei")


def curve(history: History, quantity: str) -> str | None:
    """Draws "loss" or "accuracy" of a training over its epochs, the validation's beside it.

    Returns:
        SVG, or None when no epoch has the quantity.
    """
    scale, unit = (100, " in %") if quantity == "accuracy" else (1, " in nats")
    if quantity == "loss" and not any("accuracy" in epoch for epoch in history.epochs):
        # Not that of a classifier: its own loss, whatever it is measured in.
        unit = ""
    training, validation = (
        tuple((epoch["epoch"] + 1, scale * epoch[key]) for epoch in history.epochs if key in epoch)
        for key in (quantity, f"val_{quantity}")
    )
    return _curve(history.stage, quantity, unit, training, validation) if training or validation else None


# A run writes its report several times, with the trainings that it had before.
@lru_cache(maxsize=1000)
def _curve(stage: str, quantity: str, unit: str, training: tuple, validation: tuple) -> str:
    from matplotlib.ticker import MaxNLocator

    with drawing(f"{stage} {quantity}", PAGE_STYLE):
        figure, axes = _axes(WIDTH, 2.6)
        for name, points, colour, dash in (
            ("training", training, SECOND, (0, (4, 2))),
            ("validation", validation, FIRST, "solid"),
        ):
            if points:
                marker = "o" if len(points) == 1 else None
                axes.plot(*zip(*points, strict=True), label=name, color=colour, linestyle=dash, marker=marker)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(visible=False, axis="x")
        axes.set(xlabel="epoch", title=quantity + unit)
        axes.legend(loc="lower right", bbox_to_anchor=(1, 1.03), ncols=2)
        return _svg(figure, f"{quantity} of the {stage} by epoch")


def lines(plot: Plot) -> str:
    """Draws the lines of a plot, with their intervals as bands, as SVG."""
    with drawing(plot.caption, PAGE_STYLE):
        figure, axes = _axes(WIDTH, 2.9 + 0.16 * len(plot.series))
        _draw(axes, plot)
        return _svg(figure, plot.caption)


def lines_file(plot: Plot) -> str:
    """Draws the same as an SVG file, with colours of its own for light and dark."""
    drawing = lines(plot)
    end = drawing.index(">") + 1
    return f"{drawing[:end]}\n<style>{markup.COLOURS}svg {{ color: var(--ink); }}</style>{drawing[end:]}\n"


def lines_pixels(plot: Plot) -> np.ndarray:
    """Draws the same as pixels: (H, W, 3) uint8."""
    with drawing(plot.caption):
        figure, axes = _axes(6.0, 4.0)
        _draw(axes, plot, tuple(f"C{number}" for number in range(len(LINE_COLOURS))))
        return _pixels(figure)


def _draw(axes: Axes, plot: Plot, colours: Sequence[str] = LINE_COLOURS) -> None:
    from matplotlib.ticker import MaxNLocator

    for number, series in enumerate(plot.series):
        colour = colours[number % len(colours)]
        axes.plot(
            series.x,
            series.y,
            label=truncate(printable(series.name), LEGEND),
            color=colour,
            linestyle=DASHES[number % len(DASHES)],
            marker=MARKS[number % len(MARKS)] if len(series.x) < FEW_POINTS else None,
            markersize=4,
        )
        if series.low is not None and series.high is not None:
            axes.fill_between(series.x, series.low, series.high, color=colour, alpha=0.15, lw=0)
    if plot.log_x:
        axes.set_xscale("log")
        _plain_ticks(axes, sorted({x for series in plot.series for x in series.x}))
    elif all(float(x).is_integer() for series in plot.series for x in series.x):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if plot.log_y:
        axes.set_yscale("log")
    axes.set_xlabel(printable(plot.x))
    axes.set_ylabel(printable(plot.y))
    axes.set_title("\n".join(textwrap.wrap(printable(plot.caption), TITLE)), loc="left")
    is_narrow = max(len(series.name) for series in plot.series) <= HALF
    axes.legend(loc="upper left", bbox_to_anchor=(0, -0.2), ncols=2 if is_narrow else 1)


def _plain_ticks(axes: Axes, values: Sequence[float]) -> None:
    """Writes numbers as they are along a logarithmic axis; matplotlib writes powers as formulas."""
    from matplotlib.ticker import FixedLocator, NullFormatter

    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.5g}")
    if len(values) <= FEW_POINTS:
        axes.xaxis.set_major_locator(FixedLocator(list(values)))


def intervals(results: Sequence[Result]) -> str:
    """Draws the accuracies with their 95% intervals, one below the other, as SVG."""
    with drawing("accuracies", PAGE_STYLE):
        figure, axes = _axes(WIDTH, 0.7 + 0.28 * len(results))
        for row, result in enumerate(results):
            low, high = (100 * limit for limit in result.ci95)
            axes.plot([low, high], [row, row], color=FIRST, linewidth=2.5, solid_capstyle="round", alpha=0.45)
            axes.plot([100 * result.accuracy], [row], "o", color=FIRST, markersize=5)
        axes.set_yticks(range(len(results)), [printable(result.name) for result in results])
        axes.set_ylim(len(results) - 0.4, -0.6)
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.grid(visible=False, axis="y")
        axes.set_xlabel("accuracy in %, with 95% interval")
        accuracies = "; ".join(f"{result.name} {percent(result.accuracy, result.n)}" for result in results)
        return _svg(figure, f"Accuracies with their 95% intervals: {accuracies}")


def calibration(result: Result) -> str:
    """Draws confidence against accuracy, each point as large as its share of the examples, as SVG."""
    with drawing(f"calibration {result.name}", PAGE_STYLE):
        figure, axes = _axes(WIDTH, 3.6)
        _draw_calibration(axes, result, FIRST, QUIET)
        return _svg(figure, f"Confidence of {result.name} against its accuracy")


def calibration_pixels(result: Result) -> np.ndarray:
    """Draws the same as pixels: (H, W, 3) uint8."""
    with drawing("calibration"):
        figure, axes = _axes(4.5, 4.2)
        _draw_calibration(axes, result, "C0", "0.5")
        return _pixels(figure)


def _draw_calibration(axes: Axes, result: Result, colour: str, diagonal_colour: str) -> None:
    bins = result.reliability
    points = [
        (100 * confidence, 100 * accuracy, count / result.n)
        for confidence, accuracy, count in zip(bins.confidence, bins.accuracy, bins.count, strict=True)
        if confidence is not None and accuracy is not None
    ]
    confidences, accuracies, shares = zip(*points, strict=True)
    axes.plot([0, 100], [0, 100], color=diagonal_colour, linestyle=(0, (4, 2)), label="as sure as right")
    axes.plot(confidences, accuracies, color=colour, linewidth=1)
    axes.scatter(confidences, accuracies, [10 + 150 * share for share in shares], color=colour, alpha=0.7)
    axes.set_xlabel("confidence in %")
    axes.set_ylabel("accuracy in %")
    axes.set_title(printable(f"{result.name}: calibration error {100 * result.ece:.1f} points"))
    axes.set_ylim(-4, 104)
    axes.legend(loc="lower right")


def confusion(result: Result) -> np.ndarray:
    """Draws a confusion matrix, coloured by the share of each label: (H, W, 3) uint8.

    Counts are written for at most 20 classes, names for at most 40.
    """
    counts = np.asarray(result.confusion)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    classes = len(counts)
    side = min(10.0, 2.2 + 0.38 * classes)
    with drawing("confusion"):
        figure, axes = _axes(side, side)
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        axes.set(title=printable(result.name), xlabel="answer", ylabel="truth")
        if classes <= NAMED_CLASSES:
            names = [truncate(printable(name), 18) for name in result.class_names]
            rotation = 90 if max(map(len, names)) > 2 else 0
            axes.set_xticks(range(classes), names, rotation=rotation)
            axes.set_yticks(range(classes), names)
        if classes <= NUMBERED_CLASSES:
            for (row, column), count in np.ndenumerate(counts):
                colour = "white" if shares[row, column] > 0.5 else "black"
                axes.text(column, row, str(count), ha="center", va="center", color=colour, fontsize=8)
        return _pixels(figure)


def add_caption(item: GalleryItem) -> np.ndarray:
    """Draws a picture with what was answered below it: (380, 320, 3) uint8."""
    from matplotlib.figure import Figure

    picture = decode_picture(item.png)
    small = max(picture.shape[:2]) < SMALL
    with drawing("picture"):
        figure = Figure(figsize=(3.2, 3.8))
        axes = figure.add_axes((0.05, 0.35, 0.9, 0.62))
        axes.imshow(picture, interpolation="nearest" if small else "antialiased")
        axes.set_axis_off()
        verdict = f"{item.kind}: {item.predicted}, {item.probability:.0%}"
        if item.truth not in ("", item.predicted):
            verdict += f" (it is {item.truth})"
        lines = textwrap.wrap(printable(verdict), 42, max_lines=2)
        figure.text(0.05, 0.32, "\n".join(lines), color=KIND_COLOURS[item.kind], va="top", fontsize=9)
        sentence_lines = textwrap.wrap(f'"{printable(item.sentence)}"', 48, max_lines=4)
        figure.text(0.05, 0.22, "\n".join(sentence_lines), color="black", va="top", fontsize=8)
        name = truncate(printable(item.id), 56, keep="end")
        figure.text(0.05, 0.02, name, color="#666666", fontsize=6.5)
        return _pixels(figure)


def sheet(rows: Sequence[tuple[str, Sequence[tuple[np.ndarray, str]]]]) -> bytes:
    """Draws rows of pictures below their titles, as PNG.

    Args:
        rows: title, and the pictures (H, W, 3) uint8 with a few words each.
    """
    from matplotlib.figure import Figure

    columns = max(len(pictures) for _, pictures in rows)
    with drawing("sheet"):
        figure = Figure(figsize=(max(3.2, 0.95 * columns), 1.45 * len(rows)), layout="constrained")
        for part, (title, pictures) in zip(
            figure.subfigures(len(rows), 1, squeeze=False)[:, 0], rows, strict=True
        ):
            part.suptitle(truncate(printable(title), 18 * max(columns, 3)), fontsize=9, x=0.02, ha="left")
            for axes, (picture, words) in zip(
                part.subplots(1, columns, squeeze=False)[0], pictures, strict=False
            ):
                small = max(picture.shape[:2]) < SMALL
                axes.imshow(picture, interpolation="nearest" if small else "antialiased")
                axes.set_title(truncate(printable(words), 16), fontsize=7)
            for axes in part.axes:
                axes.set_axis_off()
        return encode_figure(figure)


def encode_figure(figure: Figure) -> bytes:
    """Returns what was drawn as a PNG that says who drew it: `SHEET` knows it again."""
    import tensorflow as tf

    png = tf.io.encode_png(_pixels(figure)).numpy()
    chunk = struct.pack(">I", len(DRAWN_BY) - 4) + DRAWN_BY + struct.pack(">I", zlib.crc32(DRAWN_BY))
    return png[:PNG_HEAD] + chunk + png[PNG_HEAD:]


def decode_picture(encoded: bytes) -> np.ndarray:
    """Returns the pixels (H, W, 3) uint8 of a picture, read as `xmodal.data.images` reads them."""
    from xmodal.data.decoding import decode_pixels

    # Those of a run were looked at before; it may allow more than an export does.
    return decode_pixels(encoded, max_pixels=0).numpy()


def thumbnail(encoded: bytes, side: int) -> np.ndarray:
    """Returns the same, shrunk until no side is longer than `side`."""
    import tensorflow as tf

    pixels = decode_picture(encoded)
    if max(pixels.shape[:2]) <= side:
        return pixels
    small_pixels = tf.image.resize(pixels, (side, side), "area", preserve_aspect_ratio=True)
    return np.round(small_pixels.numpy()).astype(np.uint8)


@contextmanager
def drawing(salt: str, style: Mapping[str, Any] = MappingProxyType({})) -> Iterator[None]:
    """Sets matplotlib's fonts and style within it, and keeps what it warns of fonts to itself.

    Args:
        salt: of the ids in an SVG, which are the same in every run.
        style: further settings of matplotlib.
    """
    import matplotlib
    from matplotlib import font_manager

    installed_fonts = {font.name for font in font_manager.fontManager.ttflist}
    settings: Any = {
        "figure.dpi": DPI,
        "font.family": ["DejaVu Sans", *(name for name in OTHER_FONTS if name in installed_fonts)],
        "font.size": 9,
        "svg.fonttype": "none",
        "svg.hashsalt": salt,
        # A dollar sign in a name is a dollar sign.
        "text.parse_math": False,
        **style,
    }
    with matplotlib.rc_context(settings), warnings.catch_warnings():
        # A name in a script that no installed font has is drawn as boxes; SVG leaves it to the browser.
        warnings.filterwarnings("ignore", r"Glyph .* missing from font")
        yield


def _axes(width: float, height: float) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.add_subplot()


def _svg(figure: Figure, label: str) -> str:
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    drawing = buffer.getvalue()
    drawing = drawing[drawing.index("<svg") :]
    for colour, page_colour in PAGE_COLOURS.items():
        drawing = drawing.replace(colour, page_colour)
    # Names such as axes_1 would stand in the page once for each plot.
    used_ids = set(re.findall(r"#([\w.-]+)", drawing))
    drawing = re.sub(r' id="([^"]*)"', lambda match: match[0] if match[1] in used_ids else "", drawing)
    alternative = escape(printable(label))
    return drawing.replace("<svg ", f'<svg role="img" aria-label="{alternative}" ', 1).strip()


def _pixels(figure: Figure) -> np.ndarray:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
