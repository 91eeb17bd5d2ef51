"""report.html: a run on one page that needs no network and no script."""

from __future__ import annotations

import base64
import io
import math
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np

from xmodal.core.formatting import (
    capitalize,
    change,
    confused_pairs,
    duration,
    format_number,
    interval,
    percent,
    plural,
)
from xmodal.core.machine import commit, hardware, versions
from xmodal.evaluation.metrics import class_scores
from xmodal.report import figures, markup
from xmodal.report.explanations import explanations
from xmodal.report.records import GalleryItem, Plot, Run, Series, Table

if TYPE_CHECKING:
    from xmodal.data.audit import DataReport
    from xmodal.evaluation.metrics import Result
    from xmodal.training.progress import History
    from xmodal.transfer.weights import TransferReport

MAX_CLASSES = 40
MAX_LINES = 20
MAX_PAIRS = 25
THUMBNAIL = 320
KINDS = {
    "wrong": "Wrong answers",
    "unsure": "Narrow choices",
    "right": "Right answers",
    "unknown": "Answers",
}


def html(run: Run) -> str:
    """Returns report.html.

    Names of classes, files and layers come from outside: all of them are escaped, pictures are encoded
    anew (which also leaves their metadata behind), and the page forbids scripts and requests.
    """
    main = run.main_result
    sections = {
        "results": ("Results", _results(run)),
        "findings": ("Findings", _findings(run)),
        "pictures": ("Pictures and their sentences", _pictures(run.gallery)),
        "why": ("What made the answers", explanations(run.explained)),
        "mistakes": ("Mistakes", _mistakes(main) if main and main.confusion else ""),
        "calibration": ("How sure it is", _calibration(run, main) if main else ""),
        "training": ("Training", "\n".join(_training(history) for history in run.histories)),
        "transfer": ("Transfer, layer by layer", _transfer(run.transfer) if run.transfer else ""),
        "data": ("Data", _all_data(run)),
        "time": ("Time and machine", _time(run.seconds)),
        "replay": ("Replay", _replay(run)),
    }
    sections = {name: row for name, row in sections.items() if row[1]}
    links = "".join(f'<li><a href="#{name}">{markup.text(row[0])}</a></li>' for name, row in sections.items())
    body = [
        f"<header>\n<h1>{markup.text(run.title)}</h1>",
        markup.paragraph(_when(run), "quiet"),
        f"</header>\n<main>\n{_answer(run)}",
        f'<nav aria-label="Sections"><ul>{links}</ul></nav>',
        *(markup.section(name, *row) for name, row in sections.items()),
        "</main>",
    ]
    return markup.document(f"{run.title} - {run.experiment}", "\n".join(body))


def _when(run: Run) -> str:
    date = f"{datetime.now(UTC):%d %B %Y}".lstrip("0")
    revision = commit()
    return f"{run.experiment}, seed {run.seed}, {date}" + (f", commit {revision[:12]}" if revision else "")


def _answer(run: Run) -> str:
    doubts = sum(len(data.warnings) for data in (run.data, *run.further_data.values()))
    headline = _headline(run.main_result) if run.main_result else ""
    lead, *others = map(capitalize, run.findings) if run.gains else (None,)
    return "\n".join(
        [
            '<section id="answer" aria-label="The answer">',
            markup.paragraph(lead, "lead") if lead else "",
            headline,
            markup.items(others, "findings"),
            f'<p class="quiet"><a href="#data">{plural(doubts, "warning")} about the data</a></p>'
            if doubts
            else "",
            "</section>",
        ]
    )


def _headline(result: Result) -> str:
    right = "answered rightly" if result.confusion else "given exactly their labels"
    limits, share = interval(result.ci95, result.n), percent(result.accuracy, result.n)
    details = f"of {result.n:,} {right} by <code>{markup.text(result.name)}</code> (95% interval {limits})"
    return f'<p class="headline"><strong>{share}</strong> <span>{details}</span></p>'


def _results(run: Run) -> str:
    values = [(name, format_number(value)) for name, value in run.facts.items()]
    facts = ["<h3>Facts</h3>" if values else "", markup.facts(values)]
    return "\n".join([*(_result_parts(run, run.main_result) if run.main_result else []), *facts])


def _result_parts(run: Run, main: Result) -> list[str]:
    head = ("", "accuracy", "95% interval", "macro F1", "log loss", "ECE before → after", "time")
    rows = [
        (
            name,
            percent(result.accuracy, result.n),
            interval(result.ci95, result.n),
            f"{result.macro_f1:.3f}",
            f"{result.log_loss:.3f}",
            change(result.ece_uncalibrated, result.ece),
            "" if result.seconds is None else duration(result.seconds),
        )
        for name, result in run.results.items()
    ]
    columns = slice(None if any(row[-1] for row in rows) else -1)
    caption = (
        f"On {_range(run)} held-out examples. Log loss in nats; "
        "ECE is the expected calibration error, before and after calibration."
    )
    plot = f'<figure class="plots">{figures.intervals(tuple(run.results.values()))}</figure>'
    notes = [(name, result.note) for name, result in run.results.items() if result.note]
    table = markup.table(
        caption, head[columns], [row[columns] for row in rows], numbers=head[1:], stressed=(main.name,)
    )
    return [table, plot, "<h3>What each one is</h3>" if notes else "", markup.facts(notes)]


def _findings(run: Run) -> str:
    plots = [f"<figure>{figures.lines(plot)}</figure>" for plot in run.plots]
    tables = [_table(table) for table in run.tables]
    return "\n".join([*([f'<div class="plots">{"".join(plots)}</div>'] if plots else []), *tables])


def _table(table: Table) -> str:
    rows = list(zip(*(_cells(column) for column in zip(*table.rows, strict=True)), strict=True))
    columns = zip(table.head, zip(*rows, strict=True), strict=False)
    numbers = [name for name, cells in columns if all(re.match(r"[-+]?\d", cell) for cell in cells)]
    return markup.table(table.caption, table.head, rows, numbers=numbers)


def _cells(column: Sequence[str | int | float]) -> list[str]:
    """Writes the cells of a column; the numbers in it have equally many decimals."""
    numbers = [cell for cell in column if not isinstance(cell, str)]
    largest = max((abs(number) for number in numbers if math.isfinite(number)), default=0)
    if not any(isinstance(number, float) for number in numbers) or not 1e-4 <= largest < 1e4:
        return [format_number(cell) for cell in column]
    # Four digits of the largest number, and no zeros at the end of all.
    most = max(0, 3 - math.floor(math.log10(largest)))
    decimals = next(
        count
        for count in range(most + 1)
        if all(round(number, count) == round(number, most) for number in numbers)
    )
    return [cell if isinstance(cell, str) else f"{cell:,.{decimals}f}" for cell in column]


def _pictures(gallery: Sequence[GalleryItem]) -> str:
    parts = []
    for kind, title in KINDS.items():
        kind_items = [item for item in gallery if item.kind == kind]
        if kind_items:
            pictures = "\n".join(_picture(item) for item in kind_items)
            parts.append(f'<h3 class="{kind}">{title}</h3>\n<div class="gallery">\n{pictures}\n</div>')
    return "\n".join(parts)


def _picture(item: GalleryItem) -> str:
    uri, width, height = _thumbnail(item.png)
    right = item.truth in ("", item.predicted)
    verdict = f"{item.predicted}, {item.probability:.0%}"
    truth = "" if right else f"<span>it is {markup.text(item.truth)}</span>"
    alternative = markup.text(f"{item.id}: {item.truth and f'{item.truth}, '}answered {item.predicted}")
    small = ' class="small"' if max(width, height) < figures.SMALL else ""
    return (
        f'<figure><img{small} src="{uri}" width="{width}" height="{height}" alt="{alternative}">'
        f"{markup.player(item.original or item.sound, item.id)}"
        f'<figcaption><span class="verdict {"right" if right else "wrong"}">{markup.text(verdict)}</span>'
        f"{truth}<span>“{markup.text(item.sentence)}”</span>"
        f'<span class="id">{markup.text(item.id)}</span></figcaption></figure>'
    )


def _thumbnail(encoded: bytes) -> tuple[str, int, int]:
    from PIL import Image

    picture = Image.fromarray(figures.decode_picture(encoded))
    kind = "png" if max(picture.size) < figures.SMALL else "jpeg"
    picture.thumbnail((THUMBNAIL, THUMBNAIL))
    buffer = io.BytesIO()
    picture.save(buffer, kind, optimize=True)
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}", *picture.size


def _mistakes(result: Result) -> str:
    if len(result.class_names) <= MAX_CLASSES:
        caption = f"Confusion matrix of {result.name}: a row for each truth, a column for each answer"
        return markup.matrix(caption, result.class_names, result.confusion) + _by_class(result)
    pairs = confused_pairs(result.confusion, result.class_names)
    if not pairs:
        return markup.paragraph(f"{result.name} made none.")
    caption = f"What {result.name} took for something else most often, of {len(pairs):,} kinds of mistake"
    rows = [(truth, answer, count) for count, truth, answer in pairs[:MAX_PAIRS]]
    return markup.table(caption, ("truth", "answer", "times"), rows, numbers=("times",)) + _by_class(result)


def _by_class(result: Result) -> str:
    """The classes with their precision and recall, those with the lowest F1 first."""
    of_classes = zip(result.class_names, *class_scores(np.array(result.confusion)), strict=True)
    scores = sorted(of_classes, key=lambda row: row[3])
    rows = [
        (name, *("-" if math.isnan(share) else f"{100 * share:.1f}%" for share in shares), f"{count:,}")
        for name, *shares, count in scores[:MAX_CLASSES]
    ]
    limit_text = f", the {MAX_CLASSES} lowest of {len(scores)}" if len(scores) > MAX_CLASSES else ""
    head = ("class", "precision", "recall", "F1", "examples")
    caption = f"Each class in the answers of {result.name}{limit_text}"
    return markup.table(caption, head, rows, numbers=head[1:])


def _calibration(run: Run, main: Result) -> str:
    curves = Plot(
        "Precision over recall of the decisions for all classes, and the mean average precision",
        "recall in %",
        "precision in %",
        tuple(_precision_over_recall(result) for result in run.results.values()),
    )
    return f'<figure class="plots">{figures.calibration(main)}{figures.lines(curves)}</figure>'


def _precision_over_recall(result: Result) -> Series:
    recall, precision = result.precision_recall.pooled()
    name = f"{result.name}: {result.precision_recall.mean_average_precision:.3f}"
    return Series(name, tuple((100 * recall).tolist()), tuple((100 * precision).tolist()))


def _training(history: History) -> str:
    curves = "\n".join(filter(None, (figures.curve(history, quantity) for quantity in ("loss", "accuracy"))))
    if not curves and not history.diverged:
        return ""
    title = markup.text(capitalize(history.stage))
    return (
        f'<h3>{title}</h3>\n<figure>\n<div class="plots">\n{curves}\n</div>\n'
        f"<figcaption>{markup.text(_format_history(history))}</figcaption>\n</figure>"
    )


def _format_history(history: History) -> str:
    words = plural(len(history.epochs), "epoch")
    seconds = sum(epoch.get("seconds", 0.0) for epoch in history.epochs)
    if seconds:
        words += f" in {duration(seconds)}"
    validated_epochs = [epoch for epoch in history.epochs if "val_accuracy" in epoch]
    if validated_epochs:
        best = max(validated_epochs, key=lambda epoch: epoch["val_accuracy"])
        last = validated_epochs[-1]["val_accuracy"]
        words += f"; validation accuracy {last:.1%} at the end, at best {best['val_accuracy']:.1%}"
        words += f" after epoch {best['epoch'] + 1:.0f}"
    if history.start and all(epoch["val_loss"] >= history.start["val_loss"] for epoch in validated_epochs):
        words += "; no epoch was better than what it began with, and that was kept"
    if history.diverged:
        words += "; the next one gave numbers that are not finite, and ended it"
    return words + "."


def _transfer(report: TransferReport) -> str:
    head = ("layer", "from", "what", "rule", "parameters", "SHA-256")
    rows = [
        (
            layer.target,
            layer.source or "",
            layer.action,
            layer.rule,
            f"{layer.parameters:,}",
            layer.sha256[:12],
        )
        for layer in report.layers
    ]
    caption = (
        f"{report.source_model} to {report.target_model}, growth: {report.growth}; digests cut to 12 digits"
    )
    unmatched_layers, settings = report.unmatched_source, report.different_settings
    lists = {"Not taken over from the source": unmatched_layers, "Settings differ": settings}
    return "\n".join(
        [
            markup.paragraph(_difference(report)),
            markup.table(caption, head, rows, numbers=("parameters",), stressed=report.names("grown")),
            *(markup.paragraph(f"{what}: {', '.join(names)}.") for what, names in lists.items() if names),
        ]
    )


def _difference(report: TransferReport) -> str:
    counts = [
        f"{plural(sum(layer.action == action for layer in report.layers), 'layer')} {action} "
        f"({parameters:,} parameters)"
        for action, parameters in report.totals().items()
        if any(layer.action == action for layer in report.layers)
    ]
    summary = ", ".join(counts) + ". "
    if report.max_abs_difference is None:
        return summary + "The outputs of both networks were not compared."
    if report.max_abs_difference == 0.0:
        return (
            summary + f"At the start {report.target_model} gave exactly the output of {report.source_model}: "
            "the largest difference on a batch was 0.0."
        )
    return (
        summary
        + f"At the start the output of {report.target_model} differed from that of {report.source_model} "
        f"by at most {report.max_abs_difference:.3g} on a batch."
    )


def _all_data(run: Run) -> str:
    parts = [f"<h3>{markup.text(title)}</h3>\n{_data(data)}" for title, data in run.further_data.items()]
    return "\n".join([_data(run.data), *parts])


def _data(data: DataReport) -> str:
    lists = (
        ("Left out, because unreadable", [f"{name}: {reason}" for name, reason in data.dropped]),
        ("In training and in test", [f"{name} = {other}" for name, other in data.leaked]),
        ("Twice in one split", [f"{name} = {other}" for name, other in data.duplicates]),
    )
    problems = [
        markup.folded(f"{title}: {len(lines):,}", markup.items(_first(lines), "findings"))
        for title, lines in lists
        if lines
    ]
    no_problem = "" if problems or data.warnings else markup.paragraph("No problem was found.")
    return "\n".join([no_problem, markup.items(data.warnings, "warnings"), *problems, _counts(data.counts)])


def _counts(counts: dict[str, dict[str, int]]) -> str:
    classes = list(dict.fromkeys(name for sizes in counts.values() for name in sizes))
    totals = {split: sum(sizes.values()) for split, sizes in counts.items()}
    head: tuple[str, ...]
    if len(classes) > MAX_CLASSES:
        head = ("split", "examples", "classes", "smallest class", "largest class")
        rows = [
            (split, f"{totals[split]:,}", len(sizes), min(sizes.values()), max(sizes.values()))
            for split, sizes in counts.items()
        ]
        return markup.table("Examples by split", head, rows, numbers=head[1:])
    head = ("class", *counts)
    by_class = [(name, *(f"{sizes.get(name, 0):,}" for sizes in counts.values())) for name in classes]
    all_classes = ("all", *(f"{total:,}" for total in totals.values()))
    return markup.table("Examples by class and split", head, [*by_class, all_classes], numbers=head[1:])


def _time(seconds: dict[str, float]) -> str:
    rows = [(stage, duration(stage_seconds)) for stage, stage_seconds in seconds.items()]
    rows.append(("all stages", duration(sum(seconds.values()))))
    machine = hardware()
    machine["memory"] = f"{machine.pop('memory_gb')} GB"
    machine["accelerators"] = ", ".join(machine["accelerators"]) or "none"
    return "\n".join(
        [
            markup.table(
                "Wall time by stage", ("stage", "time"), rows, numbers=("time",), stressed=("all stages",)
            ),
            "<h3>Machine</h3>",
            markup.facts(list(machine.items())),
            "<h3>Versions</h3>",
            markup.facts(list(versions().items())),
        ]
    )


def _replay(run: Run) -> str:
    flags = markup.folded("All flags", f"<pre>{markup.lines(run.flags)}</pre>")
    return f'<pre class="command">{markup.text(run.command)}</pre>\n{flags}'


def _first(lines: Sequence[str]) -> list[str]:
    rest = len(lines) - MAX_LINES
    return [*lines[:MAX_LINES], *([f"and {rest:,} more; metrics.json lists them all"] if rest > 0 else [])]


def _range(run: Run) -> str:
    sizes = [result.n for result in run.results.values()]
    return f"{min(sizes):,}" if min(sizes) == max(sizes) else f"{min(sizes):,} to {max(sizes):,}"
