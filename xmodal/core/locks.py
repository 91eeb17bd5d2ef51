"""Folders that are used by one process at a time."""

import errno
import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from xmodal.core.errors import UserError
from xmodal.core.files import os_errors_as_user_errors
from xmodal.core.held import hold, is_held, release

# Windows has no such locks; `versions.check_system` says what to do there.
if sys.platform != "win32":
    import fcntl

LOCK, ATTEMPTS = ".lock", 1000


@contextmanager
def folder_lock(folder: str | Path, *, wait: bool) -> Iterator[None]:
    """Holds `folder` (made if need be) for this process; the lock ends with the process.

    Folders that were made for it and stay empty are removed again. Where the folder was removed meanwhile,
    what `core.files` writes there is refused.

    Args:
        folder: the folder to hold.
        wait: wait for another process to finish, or raise at once.

    Raises:
        UserError: with `wait=False`, when another process holds the folder; when something else stands in
            the place of its lock.
    """
    folder = Path(folder)
    with os_errors_as_user_errors(folder):
        new_folders = [parent for parent in (folder, *folder.parents) if not parent.exists()]
        lock = _lock_folder(folder, wait)
    hold(folder / LOCK, os.fstat(lock))
    try:
        yield
    finally:
        with suppress(OSError):
            if new_folders and is_held(folder / LOCK) and os.listdir(folder) == [LOCK]:
                (folder / LOCK).unlink()
                for parent in new_folders:
                    parent.rmdir()
        release(folder / LOCK)
        os.close(lock)


def _lock_folder(folder: Path, wait: bool) -> int:
    for attempts_left in reversed(range(ATTEMPTS)):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            lock = _open_lock(folder / LOCK)
        except (FileNotFoundError, FileExistsError) as error:
            # Whoever held it before may have removed the empty folder meanwhile.
            if os.path.lexists(folder) and not folder.is_dir():
                raise
            if not attempts_left:
                # As in /proc, where nothing can be made.
                raise UserError(f"{str(folder)!r} cannot be made", "choose another folder") from error
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError as error:
            os.close(lock)
            raise UserError(
                f"the folder {str(folder)!r} is in use by another run",
                "wait for it to end or choose another `output_dir`",
            ) from error
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(lock), os.lstat(folder / LOCK)):
                return lock
        os.close(lock)
    raise UserError(f"the lock of {str(folder)!r} comes and goes", "try again")


def _open_lock(path: Path) -> int:
    """Opens a lock and nothing else: what a link leads to is left alone."""
    try:
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)
        if stat.S_ISREG(os.fstat(lock).st_mode):
            return lock
        os.close(lock)
    except OSError as error:
        if error.errno not in (errno.ELOOP, errno.EISDIR, errno.ENXIO, errno.ENODEV):
            raise
    raise UserError(f"{str(path)!r} is no regular file", "remove it, or choose another folder")
