"""One command for all: `xmodal NAME ...` is `python -m xmodal.NAME ...`."""

import runpy
import sys
from collections.abc import Sequence

from xmodal.core.console import log, log_error
from xmodal.core.errors import nearest

COMMANDS = {
    "run": "runs an experiment",
    "init": "looks at your pictures or texts, and writes a flagfile for them",
    "predict": "answers pictures and texts with an exported model",
    "ask": "answers in words that you type, without training",
    "demo": "a page to try an exported model",
    "compare": "lays finished runs side by side",
    "audit": "finds labels that are doubtful",
    "search": "finds pictures by words",
    "paint": "draws pictures from words",
    "fetch": "brings the assets that a run needs into the cache",
    "doctor": "says what this machine has, and what is in the way of a run",
    "bench": "measures speed, growth and serving",
}
USAGE = "\n".join(
    [
        "usage: xmodal COMMAND ...",
        "",
        *(f"  {name:<8} {what}" for name, what in COMMANDS.items()),
        "",
        "`xmodal COMMAND --help` tells more. To begin with:",
        "",
        "  xmodal run --flagfile=experiments/vgg_to_bert.cfg",
    ]
)


def main(argv: Sequence[str] = sys.argv) -> int:
    """Runs the command that is named first, with the arguments that follow.

    Args:
        argv: the program's name, then a command's and its arguments.

    Returns:
        0 when the commands are listed, 2 for one that there is not. A command ends the program itself.
    """
    name = argv[1] if len(argv) > 1 else "--help"
    if name in ("--help", "-h"):
        log(USAGE)
        return 0
    if name not in COMMANDS:
        log_error(f"error: {name!r} is no command; {nearest(name, COMMANDS)}")
        return 2
    sys.argv = [f"xmodal {name}", *argv[2:]]
    runpy.run_module(f"xmodal.{name}", run_name="__main__", alter_sys=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
