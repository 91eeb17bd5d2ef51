"""The flags of the command line, made from the options of the groups, and the settings made from them.

Nothing outside this module reads absl's FLAGS, and nothing here needs TensorFlow.
"""

import dataclasses
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from absl import flags

from xmodal.config.conditions import CONDITIONS, idle_options
from xmodal.config.config import GROUPS, Config
from xmodal.config.experiments import EXPERIMENTS
from xmodal.config.fields import MANY, Option, options_of
from xmodal.core.errors import UserError, nearest, with_flags
from xmodal.core.files import shipped_path
from xmodal.core.reading import read_regular

INDENT = 6 * " "
HELP = ("--help", "-h", "--helpfull")
# No flagfile has more, in bytes.
MAX_BYTES = 2**20
# What another run of the same flagfile is not to do.
BENCH = ("bench", "rows", "model", "outside", "peer_epochs")
NOT_REPLAYED = (*BENCH, "overwrite", "restart", "record", "dry_run")

# What `python -m xmodal.run` says without a word.
USAGE = f"""usage: python -m xmodal.run --flagfile=FILE [--FLAG=VALUE ...]

  --flagfile=experiments/vgg_to_bert.cfg   a first run: 5,000 digits, minutes on two cores
  --dry_run                                says how long a run takes on this machine, and leaves nothing
  --help                                   lists every flag
  --help --experiment=NAME                 lists those that an experiment reads

Experiments, each with a flagfile of its name: {", ".join(EXPERIMENTS)}.
For pictures or texts of your own: python -m xmodal.init PATH"""


class _Parser(flags.ArgumentParser):
    """Parses what is written for one value, and refuses what the option does.

    Args:
        option: of the flag.
    """

    def __init__(self, option: Option):
        super().__init__()
        self._option = option
        self.syntactic_help = option.limits

    def parse(self, argument: Any) -> Any:
        option = self._option
        value = argument
        if option.kind in (int, float):
            numbers = flags.IntegerParser if option.kind is int else flags.FloatParser
            value = numbers().convert(argument)
        if not option.fits(value):
            raise ValueError(_fault(option, value))
        return value

    def flag_type(self) -> str:
        return self._option.kind.__name__


def _fault(option: Option, value: Any) -> str:
    if option.choices:
        return nearest(value, option.choices)
    if option.below is not None:
        return f"give {option.limits}"
    return f"{value} is not {option.limits}" if abs(value) < float("inf") else "give a finite number"


def _define(name: str, option: Option) -> None:
    if option.kind is bool:
        flags.DEFINE_bool(name, option.default, option.help)
    elif option.repeat:
        flags.DEFINE_multi_string(name, list(option.default), option.help)
    elif option.several:
        flags.DEFINE_list(name, list(option.default), option.help)
    else:
        serializer = flags.ArgumentSerializer()
        flags.DEFINE(_Parser(option), name, option.default, option.help, serializer=serializer)


for _group in GROUPS.values():
    for _name, _option in options_of(_group):
        _define(_name, _option)


def parse(argv: Sequence[str]) -> list[str]:
    """Parses a command line into the flags; what it names itself, a search leaves as it is.

    Args:
        argv: the program's name, then its arguments.

    Returns:
        The arguments that are no flags, without the program's name.

    Raises:
        UserError: for an unknown flag or a value that is not valid.
    """
    try:
        words = flags.FLAGS(list(_expand(argv)))[1:]
    except (flags.Error, ValueError) as error:
        problem = str(error).removeprefix("ERROR:: ").rstrip(" .")
        raise UserError(problem, "`--help` lists every flag") from error
    for group in GROUPS.values():
        for name, option in options_of(group):
            if option.repeat:
                flags.FLAGS[name].value = _after_empty(flags.FLAGS[name].value) or list(option.default)
    if flags.FLAGS["minutes"].value:
        flags.FLAGS["fixed"].value = _fixed_names(argv)
    return words


def _after_empty(values: list[str]) -> list[str]:
    """Returns what was given after an empty value: --also_ask= takes back what a flagfile asks."""
    return values[len(values) - values[::-1].index("") :] if "" in values else values


def _fixed_names(argv: Sequence[str]) -> list[str]:
    """Returns what a search leaves as it is: what --fixed and the command line name."""
    experiment, names = flags.FLAGS["experiment"].value, flags.FLAGS["fixed"].value
    searched = EXPERIMENTS[experiment].searched
    for name in names:
        if searched and name not in searched:
            raise UserError(
                f"--fixed={name} is nothing that a search in {experiment} chooses", nearest(name, searched)
            )
    return [name for name in searched if name in {*names, *_typed_names(argv)}]


def _typed_names(argv: Sequence[str]) -> set[str]:
    """Returns the names of the flags that a command line gives itself, and not in a flagfile."""
    words = {word.lstrip("-").partition("=")[0] for word in argv[1:]}
    return {name for name in flag_names() if flags.FLAGS[name].present and {name, f"no{name}"} & words}


def _expand(words: Iterable[str], outer_files: tuple[Path, ...] = ()) -> Iterator[str]:
    """Yields arguments, with the lines of flagfiles in their places; these may name others in turn."""
    for word in words:
        name, separator, path = word.partition("=")
        file = shipped_path(path)
        if not separator or name.lstrip("-") != "flagfile":
            yield word
        elif file in outer_files:
            raise UserError(f"{word} stands in a flagfile that it names itself", "take one of the two out")
        else:
            yield from _expand(_lines(word, file), (*outer_files, file))


def _lines(word: str, file: Path) -> list[str]:
    try:
        lines = [line.strip() for line in read_regular(file, MAX_BYTES).decode().splitlines()]
    except UnicodeDecodeError as error:
        raise UserError(f"{word} is not in UTF-8 ({error})", "save it in UTF-8") from error
    except OSError as error:
        raise UserError(f"{word} cannot be read ({error.strerror})", "check the path") from error
    return [line for line in lines if line and not line.startswith(("#", "//"))]


def help_text(argv: Sequence[str] = ("xmodal.run",)) -> str:
    """Returns the help of the flags by topic: of all, or of those that a named experiment reads.

    With an experiment it says as well which of them change nothing beside the other arguments.

    Args:
        argv: the program's name, then its arguments, --experiment or --flagfile among them.

    Raises:
        UserError: as from `parse`.
    """
    parse([word for word in argv if word not in HELP])
    experiment = flags.FLAGS["experiment"]
    read_names, requirements = frozenset(flag_names()), {}
    if experiment.present:
        read_names, requirements = EXPERIMENTS[experiment.value].reads, idle_options(from_flags())
    lines = [f"Flags that {experiment.value} reads:" if experiment.present else "Flags:"]
    for group in GROUPS.values():
        options = [(name, option) for name, option in options_of(group) if name in read_names]
        entries = [_help_of(name, option, requirements.get(name, "")) for name, option in options]
        if entries:
            lines += ["", str(group.__doc__).partition("\n")[0].rstrip("."), *entries]
    if not experiment.present:
        lines += ["", "--help --experiment=NAME lists those that an experiment reads."]
    return "\n".join(lines)


def _help_of(name: str, option: Option, requirement: str) -> str:
    default = flags.FLAGS[name].default
    if option.kind is bool:
        head = f"--[no]{name} (default: {'on' if default else 'off'})"
    else:
        head = f"--{name}={'' if default is None else ','.join(default) if option.several else default}"
    sentences = (
        option.help,
        _range_of(option),
        f"Changes nothing without {requirement}." if requirement else "",
    )
    words = " ".join(filter(None, sentences))
    return f"  {head}\n" + textwrap.fill(words, 100, initial_indent=INDENT, subsequent_indent=INDENT)


def _range_of(option: Option) -> str:
    if option.choices:
        return f"{'Any' if option.several else 'One'} of {', '.join(option.choices)}."
    if option.form:
        return f"Give {option.form}."
    return (
        f"From {option.least} to {option.most:,}."
        if option.most not in (None, MANY) and option.least is not None
        else ""
    )


def flag_names() -> list[str]:
    """Returns the names of the project's flags."""
    return [name for group in GROUPS.values() for name, _ in options_of(group)]


def from_flags() -> Config:
    """Makes the dataclasses from the parsed flags.

    Raises:
        UserError: when flags do not fit together.
    """
    values = {name: flags.FLAGS[name].value for name in flag_names()}
    for name, value in values.items():
        _require_replay(name, value)
    try:
        groups: dict[str, Any] = {
            part: group(**{name: values[name] for name, _ in options_of(group)})
            for part, group in GROUPS.items()
        }
        # Recipes alone have networks that learn as a whole from the first step.
        if not groups["image"].head_epochs:
            raise UserError("`head_epochs=0` trains no head", "give an integer from 1 on")
        # And they measure themselves on examples that they were not trained on.
        for name in ("validation_fraction", "test_fraction"):
            if not values[name]:
                raise UserError(f"`{name}=0` holds nothing out", "give a number between 0 and 1")
        groups["train"] = dataclasses.replace(
            groups["train"], profile_folder=groups["run"].output_dir / "tensorboard" / "profile"
        )
        return Config(**groups, flagfile=_flagfile())
    except UserError as error:
        raise with_flags(error) from error


def require_read(config: Config, argv: Sequence[str]) -> None:
    """Refuses flags that change nothing in the experiment that they are given for.

    Who lists most of the flags replays the config.cfg of a run, which holds all of them: one that is not
    read may be in a flagfile as it is by default. Flags that are idle because others switch off what they
    are for may be in a flagfile, too: those on the command line may have switched it off.

    Args:
        config: made from the flags.
        argv: the program's name, then its arguments.

    Raises:
        UserError: for such flags.
    """
    experiment = EXPERIMENTS[config.run.experiment]
    given_names = [name for name in flag_names() if flags.FLAGS[name].present]
    typed_names = _typed_names(argv)
    changed_names = {name for name in given_names if flags.FLAGS[name].value != flags.FLAGS[name].default}
    is_full_list = len(given_names) > len(flag_names()) / 2
    unread_names = [name for name in given_names if name not in experiment.reads]
    unread_names = [name for name in unread_names if name in changed_names | typed_names or not is_full_list]
    if unread_names:
        readers = [name for name, entry in EXPERIMENTS.items() if unread_names[0] in entry.reads]
        raise UserError(
            f"{_flags_text(unread_names)} {'is' if len(unread_names) == 1 else 'are'} not read by "
            f"--experiment={config.run.experiment}",
            f"leave {'it' if len(unread_names) == 1 else 'them'} out: --{unread_names[0]} is for "
            f"{', '.join(readers) or 'python -m xmodal.bench'}",
        )
    for condition in CONDITIONS:
        names = [name for name in condition.options.split() if name in typed_names & changed_names]
        if names and not condition.holds(config):
            raise UserError(
                f"{_flags_text(names)} {'changes' if len(names) == 1 else 'change'} nothing without "
                f"{condition.given}",
                f"leave {'it' if len(names) == 1 else 'them'} out, or give {condition.given}",
            )


def _flags_text(names: Sequence[str]) -> str:
    return " ".join(flags.FLAGS[name].serialize() for name in names)


def _require_replay(name: str, value: Any) -> None:
    """Refuses what a line of a flagfile cannot hold, and no file can be called."""
    for word in value if isinstance(value, list) else [value]:
        if isinstance(word, str) and not _is_a_line(word):
            raise UserError(
                f"--{name}={word!r} ends in a blank, has several lines or NUL, or is not UTF-8",
                "write it so that config.cfg can hold it",
            )


def _is_a_line(word: str) -> bool:
    try:
        word.encode()
    except UnicodeEncodeError:
        return False
    return word == word.rstrip() and len(word.splitlines()) < 2 and "\0" not in word


def _flagfile() -> str:
    lines = []
    for name in sorted(flag_names()):
        flag = flags.FLAGS[name]
        if flag.value is not None and name not in NOT_REPLAYED:
            lines.append(flag.serialize())
    return "\n".join(lines) + "\n"
