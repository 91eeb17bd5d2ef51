"""A place that nothing can be written outside of, for what fuzzing does to files.

All file systems are read-only in a namespace of this process, but one of memory in a folder. There is no
network either.
"""

import ctypes
import os
import resource
import subprocess
import sys
from pathlib import Path

NEWNS, NEWUSER, NEWNET = 0x20000, 0x10000000, 0x40000000
PRIVATE, RECURSIVE_MOUNTS = 1 << 18, 1 << 14
MOUNT_SETATTR, HERE, RECURSIVE, READ_ONLY = 442, -100, 0x8000, 1
SIZE = "256m"
LARGEST_FILE = 2**28

_system = ctypes.CDLL(None, use_errno=True)


def enter(folder: Path, size: str = SIZE) -> None:
    """Locks this process in an empty folder, for good, which holds so many bytes.

    Raises:
        OSError: where the system gives no namespaces. Then nothing is locked: nothing is to be run.
    """
    user, group = os.getuid(), os.getgid()
    _require(_system.unshare(NEWNS | NEWUSER | NEWNET), "unshare")
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"0 {user} 1")
    Path("/proc/self/gid_map").write_text(f"0 {group} 1")
    _require(_system.mount(None, b"/", None, RECURSIVE_MOUNTS | PRIVATE, None), "mount")
    attributes = (ctypes.c_uint64 * 4)(READ_ONLY, 0, 0, 0)
    _require(_system.syscall(MOUNT_SETATTR, HERE, b"/", RECURSIVE, attributes, 32), "mount_setattr")
    _require(_system.mount(b"jail", os.fsencode(folder), b"tmpfs", 0, f"size={size}".encode()), "mount")
    os.chdir(folder)
    resource.setrlimit(resource.RLIMIT_FSIZE, (LARGEST_FILE, LARGEST_FILE))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _require_locked(folder)


def _require(failed: int, what: str) -> None:
    if failed:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def _require_locked(folder: Path) -> None:
    """Makes sure of it: with a new name, so that nothing is lost where it is not so."""
    for outside in (folder.parent, Path(__file__).parent, Path("/dev"), Path("/dev/shm")):
        probe = outside / f".fuzz-{os.getpid()}"
        try:
            probe.touch(exist_ok=False)
        except OSError:
            continue
        probe.unlink()
        raise OSError(f"{outside} can be written from within the jail")


def run_in_jail(folder: Path, script: str, *arguments: str, size: str = SIZE) -> subprocess.CompletedProcess:
    """Runs Python in a process that is locked in a folder."""
    begin = f"import sys; sys.path[:0] = {sys.path!r}; import jail, pathlib\n"
    begin += f"jail.enter(pathlib.Path({str(folder)!r}), {size!r})\n"
    return subprocess.run(
        [sys.executable, "-c", begin + script, *arguments], capture_output=True, text=True, check=False
    )
