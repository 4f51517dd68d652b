"""The task ``checksum-files``: the SHA-256 of every file in a directory, such as an archive of recordings."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from b3lb_jobs.errors import PermanentError, SoftTimeLimitError, TransientError
from b3lb_jobs.on_demand import OnDemandTask, RunContext

BUSY_SECONDS = 30.0
"""So long after a file that cannot be read now the run is tried again."""


class ChecksumArguments(BaseModel):
    """What the task is told: ``b3lb run checksum-files --arguments '{"directory": "/archive"}'``."""

    model_config = ConfigDict(extra="forbid")

    directory: Path
    pattern: str = Field(default="*", min_length=1)


def checksum_files(context: RunContext, arguments: ChecksumArguments) -> Mapping[str, Any]:
    """Return the checksums by file name; those that are there when the time is over, with ``complete`` false.

    Raises:
        PermanentError: There is no such directory; another attempt would find none either.
        TransientError: A file cannot be read now.
    """
    if not arguments.directory.is_dir():
        raise PermanentError(f"there is no directory {arguments.directory}")
    files = sorted(path for path in arguments.directory.glob(arguments.pattern) if path.is_file())
    sums: dict[str, str] = {}
    complete = True
    try:
        for number, path in enumerate(files):
            context.progress(100 * number / len(files), path.name)
            sums[path.name] = _checksum(path)
    except SoftTimeLimitError:
        # The pod is stopped soon: what is there is worth more than nothing.
        complete = False
    return {"complete": complete, "files": len(files), "sha256": sums}


def _checksum(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise TransientError(f"{path.name}: {error.strerror}", countdown=BUSY_SECONDS) from error


CHECKSUM_FILES = OnDemandTask(function=checksum_files, arguments=ChecksumArguments)
