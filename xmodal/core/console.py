"""The one door to the terminal: what names of files, classes and flags hold never reaches it raw."""

import sys
from typing import TextIO

from xmodal.core.formatting import printable


def log(text: str = "") -> None:
    """Prints lines on the standard output; what a terminal would obey, and cannot show, is replaced."""
    _print(text, sys.stdout)


def log_error(text: str) -> None:
    """Prints lines on the standard error, as `log` does."""
    _print(text, sys.stderr)


def write_out(text: str) -> None:
    """Writes JSON or CSV, which `xmodal.core.formatting.escape` rid of what a terminal would obey."""
    sys.stdout.flush()
    sys.stdout.buffer.write(text.encode())
    sys.stdout.buffer.flush()


def _print(text: str, stream: TextIO) -> None:
    output = "\n".join(printable(line) for line in text.split("\n"))
    encoding = stream.encoding or "utf-8"
    print(output.encode(encoding, "replace").decode(encoding), file=stream, flush=True)
