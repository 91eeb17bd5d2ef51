"""Wall seconds by stage, said as the stages go by."""

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Clock:
    """Times the stages of a run.

    Args:
        say: where a line for each finished stage goes, such as `print`.

    Attributes:
        seconds: stage -> wall seconds.
    """

    def __init__(self, say=print):
        self.seconds: dict[str, float] = {}
        self._say = say

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Times a block under `name`; times under one name add up."""
        started = time.perf_counter()
        yield
        taken = time.perf_counter() - started
        self.seconds[name] = round(self.seconds.get(name, 0.0) + taken, 3)
        self._say(f"{name:<28} {taken:8.1f} s")
