"""Files of other people, read in memory: regular ones alone, and no more of them than there is use for."""

import errno
import io
import os
import stat
from pathlib import Path

KINDS = {
    stat.S_ISDIR: "a folder",
    stat.S_ISFIFO: "a pipe",
    stat.S_ISSOCK: "a socket",
    stat.S_ISCHR: "a device",
    stat.S_ISBLK: "a device",
}


class NotReadable(OSError):
    """A file that is not read: no regular one, or too large."""


def kind_of(mode: int) -> str:
    """Returns what the mode of a file says that it is, such as "a pipe"; "" for a regular file."""
    return next((name for predicate, name in KINDS.items() if predicate(mode)), "")


def open_regular(path: str | Path) -> io.BufferedReader:
    """Opens a file to read its bytes; raises what `read_regular` does."""
    # Before it is opened: a pipe would be waited for.
    kind = kind_of(os.stat(path).st_mode)
    if kind:
        raise NotReadable(errno.EINVAL, f"it is {kind}", str(path))
    return open(path, "rb")


def read_regular(path: str | Path, most: int) -> bytes:
    """Returns the content of a file.

    Args:
        path: of a regular file: what else there may be never ends, or never begins.
        most: bytes that it may hold.

    Raises:
        NotReadable: for any other kind of file, and a larger one.
        OSError: when the system cannot read it.
        ValueError: for a path that holds NUL.
    """
    with open_regular(path) as file:
        # Some files of the system tell no size, and some grow.
        content = file.read(most + 1)
    if len(content) > most:
        raise NotReadable(errno.EFBIG, f"it holds more than {most // 2**20:,} MB", str(path))
    return content
