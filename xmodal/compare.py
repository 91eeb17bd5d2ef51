"""Lays finished runs side by side: what they measured, where their flags differ, how long they took.

python -m xmodal.compare runs/a runs/b
python -m xmodal.compare runs/* --output=comparison.html
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from xmodal.core.command import Parser, exit_code
from xmodal.core.console import log
from xmodal.core.errors import UserError
from xmodal.core.files import target_of, write_text
from xmodal.report import markup
from xmodal.runs.comparison import compare, page, read_runs, text


def main(argv: Sequence[str]) -> int:
    """Runs the command line, and returns its exit code: 0 done, 2 a mistake of the user, 130 interrupted."""
    return exit_code(_run, argv)


def _run(arguments: Sequence[str]) -> None:
    parser = Parser("xmodal.compare", __doc__)
    parser.add_argument("runs", nargs="+", type=Path, metavar="FOLDER", help="the --output_dir of a run")
    parser.add_argument("--output", type=Path, help="write a page too, such as comparison.html")
    parser.add_overwrite()
    options = parser.parse_args(arguments)
    if len(options.runs) < 2:
        raise UserError(f"one run, {str(options.runs[0])!r}, compares with nothing", "give two or more")
    if options.output:
        target_of(options.output, markup.PAGE, overwrite=options.overwrite)
    runs = read_runs(options.runs)
    log(text(compare(runs)))
    if options.output:
        write_text(options.output, page(runs), markup.PAGE, overwrite=options.overwrite)
        log(f"\nwritten: {options.output}")


if __name__ == "__main__":
    sys.exit(main(sys.argv))
