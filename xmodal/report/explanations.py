"""What made answers, as parts of a page: pictures with their maps, and sentences with their words shaded."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence

import numpy as np

from xmodal.core.formatting import capitalize
from xmodal.report import markup
from xmodal.report.records import Explained, Explanation
from xmodal.report.why_sheet import draw_map

# The longer side of a picture in pixels.
SIDE = 160
NOTE = (
    "Blue speaks for the answer, red against it. Deletion takes away what a method names first, and "
    "insertion puts them back first: a method that found what counts has a lower deletion and a higher "
    "insertion than parts in random order. Probabilities are means over the curves."
)


def explanations(rows: Sequence[Explained]) -> str:
    """Returns what made some answers, as markup; "" for none."""
    if not rows:
        return ""
    return "\n".join([markup.paragraph(NOTE), *map(explanation, rows)])


def explanation(row: Explained) -> str:
    """Returns what made an answer as markup, which needs no style of a page."""
    pictures = [_figure(_picture(row.picture), row.name)] if row.picture is not None else []
    if row.picture is not None:
        pictures += [_figure(draw_map(row.picture, entry.shares), entry.method) for entry in row.maps]
    sentences = [_sentence(row.words, entry) for entry in row.of_words]
    lines = markup.items([capitalize(entry.line) for entry in (*row.maps, *row.of_words)], "findings quiet")
    return "".join(
        [
            '<figure style="margin: 0 0 2rem">',
            f"<figcaption><strong>{markup.text(row.title)}</strong></figcaption>",
            '<div style="display: flex; flex-wrap: wrap; gap: 1rem; margin: .6rem 0">',
            *pictures,
            "</div>",
            *sentences,
            f"{lines}</figure>",
        ]
    )


def _figure(png: bytes, caption: str) -> str:
    source, words = base64.b64encode(png).decode(), markup.text(caption)
    style = f"display: block; width: {SIDE}px; height: auto"
    return (
        f'<figure style="max-width: {SIDE}px">'
        f'<img src="data:image/png;base64,{source}" alt="{words}" style="{style}">'
        f'<figcaption style="overflow-wrap: anywhere">{words}</figcaption></figure>'
    )


def _picture(pixels: np.ndarray) -> bytes:
    from PIL import Image

    picture = Image.fromarray(pixels)
    picture.thumbnail((SIDE, SIDE))
    buffer = io.BytesIO()
    picture.save(buffer, "png", optimize=True)
    return buffer.getvalue()


def _sentence(words: Sequence[str], entry: Explanation) -> str:
    """The words, each with a shade for what it carries."""
    largest = max(float(np.abs(entry.shares).max()), 1e-9)
    spans = " ".join(
        f'<span title="{100 * share:+z.1f} points" style="padding: 0 .15em; border-radius: 2px; background: '
        f'color-mix(in srgb, {_colour(share)} {60 * abs(share) / largest:.0f}%, transparent)">'
        f"{markup.text(word)}</span>"
        for word, share in zip(words, entry.shares.tolist(), strict=True)
    )
    method = f'<span class="quiet">{markup.text(capitalize(entry.method))}: </span>'
    return f'<p style="max-width: 46rem; margin: 0 0 .5rem">{method}{spans}</p>'


def _colour(share: float) -> str:
    return "var(--first, #1f5394)" if share >= 0 else "var(--wrong, #932a1f)"
