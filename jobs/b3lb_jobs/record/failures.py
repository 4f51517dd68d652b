"""Why a recording cannot be rendered, and what was left out of one that could."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, StrEnum

from b3lb.bbb.text import printable
from b3lb_jobs.errors import TaskError

STDERR_LINES = 20
NO_ROOM_WORDS = ("No space left on device", "Disk quota exceeded")
"""What FFmpeg says when the disk is full; at the end of a file it then exits with code 0 all the same."""

_DETAILS = 5


class Retry(Enum):
    """Whether the same work may succeed later."""

    NEVER = "never"
    ONCE = "once"
    BACKOFF = "backoff"


class FailureCode(StrEnum):
    """What ended the work on a recording; the codes are stored and shown."""

    ARCHIVE_MISSING = "ARCHIVE_MISSING"
    ARCHIVE_EMPTY = "ARCHIVE_EMPTY"
    ARCHIVE_CORRUPT = "ARCHIVE_CORRUPT"
    ARCHIVE_UNSAFE = "ARCHIVE_UNSAFE"
    ARCHIVE_TOO_LARGE = "ARCHIVE_TOO_LARGE"
    RECORDING_INCOMPLETE = "RECORDING_INCOMPLETE"
    XML_INVALID = "XML_INVALID"
    MEDIA_CORRUPT = "MEDIA_CORRUPT"
    NOTHING_TO_RENDER = "NOTHING_TO_RENDER"
    PROFILE_INVALID = "PROFILE_INVALID"
    STORAGE_UNAVAILABLE = "STORAGE_UNAVAILABLE"
    DISK_FULL = "DISK_FULL"
    WORKER_LOST = "WORKER_LOST"
    OUT_OF_MEMORY = "OUT_OF_MEMORY"
    TIMEOUT = "TIMEOUT"
    ENCODER_FAILED = "ENCODER_FAILED"
    VERIFY_FAILED = "VERIFY_FAILED"
    CANCELLED = "CANCELLED"

    @property
    def retry(self) -> Retry:
        """Whether another attempt makes sense."""
        return _RETRY.get(self, Retry.NEVER)


_RETRY = {
    FailureCode.STORAGE_UNAVAILABLE: Retry.BACKOFF,
    FailureCode.DISK_FULL: Retry.BACKOFF,
    FailureCode.WORKER_LOST: Retry.BACKOFF,
    FailureCode.TIMEOUT: Retry.BACKOFF,
    FailureCode.OUT_OF_MEMORY: Retry.ONCE,
    FailureCode.ENCODER_FAILED: Retry.ONCE,
    FailureCode.VERIFY_FAILED: Retry.ONCE,
}


class RecordError(TaskError):
    """The work on a recording ended.

    Attributes:
        code: Which of the known ends it is.
        stderr: The last lines that a program wrote before it failed.
    """

    def __init__(self, code: FailureCode, message: str, *, stderr: str = "") -> None:
        super().__init__(printable(message))
        self.code = code
        self.stderr = tuple(printable(line) for line in stderr.splitlines()[-STDERR_LINES:])


class SkippedShapeError(ValueError):
    """A shape that cannot be drawn; the message names its kind."""


class WarningCode(StrEnum):
    """What was left out of a video that could be made all the same."""

    NO_WEBCAMS = "NO_WEBCAMS"
    NO_AUDIO = "NO_AUDIO"
    MEDIA_TRUNCATED = "MEDIA_TRUNCATED"
    SLIDE_MISSING = "SLIDE_MISSING"
    SHAPE_SKIPPED = "SHAPE_SKIPPED"
    TLDRAW_PARTIAL = "TLDRAW_PARTIAL"
    CURSOR_MISSING = "CURSOR_MISSING"
    PANZOOM_MISSING = "PANZOOM_MISSING"
    SCREEN_SHARE_MISSING = "SCREEN_SHARE_MISSING"
    FONT_SUBSTITUTED = "FONT_SUBSTITUTED"


@dataclass(frozen=True, slots=True)
class RecordWarning:
    """One kind of loss: how often it happened, and the first few different reasons."""

    code: WarningCode
    count: int
    details: tuple[str, ...] = ()


class WarningLog:
    """Counts losses while a recording is read; its size does not grow with their number."""

    def __init__(self) -> None:
        self._counts: Counter[WarningCode] = Counter()
        self._details: dict[WarningCode, dict[str, None]] = {}

    def add(self, code: WarningCode, detail: str = "", *, count: int = 1) -> None:
        """Count a loss; ``detail`` may hold text from outside."""
        self._counts[code] += count
        details = self._details.setdefault(code, {})
        if detail and len(details) < _DETAILS:
            details[printable(detail, 120)] = None

    def __iter__(self) -> Iterator[RecordWarning]:
        for code in WarningCode:
            if self._counts[code]:
                yield RecordWarning(code, self._counts[code], tuple(self._details[code]))
