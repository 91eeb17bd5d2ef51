"""The sums of a folder: every damage is told before anything reads it."""

import os
import subprocess

import pytest

from xmodal.core.errors import UserError
from xmodal.core.sums import SUMS, check_sums, summed_folder


@pytest.fixture
def summed(tmp_path):
    with summed_folder(tmp_path / "1") as folder:
        (folder / "variables").mkdir()
        (folder / "variables/data").write_bytes(bytes(range(100)))
        (folder / "saved_model.pb").write_bytes(b"graph")
    return tmp_path / "1"


def test_what_is_whole_passes(summed):
    check_sums(summed, "export it again")
    subprocess.run(["sha256sum", "--check", "--strict", "--quiet", SUMS], cwd=summed, check=True)
    # What a run adds later, and what desktops do.
    (summed / "model_card.md").write_text("# a card")
    (summed / ".DS_Store").touch()
    check_sums(summed, "export it again")


def test_every_damaged_byte_is_told(summed):
    data = summed / "variables/data"
    for place in range(0, 100, 7):
        content = bytearray(range(100))
        content[place] ^= 1
        data.write_bytes(content)
        with pytest.raises(UserError, match="variables/data' was changed; export it again"):
            check_sums(summed, "export it again")


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda folder: (folder / "saved_model.pb").unlink(), "saved_model.pb' is missing"),
        (lambda folder: (folder / "variables/more").touch(), "variables/more' was added"),
        (lambda folder: (folder / SUMS).unlink(), "has no SHA256SUMS"),
        (lambda folder: (folder / SUMS).write_bytes(b""), "saved_model.pb' was added"),
        (
            lambda folder: (folder / SUMS).write_text((folder / SUMS).read_text() + "\n"),
            "SHA256SUMS' is broken",
        ),
        (lambda folder: os.mkfifo(folder / "variables/pipe"), "variables/pipe' is no regular file"),
        (lambda folder: (folder / SUMS).write_bytes(b"\xff"), "cannot be checked"),
        (lambda folder: (folder / SUMS).write_text("0" * 64 + "  a\nx\n"), "/a' is missing"),
        (lambda folder: (folder / SUMS).write_text("0" * 64 + "  ../a\n"), "'.*/1/../a' is missing"),
    ],
)
def test_damage_is_told(summed, damage, told):
    damage(summed)
    with pytest.raises(UserError, match=told):
        check_sums(summed, "export it again")
