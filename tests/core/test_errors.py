"""What the system says, as a line that the user can do something about."""

import errno
import os

import pytest
from jail import run_in_jail

from xmodal.core.errors import UserError, spell_as_flags, system_errors

FULL = """
import os, sys, tempfile
from pathlib import Path
from xmodal.core.command import exit_code
from xmodal.core.files import atomic_folder, write_text

with open("fill", "wb", buffering=0) as file:
    try:
        while file.write(bytes(4096)):
            pass
    except OSError:
        pass

def in_a_folder(arguments):
    with atomic_folder("out") as folder:
        (folder / "weights").write_bytes(bytes(100_000))

def in_a_temporary_file(arguments):
    tempfile.tempdir = None
    os.environ["TMPDIR"] = os.getcwd()
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "inputs").write_bytes(bytes(100_000))

for write in (lambda _: write_text("answers.csv", "a" * 100_000), in_a_folder, in_a_temporary_file):
    print(exit_code(write, [""], check_versions=False), file=sys.stderr)
print(sorted(os.listdir()))
"""


def test_a_full_disk_is_one_line_and_leaves_nothing(jailed):
    done = run_in_jail(jailed, FULL, size="256k")
    first, *others = done.stderr.splitlines()
    assert first == (
        "error: no space left to write 'answers.csv'; free some space or choose another folder"
    ), done.stderr
    assert others[:3] == [
        "2",
        "error: no space left to write 'out'; free some space or choose another folder",
        "2",
    ]
    assert others[3].startswith("error: no ")
    assert "TMPDIR" in others[3]
    assert others[4:] == ["2"]
    assert done.stdout == "['fill']\n"


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (
            OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "a"),
            "no space left to write 'a'; free some space there",
        ),
        (
            OSError(errno.EDQUOT, os.strerror(errno.EDQUOT)),
            r"no space left \(.*; free some space there, or set",
        ),
        (
            RuntimeError("x: No space left on device"),
            r"no space left \(x: No space left on device\); free some",
        ),
        (
            FileNotFoundError(2, "No usable temporary directory found in ['/tmp']"),
            "no temporary file can be written",
        ),
        (
            MemoryError("Unable to allocate 2.00 TiB for an array"),
            r"there is not enough memory \(Unable to allocate 2.00 TiB for an array\); end other programs",
        ),
        (
            RuntimeError("OOM when allocating tensor with shape[9,9] and type float on /CPU:0"),
            r"there is not enough memory \(OOM when allocating tensor with shape\[9,9\]",
        ),
        (
            OSError(errno.ELOOP, "", "a"),
            r"'a' cannot be read \(Too many levels of symbolic links\); give another",
        ),
    ],
)
def test_what_the_user_can_mend(error, told):
    with pytest.raises(UserError, match=told), system_errors():
        raise error


@pytest.mark.parametrize("error", [OSError(errno.EIO, "broken", "a"), ValueError("odd"), UserError("a", "b")])
def test_all_else_passes_as_it_is(error):
    with pytest.raises(type(error)) as raised, system_errors():
        raise error
    assert raised.value is error


@pytest.mark.parametrize(
    ("words", "spelled"),
    [
        ("they are separate classes; `merge_names` makes one of them", "--merge_names makes"),
        ("`class_descriptions=about.csv` describes none", "--class_descriptions=about.csv describes"),
        ("leave out `keep_leaks=False`", "leave out --nokeep_leaks"),
        ("a class called `cat food`", "`cat food`"),
    ],
)
def test_warnings_are_spelled_as_flags(words, spelled):
    assert spelled in spell_as_flags(words)
