"""The folder of a run: begun, gone on with after an interruption, or refused."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from xmodal.errors import UserError
from xmodal.files import mendable_os_errors, write_json, write_text

CHECKPOINTS = "checkpoints"
# What a run leaves in its folder, and --overwrite and --restart therefore remove; last the flags, which
# tell that it was a run.
LEFT = (
    CHECKPOINTS,
    "metrics.json",
    "metrics.jsonl",
    "transfer.json",
    "report.html",
    "tensorboard",
    "config.cfg",
)
# Flags that change no result: a run may go on with others.
FREE = (
    "output_dir",
    "saved_models_dir",
    "export",
    "small",
    "offline",
    "feature_cache_gb",
    "checkpoint_seconds",
    "checkpoint_steps",
    "steps_per_call",
    "profile_steps",
)


def begin(
    folder: Path, flagfile: str, *, overwrite: bool, restart: bool, say: Callable[[str], None] = print
) -> bool:
    """Makes a folder ready for a run, which goes on with what an unfinished one left there.

    Args:
        folder: the run's own, held by this process.
        flagfile: the resolved flags, one a line.
        overwrite: replace a finished run.
        restart: drop what an unfinished run left.
        say: where a line about it goes.

    Returns:
        Whether the run goes on with an unfinished one.

    Raises:
        UserError: when the folder holds a finished run, an unfinished one with other flags, or files of
            such names that no run left.
    """
    record = folder / CHECKPOINTS / "run.json"
    if goes_on(folder, flagfile, overwrite=overwrite, restart=restart):
        say(f"going on with the unfinished run in {folder}")
        return True
    with mendable_os_errors(folder):
        # First what tells that there is something to go on with.
        record.unlink(missing_ok=True)
        for name in LEFT:
            _remove(folder / name)
    write_text(folder / "config.cfg", flagfile)
    write_json(record, {"flags": flagfile, "finished": False})
    return False


def goes_on(folder: Path, flagfile: str, *, overwrite: bool, restart: bool) -> bool:
    """Tells whether a run goes on with an unfinished one, or raises what `begin` does; writes nothing."""
    record = folder / CHECKPOINTS / "run.json"
    _require_ours(folder, flagfile)
    begun = None if restart else _read(record)
    finished = (folder / "metrics.json").exists() and (begun is None or begun["finished"])
    if finished and not overwrite:
        raise UserError(
            f"--output_dir={folder} holds a finished run", "choose another folder or add --overwrite"
        )
    if begun and not finished:
        before, now = _binding(begun["flags"]), _binding(flagfile)
        if before != now:
            raise UserError(
                f"--output_dir={folder} holds an unfinished run with other flags: "
                f"it has {' '.join(sorted(before - now))}, this one {' '.join(sorted(now - before))}",
                "give the flags that it has, or add --restart to begin anew",
            )
    return bool(begun and not finished)


def finish(folder: Path, flagfile: str) -> None:
    """Notes that the run in a folder has come to its end."""
    write_json(folder / CHECKPOINTS / "run.json", {"flags": flagfile, "finished": True})


def _require_ours(folder: Path, flagfile: str) -> None:
    """Refuses a folder with files that a run would remove and none left."""
    config, first = folder / "config.cfg", flagfile.partition("=")[0].encode()
    # A run writes all flags in their order, which nobody does by hand.
    if (folder / CHECKPOINTS / "run.json").exists() or (
        config.is_file() and config.read_bytes().startswith(first + b"=")
    ):
        return
    there = [name for name in LEFT if os.path.lexists(folder / name)]
    if there:
        raise UserError(
            f"--output_dir={folder} holds {', '.join(map(repr, there))}, which no run left there",
            "choose another folder, or move what is there",
        )


def _remove(path: Path) -> None:
    """Removes what a run left; a link stays, and what it leads to is emptied or removed."""
    if path.is_dir():
        for inside in path.iterdir():
            shutil.rmtree(inside) if inside.is_dir() and not inside.is_symlink() else inside.unlink()
        if not path.is_symlink():
            path.rmdir()
    else:
        path.resolve().unlink(missing_ok=True)


def _read(record: Path) -> dict | None:
    try:
        return json.loads(record.read_text()) if record.exists() else None
    except ValueError as error:
        raise UserError(f"{str(record)!r} is broken ({error})", "add --restart to begin anew") from error


def _binding(flagfile: str) -> set[str]:
    free = {*FREE, *(f"no{name}" for name in FREE)}
    return {line for line in flagfile.splitlines() if line.lstrip("-").partition("=")[0] not in free}
