"""JSON that anyone may have changed, read into dataclasses: each value is checked before it is used.

The annotations of the fields are the rules; `Annotated` adds a range to a number:

    >>> from dataclasses import dataclass
    >>> @dataclass(frozen=True)
    ... class Measured:
    ...     accuracy: Share
    ...     names: tuple[str, ...] = ()
    >>> record_of(Measured, {"accuracy": 0.5, "unknown": []})
    Measured(accuracy=0.5, names=())
    >>> record_of(Measured, {"accuracy": 7})
    Traceback (most recent call last):
    xmodal.core.records.RecordError: 'accuracy' is 7, which is not from 0 to 1
"""

import json
import math
import types
from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn, TypeVar, Union, get_args, get_origin, get_type_hints

from xmodal.core.formatting import truncate
from xmodal.core.reading import read_regular

T = TypeVar("T")

# Far more than any file that is read here has, in bytes.
LARGEST = 256 * 2**20
KINDS = {str: "text", bool: "true or false", int: "a whole number", float: "a number", dict: "an object"}


@dataclass(frozen=True)
class Between:
    """The least and the most that a number may be."""

    least: float
    most: float


Share = Annotated[float, Between(0, 1)]
# The largest whole number up to which a float holds all.
Count = Annotated[int, Between(0, 2**53)]
Positive = Annotated[int, Between(1, 2**53)]
Amount = Annotated[float, Between(0, 1e15)]


class RecordError(ValueError):
    """A record that is not as it was written: which value is wrong, and how."""


def read_record(kind: type[T], path: Path) -> T:
    """Reads a file that holds a record.

    Args:
        kind: a dataclass, or anything else that `record_of` takes.
        path: a file of JSON.

    Raises:
        RecordError: for anything else than such a record.
        OSError: when there is no such file, or it cannot be read.
    """
    return parse_record(kind, read_regular(path, LARGEST))


def read_records(kind: type[T], path: Path) -> tuple[T, ...]:
    """Reads a file with a record in each line; arguments and errors as those of `read_record`."""
    return tuple(parse_record(kind, line) for line in read_regular(path, LARGEST).splitlines())


def parse_record(kind: type[T], text: bytes) -> T:
    """Returns the record that a text of JSON holds; NaN and infinity are not JSON."""
    try:
        value = json.loads(text.decode(), parse_constant=_no_constant)
    except RecordError:
        raise
    except (ValueError, RecursionError) as error:
        raise RecordError(f"no JSON: {error}") from error
    return record_of(kind, value)


def record_of(kind: type[T], value: Any, name: str = "") -> T:
    """Checks a value of JSON, and returns it as what it stands for.

    Args:
        kind: a dataclass, whose fields are checked; what else the value has is left out. Or str, bool, int,
            float, `tuple[X, ...]`, `tuple[X, Y]`, `dict[str, X]`, `X | None`, `Literal[...]`, or a number as
            `Annotated[X, Between(...)]`.
        value: what `json.loads` returned.
        name: where it stands, for the message.

    Raises:
        RecordError: when it is of another type, out of range, or lacks a field.
    """
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return _in_range(record_of(arguments[0], value, name), arguments[1], name)
    if origin is Literal:
        return (
            value if value in arguments else _refuse(name, value, f"none of {', '.join(map(str, arguments))}")
        )
    if origin in (Union, types.UnionType):
        return None if value is None else record_of(arguments[0], value, name)  # type: ignore[return-value]
    if is_dataclass(kind):
        return _fields(kind, value, name)
    readers: dict[Any, Callable[[Any, Any, str], Any]] = {dict: _object, tuple: _list}
    return readers.get(origin, _plain)(arguments or kind, value, name)


def _fields(kind: Any, value: Any, name: str) -> Any:
    _require(dict, value, name)
    hints = get_type_hints(kind, include_extras=True)
    required_names = [
        field.name for field in fields(kind) if field.default is field.default_factory is MISSING
    ]
    for field_name in required_names:
        if field_name not in value:
            raise RecordError(f"{_child_name(name, field_name)!r} is missing")
    return kind(
        **{
            key: record_of(hint, value[key], _child_name(name, key))
            for key, hint in hints.items()
            if key in value
        }
    )


def _object(arguments: Any, value: Any, name: str) -> dict[str, Any]:
    _require(dict, value, name)
    return {key: record_of(arguments[1], part, _child_name(name, key)) for key, part in value.items()}


def _list(arguments: Any, value: Any, name: str) -> tuple:
    if not isinstance(value, list):
        _refuse(name, value, "no list")
    kinds = [arguments[0]] * len(value) if arguments[-1] is ... else arguments
    if len(kinds) != len(value):
        _refuse(name, value, f"no list of {len(kinds)}")
    return tuple(
        record_of(kind, part, _child_name(name, str(index)))
        for index, (kind, part) in enumerate(zip(kinds, value, strict=True))
    )


def _plain(kind: Any, value: Any, name: str) -> Any:
    if kind is float and type(value) is int:
        # Larger ones overflow, and are out of any range.
        value = float(value) if abs(value) < 2**1000 else math.inf
    _require(kind, value, name)
    if kind is float and not math.isfinite(value):
        _refuse(name, value, "no finite number")
    return value


def _in_range(value: Any, limits: Between, name: str) -> Any:
    if not limits.least <= value <= limits.most:
        _refuse(name, value, f"not from {limits.least:g} to {limits.most:g}")
    return value


def _require(kind: type, value: Any, name: str) -> None:
    # True is an int in Python, and no number in JSON.
    if type(value) is not kind:
        _refuse(name, value, f"not {KINDS[kind]}")


def _refuse(name: str, value: Any, reason: str) -> NoReturn:
    try:
        value_text = truncate(repr(value), 60)
    except (RecursionError, ValueError):
        value_text = f"a {type(value).__name__}"
    raise RecordError(f"{repr(name) if name else 'it'} is {value_text}, which is {reason}")


def _child_name(name: str, key: str) -> str:
    return f"{name}.{truncate(key, 60)}" if name else truncate(key, 60)


def _no_constant(name: str) -> NoReturn:
    raise RecordError(f"it holds {name}, which is not JSON")
