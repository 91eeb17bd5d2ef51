"""What is reported of sounds: the same results, in their words."""

import re
from dataclasses import replace

from xmodal import report

# In this order: a word that holds another comes first.
WORDS = {"zero_image": "zero_sound", "image_": "audio_", "images": "sounds", "image": "sound"}


def of_sounds(run: report.Run) -> report.Run:
    """Returns a run in which sounds stand where images did: results, comparisons, tables and curves.

    What is in these words already stays: a run is handed over before it is compared and finished.
    """
    results = {
        _said(name): replace(result, name=_said(result.name), note=_said(result.note))
        for name, result in run.results.items()
    }
    return replace(
        run,
        title=re.sub("(?<! of spectrograms) to text", " of spectrograms to text", run.title, count=1),
        results=results,
        gains=tuple(replace(gain, sentence=_said(gain.sentence)) for gain in run.gains),
        facts={_said(name): value for name, value in run.facts.items()},
        headline=run.headline and _said(run.headline),
        tables=tuple(_table_said(table) for table in run.tables),
        plots=tuple(map(_plot_said, run.plots)),
    )


def _plot_said(plot: report.Plot) -> report.Plot:
    series = tuple(replace(line, name=_said(line.name)) for line in plot.series)
    return replace(plot, caption=_said(plot.caption), x=_said(plot.x), series=series)


def _table_said(table: report.Table) -> report.Table:
    # Cells may hold names of classes, which stay.
    return report.Table(_said(table.caption), tuple(map(_said, table.head)), table.rows)


def _said(words: str) -> str:
    return re.sub("|".join(WORDS), lambda found: WORDS[found[0]], words)
