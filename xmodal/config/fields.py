"""Options: the fields of the frozen dataclasses here, each with its default, help and limits written once."""

import dataclasses
import inspect
import math
import re
import textwrap
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from numbers import Integral, Real
from pathlib import Path
from typing import Any, TypeVar

from xmodal.core.errors import UserError, nearest
from xmodal.core.files import path_of, shipped_path
from xmodal.core.formatting import capitalize

# The most of anything that is counted: with what is added to it, TensorFlow holds it in 32 bits.
MANY = 10**9
# The most that a batch holds, and the most units of a layer, vectors of words, and sides of images in pixels:
# above it is no machine that could.
MAX_IN_BATCH, MAX_UNITS, MAX_WORDS, MAX_SIDE = 10**6, 2**16, 10**7, 2**12


Documented = TypeVar("Documented")


@dataclass(frozen=True)
class Option:
    """What is known of a field beside its name; see `option`."""

    default: Any
    help: str
    choices: Collection[str]
    least: float | None
    most: float | None
    above: float | None
    below: float | None
    form: str
    parse: Callable[[str], Any] | None
    repeat: bool
    filled: bool
    rising: bool

    @property
    def several(self) -> bool:
        """Whether its value is a tuple."""
        return isinstance(self.default, tuple)

    @property
    def kind(self) -> type:
        """The type of its value, or of each of several: bool, int, float, or any other."""
        if self.several and not self.default:
            return self.parse if isinstance(self.parse, type) else str
        return type(self._parse_value(self.default[0] if self.several else self.default))

    @property
    def limits(self) -> str:
        """What a value has to be, or each of several, in words; "" where anything goes."""
        if self.form:
            return self.form
        if self.choices:
            return f"one of {', '.join(self.choices)}"
        number = {int: "an integer", float: "a number"}.get(self.kind)
        if number is None:
            return "True or False" if self.kind is bool else ""
        if self.below is not None:
            return f"{number} between {self.above or 0} and {self.below}"
        if self.above is not None:
            return f"{number} above {self.above}" + ("" if self.most is None else f" and up to {self.most}")
        if self.most is not None:
            return f"{number} in the range [{self.least}, {self.most}]"
        return "a non-negative number" if self.least == 0 else number

    def fits(self, value: Any) -> bool:
        """Tells whether a value, or one of several, is one of the choices and within the limits."""
        if self.choices:
            return value in [self._parse_value(word) for word in self.choices]
        if self.kind not in (int, float):
            return isinstance(value, bool) or self.kind is not bool
        if not isinstance(value, Integral if self.kind is int else Real) or not math.isfinite(value):
            return False
        number = float(value)
        return (
            (self.least is None or number >= self.least)
            and (self.most is None or number <= self.most)
            and (self.above is None or number > self.above)
            and (self.below is None or number < self.below)
        )

    def checked(self, name: str, value: Any) -> Any:
        """Returns a value of the option called `name`, with words in it parsed.

        Raises:
            UserError: when it is out of the limits.
        """
        if not self.several:
            return value if value is None else self._check(name, value)
        if isinstance(value, str) or (self.filled and not value):
            raise self._not_several(name, value)
        values = tuple(self._check(name, item) for item in value)
        return tuple(sorted(set(values))) if self.rising else values

    def _not_several(self, name: str, value: Any) -> UserError:
        if value:
            return UserError(f"`{name}={value}` is one word", f"give several, such as {(value,)}")
        return UserError(f"`{name}=` is empty", f"give {self.limits}")

    def _check(self, name: str, value: Any) -> Any:
        if self.parse in (Path, path_of, shipped_path) and value == "":
            # It would be the folder that a command is started in.
            if self.default is None:
                return None
            raise UserError(f"`{name}=` is empty", "give a path, or leave it out")
        with suppress(ValueError):
            result = self._parse_value(value)
            if self.fits(result):
                return result
        if self.choices:
            raise UserError(f"`{name}={value}` is not known", nearest(str(value), self.choices))
        raise UserError(f"`{name}={value}` does not fit", f"give {self.limits}")

    def _parse_value(self, value: Any) -> Any:
        return self.parse(value) if self.parse and isinstance(value, str) else value


def option(
    default: Any,
    help: str,
    *,
    choices: Collection[str] = (),
    least: float | None = None,
    most: float | None = None,
    above: float | None = None,
    below: float | None = None,
    form: str = "",
    parse: Callable[[str], Any] | None = None,
    repeat: bool = False,
    filled: bool = False,
    rising: bool = False,
) -> Any:
    """Returns a field of a `Group`.

    Args:
        default: as a flagfile says it: True or False, a number, a word, a tuple of words, or None.
        help: what it is, in a sentence or two.
        choices: the words that it may be, or each of several.
        least: the smallest number that it may be.
        most: the largest number that it may be; of what is counted, 10^9 where nothing else is said.
        above: a number that it has to be larger than.
        below: a number that it has to be smaller than.
        form: what it has to be, in words, where the limits do not tell all.
        parse: makes a value of a word, such as `float` or `Path`; raises `ValueError` where it cannot.
        repeat: several values are given by a flag each, and not all in one with commas.
        filled: there has to be one of several.
        rising: several values are sorted, and equal ones count once.

    Example:
        >>> @dataclass(frozen=True)
        ... class TeaConfig(Group):
        ...     minutes: float = option(3.0, "How long the leaves are steeped.", least=0, most=10)
        ...     degrees: tuple[float, ...] = option(("80", "95"), "Temperatures in Celsius.", parse=float)
        >>> TeaConfig()
        TeaConfig(minutes=3.0, degrees=(80.0, 95.0))
        >>> TeaConfig(minutes=20.0)
        Traceback (most recent call last):
        xmodal.core.errors.UserError: `minutes=20.0` does not fit; give a number in the range [0, 10]
    """
    result = Option(
        default=default,
        help=help,
        choices=choices,
        least=least,
        most=MANY if type(default) is int and most is None else most,
        above=above,
        below=below,
        form=form,
        parse=parse,
        repeat=repeat,
        filled=filled,
        rising=rising,
    )
    return dataclasses.field(default=result.checked("default", default), metadata={"option": result})


@dataclass(frozen=True)
class Group:
    """Options that belong together: a frozen dataclass that parses and checks the values of its fields.

    The first line of its docstring is the topic under which `--help` shows them.

    Raises:
        UserError: for a value out of an option's limits.
    """

    def __post_init__(self):
        for name, option in options_of(type(self)):
            object.__setattr__(self, name, option.checked(name, getattr(self, name)))


def options_of(group: type) -> Iterator[tuple[str, Option]]:
    """Yields the names and options of a group, or of a class that is one."""
    for field in dataclasses.fields(group):
        if "option" in field.metadata:
            yield field.name, field.metadata["option"]


def documented(group: type[Documented]) -> type[Documented]:
    """Adds the help, limits and default of each option to the docstring of a group."""
    lines = [_describe(name, option, getattr(group, name)) for name, option in options_of(group)]
    group.__doc__ = "\n".join([inspect.cleandoc(group.__doc__ or ""), "", "Attributes:", *lines])
    return group


def _describe(name: str, option: Option, default: Any) -> str:
    limits = f" {capitalize(option.limits)}." if option.limits else ""
    # Help is written for the command line, where an option is a flag.
    help = re.sub(r"--(\w+)", r"`\1`", option.help)
    text = f"{name}: {help}{limits} Default: {default!r}."
    return textwrap.fill(text, 100, initial_indent="    ", subsequent_indent="        ")


def require_named(name: str, items: Sequence[str], example: str) -> None:
    """Refuses items of an option that are not NAME=WHERE, each with a name of its own.

    Args:
        name: of the option.
        items: its values.
        example: one that would do.

    Raises:
        UserError: for one that is not so.
    """
    names = [item.partition("=")[0] for item in items]
    for key, item in zip(names, items, strict=True):
        if not key.isidentifier() or not item.partition("=")[2]:
            raise UserError(f"`{name}={item}` has no name", f"write NAME=WHERE, such as {example}")
        if names.count(key) > 1:
            raise UserError(f"`{name}` names {key!r} twice", "give each a name of its own")
