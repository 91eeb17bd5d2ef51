"""The form of a report page, without its matter: style, tables, sections. No scripts, no requests.

Whatever is passed as text is escaped; whatever is called markup is taken as it is.
"""

from __future__ import annotations

import base64
import html as entities
import re
from collections.abc import Collection, Sequence

import numpy as np

from xmodal.core.formatting import printable
from xmodal.data import sound_files
from xmodal.data.image_files import HEAD

GENERATOR = '<meta name="generator" content="xmodal">'
# What every page has in its head.
PAGE = re.compile(GENERATOR.encode())
# Should escaping ever have a hole, the browser still runs and fetches nothing.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; media-src data:"

# For light and dark.
COLOURS = """
:root {
  color-scheme: light dark;
  --paper: #fdfdfc; --card: #f4f5f4; --ink: #1c2126; --quiet: #4a525a; --rule: #dcdfe2;
  --first: #1f5394; --second: #b5651d; --right: #0d5c37; --wrong: #932a1f; --unsure: #6b4705; --shade: 40%;
  --sans: system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", "Noto Sans", sans-serif;
  --mono: ui-monospace, SFMono-Regular, Menlo, Consolas, "Liberation Mono", monospace;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #15181b; --card: #1e2226; --ink: #e4e7ea; --quiet: #aab3bc; --rule: #343a40;
    --first: #8bb9ec; --second: #e0a06a; --right: #6ac794; --wrong: #f09a90; --unsure: #dcae55; --shade: 26%;
  }
}
"""
STYLE = (
    COLOURS
    + """* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body {
  margin: 0; background: var(--paper); color: var(--ink);
  font: 1rem/1.55 var(--sans); overflow-wrap: break-word;
}
header, main { max-width: 62rem; margin: 0 auto; padding: 0 1.25rem; }
header { padding-top: 2.5rem; }
main { padding-bottom: 4rem; }
section { margin-top: 3.25rem; }
h1 { font-size: 1.1rem; font-weight: 600; line-height: 1.3; margin: 0; }
h2 { font-size: 1.3rem; font-weight: 600; line-height: 1.3; margin: 0 0 .9rem; letter-spacing: -.01em; }
h3 { font-size: 1rem; font-weight: 600; margin: 1.9rem 0 .7rem; }
p { margin: 0 0 .9rem; max-width: 46rem; }
a { color: var(--first); text-underline-offset: .15em; }
nav { margin-top: 1.6rem; font-size: .9rem; }
nav ul { display: flex; flex-wrap: wrap; gap: .3rem 1.1rem; list-style: none; margin: 0; padding: .7rem 0;
  border: solid var(--rule); border-width: 1px 0; }
nav a { text-decoration: none; }
nav a:hover { text-decoration: underline; }
.quiet, caption, figcaption { color: var(--quiet); font-size: .875rem; }
#answer { margin-top: 1.4rem; }
.lead { font-size: clamp(1.35rem, 1rem + 1.9vw, 2rem); line-height: 1.25; font-weight: 600;
  letter-spacing: -.015em; margin: 0 0 1.2rem; text-wrap: balance; }
.headline { display: flex; flex-wrap: wrap; align-items: baseline; gap: .2rem .8rem; }
.headline strong { font-size: 2.4rem; line-height: 1.1; font-weight: 600; letter-spacing: -.02em;
  font-variant-numeric: tabular-nums; color: var(--first); }
.findings { margin: 0; padding-left: 1.1rem; max-width: 46rem; }
.findings li { margin: .25rem 0; }
/* A shadow at an edge tells that there is more; what is scrolled along covers it at the end. */
.scroll { overflow-x: auto; margin: 0 0 1.2rem;
  background: linear-gradient(to right, var(--paper) 40%, transparent) 0 0 / 2.5rem 100% no-repeat local,
    linear-gradient(to left, var(--paper) 40%, transparent) 100% 0 / 2.5rem 100% no-repeat local,
    linear-gradient(to right, var(--quiet), transparent) 0 0 / .5rem 100% no-repeat scroll,
    linear-gradient(to left, var(--quiet), transparent) 100% 0 / .5rem 100% no-repeat scroll; }
@media (min-width: 64rem) {
  /* As wide as the window leaves on the right. */
  .scroll { width: fit-content; max-width: calc(50vw + 28.5rem); }
}
table { border-collapse: collapse; font-size: .925rem; }
caption { text-align: left; padding-bottom: .5rem; caption-side: top; }
/* On a phone a table scrolls under its caption and its rows' names. */
caption span { position: sticky; left: 0; display: inline-block; max-width: min(46rem, 100vw - 2.5rem); }
tbody th { position: sticky; left: 0; background: var(--paper); }
th, td { padding: .38rem .9rem .38rem 0; text-align: left; vertical-align: top; font-weight: 400;
  border-bottom: 1px solid var(--rule); unicode-bidi: isolate; }
th:last-child, td:last-child { padding-right: 0; }
thead th, thead td { font-size: .8125rem; color: var(--quiet); border-bottom-color: var(--quiet);
  vertical-align: bottom; }
.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.stressed th, .stressed td { font-weight: 600; }
dl.facts { display: grid; grid-template-columns: minmax(8rem, max-content) 1fr; gap: .35rem 1.4rem;
  margin: 0 0 1rem; font-size: .925rem; }
dl.facts dt { color: var(--quiet); }
dl.facts dd { margin: 0; font-variant-numeric: tabular-nums; min-width: 0; }
figure { margin: 0; }
.plots { display: grid; gap: 1.2rem 2rem; max-width: 50rem;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 17rem), 1fr)); }
.plots svg { display: block; width: 100%; max-width: 26rem; height: auto; }
svg text { font-family: var(--sans) !important; font-variant-numeric: tabular-nums; }
.matrix { font-size: .8125rem; font-variant-numeric: tabular-nums; }
.matrix th, .matrix td { padding: .2rem .3rem; border: 1px solid var(--paper); text-align: center;
  min-width: 2.1rem; white-space: nowrap; vertical-align: middle; }
.matrix td { background: color-mix(in srgb, var(--first) calc(var(--share) * var(--shade)), var(--card));
  print-color-adjust: exact; -webkit-print-color-adjust: exact; }
.matrix td.error {
  background: color-mix(in srgb, var(--wrong) calc(var(--share) * var(--shade)), var(--card)); }
.matrix td.zero { color: var(--quiet); }
.matrix tbody th { text-align: right; color: var(--quiet); max-width: 11rem; overflow: hidden;
  text-overflow: ellipsis; }
.matrix thead th, .matrix thead td { vertical-align: bottom; border-bottom: 0; }
.matrix .up span { writing-mode: vertical-rl; transform: rotate(180deg); max-height: 9rem; overflow: hidden;
  text-overflow: ellipsis; display: inline-block; }
.gallery { display: grid; gap: 1.4rem 1rem; grid-template-columns: repeat(auto-fill, minmax(6.4rem, 1fr)); }
.gallery figure { break-inside: avoid; font-size: .8125rem; line-height: 1.4; min-width: 0; }
.gallery img { display: block; width: 100%; height: auto; aspect-ratio: 1; object-fit: contain;
  background: var(--card); border-radius: 3px; margin-bottom: .5rem; }
.gallery audio { display: block; width: 100%; height: 2rem; margin-top: .3rem; }
.gallery img.small { image-rendering: pixelated; }
.gallery figcaption { font-size: inherit; color: inherit; }
.gallery figcaption span { display: block; unicode-bidi: isolate; }
.gallery .verdict { font-weight: 600; }
.gallery .id { font-size: .75rem; color: var(--quiet); overflow-wrap: anywhere; }
.right { color: var(--right); } .wrong { color: var(--wrong); } .unsure { color: var(--unsure); }
.warnings { margin: 0 0 1rem; padding: .7rem 1rem .7rem 2rem; background: var(--card); border-radius: 3px; }
code, pre { font-family: var(--mono); font-size: .85em; }
pre { background: var(--card); padding: .9rem 1rem; border-radius: 3px; overflow-x: auto; line-height: 1.5;
  font-size: .8125rem; margin: 0 0 1rem; }
pre.command { white-space: pre-wrap; overflow-wrap: anywhere; }
summary { cursor: pointer; color: var(--first); margin-bottom: .6rem; }
:focus-visible { outline: 2px solid var(--first); outline-offset: 3px; }
@media (max-width: 34rem) {
  dl.facts { grid-template-columns: 1fr; gap: 0; }
  dl.facts dd { margin-bottom: .55rem; }
  .gallery { grid-template-columns: repeat(2, minmax(0, 1fr)); }
  section { margin-top: 2.6rem; }
  .matrix th, .matrix td { min-width: 1.6rem; padding: .15rem .2rem; }
  .matrix tbody th { max-width: 6rem; }
}
@media print {
  :root { color-scheme: light; --paper: #fff; --card: #f3f3f3; --ink: #000; --quiet: #444; --rule: #bbb;
    --first: #1f4e8c; --second: #9a5210; --right: #136038; --wrong: #962a20; --unsure: #7a5207;
    --shade: 40%; }
  body { font-size: 10pt; }
  header { padding-top: 0; }
  nav { display: none; }
  section { margin-top: 1.6rem; }
  h2, h3, caption { break-after: avoid; }
  tr, figure, .matrix, .warnings { break-inside: avoid; }
  thead { break-after: avoid; }
  tbody th { position: static; }
  .gallery { grid-template-columns: repeat(8, minmax(0, 1fr)); font-size: 8pt; }
  .scroll { overflow: visible; }
  pre { white-space: pre-wrap; overflow-wrap: anywhere; }
  details::details-content { content-visibility: visible; block-size: auto; }
}
"""
)


def text(value: object) -> str:
    """Returns text as markup."""
    return entities.escape(printable(str(value)))


def lines(value: str) -> str:
    """Returns text of several lines as markup."""
    return "\n".join(text(line) for line in value.splitlines())


def document(title: str, body: str) -> str:
    """Returns a whole page.

    Args:
        title: text of the browser's tab.
        body: markup.
    """
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
{GENERATOR}
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{text(title)}</title>
<link rel="icon" href="data:,">
<style>{STYLE}</style>
</head>
<body>
{body}
</body>
</html>
"""


def section(name: str, title: str, *markup: str) -> str:
    """Returns a section that `#name` leads to."""
    content = "\n".join(part for part in markup if part)
    heading = f'<h2 id="{name}-title">{text(title)}</h2>'
    return f'<section id="{name}" aria-labelledby="{name}-title">\n{heading}\n{content}\n</section>'


def paragraph(words: str, kind: str = "") -> str:
    """Returns a paragraph of text."""
    return f'<p class="{kind}">{text(words)}</p>' if kind else f"<p>{text(words)}</p>"


def items(lines: Sequence[str], kind: str) -> str:
    """Returns a list of texts, nothing for an empty one."""
    if not lines:
        return ""
    return f'<ul class="{kind}">' + "".join(f"<li>{text(line)}</li>" for line in lines) + "</ul>"


def facts(pairs: Sequence[tuple[str, object]]) -> str:
    """Returns names and values, nothing when there are none."""
    if not pairs:
        return ""
    lines = "".join(f"<dt>{text(name)}</dt><dd>{text(value)}</dd>\n" for name, value in pairs)
    return f'<dl class="facts">\n{lines}</dl>'


def table(
    caption: str,
    head: Sequence[str],
    rows: Sequence[Sequence[object]],
    *,
    numbers: Sequence[str] = (),
    stressed: Collection[str] = (),
) -> str:
    """Returns a table of texts that scrolls by itself where it is too wide.

    Args:
        caption: what the table shows.
        head: names of the columns; the first cell of a row names the row.
        rows: a cell for each column.
        numbers: the columns to align on the right.
        stressed: first cells of the rows that matter most.
    """
    kinds = [' class="n"' if name in numbers else "" for name in head]
    top = "".join(
        f'<th scope="col"{kind}>{text(name)}</th>' if name else "<td></td>"
        for name, kind in zip(head, kinds, strict=True)
    )
    body = []
    for name, *cells in rows:
        cell_markup = "".join(
            f"<td{kind}>{text(cell)}</td>" for cell, kind in zip(cells, kinds[1:], strict=True)
        )
        stress = ' class="stressed"' if name in stressed else ""
        body.append(f'<tr{stress}><th scope="row"{kinds[0]}>{text(name)}</th>{cell_markup}</tr>')
    return _frame_table("plain", caption, top, body)


def matrix(caption: str, names: Sequence[str], counts: Sequence[Sequence[int]]) -> str:
    """Returns a square table of counts, shaded by their shares of the rows; see `_cell`."""
    column_class = ' class="up"' if max(map(len, names)) > 3 else ""
    top = "".join(f'<th scope="col"{column_class}><span>{text(name)}</span></th>' for name in names)
    table = np.asarray(counts)
    shares = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    errors = shares * ~np.eye(len(table), dtype=bool)
    body = []
    for row, name in enumerate(names):
        cells = "".join(
            _cell(count, shares[row, column], errors[row, column], errors.max())
            for column, count in enumerate(counts[row])
        )
        body.append(f'<tr><th scope="row">{text(name)}</th>{cells}</tr>')
    return _frame_table("matrix", caption, f"<td></td>{top}", body)


def _cell(count: int, share: float, error: float, largest: float) -> str:
    """A count; errors have a colour of their own, and the most frequent of them is shaded in full."""
    kind = "zero" if not count else "error" if error else "answer"
    shade = error / largest if error else share
    return f'<td class="{kind}" style="--share:{shade:.3f}">{count}</td>'


def folded(title: str, markup: str) -> str:
    """Returns markup that opens on demand; on paper it is always open."""
    return f"<details>\n<summary>{text(title)}</summary>\n{markup}\n</details>"


def _frame_table(kind: str, caption: str, top: str, body: Sequence[str]) -> str:
    # Where it is too wide the table scrolls by itself, by keyboard too.
    name, rows = text(caption), "\n".join(body)
    return (
        f'<div class="scroll" role="region" aria-label="{name}" tabindex="0">\n<table class="{kind}">\n'
        f"<caption><span>{name}</span></caption>\n<thead><tr>{top}</tr></thead>\n<tbody>\n{rows}\n</tbody>\n"
        "</table>\n</div>"
    )


def player(wav: bytes, name: str) -> str:
    """Plays the beginning of a sound, which stands in the page itself; nothing for what is no sound."""
    if sound_files.kind_by_content(wav[:HEAD]) != "WAV":
        return ""
    from xmodal.data.sounds import short_wav

    source = f"data:audio/wav;base64,{base64.b64encode(short_wav(wav)).decode()}"
    return f'<audio controls preload="none" aria-label="{text(name)}, the sound" src="{source}"></audio>'
