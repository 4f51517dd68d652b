"""How a rendering that failed is told, and whether it is tried again."""

import errno
from pathlib import Path

import pytest

from b3lb.storage.interface import StorageError, StorageFullError
from b3lb_jobs.errors import SoftTimeLimitError, TransientError, outcome_of
from b3lb_jobs.exit_codes import ExitCode
from b3lb_jobs.record.endings import (
    exit_code_of,
    is_tried_again,
    message_of,
    reason_of,
    record_error_of,
    warning_rows,
)
from b3lb_jobs.record.failures import FailureCode, RecordError, RecordWarning, WarningCode
from b3lb_jobs.record.render_record import memory_peak


def test_reasons_are_written_as_conditions_have_them() -> None:
    assert [reason_of(code) for code in (FailureCode.ARCHIVE_CORRUPT, FailureCode.TIMEOUT, WarningCode.NO_WEBCAMS)] == [
        "ArchiveCorrupt",
        "Timeout",
        "NoWebcams",
    ]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (RecordError(FailureCode.XML_INVALID, "x"), FailureCode.XML_INVALID),
        (
            RecordError(FailureCode.ENCODER_FAILED, "x", stderr="a\nav_write: No space left on device\nb"),
            FailureCode.DISK_FULL,
        ),
        (StorageError("S3: no answer"), FailureCode.STORAGE_UNAVAILABLE),
        (StorageFullError("S3: full"), FailureCode.DISK_FULL),
        (MemoryError(), FailureCode.OUT_OF_MEMORY),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), FailureCode.OUT_OF_MEMORY),
        (OSError(errno.ENOSPC, "No space left on device"), FailureCode.DISK_FULL),
        (SoftTimeLimitError("over"), FailureCode.TIMEOUT),
        (OSError(errno.EIO, "I/O error"), None),
        (ValueError("x"), None),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else str(value),
)
def test_every_fault_has_its_code(error: Exception, code: FailureCode | None) -> None:
    found = record_error_of(error)
    assert (None if found is None else found.code) == code


def test_the_message_holds_the_last_words_and_no_path_of_the_machine() -> None:
    error = RecordError(
        FailureCode.ENCODER_FAILED, "FFmpeg ended", stderr="/work/x1/video.mp4: broken\npassword=geheim"
    )
    assert message_of(error, "/work/x1") == "FFmpeg ended\nvideo.mp4: broken\npassword=[redacted]"


@pytest.mark.parametrize(
    ("code", "last_reason", "last_attempt", "expected"),
    [
        (FailureCode.ARCHIVE_CORRUPT, None, False, False),
        (FailureCode.ENCODER_FAILED, None, False, True),
        (FailureCode.ENCODER_FAILED, "StorageUnavailable", False, True),
        (FailureCode.ENCODER_FAILED, "EncoderFailed", False, False),
        (FailureCode.STORAGE_UNAVAILABLE, "StorageUnavailable", False, True),
        (FailureCode.STORAGE_UNAVAILABLE, None, True, False),
        (FailureCode.TIMEOUT, None, False, True),
    ],
)
def test_only_what_may_pass_is_tried_again(
    code: FailureCode, last_reason: str | None, last_attempt: bool, expected: bool
) -> None:
    assert is_tried_again(code, last_reason=last_reason, last_attempt=last_attempt) is expected


def test_the_end_for_good_has_an_exit_code_that_no_job_tries_again() -> None:
    assert exit_code_of(FailureCode.ARCHIVE_UNSAFE) == ExitCode.BAD_INPUT
    assert exit_code_of(FailureCode.OUT_OF_MEMORY) == ExitCode.OUT_OF_MEMORY
    assert exit_code_of(FailureCode.TIMEOUT) == ExitCode.INTERNAL


def test_a_passing_fault_may_have_an_exit_code_of_its_own() -> None:
    outcome = outcome_of(TransientError("out of memory", countdown=0, exit_code=ExitCode.OUT_OF_MEMORY))
    assert (outcome.state, outcome.exit_code, outcome.countdown) == ("RETRY", 69, 0)


def test_losses_of_one_kind_are_one_warning() -> None:
    rows = warning_rows(
        [
            RecordWarning(WarningCode.SLIDE_MISSING, 2, ("a", "b")),
            RecordWarning(WarningCode.NO_AUDIO, 1),
            RecordWarning(WarningCode.SLIDE_MISSING, 1, ("c",)),
        ]
    )
    assert rows == [
        {"code": "SlideMissing", "count": 3, "message": "a; b; c"},
        {"code": "NoAudio", "count": 1, "message": ""},
    ]


def test_the_peak_of_memory_is_read_where_the_kernel_tells_it(tmp_path: Path) -> None:
    """Nodes with cgroup v1 have another file; nodes with older kernels have none."""
    new, old = tmp_path / "memory.peak", tmp_path / "memory.max_usage_in_bytes"
    assert memory_peak((new, old)) is None
    old.write_text("1048576\n")
    assert memory_peak((new, old)) == 1_048_576
    new.write_text("2097152\n")
    assert memory_peak((new, old)) == 2_097_152
