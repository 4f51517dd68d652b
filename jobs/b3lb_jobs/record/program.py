"""Which FFmpeg is installed: options change their names between its versions."""

from __future__ import annotations

import re
import subprocess

from b3lb_jobs.record.failures import FailureCode, RecordError

Version = tuple[int, int]
# Builds of a commit have no number; they are newer than every release whose options are asked for here.
_UNNUMBERED: Version = (99, 0)
_VERSION = re.compile(rb"ffmpeg version n?(\d{1,3})\.(\d{1,3})")
_SECONDS = 30.0


def ffmpeg_version(program: str = "ffmpeg") -> Version:
    """Return the first two numbers of the installed FFmpeg's version.

    Raises:
        RecordError: ``ENCODER_FAILED``: it does not start.
    """
    try:
        done = subprocess.run(
            [program, "-version"], stdin=subprocess.DEVNULL, capture_output=True, timeout=_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise RecordError(FailureCode.ENCODER_FAILED, f"FFmpeg does not start: {type(error).__name__}") from None
    return parse_version(done.stdout)


def parse_version(output: bytes) -> Version:
    """Return the version that FFmpeg says in its first line, e.g. ``ffmpeg version 7.1.2-0+deb13u1 Copyright …``."""
    found = _VERSION.match(output)
    return (int(found[1]), int(found[2])) if found else _UNNUMBERED
