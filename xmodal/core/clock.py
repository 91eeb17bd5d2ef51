"""Wall seconds by stage, said as the stages go by."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from xmodal.core.console import log
from xmodal.core.files import write_json
from xmodal.core.records import Amount, read_record


@dataclass(frozen=True)
class Kept:
    """Times between interruptions: of each stage, and of the whole run."""

    seconds: dict[str, Amount]
    wall: Amount


class Clock:
    """Times the stages of a run, also of one that was interrupted and went on.

    Args:
        log: where lines about progress go.
        kept: a file that keeps the times between interruptions, None for none. What passed since the
            last stage ended is lost when the process is killed.

    Attributes:
        seconds: stage -> wall seconds, in all processes that worked on it.
    """

    def __init__(self, log: Callable[[str], None] = log, record_path: Path | None = None):
        self.log = log
        self._record_path = record_path
        self.seconds, self._before = self._read()
        self._started = time.perf_counter()

    @contextmanager
    def stage(self, name: str, repeats: float = 1.0) -> Iterator[None]:
        """Times a block under a name.

        Args:
            name: of the stage.
            repeats: how often a whole run does what a dry run does once here; a run takes no notice of it.
        """
        start = time.perf_counter()
        try:
            yield
        finally:
            seconds = time.perf_counter() - start
            self.seconds[name] = round(self.seconds.get(name, 0.0) + seconds, 3)
            if self._record_path:
                write_json(self._record_path, {"seconds": self.seconds, "wall": self.wall_seconds()})
        self.log(f"{name:<28} {self.seconds[name]:8.1f} s")

    def _read(self) -> tuple[dict[str, float], float]:
        if not self._record_path:
            return {}, 0.0
        try:
            record = read_record(Kept, self._record_path)
            return record.seconds, record.wall
        except FileNotFoundError:
            pass
        except (OSError, ValueError) as error:
            self.log(
                f"warning: {str(self._record_path)!r} is broken ({error}): times are counted from now on"
            )
        return {}, 0.0

    def wall_seconds(self) -> float:
        """Returns the seconds since the clock was made, and those of the processes before this one."""
        return round(self._before + time.perf_counter() - self._started, 3)
