"""Answers pictures and texts with an exported model.

    python -m xmodal.predict --model=saved_models/vgg_to_bert photo.jpg photos/
    python -m xmodal.predict --model=saved_models/bert_news --text="wheat prices rise" letters/
    cat lines.txt | python -m xmodal.predict --model=saved_models/bert_news --format=csv -
    python -m xmodal.predict --model=saved_models/vgg_to_bert --sheet=answers.png photos/
    python -m xmodal.predict --model=saved_models/fusion --pair digit.png "looks like a seven" pairs.csv

Files that end in .txt are texts, those that end in .csv, .tsv or .jsonl are tables with a text, an image
(column image: its path) or both in each row, to which columns are added; "-" reads a text from each line of
the standard input, and everything else is a picture. Of a folder, pictures and texts are read at any depth.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from xmodal.core.command import Parser, exit_code
from xmodal.export.answer_files import add_options, answer
from xmodal.export.predictor import Predictor


def main(argv: Sequence[str]) -> int:
    """Runs the command line, and returns its exit code: 0 done, 2 a mistake of the user, 130 interrupted."""
    return exit_code(_run, argv)


def _run(arguments: Sequence[str]) -> None:
    parser = Parser("xmodal.predict", __doc__)
    parser.add_argument("items", nargs="*", metavar="FILE", help="files, folders, or - for lines of texts")
    parser.add_argument("--model", type=Path, required=True, help="folder of an export")
    parser.add_argument("--text", action="append", default=[], help="a text; may be given several times")
    parser.add_argument(
        "--pair",
        action="append",
        default=[],
        nargs=2,
        metavar=("FILE", "TEXT"),
        help="a picture, or a sound, and a text that are answered together; may be given several times",
    )
    add_options(parser)
    options = parser.parse_args(arguments)
    answer(options, lambda: Predictor(options.model))


if __name__ == "__main__":
    sys.exit(main(sys.argv))
