"""Watches over an attempt to render: says how far it is, and ends what hangs, takes too long or is no longer wanted."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from types import TracebackType
from typing import Self

from b3lb.logs import get_logger
from b3lb_jobs.errors import TransientError
from b3lb_jobs.progress import PAUSE_SECONDS
from b3lb_jobs.record.failures import FailureCode, RecordError

STALL_SECONDS = 120.0
"""FFmpeg that encodes nothing for so long hangs."""

DEADLINE_SECONDS, DEADLINE_FACTOR = 60.0, 3.0
"""Encoding may take so long, and so many times the video's length."""

_LOOK_SECONDS = 0.5
_STOP_SECONDS = 2.0
# At the end FFmpeg moves the file's index to its front and says nothing meanwhile.
_NEARLY_DONE = 0.99

_log = get_logger(__name__)


class Stage(Enum):
    """A part of the work: the percentage at which it begins, its own share of the whole, and what people read."""

    FETCH = (0.0, 5.0, "fetching the recording")
    PLAN = (5.0, 1.0, "reading the recording")
    RENDER = (6.0, 90.0, "rendering")
    PUBLISH = (96.0, 4.0, "checking and storing the video")

    def percent(self, share: float) -> float:
        """Return the percentage of the whole when ``share`` of this part (0 to 1) is done."""
        begin, weight, _ = self.value
        return begin + weight * min(1.0, max(0.0, share))

    @property
    def text(self) -> str:
        """What is being done."""
        return self.value[2]


def deadline_seconds(video_seconds: float, seconds_left: float) -> float:
    """Return how long encoding a video of this length may take; never more than the run has left."""
    return min(DEADLINE_SECONDS + DEADLINE_FACTOR * video_seconds, seconds_left)


@dataclass(slots=True)
class _Encoding:
    """FFmpeg at work; points in time are the watch's."""

    ends_at: float
    grew_at: float
    share: float = 0.0
    process: subprocess.Popen[bytes] | None = None


class Watch:
    """One attempt's; a context manager, within which a thread looks twice a second.

    Args:
        note: Writes the progress, which never goes back, at most every ten seconds; returns False when the work is no
            longer wanted, and may raise `TransientError`.
        on_progress: Is told the progress at every look.
        monotonic: Returns seconds.
    """

    def __init__(
        self,
        note: Callable[[float, str], bool],
        *,
        on_progress: Callable[[float, str], None] = lambda _percent, _text: None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._note = note
        self._on_progress = on_progress
        self._monotonic = monotonic
        self._stage, self._percent = Stage.FETCH, 0.0
        self._next_note = 0.0
        self._encoding: _Encoding | None = None
        self._fault: Exception | None = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        # Whoever is stopped does not wait for a database that is silent; the thread does not outlive the process.
        self._thread.join(None if error is None else _STOP_SECONDS)

    def enter(self, stage: Stage) -> None:
        """Say that a part begins.

        Raises:
            RecordError: As `check`.
        """
        self.check()
        self._stage = stage
        self.share(0.0)

    def share(self, share: float) -> None:
        """Say how much of the part is done, 0 to 1; from any thread."""
        self._percent = max(self._percent, self._stage.percent(share))
        encoding = self._encoding
        if encoding is not None and share > encoding.share:
            encoding.share, encoding.grew_at = share, self._monotonic()

    def check(self) -> None:
        """Let the work go on, or not.

        Raises:
            RecordError: ``CANCELLED``: it is no longer wanted; ``TIMEOUT``: it hangs or takes too long.
            Exception: The watch itself failed.
        """
        if self._fault is not None:
            raise self._fault

    @contextmanager
    def encoding(self, seconds: float) -> Iterator[None]:
        """Let FFmpeg encode for so many seconds at most; the fault for which it was ended goes before its own.

        Raises:
            RecordError: As `check`.
        """
        now = self._monotonic()
        self._encoding = _Encoding(now + seconds, now)
        try:
            yield
        except RecordError:
            self.check()
            raise
        finally:
            self._encoding = None
        self.check()

    def started(self, process: subprocess.Popen[bytes]) -> None:
        """Take FFmpeg's process, which is killed when there is a fault."""
        if self._encoding is not None:
            self._encoding.process = process

    def look(self) -> None:
        """Note the progress if it is time to, and end what has to end."""
        now = self._monotonic()
        self._on_progress(self._percent, self._stage.text)
        if now >= self._next_note:
            self._next_note = now + PAUSE_SECONDS
            self._write()
        encoding = self._encoding
        if encoding is None:
            return
        self._fault = self._fault or _overdue(encoding, now)
        if self._fault is not None:
            self._end_encoder()

    def _write(self) -> None:
        try:
            wanted = self._note(self._percent, self._stage.text)
        except TransientError as error:
            _log.warning("progress is not noted", reason=str(error))
            return
        if not wanted and self._fault is None:
            self._fault = RecordError(FailureCode.CANCELLED, "the video is no longer wanted")

    def _run(self) -> None:
        while not self._over.is_set():
            try:
                self.look()
            except Exception as error:  # noqa: BLE001 - whoever works is told, for nobody watches any more
                self._fault = error
                self._end_encoder()
                return
            self._over.wait(_LOOK_SECONDS)

    def _end_encoder(self) -> None:
        encoding = self._encoding
        if encoding is not None and encoding.process is not None:
            encoding.process.kill()


def _overdue(encoding: _Encoding, now: float) -> RecordError | None:
    if now >= encoding.ends_at:
        return RecordError(FailureCode.TIMEOUT, "encoding took longer than it may")
    if encoding.share < _NEARLY_DONE and now - encoding.grew_at >= STALL_SECONDS:
        return RecordError(FailureCode.TIMEOUT, f"FFmpeg encoded nothing for {STALL_SECONDS:g} s")
    return None
