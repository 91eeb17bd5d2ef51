"""Files that appear under their name only when whole, and folders used by one process at a time."""

import errno
import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from xmodal.errors import UserError


def sha256_file(path: Path) -> str:
    """Returns the SHA-256 of a file as 64 hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def mendable_os_errors(path: Path) -> Iterator[None]:
    """Turns the operating system's refusals to write at `path` into a `UserError`."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise UserError(
                f"no space left to write {str(path)!r}", "free some space or choose another folder"
            ) from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise UserError(
                f"{str(path)!r} cannot be written ({error.strerror})",
                "choose a folder that you may write to",
            ) from error
        if error.errno in (errno.ENOTDIR, errno.EEXIST):
            raise UserError(
                f"{str(path)!r} cannot be made: a file stands in its way",
                "move the file or choose another folder",
            ) from error
        raise


@contextmanager
def whole_file(path: str | Path) -> Iterator[IO[bytes]]:
    """Opens a temporary file beside `path` that takes its name when the block ends well.

    Raises:
        UserError: when there is no space, or no permission to write.
    """
    path = Path(path)
    with mendable_os_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with open(handle, "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.chmod(temporary, 0o666 & ~_umask())
            os.replace(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise


@contextmanager
def whole_folder(path: str | Path) -> Iterator[Path]:
    """Yields a temporary folder beside `path` that takes its name when the block ends well.

    A folder that another process put at `path` meanwhile stays, and ours is dropped.

    Raises:
        UserError: when there is no space, or no permission to write.
    """
    path = Path(path)
    with mendable_os_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
        try:
            yield temporary
            os.chmod(temporary, 0o777 & ~_umask())
            try:
                os.rename(temporary, path)
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def write_text(path: str | Path, text: str) -> None:
    """Writes `text` as UTF-8, whole or not at all."""
    with whole_file(path) as file:
        file.write(text.encode())


def write_json(path: str | Path, value: Any) -> None:
    """Writes `value` as JSON, whole or not at all. NaN and infinity are refused.

    What holds numbers, texts and the like alone is one line, such as a row of a matrix; all else is indented.
    """
    # Through JSON once, so that keys are strings and tuples lists.
    write_text(path, _json_lines(json.loads(json.dumps(value, allow_nan=False))) + "\n")


@contextmanager
def folder_lock(folder: str | Path, *, wait: bool) -> Iterator[None]:
    """Holds `folder` (made if need be) for this process; the lock ends with the process.

    Args:
        folder: the folder to hold.
        wait: wait for another process to finish, or raise at once.

    Raises:
        UserError: with `wait=False`, when another process holds the folder.
    """
    folder = Path(folder)
    with mendable_os_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / ".lock").open("w")
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError as error:
            raise UserError(
                f"the folder {str(folder)!r} is in use by another run",
                "wait for it to end or choose another --output_dir",
            ) from error
        yield


def _json_lines(value: Any, begin: str = "\n") -> str:
    """Returns JSON whose lines after the first one begin with `begin`."""
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    if not any(isinstance(part, (dict, list)) for part in parts):
        return json.dumps(value)
    texts = [_json_lines(part, f"{begin}  ") for part in parts]
    if isinstance(value, dict):
        texts = [f"{json.dumps(key)}: {text}" for key, text in zip(value, texts, strict=True)]
    left, right = "{}" if isinstance(value, dict) else "[]"
    return f"{left}{begin}  {f',{begin}  '.join(texts)}{begin}{right}"


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
