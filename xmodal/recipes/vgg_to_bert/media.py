"""What is reported of sounds and videos: the same results, in their words."""

import re
from collections.abc import Callable
from dataclasses import replace

from xmodal import report
from xmodal.data.media import Medium


def in_words_of(medium: Medium | None, run: report.Run) -> report.Run:
    """Returns a run in which sounds or videos stand where images did: results, comparisons, tables, curves.

    What is in these words already stays: a run is handed over before it is compared and finished.
    """
    if medium is None:
        return run
    words = _translator(medium)

    def of_plot(plot: report.Plot) -> report.Plot:
        series = tuple(replace(line, name=words(line.name)) for line in plot.series)
        return replace(plot, caption=words(plot.caption), x=words(plot.x), series=series)

    def of_table(table: report.Table) -> report.Table:
        # Cells may hold names of classes, which stay.
        return report.Table(words(table.caption), tuple(map(words, table.head)), table.rows)

    results = {
        words(name): replace(result, name=words(result.name), note=words(result.note))
        for name, result in run.results.items()
    }
    pictures = f" of {medium.pictures}"
    return replace(
        run,
        noun=medium.noun,
        title=re.sub(f"(?<!{pictures}) to text", f"{pictures} to text", run.title, count=1),
        results=results,
        gains=tuple(replace(gain, sentence=words(gain.sentence)) for gain in run.gains),
        facts={words(name): value for name, value in run.facts.items()},
        headline=run.headline and words(run.headline),
        tables=tuple(map(of_table, run.tables)),
        plots=tuple(map(of_plot, run.plots)),
    )


def _translator(medium: Medium) -> Callable[[str], str]:
    # In this order: a word that holds another comes first.
    words = {
        "zero_image": f"zero_{medium.noun}",
        "image_": f"{medium.adjective}_",
        "images": f"{medium.noun}s",
        "image": medium.noun,
    }
    return lambda text: re.sub("|".join(words), lambda match: words[match[0]], text)
