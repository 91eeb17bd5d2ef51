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
        _in_words(name): replace(result, name=_in_words(result.name), note=_in_words(result.note))
        for name, result in run.results.items()
    }
    return replace(
        run,
        title=re.sub("(?<! of spectrograms) to text", " of spectrograms to text", run.title, count=1),
        results=results,
        gains=tuple(replace(gain, sentence=_in_words(gain.sentence)) for gain in run.gains),
        facts={_in_words(name): value for name, value in run.facts.items()},
        headline=run.headline and _in_words(run.headline),
        tables=tuple(_table_in_words(table) for table in run.tables),
        plots=tuple(map(_plot_in_words, run.plots)),
    )


def _plot_in_words(plot: report.Plot) -> report.Plot:
    series = tuple(replace(line, name=_in_words(line.name)) for line in plot.series)
    return replace(plot, caption=_in_words(plot.caption), x=_in_words(plot.x), series=series)


def _table_in_words(table: report.Table) -> report.Table:
    # Cells may hold names of classes, which stay.
    return report.Table(_in_words(table.caption), tuple(map(_in_words, table.head)), table.rows)


def _in_words(words: str) -> str:
    return re.sub("|".join(WORDS), lambda match: WORDS[match[0]], words)
