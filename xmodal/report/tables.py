"""The numbers of a run: for the console, and as JSON values."""

from __future__ import annotations

import math
import os
import shutil
import textwrap
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from xmodal.core.formatting import change, duration, interval, percent, printable, truncate
from xmodal.core.machine import hardware, versions
from xmodal.report.epochs import Epochs
from xmodal.report.records import Run

if TYPE_CHECKING:
    from xmodal.transfer.weights import TransferReport

WIDEST, MAX_ANSWERS = 100, 20
# Columns that a narrow terminal goes without, the first to go first.
DISPENSABLE = ("seconds", "macro F1", "log loss", "ECE before -> after")


def console_table(run: Run, width: int | None = None) -> str:
    """Returns the summary that ends a run: results, or answers where nothing is measured, gains, seconds.

    Args:
        run: what to show.
        width: columns to fill at most; those of the terminal by default, and 100 at most.
    """
    width = width or min(WIDEST, shutil.get_terminal_size((WIDEST, 24)).columns)
    parts = [printable(f"{run.title} (seed {run.seed})")]
    if run.results:
        parts.append("\n".join(_result_lines(run, width)))
    elif run.gallery:
        parts.append("\n".join(_answer_lines(run, width)))
    if run.findings:
        parts.append("\n".join(textwrap.fill(printable(finding), width) for finding in run.findings))
    if run.seconds:
        parts.append("\n".join(_stage_lines(run.seconds)))
    return "\n\n".join(parts)


def metrics(run: Run) -> dict[str, Any]:
    """Returns the content of metrics.json: JSON values only, null for what is not finite."""
    return _json(
        {
            "experiment": run.experiment,
            "title": run.title,
            "seed": run.seed,
            "command": run.command,
            "data": asdict(run.data),
            "further_data": {title: asdict(data) for title, data in run.further_data.items()},
            "results": {name: result.to_dict() for name, result in run.results.items()},
            "gains": [asdict(gain) for gain in run.gains],
            "facts": run.facts,
            "tables": [asdict(table) for table in run.tables],
            "plots": [asdict(plot) for plot in run.plots],
            "seconds": run.seconds,
            "hardware": hardware(),
            "versions": versions(),
        }
    )


def epochs_of(run: Run) -> Epochs:
    """Returns the lines of metrics.jsonl: one for each epoch of each training."""
    return {
        (history.stage, int(epoch["epoch"])): _json({"stage": history.stage, **epoch})
        for history in run.histories
        for epoch in history.epochs
    }


def transfer_table(report: TransferReport) -> dict[str, Any]:
    """Returns the content of transfer.json: the report, and its parameters added up by action."""
    table = asdict(report)
    layers = table.pop("layers")
    return _json({**table, "parameters": report.totals(), "layers": layers})


def _result_lines(run: Run, width: int) -> list[str]:
    rows = [
        {
            "result": name,
            "accuracy": percent(result.accuracy, result.n),
            "95% interval": interval(result.ci95, result.n),
            "macro F1": f"{result.macro_f1:.3f}",
            "log loss": f"{result.log_loss:.3f}",
            "ECE before -> after": change(result.ece_uncalibrated, result.ece, "->"),
            "seconds": "" if result.seconds is None else f"{result.seconds:.1f}",
        }
        for name, result in run.results.items()
    ]
    widths = {column: max(len(column), *(len(row[column]) for row in rows)) for column in rows[0]}
    for column in DISPENSABLE:
        if sum(widths.values()) + 2 * (len(widths) - 1) > width:
            del widths[column]
    head = dict(zip(widths, widths, strict=True))
    rule = {column: "-" * size for column, size in widths.items()}
    return ["  ".join(_align_cells(row, widths)).rstrip() for row in (head, rule, *rows)]


def _answer_lines(run: Run, width: int) -> list[str]:
    """The first pictures with their answers, of a run that knows no right ones."""
    rows = [
        (
            truncate(printable(item.id), 30, keep="end"),
            truncate(printable(item.predicted), 24),
            f"{item.probability:.0%}",
            printable(item.sentence),
        )
        for item in run.gallery[:MAX_ANSWERS]
    ]
    widths = [max(map(len, column)) for column in list(zip(*rows, strict=True))[:-1]]
    lines = ["  ".join([*map(str.ljust, row, widths), row[-1]]) for row in rows]
    remaining_count = len(run.gallery) - len(rows)
    return [truncate(line, width) for line in lines] + (
        [f"and {remaining_count:,} more in the report"] if remaining_count > 0 else []
    )


def _align_cells(row: dict[str, str], widths: dict[str, int]) -> list[str]:
    return [
        row[column].ljust(size) if column == "result" else row[column].rjust(size)
        for column, size in widths.items()
    ]


def _stage_lines(seconds: dict[str, float]) -> list[str]:
    rows = [*seconds.items(), ("all stages", sum(seconds.values()))]
    longest = max(len(stage) for stage, _ in rows)
    return [f"{stage:<{longest}}  {duration(stage_seconds):>11}" for stage, stage_seconds in rows]


def _json(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _json(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_json(item) for item in value]
    if isinstance(value, np.generic):
        return _json(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return os.fspath(value) if isinstance(value, os.PathLike) else value
