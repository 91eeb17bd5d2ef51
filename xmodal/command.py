"""How the commands beside `xmodal.run` end: a code, and one line for what the user can mend."""

import sys
from collections.abc import Callable, Sequence

from xmodal.errors import UserError

DONE, USER_ERROR, INTERRUPTED = 0, 2, 130


def exit_code(run: Callable[[Sequence[str]], None], argv: Sequence[str]) -> int:
    """Runs a command line.

    Args:
        run: takes the arguments after the program's name.
        argv: the program's name, then its arguments.

    Returns:
        0 done, 2 something that the user can mend, which is said in one line, 130 interrupted.
    """
    try:
        run(argv[1:])
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return USER_ERROR
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    return DONE
