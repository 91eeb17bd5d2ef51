"""Folders that this process holds, and whether they still are the ones that it began with."""

import os
from pathlib import Path

from xmodal.core.errors import UserError

# Where a lock is -> what it was when this process took it.
_locks: dict[Path, os.stat_result] = {}


def hold(lock: Path, status: os.stat_result) -> None:
    """Notes that this process holds the folder of a lock."""
    _locks[_absolute(lock)] = status


def release(lock: Path) -> None:
    """Forgets a lock that `hold` noted."""
    _locks.pop(_absolute(lock), None)


def is_held(lock: Path) -> bool:
    """Tells whether a lock is still the one that this process took, and its folder therefore the same."""
    lock = _absolute(lock)
    try:
        return lock in _locks and os.path.samestat(_locks[lock], os.lstat(lock))
    except OSError:
        return False


def require_held(path: Path) -> None:
    """Refuses to write where a folder was that this process held and that is there no more.

    It would be made anew without what was in it, or be another process's by now.

    Raises:
        UserError: when a held folder that `path` is in was removed or replaced.
    """
    absolute_path = _absolute(path)
    for lock in [*_locks]:
        if absolute_path.is_relative_to(lock.parent) and not is_held(lock):
            raise UserError(
                f"the folder {str(lock.parent)!r} was removed or replaced while this process used it",
                "give the same command again",
            )


def _absolute(path: Path) -> Path:
    return Path(os.path.abspath(path))
