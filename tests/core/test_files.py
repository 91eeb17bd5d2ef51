"""Files and folders under every way in which writing them can end, in real processes and file systems."""

import functools
import hashlib
import json
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from xmodal.core.errors import UserError
from xmodal.core.files import (
    NONE,
    atomic_folder,
    atomic_write,
    remove_unfinished,
    sha256_file,
    write_json,
    write_text,
)
from xmodal.core.locks import folder_lock

ROOT = Path(__file__).parents[2]
SHELL = 'mount -t tmpfs -o "$1" tmpfs "$2" && shift 2 && exec "$@"'


def python(script: str, *arguments: str | Path, **options) -> subprocess.CompletedProcess:
    command = [sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, **options)


def start(script: str, *arguments: str | Path) -> subprocess.Popen:
    """Starts a process and waits until it has printed a line."""
    process = subprocess.Popen(
        [sys.executable, "-c", script, *map(str, arguments)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "ready\n"
    return process


@functools.cache
def mounting_is_possible() -> bool:
    command = ["unshare", "-rm", "sh", "-c", SHELL, "sh", "size=64k", "/mnt", "true"]
    return (
        shutil.which("unshare") is not None and subprocess.run(command, capture_output=True).returncode == 0
    )


def python_on_tmpfs(option: str, folder: Path, script: str) -> subprocess.CompletedProcess:
    """Runs a script with a file system of its own at `folder`, which ends with the process."""
    if not mounting_is_possible():
        pytest.skip("this system does not let a process mount a file system for itself")
    command = ["unshare", "-rm", "sh", "-c", SHELL, "sh", option, str(folder)]
    command += [sys.executable, "-c", script, str(folder)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)


# Whole files.


def test_a_file_appears_when_the_block_ends(tmp_path):
    path = tmp_path / "deep" / "er" / "words.txt"
    with atomic_write(path) as file:
        file.write(b"half")
        file.flush()
        assert not path.exists()
    assert path.read_bytes() == b"half"
    assert os.listdir(path.parent) == ["words.txt"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_an_exception_leaves_the_old_file_and_nothing_else(tmp_path, error):
    path = tmp_path / "words.txt"
    write_text(path, "old")
    with pytest.raises(error), atomic_write(path) as file:  # noqa: PT012
        file.write(b"new")
        raise error
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["words.txt"]


def test_an_exception_leaves_no_new_file(tmp_path):
    with pytest.raises(ValueError, match="stop"), atomic_write(tmp_path / "words.txt"):
        raise ValueError("stop")
    assert os.listdir(tmp_path) == []


def test_a_killed_process_leaves_the_old_file(tmp_path):
    path = tmp_path / "words.txt"
    write_text(path, "old")
    script = """
import sys, time
from xmodal.core.files import atomic_write
with atomic_write(sys.argv[1]) as file:
    file.write(b"new" * 100000)
    file.flush()
    print("ready", flush=True)
    time.sleep(60)
"""
    process = start(script, path)
    with process:
        process.kill()
    assert process.returncode == -signal.SIGKILL
    assert path.read_text() == "old"
    # What it was writing has a hidden name, which no reader takes for the file.
    assert [name for name in os.listdir(tmp_path) if not name.startswith(".")] == ["words.txt"]


def test_the_last_of_two_writers_wins_whole(tmp_path):
    path = tmp_path / "words.txt"
    with atomic_write(path) as first:
        first.write(b"first " * 1000)
        with atomic_write(path) as second:
            second.write(b"second")
        assert path.read_bytes() == b"second"
    assert path.read_bytes() == b"first " * 1000
    assert os.listdir(tmp_path) == ["words.txt"]


def test_a_write_that_the_system_refuses_leaves_the_old_file(tmp_path):
    # The limit of a file's size stops the system in the middle of a write.
    path = tmp_path / "words.txt"
    write_text(path, "old")
    script = """
import resource, sys
from xmodal.core.files import write_text
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
write_text(sys.argv[1], "new" * 100000)
"""
    done = python(script, path)
    assert "OSError: [Errno 27] File too large" in done.stderr
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["words.txt"]


# What stands there already.

OURS = re.compile(rb"made by us\Z|\Aours")


def make_device(path):
    try:
        os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 3))
    except PermissionError:
        pytest.skip("only the superuser may make devices")


def make_socket(path):
    with socket.socket(socket.AF_UNIX) as held:
        held.bind(str(path))


NODES = {"a pipe": os.mkfifo, "a folder": os.mkdir, "a socket": make_socket, "a device": make_device}


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("linked", [False, True])
@pytest.mark.parametrize("what", NODES)
def test_what_is_no_file_is_never_replaced(tmp_path, monkeypatch, what, linked, overwrite):
    # The path of a socket may not be long.
    monkeypatch.chdir(tmp_path)
    NODES[what]("node")
    before = os.lstat("node")
    os.symlink("node", "link")
    path = Path("link" if linked else "node")
    with pytest.raises(UserError, match=f"'{path}' is {what}, which no file can replace; choose another"):
        write_text(path, "new", OURS, overwrite=overwrite)
    assert os.path.samestat(before, os.lstat("node"))
    assert sorted(os.listdir()) == ["link", "node"]


def test_a_link_stays_and_its_target_is_replaced(tmp_path):
    (tmp_path / "far").mkdir()
    (tmp_path / "far/a.txt").write_text("old")
    (tmp_path / "second").symlink_to("far/a.txt")
    (tmp_path / "first").symlink_to(tmp_path / "second")
    write_text(tmp_path / "first", "new")
    assert (tmp_path / "far/a.txt").read_text() == "new"
    assert (tmp_path / "first").is_symlink()
    assert (tmp_path / "second").is_symlink()
    assert os.listdir(tmp_path / "far") == ["a.txt"]


def test_a_link_to_a_name_that_is_free(tmp_path):
    (tmp_path / "link").symlink_to("far/a.txt")
    write_text(tmp_path / "link", "new")
    assert (tmp_path / "far/a.txt").read_text() == "new"
    assert (tmp_path / "link").is_symlink()


@pytest.mark.parametrize(("name", "reason"), [("one", "Too many levels"), ("x" * 256, "File name too long")])
def test_a_name_that_cannot_be_written(tmp_path, name, reason):
    (tmp_path / "one").symlink_to("two")
    (tmp_path / "two").symlink_to("one")
    for path in (tmp_path / name, tmp_path / name / "a.txt"):
        with pytest.raises(UserError, match=rf"cannot be written \({reason}.*\); choose another name"):
            write_text(path, "new")
    with pytest.raises(UserError, match="cannot be"), folder_lock(tmp_path / name, wait=False):
        pass
    assert sorted(os.listdir(tmp_path)) == ["one", "two"]


@pytest.mark.parametrize("name", ["x" * 255, "é" * 127])
def test_the_longest_name(tmp_path, name):
    write_text(tmp_path / name, "new")
    with atomic_folder(tmp_path / "folder" / name):
        pass
    assert (tmp_path / name).read_text() == "new"


@pytest.mark.parametrize("kind", [OURS, NONE])
def test_a_file_of_another_kind_is_replaced_when_asked(tmp_path, kind):
    path = tmp_path / "a.txt"
    path.write_text("theirs " * 3000)
    with pytest.raises(UserError, match=r"a.txt' is there already; choose another name, or add `overwrite`"):
        write_text(path, "new", kind)
    assert path.read_text() == "theirs " * 3000
    write_text(path, "new", kind, overwrite=True)
    assert path.read_text() == "new"
    assert os.listdir(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("old", ["", "ours" + "." * 9000, "." * 9000 + "made by us", "..made by us"])
def test_a_file_of_the_same_kind_or_empty_is_replaced(tmp_path, old):
    (tmp_path / "a.txt").write_text(old)
    write_text(tmp_path / "a.txt", "new", OURS)
    assert (tmp_path / "a.txt").read_text() == "new"


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o755, 0o444])
def test_what_is_replaced_leaves_its_permissions(tmp_path, mode):
    path = tmp_path / "a.txt"
    path.write_text("old")
    path.chmod(mode)
    if os.access(path, os.W_OK):
        write_text(path, "new")
        assert path.read_text() == "new"
    else:
        with pytest.raises(UserError, match="Permission denied"):
            write_text(path, "new")
    assert path.stat().st_mode & 0o777 == mode


@pytest.mark.skipif(os.geteuid() != 0, reason="only the superuser gives files away")
def test_what_is_replaced_leaves_its_owner(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    os.chown(path, 1234, 4321)
    write_text(path, "new")
    assert (path.stat().st_uid, path.stat().st_gid) == (1234, 4321)


# What died while it wrote.


def test_what_a_killed_process_left_is_removed_by_the_next_writer(tmp_path):
    script = """
import sys, time
from xmodal.core.files import atomic_write, atomic_folder
with atomic_write(sys.argv[1] + "/a.txt"), atomic_folder(sys.argv[1] + "/1") as folder:
    (folder / "data").write_text("half")
    print("ready", flush=True)
    time.sleep(60)
"""
    (tmp_path / ".a.txt.backup").write_text("theirs")
    with start(script, tmp_path) as process:
        # It still writes.
        remove_unfinished(tmp_path)
        assert len(os.listdir(tmp_path)) == 3
        process.kill()
    write_text(tmp_path / "a.txt", "new")
    with atomic_folder(tmp_path / "1"):
        pass
    assert sorted(os.listdir(tmp_path)) == [".a.txt.backup", "1", "a.txt"]


def test_what_killed_processes_left_at_any_depth(tmp_path):
    script = """
import sys, time
from xmodal.core.files import atomic_write
with atomic_write(sys.argv[1]):
    print("ready", flush=True)
    time.sleep(60)
"""
    with start(script, tmp_path / "deep/er/a.txt") as process:
        process.kill()
    assert len(os.listdir(tmp_path / "deep/er")) == 1
    remove_unfinished(tmp_path)
    assert os.listdir(tmp_path / "deep/er") == []


# Whole folders.


def test_a_folder_appears_when_the_block_ends(tmp_path):
    path = tmp_path / "models" / "1"
    with atomic_folder(path) as folder:
        (folder / "variables").mkdir()
        (folder / "variables" / "data").write_text("weights")
        assert not path.exists()
    assert (path / "variables" / "data").read_text() == "weights"
    assert os.listdir(path.parent) == ["1"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_exception_leaves_no_folder(tmp_path, error):
    with pytest.raises(error), atomic_folder(tmp_path / "1") as folder:  # noqa: PT012
        (folder / "data").write_text("weights")
        raise error
    assert os.listdir(tmp_path) == []


def test_a_folder_that_came_meanwhile_stays(tmp_path):
    with atomic_folder(tmp_path / "1") as folder:
        (folder / "data").write_text("ours")
        (tmp_path / "1").mkdir()
        (tmp_path / "1" / "data").write_text("theirs")
    assert (tmp_path / "1" / "data").read_text() == "theirs"
    assert os.listdir(tmp_path) == ["1"]


def test_a_killed_process_leaves_no_folder(tmp_path):
    script = """
import sys, time
from xmodal.core.files import atomic_folder
with atomic_folder(sys.argv[1]) as folder:
    (folder / "data").write_text("half")
    print("ready", flush=True)
    time.sleep(60)
"""
    with start(script, tmp_path / "1") as process:
        process.kill()
    assert [name for name in os.listdir(tmp_path) if not name.startswith(".")] == []


@pytest.mark.parametrize(("mask", "file_mode", "folder_mode"), [(0o022, 0o644, 0o755), (0o077, 0o600, 0o700)])
def test_modes_follow_the_umask(tmp_path, mask, file_mode, folder_mode):
    before = os.umask(mask)
    try:
        write_text(tmp_path / "words.txt", "")
        with atomic_folder(tmp_path / "1"):
            pass
    finally:
        assert os.umask(before) == mask
    assert (tmp_path / "words.txt").stat().st_mode & 0o777 == file_mode
    assert (tmp_path / "1").stat().st_mode & 0o777 == folder_mode


# What the user can fix.


def test_no_space(tmp_path):
    script = """
import os, sys
from pathlib import Path
from xmodal.core.errors import UserError
from xmodal.core.files import atomic_folder, write_text
folder = Path(sys.argv[1])
write_text(folder / "a.txt", "old")

def fill_file():
    write_text(folder / "a.txt", "x" * 200000)

def fill_folder():
    with atomic_folder(folder / "1") as temporary:
        (temporary / "data").write_bytes(bytes(200000))

for fill in (fill_file, fill_folder):
    try:
        fill()
    except UserError as error:
        print(error)
    print(os.listdir(folder), (folder / "a.txt").read_text())
"""
    done = python_on_tmpfs("size=64k", tmp_path, script)
    assert done.stderr == ""
    remedy = "free some space or choose another folder"
    assert done.stdout.splitlines() == [
        f"no space left to write '{tmp_path}/a.txt'; {remedy}",
        "['a.txt'] old",
        f"no space left to write '{tmp_path}/1'; {remedy}",
        "['a.txt'] old",
    ]


def test_a_file_system_that_is_read_only(tmp_path):
    script = """
import sys
from pathlib import Path
from xmodal.core.errors import UserError
from xmodal.core.files import atomic_folder, write_text
from xmodal.core.locks import folder_lock
folder = Path(sys.argv[1])
for write in (
    lambda: write_text(folder / "a.txt", ""),
    lambda: atomic_folder(folder / "1").__enter__(),
    lambda: folder_lock(folder, wait=False).__enter__(),
):
    try:
        write()
    except UserError as error:
        print(error)
"""
    done = python_on_tmpfs("ro", tmp_path, script)
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        f"'{place}' cannot be written (Read-only file system); choose a folder that you may write to"
        for place in (tmp_path / "a.txt", tmp_path / "1", tmp_path)
    ]


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="only Linux has such a folder")
def test_a_folder_where_none_can_be_made():
    told = pytest.raises(UserError, match="'/proc/x/y' cannot be made; choose another folder")
    with told, folder_lock("/proc/x/y", wait=False):
        pass


@pytest.mark.parametrize("place", ["words.txt", "words.txt/deeper"])
def test_a_file_in_the_way_of_a_folder(tmp_path, place):
    write_text(tmp_path / "words.txt", "kept")
    problem = f"'{tmp_path / place}.*' cannot be made: a file stands in its way; move the file or choose"
    with pytest.raises(UserError, match=problem), atomic_folder(tmp_path / place):
        pass
    with pytest.raises(UserError, match=problem):
        write_text(tmp_path / place / "more.txt", "")
    with pytest.raises(UserError, match=problem), folder_lock(tmp_path / place, wait=False):
        pass
    assert (tmp_path / "words.txt").read_text() == "kept"
    assert os.listdir(tmp_path) == ["words.txt"]


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write everywhere")
def test_a_folder_without_permission(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(UserError, match=r"cannot be written \(Permission denied\); choose a folder"):
        write_text(tmp_path / "words.txt", "")


def test_other_errors_of_the_system_pass_as_they_are(tmp_path):
    with pytest.raises(FileNotFoundError), atomic_folder(tmp_path / "1") as folder:
        (folder / "nowhere").read_text()


# JSON and digests.


def test_json_has_numbers_of_a_list_on_one_line_and_a_row_of_a_matrix_a_line(tmp_path):
    value = {"name": "é", 3: (1, 0.1, None), "matrix": [[1, 2], [3, 4]], "none": {"rows": [], "facts": {}}}
    write_json(tmp_path / "a.json", value)
    text = (tmp_path / "a.json").read_text()
    assert text.splitlines() == [
        "{",
        '  "name": "\\u00e9",',
        '  "3": [1, 0.1, null],',
        '  "matrix": [',
        "    [1, 2],",
        "    [3, 4]",
        "  ],",
        '  "none": {',
        '    "rows": [],',
        '    "facts": {}',
        "  }",
        "}",
    ]
    assert text.endswith("}\n")
    assert json.loads(text) == json.loads(json.dumps(value))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), [{"loss": float("-inf")}]])
def test_json_has_no_nan(tmp_path, value):
    write_json(tmp_path / "a.json", "old")
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", value)
    assert json.loads((tmp_path / "a.json").read_text()) == "old"


def test_sha256_of_a_file(tmp_path):
    content = bytes(range(256)) * 5000
    (tmp_path / "data").write_bytes(content)
    assert sha256_file(tmp_path / "data") == hashlib.sha256(content).hexdigest()


# Locks.

HOLD = """
import sys
from xmodal.core.locks import folder_lock
with folder_lock(sys.argv[1], wait=False):
    print("ready", flush=True)
    sys.stdin.readline()
"""


def test_a_folder_is_held_by_one_process(tmp_path):
    folder = tmp_path / "runs" / "a"
    with start(HOLD, folder) as process:
        with (
            pytest.raises(UserError, match=rf"the folder '{folder}' is in use by another run; wait for it"),
            folder_lock(folder, wait=False),
        ):
            pass
        with folder_lock(tmp_path / "runs" / "b", wait=False):
            pass
        process.communicate("\n")
    with folder_lock(folder, wait=False):
        pass


def test_the_lock_of_a_killed_process_is_gone(tmp_path):
    with start(HOLD, tmp_path) as process:
        process.kill()
        process.wait()
        with folder_lock(tmp_path, wait=False):
            pass


def write_file(folder):
    write_text(folder / "deep" / "a.txt", "a")


def write_folder(folder):
    with atomic_folder(folder / "a"):
        pass


@pytest.mark.parametrize("write", [write_file, write_folder])
@pytest.mark.parametrize("replaced", [False, True])
def test_nothing_is_written_where_a_held_folder_was(tmp_path, monkeypatch, write, replaced):
    monkeypatch.chdir(tmp_path)
    folder, elsewhere = Path("runs/a"), tmp_path / "elsewhere"
    with folder_lock(folder, wait=False):
        write(folder)
        shutil.rmtree(folder)
        if replaced:
            # As another process has taken it.
            folder.mkdir()
            (folder / ".lock").touch()
        with pytest.raises(UserError, match=r"a' was removed or replaced while .*; give the same command"):
            write(folder)
        write(elsewhere)
    assert [*Path("runs").rglob("*")] == ([folder, folder / ".lock"] if replaced else [])
    write(folder)


def test_a_process_that_waits_gets_the_folder_afterwards(tmp_path):
    script = """
import sys
from pathlib import Path
from xmodal.core.locks import folder_lock
print("ready", flush=True)
with folder_lock(sys.argv[1], wait=True):
    print(Path(sys.argv[1], "finished").exists(), flush=True)
"""
    with folder_lock(tmp_path, wait=False):
        waiting = start(script, tmp_path)
        with pytest.raises(subprocess.TimeoutExpired):
            waiting.wait(0.5)
        (tmp_path / "finished").touch()
    assert waiting.communicate(timeout=60)[0] == "True\n"


@pytest.mark.parametrize("what", [*NODES, "a link", "a loop"])
def test_nothing_but_a_lock_is_opened_in_its_place(tmp_path, monkeypatch, what):
    monkeypatch.chdir(tmp_path)
    Path("precious").write_text("kept")
    if what in NODES:
        NODES[what](".lock")
    else:
        Path(".lock").symlink_to("precious" if what == "a link" else ".lock")
    before = os.lstat(".lock")
    with pytest.raises(UserError, match=r"lock' is no regular file; remove it"), folder_lock(".", wait=True):
        pass
    assert os.path.samestat(before, os.lstat(".lock"))
    assert Path("precious").read_text() == "kept"


def test_a_lock_empties_no_file(tmp_path):
    (tmp_path / ".lock").write_text("kept")
    with folder_lock(tmp_path, wait=False):
        pass
    assert (tmp_path / ".lock").read_text() == "kept"


def test_folders_made_for_a_lock_go_when_they_stay_empty(tmp_path):
    with folder_lock(tmp_path / "runs/a", wait=False):
        pass
    assert os.listdir(tmp_path) == []
    with folder_lock(tmp_path / "runs/a", wait=False):
        (tmp_path / "runs/a/config.cfg").touch()
    assert sorted(os.listdir(tmp_path / "runs/a")) == [".lock", "config.cfg"]


def test_processes_that_wait_for_a_folder_that_goes_come_one_after_the_other(tmp_path):
    script = """
import sys, time
from xmodal.core.locks import folder_lock
print("ready", flush=True)
for number in range(100):
    with folder_lock(sys.argv[1] + "/runs/a", wait=True), open(sys.argv[1] + "/told", "a+") as told:
        told.seek(0)
        count = len(told.read())
        told.write(".")
        told.flush()
        assert len(open(sys.argv[1] + "/told").read()) == count + 1
"""
    (tmp_path / "told").touch()
    processes = [start(script, tmp_path) for _ in range(3)]
    assert [(process.communicate(timeout=60)[0], process.returncode) for process in processes] == [
        ("", 0)
    ] * 3
    assert (tmp_path / "told").read_text() == "." * 300


def test_an_exception_frees_the_folder(tmp_path):
    with pytest.raises(ValueError, match="stop"), folder_lock(tmp_path, wait=False):
        raise ValueError("stop")
    assert python(HOLD, tmp_path, input="\n").stdout == "ready\n"


def test_a_folder_that_is_removed_while_it_is_written_in_is_told(tmp_path):
    place = tmp_path / "runs" / "new"
    told = rf"^'{re.escape(str(place))}' cannot be written: its folder is gone, or cannot be made; choose"
    with pytest.raises(UserError, match=told), atomic_folder(place):
        shutil.rmtree(tmp_path / "runs")
    with pytest.raises(UserError, match=told), atomic_write(place):
        shutil.rmtree(tmp_path / "runs")
    assert list(tmp_path.iterdir()) == []
    # What is missing elsewhere is none of its business.
    with pytest.raises(FileNotFoundError), atomic_folder(place):
        (tmp_path / "missing").read_text()


def test_a_user_without_a_home_is_told_what_to_set(tmp_path, monkeypatch):
    """As those of containers are, who have a number and no name."""
    script = "import os; from xmodal.core.files import cache_folder; os.setuid(54321); print(cache_folder())"
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.delenv("XMODAL_HOME", raising=False)
    nameless = python(script)
    if "not permitted" in nameless.stderr:
        pytest.skip("needs the rights of root")
    assert nameless.stderr.splitlines()[-1].endswith(
        "there is no folder for what is fetched (Could not determine home directory.); "
        "set XMODAL_HOME to one, or HOME"
    )
    monkeypatch.setenv("XMODAL_HOME", str(tmp_path))
    assert python(script).stdout == f"{tmp_path}\n"
