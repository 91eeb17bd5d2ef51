"""The one exception for every problem that the user can fix."""

import difflib
import errno
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from xmodal.core.formatting import first_few

# An argument in an error, with or without its value. A value may hold a backtick.
ARGUMENT = re.compile(r"`([a-z]\w*)(?:=(.*?))?`(?![^\s;,:.)])", re.DOTALL)

# Of a problem or a remedy; so many of them from its end.
MAX_LETTERS, ENDING = 800, 200


class UserError(Exception):
    """A problem that the user can fix: an argument, a file, a missing asset.

    Arguments, and the options of a run, stand in it as in Keras: in backticks, `name` or `name=value`. The
    command line spells them as its flags, see `with_flags`; `xmodal.run` prints one line,
    `error: <problem>; <remedy>`, and exits with 2.

    Args:
        problem: what is wrong, naming the thing and its value.
        remedy: what to do about it, as an instruction.

    Example:
        >>> raise UserError("the folder 'photos' holds no files", "put pictures in it")
        Traceback (most recent call last):
        xmodal.core.errors.UserError: the folder 'photos' holds no files; put pictures in it
    """

    def __init__(self, problem: str, remedy: str):
        self.problem = _shorten(problem)
        self.remedy = _shorten(remedy)
        super().__init__(" ".join(f"{self.problem}; {self.remedy}".split()))


def with_flags(error: UserError) -> UserError:
    """Returns an error as the command line says it: `name=value` is --name=value there.

    Example:
        >>> print(with_flags(UserError("`top_k=0` does not fit", "leave out `export=False`")))
        --top_k=0 does not fit; leave out --noexport
    """
    return UserError(spell_as_flags(error.problem), spell_as_flags(error.remedy))


def spell_as_flags(words: str) -> str:
    """Returns a text, such as a warning, with its arguments as the command line spells them.

    Example:
        >>> spell_as_flags("two names look alike; `merge_names` makes one of them")
        'two names look alike; --merge_names makes one of them'
    """
    return ARGUMENT.sub(_flag, words)


def _flag(argument: re.Match[str]) -> str:
    name, value = argument.groups()
    if value in (None, "True", "False"):
        return f"--no{name}" if value == "False" else f"--{name}"
    return f"--{name}={value}"


def _shorten(words: str) -> str:
    """Returns words with their middle left out where they are more than anybody reads."""
    if len(words) <= MAX_LETTERS:
        return words
    hidden_count = len(words) - MAX_LETTERS
    return f"{words[: MAX_LETTERS - ENDING]} ... ({hidden_count:,} more letters) ... {words[-ENDING:]}"


# The exit code of a process that goes on when all of its job are started again (EX_TEMPFAIL of sysexits.h).
START_AGAIN = 75


class WorkerLost(Exception):
    """Another process of the job died or was told to stop, so that this one cannot go on either.

    `xmodal.run` exits with `START_AGAIN`: a supervisor is to start every process of the job again.
    """


# What Python says where no folder for temporary files takes a byte.
NO_TEMPORARY = "No usable temporary directory"
# What TensorFlow says, on every device.
OUT_OF_MEMORY = "OOM when allocating"


@contextmanager
def system_errors() -> Iterator[None]:
    """Turns what the system says of a file's name, a full disk or full memory into a `UserError`."""
    try:
        yield
    except Exception as error:
        user_error = None if isinstance(error, UserError) else _as_user_error(error)
        if user_error is None:
            raise
        raise user_error from error


def _as_user_error(error: Exception) -> UserError | None:
    number, path = getattr(error, "errno", None), getattr(error, "filename", None)
    if number in (errno.ENAMETOOLONG, errno.ELOOP):
        return UserError(f"{path!r} cannot be read ({os.strerror(number)})", "give another path")
    # TensorFlow has errors of its own, with the system's words in them.
    if number in (errno.ENOSPC, errno.EDQUOT) or os.strerror(errno.ENOSPC) in str(error):
        subject = f"to write {path!r}" if path else f"({' '.join(str(error).split())[-200:]})"
        return UserError(
            f"no space left {subject}", "free some space there, or set TMPDIR to a folder with more"
        )
    if isinstance(error, MemoryError) or OUT_OF_MEMORY in str(error):
        reason = " ".join(str(error).split())[:200]
        return UserError(
            f"there is not enough memory{f' ({reason})' if reason else ''}",
            "end other programs and give the same command again, or take smaller batches or images",
        )
    if NO_TEMPORARY in str(error):
        return UserError(f"no temporary file can be written ({error})", "free some space, or set TMPDIR")
    return None


# The most choices that an error lists.
MAX_LISTED = 20


def nearest(value: str, choices: Iterable[str]) -> str:
    """Returns a remedy that names the valid choice nearest to `value`, or all of them."""
    choices = sorted(choices)
    close = difflib.get_close_matches(value, choices, n=1)
    if close:
        return f"did you mean {close[0]!r}?"
    return f"choose one of {first_few(choices, MAX_LISTED)}"
