"""Asks an exported model for answers in your own words: nothing is trained.

    python -m xmodal.ask --model=saved_models/names_to_answers --answers="dog,cat,truck" photos/
    python -m xmodal.ask --model=saved_models/vgg_to_bert --answers=can_fly.csv --sheet=answers.png photos/

The answers stand between commas, or in a CSV with the columns description,target, where several descriptions
may have one target. The model is one that puts images into words: of names_to_answers, or of vgg_to_bert.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from xmodal.core.command import Parser, exit_code
from xmodal.data.target_map import read_answers
from xmodal.export.answer_files import add_options, answer
from xmodal.export.predictor import Predictor


def main(argv: Sequence[str]) -> int:
    """Runs the command line, and returns its exit code: 0 done, 2 a mistake of the user, 130 interrupted."""
    return exit_code(_run, argv)


def _run(arguments: Sequence[str]) -> None:
    parser = Parser("xmodal.ask", __doc__)
    parser.add_argument("items", nargs="*", metavar="FILE", help="files, folders, or - for lines of texts")
    parser.add_argument("--model", type=Path, required=True, help="folder of an export")
    parser.add_argument("--answers", required=True, help="names with commas between them, or a CSV")
    parser.add_argument("--text", action="append", default=[], help="a text; may be given several times")
    add_options(parser)
    options = parser.parse_args(arguments)
    answers = read_answers(options.answers)
    answer(options, lambda: Predictor(options.model).with_answers(answers))


if __name__ == "__main__":
    sys.exit(main(sys.argv))
