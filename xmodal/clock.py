"""Wall seconds by stage, said as the stages go by."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Clock:
    """Times the stages of a run.

    Args:
        say: where lines about progress go.

    Attributes:
        seconds: stage -> wall seconds.
    """

    def __init__(self, say: Callable[[str], None] = print):
        self.say = say
        self.seconds: dict[str, float] = {}
        self._started = time.perf_counter()

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Times a block under `name`."""
        started = time.perf_counter()
        yield
        self.seconds[name] = round(time.perf_counter() - started, 3)
        self.say(f"{name:<28} {self.seconds[name]:8.1f} s")

    def wall_seconds(self) -> float:
        """Returns the seconds since the clock was made."""
        return round(time.perf_counter() - self._started, 3)
