"""Signals that interrupt a task in the main thread: the soft time limit, which it may catch, and a stop, which not."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from b3lb_jobs.errors import SoftTimeLimitError
from b3lb_jobs.exit_codes import ExitCode


class StoppedError(BaseException):
    """The process was told to stop; no ordinary ``except`` catches it."""

    def __init__(self, number: signal.Signals) -> None:
        super().__init__(f"stopped by {number.name}")
        self.exit_code = ExitCode.INTERRUPTED if number == signal.SIGINT else ExitCode.STOPPED


class Interruptions:
    """Turns signals into exceptions, but only where a task is at work: what is written meanwhile is never cut off."""

    def __init__(self) -> None:
        self._stop: signal.Signals | None = None
        self._allowed = False
        self._seconds = 0.0

    @contextmanager
    def caught(self) -> Iterator[None]:
        """Take SIGTERM, SIGINT and SIGALRM; they get their former handlers back at the end."""
        handlers = {
            signal.SIGTERM: self._stopped,
            signal.SIGINT: self._stopped,
            signal.SIGALRM: self._overdue,
        }
        before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextmanager
    def allowed(self, *, soft_seconds: float) -> Iterator[None]:
        """Let the block be interrupted: after ``soft_seconds``, once, and whenever the process is to stop.

        Raises:
            SoftTimeLimitError: The time is over.
            StoppedError: The process is to stop, maybe since before.
        """
        self._seconds = soft_seconds
        self._allowed = True
        signal.setitimer(signal.ITIMER_REAL, max(soft_seconds, 0.001))
        try:
            if self._stop is not None:
                raise StoppedError(self._stop)
            yield
        finally:
            self._allowed = False
            signal.setitimer(signal.ITIMER_REAL, 0)

    def _stopped(self, number: int, _frame: FrameType | None) -> None:
        self._stop = signal.Signals(number)
        if self._allowed:
            raise StoppedError(self._stop)

    def _overdue(self, _number: int, _frame: FrameType | None) -> None:
        if self._allowed:
            raise SoftTimeLimitError(f"the soft time limit of {self._seconds:g} s is over")
