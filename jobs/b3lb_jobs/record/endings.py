"""How an attempt to render ends: which fault it was, what is told of it, and whether it is tried again. Pure."""

from __future__ import annotations

import errno
from collections.abc import Iterable
from typing import Any

from b3lb.storage.interface import StorageError, StorageFullError
from b3lb_jobs.errors import SoftTimeLimitError
from b3lb_jobs.exit_codes import ExitCode
from b3lb_jobs.record.failures import NO_ROOM_WORDS, FailureCode, RecordError, RecordWarning, Retry

INTERNAL_ERROR = "InternalError"
"""The reason where the fault is the program's own."""

STORAGE_NOT_CONFIGURED = "StorageNotConfigured"
"""The reason where the pod does not know where recordings are."""

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def reason_of(code: str) -> str:
    """Return a code as reasons are written, e.g. ``ARCHIVE_CORRUPT`` as ``ArchiveCorrupt``."""
    return "".join(word.capitalize() for word in code.split("_"))


def record_error_of(error: Exception) -> RecordError | None:
    """Return the fault as one of the known ends; None if it is none, that is the program's own."""
    if isinstance(error, RecordError):
        is_full = any(words in line for line in error.stderr for words in NO_ROOM_WORDS)
        return RecordError(FailureCode.DISK_FULL, "no room on the disk for the video") if is_full else error
    code, text = None, str(error)
    match error:
        case StorageFullError():
            code, text = FailureCode.DISK_FULL, f"no room in the storage: {error}"
        case StorageError():
            code = FailureCode.STORAGE_UNAVAILABLE
        case SoftTimeLimitError():
            code = FailureCode.TIMEOUT
        case MemoryError() | OSError(errno=errno.ENOMEM):
            code, text = FailureCode.OUT_OF_MEMORY, "out of memory"
        case OSError(errno=number) if number in _NO_ROOM:
            code, text = FailureCode.DISK_FULL, "no room on the disk"
    return None if code is None else RecordError(code, text)


def message_of(error: RecordError, *hidden: str) -> str:
    """Return what is told of a fault: its sentence, and below it what a program said last.

    Args:
        error: The fault.
        hidden: Texts that nobody needs to see, such as the path of a temporary folder.
    """
    text = "\n".join([str(error), *error.stderr])
    for part in hidden:
        text = text.replace(f"{part}/", "").replace(part, "")
    return text


def is_tried_again(code: FailureCode, *, last_reason: str | None, last_attempt: bool) -> bool:
    """Whether another attempt is made after a fault other than a lack of memory.

    Args:
        code: The fault.
        last_reason: Why the attempt before failed, if it did: what is tried again once must not fail twice by the same.
        last_attempt: Whether the queue allows no other one.
    """
    if last_attempt or code.retry is Retry.NEVER:
        return False
    return code.retry is Retry.BACKOFF or last_reason != reason_of(code)


def exit_code_of(code: FailureCode) -> ExitCode:
    """Return the exit code of a run that such a fault ends for good."""
    if code is FailureCode.OUT_OF_MEMORY:
        return ExitCode.OUT_OF_MEMORY
    return ExitCode.BAD_INPUT if code.retry is Retry.NEVER else ExitCode.INTERNAL


def warning_rows(warnings: Iterable[RecordWarning]) -> list[dict[str, Any]]:
    """Return what could not be shown as it is stored: one object for each kind of loss."""
    merged: dict[str, dict[str, Any]] = {}
    for warning in warnings:
        row = merged.setdefault(reason_of(warning.code), {"code": reason_of(warning.code), "count": 0, "message": ""})
        row["count"] += warning.count
        row["message"] = "; ".join(part for part in (row["message"], *warning.details) if part)
    return list(merged.values())
