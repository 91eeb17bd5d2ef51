"""What commands read that is to be answered, and how they tell the answers."""

import argparse
import csv
import io
import json
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from xmodal.core.command import Parser, require_png
from xmodal.core.console import log_error, write_out
from xmodal.core.errors import UserError
from xmodal.core.files import atomic_write, path_of, target_of, write_text
from xmodal.core.formatting import escape, printable, truncate
from xmodal.data.table_format import TableFormat, require_encodings
from xmodal.evaluation.limits import NONE_OF_THESE
from xmodal.export.asked_files import (
    BLANK,
    is_table,
    item_of_file,
    items_of_folder,
    items_of_lines,
    items_of_table,
)
from xmodal.export.predictor import Answer, Item, Predictor
from xmodal.export.why import write_why
from xmodal.report.figures import SHEET

# The columns that a table gets, beside one for each class.
ADDED = ("predicted_label", "predicted_probability", "read", "problem")
# Those of answers with limits.
LIMITS = ("answers", "certainty", "unknown", "verdict")
# Of a sheet: pictures in a row and in all, and the longer side of each in pixels.
COLUMNS, SHOWN, SIDE = 8, 96, 128


def items_of(
    arguments: Sequence[str],
    texts: Sequence[str] = (),
    pairs: Sequence[tuple[str, str]] = (),
    table_format: TableFormat | None = None,
    image_column: str = "image",
) -> tuple[list[Item], tuple[str, ...]]:
    """Reads what is to be answered.

    Args:
        arguments: files, folders, tables, or "-" for the lines of the standard input.
        texts: texts as they are.
        pairs: the file of a picture, and the text that is answered together with it.
        table_format: encodings, and the column of the texts of tables; UTF-8 and "text" by default.
        image_column: that of the images of tables.

    Returns:
        The items, and warnings of what is not read.

    Raises:
        UserError: for a file that is not there, and when there is nothing to answer.
    """
    table_format = table_format or TableFormat("utf-8", None, "text", "", "")
    # Arguments that are not UTF-8 have halves of surrogate pairs for their bytes.
    items = [Item(text, text.encode(errors="surrogateescape"), True) for text in texts]
    for image, text in pairs:
        picture = item_of_file(path_of(image), table_format)
        items.append(replace(picture, is_text=False, text=text.encode(errors="surrogateescape")))
    warnings: list[str] = []
    for argument in arguments:
        path = path_of(argument)
        if argument == "-":
            items += items_of_lines(sys.stdin.buffer, table_format)
        elif path.is_dir():
            folder_items, folder_warnings = items_of_folder(path, table_format)
            items += folder_items
            warnings += folder_warnings
        elif not path.exists():
            raise UserError(f"{argument!r} cannot be read (No such file or directory)", "check its path")
        elif is_table(path) and path.is_file():
            items += items_of_table(path, table_format, image_column)
        else:
            items.append(item_of_file(path, table_format))
    if not items:
        reasons = f": {'; '.join(warnings)}" if warnings else ""
        raise UserError(f"there is nothing to answer{reasons}", "give files, folders or `text`")
    return items, tuple(warnings)


def as_json(answers: Sequence[Answer]) -> str:
    """Returns the answers as a JSON list of objects."""
    return escape(json.dumps([asdict(answer) for answer in answers], indent=2, ensure_ascii=False)) + "\n"


def as_csv(answers: Sequence[Answer], items: Sequence[Item] = ()) -> str:
    """Returns the answers as CSV: a line each, a column for each class; no cell is a formula.

    Of items that came from tables, the columns of these come first, and others of other names after them.
    """
    classes = list(dict.fromkeys(name for answer in answers for name in answer.probabilities))
    limits = LIMITS if any(answer.unknown is not None for answer in answers) else ()
    columns = list(dict.fromkeys(name for item in items for name in item.row))
    head = ["item", "label", "probability", "read", "problem", *limits, *classes]
    if columns:
        head = [*columns, "item", *ADDED, *limits, *(f"probability:{name}" for name in classes)]
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(map(csv_cell, head))
    for index, answer in enumerate(answers):
        cells = [items[index].row.get(name, "") for name in columns]
        shares = [answer.probabilities.get(name, "") for name in classes]
        probability = "" if answer.problem else answer.probability
        answer_cells = [answer.item, answer.label_text, probability, answer.read, answer.problem]
        writer.writerow(map(csv_cell, [*cells, *answer_cells, *_limit_cells(answer)[: len(limits)], *shares]))
    return buffer.getvalue()


def _limit_cells(answer: Answer) -> tuple[str | float, ...]:
    """The set of answers with bars between them, certainty, the rank of strangeness, and both in words."""
    numbers = ("" if number is None else number for number in (answer.certainty, answer.unknown))
    return " | ".join(answer.answers or ()), *numbers, answer.verdict


def csv_cell(value: str | float) -> str | float:
    """Returns a cell that no spreadsheet takes for a formula: one such is begun with an apostrophe."""
    if not isinstance(value, str):
        return value
    text = escape(value)
    return f"'{text}" if FORMULA.match(text) and not NUMBER.fullmatch(text) else text


def as_table(answers: Sequence[Answer]) -> str:
    """Returns the answers for the console: the label, the next likely one, limits, and what was read."""
    has_limits = any(answer.unknown is not None for answer in answers)
    head = ("verdict", "unknown") if has_limits else ()
    rows: list[tuple[str, ...]] = [("item", "label", "", "or else", "", *head, "read")]
    for answer in answers:
        name = truncate(printable(answer.item), 40, keep="end")
        if answer.problem:
            rows.append((name, "-", "", "", "", *("",) * len(head), printable(answer.problem)))
            continue
        second = sorted(answer.probabilities.items(), key=lambda pair: -pair[1])[1:2]
        other, share = second[0] if second else ("", 0.0)
        unknown = "" if answer.unknown is None else f"{answer.unknown:.0%}"
        limits = (truncate(printable(answer.verdict), 60), unknown) if has_limits else ()
        rows.append(
            (
                name,
                truncate(printable(answer.label_text), 30),
                f"{answer.probability:.1%}",
                truncate(printable(other), 30),
                f"{share:.1%}" if other else "",
                *limits,
                truncate(printable(answer.read), 60),
            )
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "".join("  ".join(map(str.ljust, row, widths)).rstrip() + "\n" for row in rows)


def as_sheet(pictured: Sequence[tuple[Item, Answer]]) -> bytes:
    """Draws pictures with their labels and probabilities, as PNG."""
    from xmodal.export.asked_media import picture_of
    from xmodal.report.figures import sheet, thumbnail

    rows = []
    for start in range(0, len(pictured), COLUMNS):
        row = pictured[start : start + COLUMNS]
        ends = dict.fromkeys(truncate(row[index][0].name, 60, keep="end") for index in (0, -1))
        pictures = [(thumbnail(picture_of(item.content), SIDE), _caption(answer)) for item, answer in row]
        rows.append((" to ".join(ends), pictures))
    return sheet(rows)


def _caption(answer: Answer) -> str:
    if answer.verdict.startswith(NONE_OF_THESE):
        return f"none? {answer.label}"
    return f"{answer.probability:.0%} {answer.label}"


FORMATS = ("table", "json", "csv")
# Formulas begin so, in the full width of East Asian letters too; a number with its sign is none.
FORMULA, NUMBER = re.compile(r"[=+\-@\t\uff1d\uff0b\uff0d\uff20]"), re.compile(r"[+-]?[0-9]+(\.[0-9]+)?")
# How such a file begins.
WRITTEN = re.compile(
    rb'\A(item +label .*or else.* read\n|\[\n  \{\n    "item": |item,label,probability,read,problem'
    rb"|[^\n]*,item,predicted_label,predicted_probability,)"
)


def add_options(parser: Parser) -> None:
    """Adds the flags that say how items are read and answers told, see `answer`."""
    parser.add_argument("--format", choices=FORMATS, help="how to tell; csv for tables, else table")
    parser.add_argument("--text_column", default="text", help="column of the texts; default %(default)s")
    parser.add_argument("--image_column", default="image", help="column of the images; default %(default)s")
    parser.add_argument("--encoding", default="utf-8", help="of texts and tables; default %(default)s")
    parser.add_argument("--fallback_encoding", help="of those that are not in --encoding")
    parser.add_argument("--output", type=Path, help="a file to write to; default is the standard output")
    parser.add_argument("--sheet", type=Path, help="a PNG file for the pictures with their answers")
    parser.add_argument("--why", type=Path, help="a PNG file of what made the first answers: parts and words")
    parser.add_overwrite()


def answer(options: argparse.Namespace, load: Callable[[], Predictor]) -> None:
    """Reads the items of a command line, answers them and tells it.

    Args:
        options: parsed, with `items`, `text` and what `add_options` added.
        load: gives the model; called once, when all is known to be right.

    Raises:
        UserError: for what cannot be read or written, and in the end when an item has no answer.
    """
    for name in ("sheet", "why"):
        if getattr(options, name):
            require_png(getattr(options, name), name)
    for path, kind in ((options.output, WRITTEN), (options.sheet, SHEET), (options.why, SHEET)):
        if path:
            target_of(path, kind, overwrite=options.overwrite)
    table_format = TableFormat(options.encoding, options.fallback_encoding, options.text_column, "", "")
    require_encodings(table_format)
    items, warnings = items_of(
        options.items, options.text, getattr(options, "pair", ()), table_format, options.image_column
    )
    for warning in warnings:
        log_error(f"warning: {printable(warning)}")
    predictor = load()
    answers = [*predictor(items)]
    if options.why:
        write_why(options.why, predictor, items, answers, overwrite=options.overwrite)
    text = _format_answers(options.format, items, answers)
    if options.output:
        write_text(options.output, text, WRITTEN, overwrite=options.overwrite)
    else:
        write_out(text)
    if options.sheet:
        _write_sheet(options.sheet, items, answers, options.overwrite)
    failures = [answer for answer in answers if answer.problem not in ("", BLANK)]
    if failures:
        raise UserError(
            f"{len(failures)} of {len(answers)} items have no answer: {failures[0].item!r} is "
            f"{failures[0].problem}",
            "the others are answered; leave these out",
        )


def _format_answers(form: str | None, items: Sequence[Item], answers: Sequence[Answer]) -> str:
    form = form or ("csv" if any(item.row for item in items) else "table")
    if form == "csv":
        return as_csv(answers, items)
    return as_json(answers) if form == "json" else as_table(answers)


def _write_sheet(path: Path, items: Sequence[Item], answers: Sequence[Answer], overwrite: bool) -> None:
    pairs = zip(items, answers, strict=True)
    picture_pairs = [
        (item, answer) for item, answer in pairs if item.content and not (item.is_text or answer.problem)
    ]
    if not picture_pairs:
        raise UserError("there is no picture with an answer for `sheet`", "give pictures, or leave it out")
    sheet = as_sheet(picture_pairs[:SHOWN])
    with atomic_write(path, SHEET, overwrite=overwrite) as file:
        file.write(sheet)
    if len(picture_pairs) > SHOWN:
        log_error(f"{path} has the first {SHOWN} of {len(picture_pairs)} pictures")
