"""Finished runs side by side: their figures, flags and curves."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from xmodal.core.errors import UserError
from xmodal.core.formatting import capitalize, change, duration, interval, percent, printable
from xmodal.core.reading import read_regular
from xmodal.core.records import LARGEST, Amount, Count, Positive, Share, read_record, read_records
from xmodal.evaluation.intervals import difference_interval, findings
from xmodal.report import markup
from xmodal.report.figures import lines
from xmodal.report.records import Plot, Series, Table
from xmodal.report.tensorboard.events import flag_values
from xmodal.runs.folder import CHOSEN, CONFIG, is_unfinished

# Flags that only say where files go.
PLACES = ("output_dir", "saved_models_dir", "record")
MISSING = "-"

T = TypeVar("T")


@dataclass(frozen=True)
class Figures:
    """What is compared of a result in metrics.json, as `xmodal.evaluation.metrics.Result` tells it."""

    n: Positive
    accuracy: Share
    ci95: tuple[Share, Share]
    loss: Amount | None
    ece: Share
    ece_uncalibrated: Share | None = None


@dataclass(frozen=True)
class Finding:
    """What a run found, as `xmodal.evaluation.intervals.Comparison` tells it."""

    sentence: str


@dataclass(frozen=True)
class Data:
    """Examples by split and class."""

    counts: dict[str, dict[str, Count]]


@dataclass(frozen=True)
class Metrics:
    """What is compared of metrics.json."""

    results: dict[str, Figures]
    data: Data
    gains: tuple[Finding, ...]
    seconds: dict[str, Amount]

    def sentences(self) -> list[str]:
        """Returns what the run found, each difference in plain words."""
        return [gain.sentence for gain in self.gains]


@dataclass(frozen=True)
class Epoch:
    """What is compared of a line of metrics.jsonl."""

    stage: str
    epoch: Count
    val_accuracy: Share | None = None


@dataclass(frozen=True)
class FinishedRun:
    """What a run left behind.

    Attributes:
        name: what tells it from others.
        metrics: the content of metrics.json.
        flags: name -> value, as in config.cfg, or in chosen.cfg where a search chose them.
        epochs: the lines of metrics.jsonl.
    """

    name: str
    metrics: Metrics
    flags: dict[str, bool | int | float | str]
    epochs: tuple[Epoch, ...]


def read_runs(folders: Sequence[Path]) -> list[FinishedRun]:
    """Reads runs, and names each by that part of its folder which not all of them share.

    Raises:
        UserError: when one of the folders holds no finished run.
    """
    common_folder = os.path.commonpath([folder.absolute().parent for folder in folders])
    return [read_run(folder, os.path.relpath(folder, common_folder)) for folder in folders]


def read_run(folder: Path, name: str) -> FinishedRun:
    """Reads what a finished run left in its folder.

    Raises:
        UserError: when there is none.
    """
    remedy = "give the `output_dir` of a run that has come to its end"
    if is_unfinished(folder):
        raise UserError(f"the run in {str(folder)!r} has not come to its end", remedy)
    # What a search chose is what was run.
    flagfile = folder / (CHOSEN if (folder / CHOSEN).exists() else CONFIG)
    try:
        return FinishedRun(
            name,
            metrics=_read_file(folder / "metrics.json", lambda path: read_record(Metrics, path)),
            flags=_read_file(flagfile, lambda path: flag_values(read_regular(path, LARGEST).decode())),
            epochs=_read_file(folder / "metrics.jsonl", lambda path: read_records(Epoch, path)),
        )
    except FileNotFoundError as error:
        raise UserError(
            f"{str(folder)!r} holds no finished run: there is no {Path(error.filename).name}", remedy
        ) from error


def _read_file(path: Path, read: Callable[[Path], T]) -> T:
    try:
        return read(path)
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise UserError(f"{str(path)!r} cannot be read ({reason})", "run it again") from error


def compare(runs: Sequence[FinishedRun]) -> list[Table]:
    """Returns tables with a column for each run: results and differences, examples, flags that differ, times.

    Args:
        runs: two or more.
    """
    results = [run.metrics.results for run in runs]
    names = list(dict.fromkeys(name for of_run in results for name in of_run))

    def rows(show: Callable[[Figures], str]) -> list[tuple[str, ...]]:
        return [
            (name, *(show(of_run[name]) if name in of_run else MISSING for of_run in results))
            for name in names
        ]

    head = ("", *(run.name for run in runs))
    tables = [
        Table("Accuracy, with its 95% interval", head, tuple(rows(_accuracy))),
        *_differences(runs, names),
        Table("Log loss in nats", head, tuple(rows(lambda result: _figure(result.loss)))),
        Table(
            "Expected calibration error, before and after calibration",
            head,
            tuple(rows(lambda result: change(result.ece_uncalibrated, result.ece))),
        ),
        Table("Examples by split", head, tuple(_counts(runs))),
    ]
    flag_rows = _differing_flags(runs)
    if flag_rows:
        tables.append(Table("Flags that differ", head, tuple(flag_rows)))
    tables.append(Table("Wall time", head, tuple(_seconds(runs))))
    return tables


def _differences(runs: Sequence[FinishedRun], names: Sequence[str]) -> list[Table]:
    """Returns the table of what the other runs gained over the first one, where they share results."""
    first, *others = (run.metrics.results for run in runs)
    rows = [
        (name, *(_difference(of_run[name], first[name]) if name in of_run else MISSING for of_run in others))
        for name in names
        if name in first and any(name in of_run for of_run in others)
    ]
    caption = f"Difference in accuracy from {runs[0].name}, in points, with its 95% interval"
    return [Table(caption, ("", *(run.name for run in runs[1:])), tuple(rows))] if rows else []


def _difference(result: Figures, first: Figures) -> str:
    """Says by how much a result is better: the runs may have other test examples, so they are not paired."""
    low, high = difference_interval(result.accuracy, result.ci95, first.accuracy, first.ci95)
    verdict = "better" if low > 0 else "worse" if high < 0 else "no difference that can be shown"
    points = 100 * (result.accuracy - first.accuracy)
    return f"{points:+z.1f} ({100 * low:z.1f} to {100 * high:z.1f}): {verdict}"


def _accuracy(result: Figures) -> str:
    return f"{percent(result.accuracy, result.n)} ({interval(result.ci95, result.n)})"


def _figure(value: float | None) -> str:
    return MISSING if value is None else f"{value:.3f}"


def _counts(runs: Sequence[FinishedRun]) -> list[tuple[str, ...]]:
    counts = [run.metrics.data.counts for run in runs]
    splits = dict.fromkeys(split for of_run in counts for split in of_run)
    return [
        (split, *(f"{sum(of_run[split].values()):,}" if split in of_run else MISSING for of_run in counts))
        for split in splits
    ]


def _differing_flags(runs: Sequence[FinishedRun]) -> list[tuple[str, ...]]:
    names = sorted({name for run in runs for name in run.flags} - set(PLACES))
    rows = [(f"--{name}", *(str(run.flags.get(name, MISSING)) for run in runs)) for name in names]
    return [row for row in rows if len(set(row[1:])) > 1]


def _seconds(runs: Sequence[FinishedRun]) -> list[tuple[str, ...]]:
    of_runs = [run.metrics.seconds for run in runs]
    stages = dict.fromkeys(stage for seconds in of_runs for stage in seconds)
    rows = [
        (stage, *(duration(seconds[stage]) if stage in seconds else MISSING for seconds in of_runs))
        for stage in stages
    ]
    return [*rows, ("all stages", *(duration(sum(seconds.values())) for seconds in of_runs))]


def curves(runs: Sequence[FinishedRun]) -> list[Plot]:
    """Returns a plot of the validation's accuracy by epoch for each stage that two or more runs trained."""
    plots = []
    for stage in dict.fromkeys(epoch.stage for run in runs for epoch in run.epochs):
        series = []
        for run in runs:
            points = [
                (epoch.epoch + 1, 100 * epoch.val_accuracy)
                for epoch in run.epochs
                if epoch.stage == stage and epoch.val_accuracy is not None
            ]
            if points:
                series.append(Series(run.name, *zip(*points, strict=True)))
        if len(series) > 1:
            plots.append(Plot(f"{stage}: validation", "epoch", "accuracy in %", tuple(series)))
    return plots


def page(runs: Sequence[FinishedRun]) -> str:
    """Returns a page like report.html: no network, no scripts."""
    told = "\n".join(
        f"<h3>{markup.text(run.name)}</h3>\n"
        + markup.items([capitalize(finding) for finding in findings(run.metrics.sentences())], "findings")
        for run in runs
        if run.metrics.gains
    )
    plots = "".join(f"<figure>{lines(plot)}</figure>" for plot in curves(runs))
    tables = "\n".join(
        markup.table(table.caption, table.head, table.rows, numbers=table.head[1:]) for table in compare(runs)
    )
    title = f"{len(runs)} runs side by side"
    body = [
        f"<header>\n<h1>{markup.text(title)}</h1>\n</header>\n<main>",
        markup.section("findings", "What each one found", told) if told else "",
        markup.section("measured", "Measured", tables),
        markup.section("training", "Training", f'<div class="plots">{plots}</div>') if plots else "",
        "</main>",
    ]
    return markup.document(title, "\n".join(body))


def text(tables: Sequence[Table]) -> str:
    """Returns the tables for the console."""
    parts = []
    for table in tables:
        cells = [tuple(printable(str(cell)) for cell in row) for row in (table.head, *table.rows)]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        rows = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in cells]
        parts.append("\n".join([table.caption, *rows]))
    return "\n\n".join(parts)
