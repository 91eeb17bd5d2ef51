"""What nobody means to give: odd values, odd JSON, damaged bytes, hostile names."""

import json
from typing import Any

from hypothesis import strategies as st

# Each has broken a program once.
NAMES = (
    *("", " ", ".", "..", "~", "~nobody", "/", "//", "a/b", "../a", "-", "--", "-rf", "=1+1", "@a", "+1"),
    *(
        "\x1b[2J",
        "\x9b31m",
        "\x07",
        "\0",
        "a\nb",
        "a\rb",
        "\t",
        "\x7f",
        "\u202ecat",
        "\u2066",
        "\u2028",
        "\ufeff",
    ),
    *(
        "<script>alert(1)</script>",
        "&amp;",
        '"',
        "'",
        "$\\frac{1}{0}$",
        "{}",
        "{0}",
        "%s",
        "\\",
        "${HOME}",
        "`id`",
    ),
    *("犬", "é", "e\u0301", "👩\u200d🔬", "عربى", "\ud800", "\udcff", "a" * 300, "é" * 200, "a" * 5000),
    *(
        "jane.doe@example.com",
        "con",
        "NUL",
        "1" * 5000,
        "1e999",
        "-0",
        "0x10",
        "1_0",
        "٣",
        "nan",
        "None",
        "True",
    ),
)
NUMBERS = (0, -1, 1, 2**31, 2**32, 2**53 + 1, 2**63, -(2**63), 10**30, 0.5, -0.0, 1e-320, 1e308)
NOT_FINITE = (float("nan"), float("inf"), -float("inf"))

names = st.sampled_from(NAMES) | st.text(max_size=30)
numbers = st.sampled_from(NUMBERS + NOT_FINITE) | st.integers() | st.floats()
scalars = st.none() | st.booleans() | numbers | names
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=6,
)


@st.composite
def changed(draw: Any, value: Any) -> Any:
    """JSON with one to three of its parts put in the place of odd ones, left out or put in."""
    value = json.loads(json.dumps(value))
    for _ in range(draw(st.integers(1, 3))):
        value = _changed_once(draw, value)
    return value


def _changed_once(draw: Any, value: Any) -> Any:
    deeper = isinstance(value, (dict, list)) and value and draw(st.integers(0, 5))
    if not deeper:
        return draw(values)
    key = draw(st.sampled_from(sorted(value) if isinstance(value, dict) else range(len(value))))
    match draw(st.sampled_from(("in", "in", "in", "in", "out", "more"))):
        case "in":
            value[key] = _changed_once(draw, value[key])
        case "out":
            del value[key]
        case _ if isinstance(value, dict):
            value[draw(names)] = draw(values)
        case _:
            value.insert(key, draw(values))
    return value


def json_text(value: Any) -> bytes:
    """Returns JSON, and what Python takes for it: NaN, halves of surrogate pairs."""
    return json.dumps(value).encode()


@st.composite
def damaged(draw: Any, content: bytes) -> bytes:
    """Bytes with one to four places changed, cut out, doubled or put in."""
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(content)))
        end = min(len(content), start + draw(st.sampled_from((1, 2, 4, 8, 100))))
        middle = content[start:end]
        match draw(st.sampled_from(("bit", "bytes", "cut", "double", "end", "number"))):
            case "bit":
                middle = bytes(byte ^ 1 << draw(st.integers(0, 7)) for byte in middle[:1]) + middle[1:]
            case "bytes":
                middle = draw(st.binary(max_size=8))
            case "cut":
                middle = b""
            case "double":
                middle *= 2
            case "end":
                middle, end = b"", len(content)
            case "number":
                middle = draw(st.sampled_from((b"\xff" * 4, b"\0" * 4, b"\xff\xff\xff\x7f", b"\0\0\0\x80")))
        content = content[:start] + middle + content[end:]
    return content
