"""The form of the commands beside `xmodal.run`: how they are parsed, and how they end."""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from xmodal.core import versions
from xmodal.core.console import log_error
from xmodal.core.errors import UserError, system_errors, with_flags
from xmodal.core.files import path_of

DONE, USER_ERROR, INTERRUPTED = 0, 2, 130


class Parser(argparse.ArgumentParser):
    """Parses a command line, and reports a mistake as every other error that the user can fix.

    Args:
        module: the command's module, such as "xmodal.search".
        description: its docstring.
    """

    def __init__(self, module: str, description: str | None, **options):
        super().__init__(
            prog=f"python -m {module}",
            description=description,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
            **options,
        )
        self.register("type", Path, _path)

    def add_overwrite(self) -> None:
        """Adds --overwrite, for what `xmodal.core.files.target_of` refuses without it."""
        self.add_argument("--overwrite", action="store_true", help="replace whatever file is there")

    def add_audio(self, what: str) -> None:
        """Adds --audio, for sounds in the place of words, and --listener, see `words_or_sounds`."""
        self.add_argument("--audio", type=Path, action="append", default=[], help=f"{what}; may be repeated")
        self.add_argument("--listener", type=Path, help="folder of the export that puts sounds into words")

    def error(self, message: str) -> NoReturn:
        """Raises a `UserError`."""
        raise UserError(message, "see --help")


def _path(words: str) -> Path:
    """Reads the path that an argument gives; an empty one, as a variable of a shell may be, is none."""
    if not words:
        raise argparse.ArgumentTypeError("the path is empty")
    return path_of(words)


def exit_code(
    run: Callable[[Sequence[str]], None], argv: Sequence[str], *, check_versions: bool = True
) -> int:
    """Runs a command line.

    Args:
        run: takes the arguments after the program's name.
        argv: the program's name, then its arguments.
        check_versions: first see to it that the installed packages belong together.

    Returns:
        0 done, 2 an error that the user can fix, told in one line, 130 interrupted.
    """
    try:
        if check_versions:
            versions.check()
        with system_errors():
            run(argv[1:])
    except UserError as error:
        log_error(f"error: {with_flags(error)}")
        return USER_ERROR
    except KeyboardInterrupt:
        log_error("interrupted")
        return INTERRUPTED
    return DONE


def require_png(path: Path, flag: str) -> None:
    """Refuses a name that says something else of a PNG file.

    Raises:
        UserError: naming the flag.
    """
    if path.suffix.lower() != ".png":
        raise UserError(f"--{flag}={path} does not end in .png, and what is written is a PNG", "name it so")


def texts_of(words: Sequence[str]) -> list[str]:
    """Returns what was asked, one text an argument.

    Raises:
        UserError: for an empty text.
    """
    texts = [" ".join(word.split()) for word in words]
    if any(not _is_utf8(text) for text in texts):
        raise UserError("the query is not in UTF-8", "write it in UTF-8")
    if not texts or not all(texts):
        raise UserError("the query is empty", "say what the picture shows, such as 'a truck'")
    return texts


def words_or_sounds(words: Sequence[str], audio: Sequence[Path], listener: Path | None) -> list[str]:
    """Returns what was asked in words, see `texts_of`; there may be none beside sounds.

    Raises:
        UserError: for sounds without a listener, or the other way round.
    """
    if bool(audio) != bool(listener):
        raise UserError("`audio` and `listener` belong together", "give both, or neither")
    return texts_of(words) if words or not audio else []


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
