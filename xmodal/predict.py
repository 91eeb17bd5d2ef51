"""Answers pictures and texts with an exported model.

    python -m xmodal.predict --model=saved_models/vgg_to_bert photo.jpg photos/
    python -m xmodal.predict --model=saved_models/bert_news --text="wheat prices rise" letters/
    cat lines.txt | python -m xmodal.predict --model=saved_models/bert_news --format=csv -
    python -m xmodal.predict --model=saved_models/vgg_to_bert --sheet=answers.png photos/

Files that end in .txt are texts, "-" reads a text from each line of the standard input, and everything else
is a picture; of a folder, those files that look like one of the two.
"""

import csv
import io
import json
import re
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from xmodal.core.command import Parser, exit_code
from xmodal.core.errors import UserError
from xmodal.core.files import target_of, whole_file, write_text
from xmodal.core.formatting import cut, printable
from xmodal.core.tensorflow_start import start_tensorflow
from xmodal.export.predictor import Answer, Item, Predictor
from xmodal.report.figures import SHEET

TEXT = ".txt"
PICTURES = (".jpg", ".jpeg", ".png", ".gif", ".bmp")
# Of a sheet: pictures in a row and in all, and the longer side of each in pixels.
COLUMNS, SHOWN, SIDE = 8, 96, 128


def items_of(arguments: Sequence[str], texts: Sequence[str] = ()) -> list[Item]:
    """Reads what is to be answered.

    Args:
        arguments: files, folders, or "-" for the lines of the standard input.
        texts: texts as they are.

    Raises:
        UserError: for a file that is not there or cannot be read, and when there is nothing to answer.
    """
    items = [Item(text, text.encode(), True) for text in texts]
    for argument in arguments:
        if argument == "-":
            lines = filter(None, (line.rstrip(b"\r\n") for line in sys.stdin.buffer))
            items += [Item(line.decode(errors="replace"), line, True) for line in lines]
            continue
        path = Path(argument)
        files = [path]
        if path.is_dir():
            files = sorted(file for file in path.rglob("*") if file.suffix.lower() in (TEXT, *PICTURES))
        for file in files:
            try:
                items.append(Item(str(file), file.read_bytes(), file.suffix.lower() == TEXT))
            except OSError as error:
                raise UserError(
                    f"{str(file)!r} cannot be read ({error.strerror})", "check its path"
                ) from error
    if not items:
        raise UserError("there is nothing to answer", "give files, folders or --text")
    return items


def as_json(answers: Sequence[Answer]) -> str:
    """Returns the answers as a JSON list of objects."""
    return json.dumps([asdict(answer) for answer in answers], indent=2, ensure_ascii=False) + "\n"


def as_csv(answers: Sequence[Answer]) -> str:
    """Returns the answers as CSV: a line each, a column for each class."""
    classes = list(dict.fromkeys(name for answer in answers for name in answer.probabilities))
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["item", "label", "probability", "read", "problem", *classes])
    for answer in answers:
        shares = [answer.probabilities.get(name, "") for name in classes]
        probability = "" if answer.problem else answer.probability
        writer.writerow([answer.item, answer.label, probability, answer.read, answer.problem, *shares])
    return buffer.getvalue()


def as_table(answers: Sequence[Answer]) -> str:
    """Returns the answers for the console: the label, the next likely one, and what was read."""
    rows = [("item", "label", "", "or else", "", "read")]
    for answer in answers:
        name = cut(printable(answer.item), 40, keep="end")
        if answer.problem:
            rows.append((name, "-", "", "", "", answer.problem))
            continue
        second = sorted(answer.probabilities.items(), key=lambda pair: -pair[1])[1:2]
        other, share = second[0] if second else ("", 0.0)
        rows.append(
            (
                name,
                cut(printable(answer.label), 30),
                f"{answer.probability:.1%}",
                cut(printable(other), 30),
                f"{share:.1%}" if other else "",
                cut(printable(answer.read), 60),
            )
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "".join("  ".join(map(str.ljust, row, widths)).rstrip() + "\n" for row in rows)


def as_sheet(pictured: Sequence[tuple[Item, Answer]]) -> bytes:
    """Draws pictures with their labels and probabilities, as PNG."""
    from xmodal.report.figures import sheet, thumbnail

    rows = []
    for start in range(0, len(pictured), COLUMNS):
        row = pictured[start : start + COLUMNS]
        ends = dict.fromkeys(cut(row[place][0].name, 60, keep="end") for place in (0, -1))
        shown = [
            (thumbnail(item.content, SIDE), f"{answer.probability:.0%} {answer.label}")
            for item, answer in row
        ]
        rows.append((" to ".join(ends), shown))
    return sheet(rows)


FORMATS = {"table": as_table, "json": as_json, "csv": as_csv}
# How such a file begins.
WRITTEN = re.compile(
    rb'\A(item +label .*or else.* read\n|\[\n  \{\n    "item": |item,label,probability,read,problem)'
)


def main(argv: Sequence[str]) -> int:
    """Runs the command line, and returns its exit code: 0 done, 2 the user can mend it, 130 interrupted."""
    return exit_code(_run, argv)


def _run(arguments: Sequence[str]) -> None:
    parser = Parser("xmodal.predict", __doc__)
    parser.add_argument("items", nargs="*", metavar="FILE", help="files, folders, or - for lines of texts")
    parser.add_argument("--model", type=Path, required=True, help="folder of an export")
    parser.add_argument("--text", action="append", default=[], help="a text; may be given several times")
    parser.add_argument("--format", choices=FORMATS, default="table", help="how to tell; default %(default)s")
    parser.add_argument("--output", type=Path, help="a file to write to; default is the standard output")
    parser.add_argument("--sheet", type=Path, help="a PNG file for the pictures with their answers")
    parser.add_overwrite()
    options = parser.parse_args(arguments)
    for path, kind in ((options.output, WRITTEN), (options.sheet, SHEET)):
        if path:
            target_of(path, kind, overwrite=options.overwrite)
    items = items_of(options.items, options.text)
    start_tensorflow("3")
    answers = list(Predictor(options.model)(items))
    told = FORMATS[options.format](answers)
    if options.output:
        write_text(options.output, told, WRITTEN, overwrite=options.overwrite)
    else:
        sys.stdout.write(told)
    if options.sheet:
        _write_sheet(options.sheet, items, answers, options.overwrite)
    failed = [answer for answer in answers if answer.problem]
    if failed:
        raise UserError(
            f"{len(failed)} of {len(answers)} items have no answer: {failed[0].item!r} is "
            f"{failed[0].problem}",
            "the others are answered; leave these out",
        )


def _write_sheet(path: Path, items: Sequence[Item], answers: Sequence[Answer], overwrite: bool) -> None:
    pairs = zip(items, answers, strict=True)
    pictured = [(item, answer) for item, answer in pairs if not (item.is_text or answer.problem)]
    if not pictured:
        raise UserError("there is no picture with an answer for --sheet", "give pictures, or leave it out")
    drawn = as_sheet(pictured[:SHOWN])
    with whole_file(path, SHEET, overwrite=overwrite) as file:
        file.write(drawn)
    if len(pictured) > SHOWN:
        print(f"{path} has the first {SHOWN} of {len(pictured)} pictures", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main(sys.argv))
