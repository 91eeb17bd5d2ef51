"""The folder of a run: begun, gone on with after an interruption, or refused."""

import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from xmodal.core.console import log
from xmodal.core.errors import UserError
from xmodal.core.files import os_errors_as_user_errors, remove_unfinished, write_json, write_text
from xmodal.core.formatting import first_few
from xmodal.core.held import is_held
from xmodal.core.locks import LOCK, folder_lock
from xmodal.core.records import read_record

CHECKPOINTS, CONFIG = "checkpoints", "config.cfg"
# What a search tried, and the flags that it chose.
SEARCH, CHOSEN = "search.json", "chosen.cfg"
# What a run leaves in its folder, and --overwrite and --restart therefore remove; last the flags, which
# tell that it was a run.
LEFT = (
    CHECKPOINTS,
    "metrics.json",
    "metrics.jsonl",
    "transfer.json",
    "report.html",
    "tensorboard",
    "tracker.json",
    "wandb",
    SEARCH,
    CHOSEN,
    CONFIG,
)
# Flags that change no result: a run may go on with others.
FREE = (
    "output_dir",
    "saved_models_dir",
    "export",
    "small",
    "track",
    "offline",
    "feature_cache_gb",
    "checkpoint_seconds",
    "checkpoint_steps",
    "steps_per_call",
    "profile_steps",
)


@dataclass(frozen=True)
class Begun:
    """The record of a run that was begun.

    Attributes:
        flags: the resolved flags, one a line.
        finished: whether it has come to its end.
        data: what it reads -> its digest.
    """

    flags: str
    finished: bool
    data: dict[str, str] = field(default_factory=dict)


@contextmanager
def lock_run_folder(folder: Path, flagfile: str, *, overwrite: bool, restart: bool) -> Iterator[None]:
    """Holds a folder for a run that the block takes to its end; arguments as `begin` takes them.

    A new run that is refused before it has kept anything leaves nothing.

    Raises:
        UserError: as `begin`; when another process holds the folder.
    """
    with folder_lock(folder, wait=False):
        is_continued = begin(folder, flagfile, overwrite=overwrite, restart=restart)
        try:
            yield
        except UserError:
            if not is_continued and is_held(folder / LOCK) and not _has_trained(folder):
                _clear(folder)
            raise
        record = _read(folder)
        if not (folder / CONFIG).exists():
            # Of a folder that was emptied meanwhile.
            write_text(folder / CONFIG, flagfile)
        _write_record(folder, Begun(flagfile, True, record.data if record else {}))


def begin(
    folder: Path, flagfile: str, *, overwrite: bool, restart: bool, log: Callable[[str], None] = log
) -> bool:
    """Makes a folder ready for a run, which goes on with what an unfinished one left there.

    Args:
        folder: the run's own, held by this process.
        flagfile: the resolved flags, one a line.
        overwrite: replace a finished run.
        restart: drop what an unfinished run left.
        log: where a line about it goes.

    Returns:
        Whether the run goes on with an unfinished one.

    Raises:
        UserError: when the folder holds a finished run, an unfinished one with other flags, or files of
            such names that no run left.
    """
    is_continued = goes_on(folder, flagfile, overwrite=overwrite, restart=restart)
    remove_unfinished(folder)
    if is_continued:
        log(f"going on with the unfinished run in {folder}")
        return True
    _clear(folder)
    write_text(folder / CONFIG, flagfile)
    _write_record(folder, Begun(flagfile, False))
    return False


def bind(folder: Path, digests: Mapping[str, str]) -> None:
    """Binds a run that is under way to what it reads: it goes on with the same alone.

    Args:
        folder: the run's own; nothing happens in one that no run was begun in, as that of a dry run.
        digests: what is read -> its digest.

    Raises:
        UserError: when the run has trained on other things.
    """
    record = _read(folder)
    if record is None:
        return
    changed_names = [name for name, digest in digests.items() if record.data.get(name, digest) != digest]
    if changed_names and _has_trained(folder):
        raise UserError(
            f"`output_dir={folder}` holds an unfinished run that was begun with other data: changed are "
            f"{first_few(changed_names)}",
            "put the data back as they were, or add `restart` to begin anew",
        )
    _write_record(folder, replace(record, data={**record.data, **digests}))


def goes_on(folder: Path, flagfile: str, *, overwrite: bool, restart: bool) -> bool:
    """Tells whether a run goes on with an unfinished one, or raises what `begin` does; writes nothing."""
    _require_ours(folder, flagfile)
    try:
        record = _read(folder)
    except UserError:
        if not (restart or overwrite):
            raise
        record = None
    is_finished = (folder / "metrics.json").exists() and (record is None or record.finished)
    if is_finished and not overwrite:
        raise UserError(
            f"`output_dir={folder}` holds a finished run", "choose another folder or add `overwrite`"
        )
    # What has trained nothing has no result that other flags could change.
    if is_finished or record is None or restart or not _has_trained(folder):
        return False
    old_flags, new_flags = binding(record.flags), binding(flagfile)
    changed_names = [
        name for name in sorted({*old_flags, *new_flags}) if old_flags.get(name) != new_flags.get(name)
    ]
    if changed_names:
        old_text, new_text = (
            first_few([flags.get(name, f"no --{name}") for name in changed_names], 5)
            for flags in (old_flags, new_flags)
        )
        raise UserError(
            f"`output_dir={folder}` holds an unfinished run with other flags: it has {old_text}; "
            f"this one {new_text}",
            "give the flags that it has, or add `restart` to begin anew",
        )
    return True


def is_unfinished(folder: Path) -> bool:
    """Tells whether a folder holds a run that has not come to its end, whatever it has written.

    Raises:
        UserError: when that cannot be told.
    """
    record = _read(folder)
    return record is not None and not record.finished


def _require_ours(folder: Path, flagfile: str) -> None:
    """Refuses a folder with files that a run would remove and none left."""
    config, first_flag = folder / CONFIG, flagfile.partition("=")[0].encode()
    # A run writes all flags in their order, which nobody does by hand.
    if (folder / CHECKPOINTS / "run.json").exists() or (
        config.is_file() and config.read_bytes().startswith(first_flag + b"=")
    ):
        return
    foreign_names = [name for name in LEFT if os.path.lexists(folder / name)]
    if foreign_names:
        raise UserError(
            f"`output_dir={folder}` holds {', '.join(map(repr, foreign_names))}, which no run left there",
            "choose another folder, or move what is there",
        )


def _has_trained(folder: Path) -> bool:
    """Tells whether a run has kept a state of any stage, has searched, or has measured."""
    # What is hidden was never whole.
    states = (folder / CHECKPOINTS).glob("*/[!.]*/")
    return any((folder / name).exists() for name in ("metrics.json", SEARCH)) or any(states)


def _clear(folder: Path) -> None:
    with os_errors_as_user_errors(folder):
        # First what tells that there is something to go on with.
        (folder / CHECKPOINTS / "run.json").unlink(missing_ok=True)
        for name in LEFT:
            _remove(folder / name)


def _remove(path: Path) -> None:
    """Removes what a run left; a link stays, and what it leads to is emptied or removed."""
    if path.is_dir():
        for entry in path.iterdir():
            shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
        if not path.is_symlink():
            path.rmdir()
    else:
        Path(os.path.realpath(path)).unlink(missing_ok=True)


def _read(folder: Path) -> Begun | None:
    path = folder / CHECKPOINTS / "run.json"
    try:
        return read_record(Begun, path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        is_finished = (folder / "metrics.json").exists()
        remedy = "add `overwrite` to replace what is there" if is_finished else "add `restart` to begin anew"
        raise UserError(f"{str(path)!r} is broken ({error})", remedy) from error


def _write_record(folder: Path, record: Begun) -> None:
    write_json(folder / CHECKPOINTS / "run.json", asdict(record))


def binding(flagfile: str) -> dict[str, str]:
    """Returns the lines of a flagfile that change results, by the flags' names.

    All of a run's processes have the same ones.
    """
    lines: dict[str, str] = {}
    for line in flagfile.splitlines():
        name, separator, _ = line.lstrip("-").partition("=")
        # Of booleans alone, which have no value, a name begins with "no".
        name = name if separator else name.removeprefix("no")
        # A flag may be given several times.
        lines[name] = f"{lines[name]} {line}" if name in lines else line
    return {name: line for name, line in lines.items() if name not in FREE}
