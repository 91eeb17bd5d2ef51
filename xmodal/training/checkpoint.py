"""The state of a run on disk, whole or not at all, so that the same command goes on after any death."""

import json
import os
import re
import shutil
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from xmodal.core.console import log
from xmodal.core.errors import UserError
from xmodal.core.files import atomic_folder, os_errors_as_user_errors, sha256_file
from xmodal.core.reading import read_regular

# Two, so that there is one before the last if the last should turn out broken.
CHECKPOINTS_KEPT = 2
FINISHED = "finished"
DIGESTS, MAX_SUMS_BYTES = "SHA256SUMS", 2**10
RESTART = "add `restart` to begin anew, or choose another `output_dir`"
# A save at an epoch's end may not make a training slower than by one part in this many.
SHARE = 20


@dataclass(frozen=True)
class State:
    """A saved state: arrays by name, and what JSON holds."""

    arrays: dict[str, np.ndarray]
    facts: dict[str, Any]


@dataclass(frozen=True)
class Checkpoints:
    """Where a run keeps the state of its stages, and how often.

    Attributes:
        folder: holds one folder for each stage.
        seconds: a training is saved when so many seconds have passed since it last was.
        steps: it is also saved every so many steps; 0 goes by the seconds alone.
        writes: False on every host but the chief, which alone writes files.
        log: where warnings go.
    """

    folder: Path
    seconds: float = 60.0
    steps: int = 0
    writes: bool = True
    log: Callable[[str], None] = log
    _taken: set[str] = field(default_factory=set, repr=False, compare=False)

    def stage(self, name: str) -> "Stage":
        """Returns what is kept of a stage of the run.

        Raises:
            ValueError: when the run had a stage of that name before: it would take the other's state.
        """
        if name in self._taken:
            raise ValueError(f"stages that are kept need names of their own. Received twice: {name!r}")
        self._taken.add(name)
        return Stage(name, self)


class Stage:
    """The kept state of one training or one prediction of a run.

    Attributes:
        name: of the stage.
    """

    def __init__(self, name: str, checkpoints: Checkpoints):
        self.name = name
        self._settings = checkpoints
        self._folder = checkpoints.folder / re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
        self._last = time.monotonic()
        self._cost = 0.0

    def newest(self) -> tuple[State, bool] | None:
        """Returns the last good state and whether it is that of the finished stage; None without any.

        Raises:
            UserError: when there are states but none is whole.
        """
        places = [*_numbered_folders(self._folder), *self._folder.glob(FINISHED)]
        for index, path in enumerate(reversed(places)):
            try:
                return _read(path), path.name == FINISHED
            except (ValueError, KeyError, FileNotFoundError, zipfile.BadZipFile) as error:
                if index + 1 == len(places):
                    raise UserError(f"the checkpoint {str(path)!r} is broken ({error})", RESTART) from error
                self._settings.log(
                    f"warning: the checkpoint {str(path)!r} is broken ({error}): the one before it is used"
                )
                if self._settings.writes:
                    _set_aside(path)
            except OSError as error:
                raise UserError(
                    f"the checkpoint {str(path)!r} cannot be read ({error.strerror})", "allow reading it"
                ) from error
        return None

    def due(self, step: int, *, epoch_ended: bool = False) -> bool:
        """Tells whether a training is to be saved now, `step` steps after its beginning."""
        elapsed = time.monotonic() - self._last
        interval = self._settings.steps
        return self._settings.writes and (
            elapsed >= self._settings.seconds
            or (interval > 0 and step % interval == 0)
            or (epoch_ended and elapsed >= SHARE * self._cost)
        )

    def save(self, number: int, state: State) -> None:
        """Saves a state that newer ones replace.

        Args:
            number: rises from save to save.
            state: what to save.

        Raises:
            UserError: when it cannot be written; the states before it stay as they are.
        """
        start = time.monotonic()
        self._write(f"{number:010d}", state)
        for path in _numbered_folders(self._folder)[:-CHECKPOINTS_KEPT]:
            _remove(path)
        self._last = time.monotonic()
        self._cost = self._last - start

    def finish(self, state: State) -> None:
        """Saves what the finished stage gives, in the place of the states on the way to it."""
        self._write(FINISHED, state)
        if self._settings.writes:
            for path in _numbered_folders(self._folder):
                _remove(path)

    def _write(self, name: str, state: State) -> None:
        if not self._settings.writes:
            return
        objects = [key for key, array in state.arrays.items() if np.asarray(array).dtype.hasobject]
        if objects:
            raise ValueError(f"arrays of objects cannot be kept. Received: {', '.join(objects)}")
        with os_errors_as_user_errors(self._folder):
            for path in self._folder.glob(".*"):
                # Of a process that was killed while it wrote.
                shutil.rmtree(path)
        with atomic_folder(self._folder / name) as folder:
            with _open_synced(folder / "arrays.npz") as file:
                np.savez(file, **dict[str, Any](state.arrays))
            with _open_synced(folder / "facts.json") as file:
                file.write(json.dumps(state.facts).encode())
            with _open_synced(folder / DIGESTS) as file:
                file.write(_digests(folder).encode())


@contextmanager
def _open_synced(path: Path) -> Iterator[Any]:
    with open(path, "wb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())


def _read(path: Path) -> State:
    if read_regular(path / DIGESTS, MAX_SUMS_BYTES).decode() != _digests(path):
        raise ValueError("its files are not what was written")
    with np.load(path / "arrays.npz") as arrays:
        return State(dict(arrays), json.loads((path / "facts.json").read_text()))


def _digests(path: Path) -> str:
    """The digests of a state's files, as `sha256sum --check` reads them."""
    return "".join(f"{sha256_file(path / name)}  {name}\n" for name in ("arrays.npz", "facts.json"))


def _numbered_folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("[0-9]*") if path.name.isdecimal())


def _remove(path: Path) -> None:
    # First out of sight: a folder that is half gone would be taken for a broken checkpoint.
    hidden_path = path.with_name(f".{path.name}")
    os.rename(path, hidden_path)
    shutil.rmtree(hidden_path)


def _set_aside(path: Path) -> None:
    with os_errors_as_user_errors(path):
        os.rename(path, path.with_name(f"broken-{time.time_ns()}-{path.name}"))
