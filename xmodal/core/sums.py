"""SHA256SUMS: the digest of each file in a folder, so that a damaged one is told before anything reads it."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from xmodal.core.errors import UserError
from xmodal.core.files import atomic_folder, digests, write_text
from xmodal.core.reading import read_regular

SUMS = "SHA256SUMS"
MAX_BYTES = 2**24
LINE = re.compile(r"([0-9a-f]{64})  (.+)")


@contextmanager
def summed_folder(path: Path) -> Iterator[Path]:
    """Yields a folder as `atomic_folder` does, and adds the sums of what is put there."""
    with atomic_folder(path) as temporary:
        yield temporary
        write_sums(temporary)


def write_sums(folder: Path) -> None:
    """Writes the sums of a folder into it."""
    write_text(folder / SUMS, sums_of(folder))


def sums_of(folder: Path) -> str:
    """Returns the digests of a folder, as `sha256sum --check` reads them.

    Notes for people (.md), hidden files and the sums themselves are left out.
    """
    return "".join(f"{digest}  {name}\n" for name, digest in _digests(folder))


def check_sums(folder: Path, remedy: str) -> None:
    """Checks that a folder holds the files that its SHA256SUMS names, as they were, and no others.

    Args:
        folder: where a run left it.
        remedy: what to do about one that does not.

    Raises:
        UserError: when it does not, naming the file.
    """
    try:
        text = read_regular(folder / SUMS, MAX_BYTES).decode()
        actual = dict(_digests(folder))
    except FileNotFoundError as error:
        raise UserError(f"{str(folder)!r} has no {SUMS}: no run, or an old one, left it", remedy) from error
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{str(folder)!r} cannot be checked ({error})", remedy) from error
    # What is read later may be waited for.
    special = [path for path in sorted(folder.rglob("*")) if not (path.is_file() or path.is_dir())]
    if special:
        raise UserError(f"{str(special[0])!r} is no regular file", remedy)
    digests = {match[2]: match[1] for match in map(LINE.fullmatch, text.splitlines()) if match}
    for name in sorted({*digests, *actual}):
        if digests.get(name) != actual.get(name):
            fault = "is missing" if name not in actual else "was changed" if name in digests else "was added"
            raise UserError(f"{str(folder / name)!r} {fault}", remedy)
    if not digests or text != sums_of(folder):
        raise UserError(f"{str(folder / SUMS)!r} is broken", remedy)


def _digests(folder: Path) -> Iterator[tuple[str, str]]:
    for name, digest in digests(folder).items():
        hidden = any(part.startswith(".") for part in name.split("/"))
        if name != SUMS and not hidden and not name.endswith(".md"):
            yield name, digest
