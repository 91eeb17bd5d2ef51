"""A limit on what packed files unpack to: a few kilobytes can hold more rows than any memory."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeVar

from xmodal.core.errors import UserError

# What a file of any size may unpack to, in bytes, and how many times its own size a larger one.
ALWAYS, TIMES = 2**28, 100
# What a row takes in memory beside what it holds, about.
ROW_BYTES = 256

Row = TypeVar("Row")


def limit_rows(rows: Iterable[Row], path: Path, size: Callable[[Row], int]) -> Iterator[Row]:
    """Yields the rows of a packed file as long as they are in proportion to it.

    Args:
        rows: as they are unpacked.
        path: the file, or the folder of its parts.
        size: the bytes that a row holds, about.

    Raises:
        UserError: when they are more than `TIMES` as large as the file, and more than `ALWAYS`.

    Example:
        >>> list(limit_rows(["wheat prices rise"], Path("news.csv.gz"), len))
        ['wheat prices rise']
    """
    bytes_left = most_bytes(path)
    for row in rows:
        bytes_left -= size(row) + ROW_BYTES
        if bytes_left < 0:
            raise out_of_proportion(path)
        yield row


def most_bytes(path: Path) -> int:
    """Returns what a packed file may unpack to, in bytes."""
    parts = path.iterdir() if path.is_dir() else [path]
    return max(ALWAYS, TIMES * sum(part.stat().st_size for part in parts if part.is_file()))


def out_of_proportion(path: Path) -> UserError:
    """Returns the error of a file that unpacks to more than that."""
    limit = f"{most_bytes(path) // 2**20:,} MB"
    return UserError(
        f"{str(path)!r} unpacks to more than {limit}, too much for a file of its size",
        "check where it came from; if it is to be so, split it into several files",
    )
