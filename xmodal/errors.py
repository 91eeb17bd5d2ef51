"""The one exception for everything that the user can mend."""

import difflib
from collections.abc import Iterable


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


def nearest(value: str, choices: Iterable[str]) -> str:
    """Returns a remedy that names the valid choice nearest to `value`, or all of them."""
    choices = sorted(choices)
    close = difflib.get_close_matches(value, choices, n=1)
    if close:
        return f"did you mean {close[0]!r}?"
    return f"choose one of {', '.join(choices)}"
