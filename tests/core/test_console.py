"""The door to the terminal."""

import io
import sys

import pytest

from xmodal.core import console
from xmodal.core.command import USER_ERROR, exit_code
from xmodal.core.errors import UserError
from xmodal.core.formatting import escape, printable

# Each would clear a screen, turn a line around, write over it, or begin a new one.
HOSTILE = ("\x1b[2J", "\x9b31m", "\x07", "\x00", "\x7f", "\r", "\u202e", "\u2066", "\u200f", "\u2028", "\x85")


@pytest.mark.parametrize("mark", HOSTILE)
def test_nothing_that_a_terminal_obeys_is_printed(mark, capsys):
    console.log(f"cat{mark}dog\nbird")
    console.log_error(f"cat{mark}dog")
    out, error = capsys.readouterr()
    told = mark.replace(mark[0], "\ufffd", 1)
    assert (out, error) == (f"cat{told}dog\nbird\n", f"cat{told}dog\n")


def test_what_a_user_can_mend_is_told_through_it(capsys):
    def refuse(arguments):
        raise UserError(f"the class {arguments[0]} is empty", "fill it")

    assert exit_code(refuse, ["", "\x1b]0;title\x07"], check_versions=False) == USER_ERROR
    assert capsys.readouterr().err == "error: the class \ufffd]0;title\ufffd is empty; fill it\n"


def test_a_terminal_of_few_letters(monkeypatch):
    stream = io.TextIOWrapper(io.BytesIO(), "ascii")
    monkeypatch.setattr(sys, "stdout", stream)
    console.log("犬 → dög \udcff")
    assert stream.buffer.getvalue() == b"? ? d?g ?\n"


def test_names_of_the_world_stay():
    names = "犬 नमस्ते \u200d👩\u200d🔬 عربى עברית é e\u0301"
    assert printable(names) == escape(names) == names


def test_what_is_escaped_is_json_and_utf_8():
    import json

    told = "a\x1b[0m \udcff \u202e\x9b"
    text = escape(json.dumps(told, ensure_ascii=False))
    assert json.loads(text) == told
    assert text.encode() == b'"a\\u001b[0m \\udcff \\u202e\\u009b"'
    assert escape("a\tb\nc") == "a\tb\nc"
