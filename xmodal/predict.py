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
import os
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from xmodal.command import Parser, exit_code
from xmodal.errors import UserError
from xmodal.files import target_of, whole_file, write_text
from xmodal.report.figures import SHEET
from xmodal.report.wording import cut, printable

BATCH = 64
TEXT = ".txt"
PICTURES = (".jpg", ".jpeg", ".png", ".gif", ".bmp")
# Of a sheet: pictures in a row and in all, and the longer side of each in pixels.
COLUMNS, SHOWN, SIDE = 8, 96, 128


@dataclass(frozen=True)
class Item:
    """Something to answer.

    Attributes:
        name: how the answer names it.
        content: an encoded picture, or a text as UTF-8.
        is_text: which of the two.
    """

    name: str
    content: bytes
    is_text: bool


@dataclass(frozen=True)
class Answer:
    """What a model says of an item.

    Attributes:
        item: its name.
        label: the most probable class.
        probability: of that class, 0 to 1.
        read: the text that the text model read, of a picture too; empty when the model does not tell.
        probabilities: class -> probability.
        problem: why there is no answer; everything else is empty then.
    """

    item: str
    label: str = ""
    probability: float = 0.0
    read: str = ""
    probabilities: dict[str, float] = field(default_factory=dict)
    problem: str = ""


class Predictor:
    """An exported model, ready to answer.

    Args:
        folder: of a SavedModel that a run exported, or the one above it that holds its versions, of which
            the newest is taken.

    Raises:
        UserError: when there is no such model.
    """

    def __init__(self, folder: Path):
        import tensorflow as tf
        import tensorflow_text  # noqa: F401  registers the ops of the tokenizer

        self._folder = _newest(folder)
        try:
            signatures = tf.saved_model.load(str(self._folder)).signatures
        except (OSError, ValueError, tf.errors.OpError) as error:
            reason = " ".join(str(error).split())[:200]
            raise UserError(
                f"the model in {str(self._folder)!r} cannot be loaded ({reason})", "export it again"
            ) from error
        if "labels" not in signatures:
            raise UserError(
                f"the model in {str(self._folder)!r} has no signature 'labels': xmodal did not export it",
                "give a folder of saved_models/",
            )
        self.labels = [label.decode() for label in signatures["labels"]()["labels"].numpy()]
        self._images = _answering(signatures, "image_bytes")
        self._texts = _answering(signatures, "text")

    @property
    def takes_pictures(self) -> bool:
        """Whether the model answers a picture."""
        return self._images is not None

    @property
    def takes_texts(self) -> bool:
        """Whether the model answers a text."""
        return self._texts is not None

    def __call__(self, items: Sequence[Item]) -> Iterator[Answer]:
        """Answers items in their order, many at a time.

        Raises:
            UserError: for pictures when the model takes texts alone, and the other way round.
        """
        for start in range(0, len(items), BATCH):
            part = items[start : start + BATCH]
            answers = [Answer(item.name, problem=_problem(item)) for item in part]
            for is_text, ask in ((False, self._images), (True, self._texts)):
                places = [
                    place
                    for place, item in enumerate(part)
                    if item.is_text == is_text and not answers[place].problem
                ]
                if places and ask is None:
                    kind, other = ("texts", "pictures") if is_text else ("pictures", "texts")
                    raise UserError(
                        f"the model in {str(self._folder)!r} answers {other} and no {kind}, such as "
                        f"{part[places[0]].name!r}",
                        f"give it {other}",
                    )
                if places:
                    told = self._answers([part[place] for place in places], ask)
                    for place, answer in zip(places, told, strict=True):
                        answers[place] = answer
            yield from answers

    def _answers(self, items: Sequence[Item], ask: Any) -> list[Answer]:
        import tensorflow as tf

        (name,) = ask.structured_input_signature[1]
        asked = ask(**{name: tf.constant([item.content for item in items])})
        outputs = {key: value.numpy() for key, value in asked.items()}
        read = outputs.get("sentence", outputs.get("read", [b""] * len(items)))
        return [
            Answer(
                item.name,
                outputs["label"][row].decode(),
                float(outputs["probability"][row]),
                read[row].decode(),
                dict(zip(self.labels, map(float, outputs["probabilities"][row]), strict=True)),
            )
            for row, item in enumerate(items)
        ]


def _newest(folder: Path) -> Path:
    if (folder / "saved_model.pb").is_file():
        return folder
    versions = [path for path in folder.glob("*/saved_model.pb") if path.parent.name.isdecimal()]
    if not versions:
        raise UserError(
            f"--model={str(folder)!r} holds no model",
            "give the folder of an export, such as saved_models/NAME",
        )
    return max(versions, key=lambda path: int(path.parent.name)).parent


def _answering(signatures, name: str):
    """Returns the signature that answers this input alone, None without one."""
    for signature in signatures.values():
        inputs, outputs = signature.structured_input_signature[1], signature.structured_outputs
        if set(inputs) == {name} and "label" in outputs:
            return signature
    return None


def _problem(item: Item) -> str:
    """Tells why an item cannot be answered; empty when it can."""
    if item.is_text:
        try:
            item.content.decode()
        except UnicodeDecodeError as error:
            return f"no UTF-8 at byte {error.start}"
        return "" if item.content.strip() else "empty"
    import tensorflow as tf

    try:
        tf.io.decode_image(item.content, channels=3, expand_animations=False)
    except tf.errors.InvalidArgumentError:
        return "no picture that can be read"
    return ""


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
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
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
