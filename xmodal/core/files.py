"""Files and folders that appear under their name only when whole.

Everything that the package writes goes through here, or into a new folder that is made here.
"""

import errno
import hashlib
import json
import os
import re
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import files
from pathlib import Path
from typing import IO, Any

from xmodal.core.errors import UserError
from xmodal.core.held import require_held
from xmodal.core.reading import kind_of, open_regular

# Windows has no such locks; `versions.check_system` says what to do there.
if sys.platform != "win32":
    import fcntl

# In the hidden name of what is not whole yet.
UNFINISHED = ".xmodal-"
# So many bytes at either end of a file tell of which kind it is.
ENDS = 4096
# For files of which none may be replaced.
NONE = re.compile(rb"(?!)")
# The folder of flagfiles and tables that come with the package.
SHIPPED = "experiments"


def path_of(words: str) -> Path:
    """Returns a path as it was typed, with "~" in the place of a home.

    Raises:
        UserError: when it is that of a user that there is not, or holds NUL.
    """
    try:
        if "\0" in words:
            raise RuntimeError("it holds NUL")
        return Path(words).expanduser()
    except RuntimeError as error:
        raise UserError(f"{words!r} is no path ({error})", "write the path out") from error


def shipped_path(words: str | Path) -> Path:
    """Returns a path as it is, or that of the file which came with the package, where there is none here.

    So `experiments/vgg_to_bert.cfg` means the same in a checkout and beside an installed package.

    Example:
        >>> shipped_path("experiments/vgg_to_bert.cfg").is_file()
        True
    """
    path = Path(words)
    if path.parts[:1] != (SHIPPED,) or path.exists():
        return path
    checkout = Path(__file__).parents[2] / path
    installed = (file.locate() for file in files("xmodal") or () if file.match(f"share/xmodal/{path}"))
    return next((Path(candidate) for candidate in (checkout, *installed) if Path(candidate).is_file()), path)


def sha256_file(path: Path) -> str:
    """Returns the SHA-256 of a regular file as 64 hexadecimal digits."""
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def folder_bytes(folder: Path) -> int:
    """Returns the size of all files in a folder at any depth; of what is removed meanwhile, nothing."""
    size = 0
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):
            status = path.lstat()
            size += status.st_size if stat.S_ISREG(status.st_mode) else 0
    return size


def digests(folder: Path) -> dict[str, str]:
    """Returns the SHA-256 of each file in a folder at any depth, by its path there."""
    return {
        path.relative_to(folder).as_posix(): sha256_file(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@contextmanager
def os_errors_as_user_errors(path: Path) -> Iterator[None]:
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
        if error.errno in (errno.ENAMETOOLONG, errno.ELOOP):
            raise UserError(
                f"{str(path)!r} cannot be written ({error.strerror})", "choose another name"
            ) from error
        if error.errno in (errno.ENOTDIR, errno.EEXIST):
            raise UserError(
                f"{str(path)!r} cannot be made: a file stands in its way",
                "move the file or choose another folder",
            ) from error
        if error.errno == errno.ENOENT and not path.absolute().parent.is_dir():
            raise UserError(
                f"{str(path)!r} cannot be written: its folder is gone, or cannot be made",
                "choose a folder that stays, or give the same command again",
            ) from error
        raise


def target_of(path: str | Path, kind: re.Pattern[bytes] | None = None, *, overwrite: bool = False) -> Path:
    """Returns the file that is written for `path`: what it links to, or itself. Writes nothing.

    Args:
        path: a file, or a new name.
        kind: is found at the beginning or the end of files that may be replaced, as the same command writes
            them; None where all files of that name are ours. An empty file may be replaced too.
        overwrite: replace a file of any kind.

    Raises:
        UserError: when no regular file stands there, or one that may not be replaced.
    """
    target = Path(os.path.realpath(path))
    with os_errors_as_user_errors(Path(path)):
        try:
            status = target.lstat()
        except FileNotFoundError:
            return target
        if stat.S_ISLNK(status.st_mode):
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        if not stat.S_ISREG(status.st_mode):
            file_kind = kind_of(status.st_mode)
            raise UserError(f"{str(path)!r} is {file_kind}, which no file can replace", "choose another name")
        if not os.access(target, os.W_OK):
            raise OSError(errno.EACCES, os.strerror(errno.EACCES))
        if kind and status.st_size and not overwrite and not kind.search(_ends(target)):
            raise UserError(
                f"{str(path)!r} is there already", "choose another name, or add `overwrite` to replace it"
            )
    return target


@contextmanager
def atomic_write(
    path: str | Path, kind: re.Pattern[bytes] | None = None, *, overwrite: bool = False
) -> Iterator[IO[bytes]]:
    """Opens a temporary file beside a file that takes its name when the block ends well.

    A link stays, and the file that it leads to is replaced; what is replaced leaves its permissions.

    Args:
        path, kind, overwrite: as `target_of` takes them.

    Raises:
        UserError: as `target_of`; when there is no space, or no permission to write; when the folder was
            removed that this process holds.
    """
    require_held(Path(path))
    target = target_of(path, kind, overwrite=overwrite)
    with os_errors_as_user_errors(Path(path)):
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = _unfinished(target, folder=False)
        try:
            with open(handle, "wb") as file:
                yield file
                file.flush()
                _take_permissions(handle, target)
                os.fsync(handle)
                os.replace(temporary, target)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


@contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """Yields a temporary folder beside `path` that takes its name when the block ends well.

    A folder that another process put at `path` meanwhile stays, and ours is dropped.

    Raises:
        UserError: when there is no space, or no permission to write.
    """
    with new_folder(path) as temporary:
        yield temporary
        with os_errors_as_user_errors(Path(path)):
            rename_folder(temporary, Path(path))


@contextmanager
def new_folder(path: str | Path) -> Iterator[Path]:
    """Yields a temporary folder beside `path`, and removes what is left of it when the block ends.

    Raises:
        UserError: as `atomic_write`.
    """
    path = Path(path)
    require_held(path)
    with os_errors_as_user_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = _unfinished(path, folder=True)
        try:
            yield temporary
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
            os.close(handle)


def rename_folder(temporary: Path, path: Path) -> bool:
    """Gives a temporary folder its name, and returns whether it was free."""
    os.chmod(temporary, 0o777 & ~_umask())
    try:
        os.rename(temporary, path)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        return False
    return True


def write_text(
    path: str | Path, text: str, kind: re.Pattern[bytes] | None = None, *, overwrite: bool = False
) -> None:
    """Writes `text` as UTF-8, whole or not at all; arguments as `target_of` takes them."""
    with atomic_write(path, kind, overwrite=overwrite) as file:
        file.write(text.encode())


def write_json(
    path: str | Path, value: Any, kind: re.Pattern[bytes] | None = None, *, overwrite: bool = False
) -> None:
    """Writes `value` as JSON, as `write_text` does. NaN and infinity are refused.

    What holds numbers, texts and the like alone is one line, such as a row of a matrix; all else is indented.
    """
    # Through JSON once, so that keys are strings and tuples lists.
    text = _json_lines(json.loads(json.dumps(value, allow_nan=False))) + "\n"
    write_text(path, text, kind, overwrite=overwrite)


def remove_unfinished(folder: Path) -> None:
    """Removes what processes that died while they wrote left in a folder, at any depth."""
    with os_errors_as_user_errors(folder):
        for leftover in [*folder.rglob(f".*{UNFINISHED}*")]:
            _remove_if_unlocked(leftover)


def _unfinished(target: Path, *, folder: bool) -> tuple[int, Path]:
    """Makes a hidden file or folder beside `target`, locked while this process works on it."""
    # A name may have 255 bytes.
    prefix = f".{os.fsdecode(os.fsencode(target.name)[:200])}{UNFINISHED}"
    for leftover in [*target.parent.iterdir()]:
        if leftover.name.startswith(prefix):
            _remove_if_unlocked(leftover)
    while True:
        if folder:
            name = tempfile.mkdtemp(prefix=prefix, dir=target.parent)
            handle = os.open(name, os.O_RDONLY)
        else:
            handle, name = tempfile.mkstemp(prefix=prefix, dir=target.parent)
        # Some network file systems have no locks: nothing is taken for left behind there.
        with suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        # Another process may have looked at it before it was locked.
        if os.path.exists(name):
            return handle, Path(name)
        os.close(handle)


def _remove_if_unlocked(path: Path) -> None:
    """Removes a hidden file or folder unless a process holds it."""
    with suppress(OSError):
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
        finally:
            os.close(handle)


def _take_permissions(handle: int, target: Path) -> None:
    """Gives a file those of what it replaces, its owner too where the system lets."""
    try:
        status = target.stat()
    except FileNotFoundError:
        os.fchmod(handle, 0o666 & ~_umask())
        return
    with suppress(PermissionError):
        os.fchown(handle, status.st_uid, status.st_gid)
    os.fchmod(handle, status.st_mode & 0o777)


def _ends(path: Path) -> bytes:
    with open(path, "rb") as file:
        head = file.read(ENDS)
        file.seek(max(ENDS, path.stat().st_size - ENDS))
        return head + file.read(ENDS)


def _json_lines(value: Any, line_start: str = "\n") -> str:
    """Returns JSON whose lines after the first one begin with `line_start`."""
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    if not any(isinstance(part, (dict, list)) for part in parts):
        return json.dumps(value)
    texts = [_json_lines(part, f"{line_start}  ") for part in parts]
    if isinstance(value, dict):
        texts = [f"{json.dumps(key)}: {text}" for key, text in zip(value, texts, strict=True)]
    left, right = "{}" if isinstance(value, dict) else "[]"
    return f"{left}{line_start}  {f',{line_start}  '.join(texts)}{line_start}{right}"


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def cache_folder() -> Path:
    """Returns the folder of fetched assets: XMODAL_HOME, by default ~/.cache/xmodal.

    Raises:
        UserError: when neither is known, as of a user of a container who has no name.
    """
    if os.environ.get("XMODAL_HOME"):
        return path_of(os.environ["XMODAL_HOME"])
    try:
        return Path.home() / ".cache" / "xmodal"
    except RuntimeError as error:
        raise UserError(
            f"there is no folder for what is fetched ({error})", "set XMODAL_HOME to one, or HOME"
        ) from error
