"""Signals: an end that is asked for becomes an exception, and waits while something is written."""

import os
import signal
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

# What ends a run that is to go on later: a supervisor, or a terminal that is closed.
TERMINATING = (signal.SIGTERM, signal.SIGHUP)


class Terminated(BaseException):
    """SIGTERM or SIGHUP came. No `except Exception` may take it for an error."""


@contextmanager
def sigterm_raised() -> Iterator[None]:
    """Makes SIGTERM and SIGHUP raise `Terminated`, so that what holds files and locks is left in order."""

    def terminate(number, frame):
        _leave_terminal(number)
        raise Terminated

    # Under nohup a hangup is to be ignored.
    numbers = [number for number in TERMINATING if signal.getsignal(number) is not signal.SIG_IGN]
    handlers = {number: signal.signal(number, terminate) for number in numbers}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


@contextmanager
def deferred_signals() -> Iterator[Callable[[], bool]]:
    """Holds SIGTERM, SIGHUP and Ctrl-C back, so that a block can come to a state that is worth saving.

    Yields a function that tells whether one came. What came is raised again when the block has
    ended, which it then must soon; a second one while the first waits is not held back. Only the
    main thread gets signals: in another one nothing is held back.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    pending_signals: list[int] = []
    handlers = {number: signal.getsignal(number) for number in (*TERMINATING, signal.SIGINT)}
    # Such as under nohup; None is a handler that Python cannot put back.
    handlers = {
        number: handler for number, handler in handlers.items() if handler not in (signal.SIG_IGN, None)
    }

    def restore() -> None:
        for number, handler in handlers.items():
            signal.signal(number, handler)

    def hold(number, frame):
        _leave_terminal(number)
        pending_signals.append(number)
        restore()

    for number in handlers:
        signal.signal(number, hold)
    try:
        yield lambda: bool(pending_signals)
    finally:
        restore()
        if pending_signals:
            signal.raise_signal(pending_signals[0])
            # A handler that returns cannot make the block go on.
            raise KeyboardInterrupt


def _leave_terminal(number: int) -> None:
    """After a hangup, what is said goes nowhere: a terminal that is gone would make it an error."""
    if number == signal.SIGHUP:
        for stream in (1, 2):
            # A terminal that is gone is none for isatty; a stream may be closed.
            with suppress(OSError):
                if stat.S_ISCHR(os.fstat(stream).st_mode):
                    null_device = os.open(os.devnull, os.O_WRONLY)
                    os.dup2(null_device, stream)
                    os.close(null_device)
