"""The one exception for everything that the user can mend."""

import difflib
import errno
from collections.abc import Iterable, Iterator
from contextlib import contextmanager


class UserError(Exception):
    """A problem that the user can mend: a flag, a file, a missing asset.

    `xmodal.run` prints it as one line, `error: <problem>; <remedy>`, and exits with 2.

    Args:
        problem: what is wrong, naming the thing and its value.
        remedy: what to do about it, as an instruction.
    """

    def __init__(self, problem: str, remedy: str):
        self.problem = problem
        self.remedy = remedy
        super().__init__(" ".join(f"{problem}; {remedy}".split()))


class WorkerLost(Exception):
    """Another process of the job died or was told to stop, so that this one cannot go on either.

    `xmodal.run` exits with 75: a supervisor is to start every process of the job again.
    """


@contextmanager
def file_name_errors() -> Iterator[None]:
    """Turns what the system says of the name of a file, wherever it was given, into a `UserError`."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENAMETOOLONG, errno.ELOOP):
            raise
        raise UserError(
            f"{error.filename!r} cannot be read ({error.strerror})", "give another path"
        ) from error


def nearest(value: str, choices: Iterable[str]) -> str:
    """Returns a remedy that names the valid choice nearest to `value`, or all of them."""
    choices = sorted(choices)
    close = difflib.get_close_matches(value, choices, n=1)
    if close:
        return f"did you mean {close[0]!r}?"
    return f"choose one of {', '.join(choices)}"
