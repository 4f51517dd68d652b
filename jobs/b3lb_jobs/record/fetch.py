"""The archive on its way from the storage into the folder that it is rendered from: never whole on the disk."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, cast

from b3lb.db.renders import RenderWork
from b3lb.storage.interface import ObjectNotFoundError, Storage, StorageError
from b3lb_jobs.record.archive import ArchiveLimits, Extracted, extract
from b3lb_jobs.record.failures import FailureCode, RecordError


class _Counted:
    """A stream whose bytes are counted and summed up."""

    def __init__(self, stream: BinaryIO, on_bytes: Callable[[int], None]) -> None:
        self.digest = hashlib.sha256()
        self._stream = stream
        self._on_bytes = on_bytes
        self._bytes = 0

    def read(self, size: int) -> bytes:
        try:
            data = self._stream.read(size)
        except OSError as error:
            # The disk that is written to has its own.
            raise StorageError(f"the archive cannot be read: {error.strerror or type(error).__name__}") from error
        self.digest.update(data)
        self._bytes += len(data)
        self._on_bytes(self._bytes)
        return data


def fetch(
    storage: Storage,
    work: RenderWork,
    destination: Path,
    *,
    on_share: Callable[[float], None],
    check: Callable[[], None],
) -> Extracted:
    """Unpack the archive of a recording into ``destination``, which exists and is empty.

    Args:
        storage: Where the archive is.
        work: Which archive.
        destination: A folder.
        on_share: Is told the share that has come, 0 to 1.
        check: Is called again and again; what it raises ends the work.

    Raises:
        RecordError: ``ARCHIVE_MISSING``, or as `extract`; ``ARCHIVE_CORRUPT`` also for another checksum than that of
            the upload.
        StorageError: The storage failed.
    """
    if work.archive_key is None:
        raise RecordError(FailureCode.ARCHIVE_MISSING, "the archive was deleted")
    try:
        stream = storage.open(work.archive_key)
    except ObjectNotFoundError:
        raise RecordError(FailureCode.ARCHIVE_MISSING, "the storage has no archive of the recording") from None

    def count(read: int) -> None:
        check()
        on_share(read / work.archive_bytes if work.archive_bytes else 0.0)

    with stream:
        counted = _Counted(stream, count)
        # What was admitted at the upload is not too large now; never more is written than comes.
        limits = ArchiveLimits(total=max(ArchiveLimits().total, work.archive_bytes))
        extracted = extract(cast("BinaryIO", counted), destination, limits)
    if work.archive_sha256 is not None and counted.digest.hexdigest() != work.archive_sha256:
        raise RecordError(FailureCode.ARCHIVE_CORRUPT, "the archive's checksum is not that of the upload")
    return extracted
