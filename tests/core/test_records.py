"""JSON that anyone may have changed, read into dataclasses."""

import doctest
import json
from dataclasses import dataclass
from typing import Literal

import pytest

from xmodal.core import records
from xmodal.core.records import Count, RecordError, Share, parse_record, read_record, read_records


@dataclass(frozen=True)
class Part:
    n: Count
    kind: Literal["a", "b"] = "a"


@dataclass(frozen=True)
class Whole:
    name: str
    right: bool
    share: Share | None
    parts: dict[str, Part]
    pair: tuple[Share, Share] = (0.0, 1.0)
    words: tuple[str, ...] = ()


GOOD = {"name": "x", "right": True, "share": None, "parts": {"p": {"n": 3}}}


def test_the_docstring():
    assert doctest.testmod(records, optionflags=doctest.IGNORE_EXCEPTION_DETAIL).failed == 0


def test_what_is_right_is_read(tmp_path):
    told = GOOD | {"share": 1, "pair": [0, 0.5], "words": ["w"], "unknown": [1]}
    path = tmp_path / "whole.json"
    path.write_text(json.dumps(told))
    expected = Whole("x", True, 1.0, {"p": Part(3)}, (0.0, 0.5), ("w",))
    assert read_record(Whole, path) == expected
    assert isinstance(read_record(Whole, path).share, float)
    path.write_text(json.dumps(told) + "\n" + json.dumps(GOOD))
    assert read_records(Whole, path) == (expected, Whole("x", True, None, {"p": Part(3)}))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"name": 3}, "'name' is 3, which is not text"),
        ({"right": 1}, "'right' is 1, which is not true or false"),
        ({"share": True}, "'share' is True, which is not a number"),
        ({"share": 1.5}, "'share' is 1.5, which is not from 0 to 1"),
        ({"share": 10**400}, "'share' is inf, which is no finite number"),
        ({"parts": []}, r"'parts' is \[\], which is not an object"),
        ({"parts": {"p": 1}}, "'parts.p' is 1, which is not an object"),
        ({"parts": {"p": {}}}, "'parts.p.n' is missing"),
        ({"parts": {"p": {"n": 1.0}}}, "'parts.p.n' is 1.0, which is not a whole number"),
        ({"parts": {"p": {"n": -1}}}, "'parts.p.n' is -1, which is not from 0 to"),
        ({"parts": {"p": {"n": 1, "kind": {}}}}, r"'parts.p.kind' is {}, which is none of a, b"),
        ({"pair": [1]}, r"'pair' is \[1\], which is no list of 2"),
        ({"words": "w"}, "'words' is 'w', which is no list"),
        ({"words": ["w", None]}, "'words.1' is None, which is not text"),
        ({"name": ["x" * 1000]}, r"'name' is \['x{57}…, which is not text"),
    ],
)
def test_the_wrong_value_is_named(change, told):
    with pytest.raises(RecordError, match=told):
        parse_record(Whole, json.dumps(GOOD | change).encode())


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (b"", "no JSON"),
        (b"{", "no JSON"),
        (b"\xff", "no JSON"),
        (b"[" * 100_000, "no JSON"),
        (b'{"share": ' + b"9" * 5000 + b"}", "no JSON"),
        (b"NaN", "holds NaN"),
        (b'{"share": -Infinity}', "holds -Infinity"),
        (b"null", "it is None, which is not an object"),
        (b"[]", r"it is \[\], which is not an object"),
    ],
)
def test_what_is_no_record_is_told(text, told):
    with pytest.raises(RecordError, match=told):
        parse_record(Whole, text)


def test_what_is_no_file_is_not_waited_for(tmp_path):
    import os

    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="it is a pipe"):
        read_record(Whole, tmp_path / "pipe")
