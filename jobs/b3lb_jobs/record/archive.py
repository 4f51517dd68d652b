"""Extract a published recording from its archive while it arrives; the archive is data from outside.

BBB nodes send ``tar -cC <published folder> .``: uncompressed, members named ``./…``. Only the files that rendering
needs are written, so nothing that is compressed is ever unpacked and nothing takes more room than the archive itself.
"""

from __future__ import annotations

import errno
import re
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol, cast

from b3lb_jobs.record.failures import FailureCode, RecordError

_WANTED = re.compile(
    r"(?:metadata|shapes|panzooms|cursor|deskshare)\.xml|shapes\.svg|tldraw\.json"
    r"|video/webcams\.(?:webm|mp4)|audio/audio\.(?:webm|ogg)|deskshare/deskshare\.(?:webm|mp4)"
    r"|presentation/[A-Za-z0-9_-][\w.-]{0,127}\.(?:png|jpe?g|svg)"
    r"|presentation/[A-Za-z0-9_-][\w.-]{0,127}/(?:svgs/)?[A-Za-z0-9_-][\w.-]{0,127}\.(?:png|jpe?g|svg)",
    re.ASCII,
)
_MEDIA = ("video/", "audio/", "deskshare/")
_COMPRESSED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd", b"PK\x03\x04", b"\x04\x22\x4d\x18")
_BLOCK = 512
_COPY_BYTES = 256 * 1024
# What one member's headers may take: long names and extended attributes, each a block and more.
_HEADER_BYTES = 256 * 1024
_REQUIRED_NOTE = "it is no recording as BBB publishes it"


@dataclass(frozen=True, slots=True)
class ArchiveLimits:
    """How much is taken out of an archive at most, in bytes; media count for the total only."""

    members: int = 20_000
    total: int = 64 * 2**30
    document: int = 64 * 2**20
    picture: int = 64 * 2**20


@dataclass(frozen=True, slots=True)
class Extracted:
    """What was written: path within the recording → bytes."""

    files: dict[str, int]

    @property
    def size(self) -> int:
        """Bytes on the disk."""
        return sum(self.files.values())


class _Remembering(Protocol):
    """tarfile keeps every member with its extended attributes."""

    members: list[tarfile.TarInfo]


class _Source:
    """The archive's stream with a limit to what is read between two members, and a look at how it ends."""

    def __init__(self, stream: BinaryIO) -> None:
        self.head = stream.read(_BLOCK)
        self.tail = self.head[-_BLOCK:]
        self.allowance = _HEADER_BYTES
        self._pushed = self.head
        self._stream = stream

    def read(self, size: int) -> bytes:
        if self.allowance < 0:
            raise RecordError(FailureCode.ARCHIVE_UNSAFE, "a member's headers are larger than 256 KiB")
        data, self._pushed = (self._pushed, b"") if self._pushed else (self._stream.read(size), b"")
        self.allowance -= len(data)
        self.tail = (self.tail + data)[-_BLOCK:]
        return data


def extract(stream: BinaryIO, destination: Path, limits: ArchiveLimits | None = None) -> Extracted:
    """Write what rendering needs below ``destination``, which exists and is empty.

    Raises:
        RecordError: ``ARCHIVE_EMPTY``; ``ARCHIVE_CORRUPT``: not tar, compressed, or cut short; ``ARCHIVE_UNSAFE``: a
            path out of the folder, a link, a device, a sparse file, or a name that occurs twice or is a folder as well;
            ``ARCHIVE_TOO_LARGE``; ``RECORDING_INCOMPLETE``: parts are missing that no recording is without;
            ``DISK_FULL``.
    """
    limits = limits or ArchiveLimits()
    source = _Source(stream)
    if not source.head:
        raise RecordError(FailureCode.ARCHIVE_EMPTY, "the archive is empty")
    if source.head.startswith(_COMPRESSED):
        raise RecordError(FailureCode.ARCHIVE_CORRUPT, "the archive is compressed: BBB nodes send plain tar")
    try:
        files = _members(source, destination, limits)
    except tarfile.TarError as error:
        raise RecordError(FailureCode.ARCHIVE_CORRUPT, f"the archive is no whole tar file: {error}") from None
    except (ValueError, OverflowError, RecursionError, UnicodeError) as error:
        # What tarfile lets through of headers that make no sense.
        raise RecordError(FailureCode.ARCHIVE_CORRUPT, f"the archive has a bad header: {error}") from None
    except (FileExistsError, NotADirectoryError):
        raise RecordError(FailureCode.ARCHIVE_UNSAFE, "a name stands for a file and for a folder") from None
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise RecordError(FailureCode.DISK_FULL, "no room on the disk for the unpacked recording") from None
        raise
    _check_complete(files)
    return Extracted(files)


def _members(source: _Source, destination: Path, limits: ArchiveLimits) -> dict[str, int]:
    files: dict[str, int] = {}
    total = count = 0
    # tarfile asks for nothing but read().
    with tarfile.open(fileobj=cast("BinaryIO", source), mode="r|", bufsize=20 * _BLOCK) as archive:
        while True:
            source.allowance = _HEADER_BYTES
            member = archive.next()
            if member is None:
                break
            cast("_Remembering", archive).members.clear()
            count += 1
            if count > limits.members:
                raise RecordError(FailureCode.ARCHIVE_TOO_LARGE, f"more than {limits.members} members")
            path = _checked_path(member)
            total += member.size
            if total > limits.total:
                raise RecordError(FailureCode.ARCHIVE_TOO_LARGE, f"more than {limits.total} bytes")
            source.allowance = member.size + _HEADER_BYTES
            if not member.isreg():
                continue
            wanted = _WANTED.fullmatch(path) is not None
            if wanted:
                _check_file(path, member.size, files, limits)
                files[path] = member.size
            _copy(archive, member, destination / path if wanted else None)
    _drain(source, limits.total)
    return files


def _checked_path(member: tarfile.TarInfo) -> str:
    """Return the member's path within the recording, or refuse the archive."""
    name = member.name
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if name.startswith("/") or ".." in parts or "\0" in name:
        raise RecordError(FailureCode.ARCHIVE_UNSAFE, f"{name!r} is not within the recording")
    if not (member.isreg() or member.isdir()) or member.issparse():
        raise RecordError(FailureCode.ARCHIVE_UNSAFE, f"{name!r} is neither a plain file nor a directory")
    if member.size < 0:
        raise RecordError(FailureCode.ARCHIVE_CORRUPT, f"{name!r} has a negative size")
    return "/".join(parts)


def _check_file(path: str, size: int, files: dict[str, int], limits: ArchiveLimits) -> None:
    if path in files:
        raise RecordError(FailureCode.ARCHIVE_UNSAFE, f"{path!r} occurs twice")
    if path.startswith(_MEDIA):
        return
    limit = limits.picture if path.startswith("presentation/") else limits.document
    if size > limit:
        raise RecordError(FailureCode.ARCHIVE_TOO_LARGE, f"{path!r} has more than {limit} bytes")


def _copy(archive: tarfile.TarFile, member: tarfile.TarInfo, target: Path | None) -> None:
    """Write the member's bytes to a new file; without a target they are passed over."""
    content = archive.extractfile(member)
    if content is None:
        return
    if target is None:
        while content.read(_COPY_BYTES):
            pass
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    with content, target.open("xb") as file:
        while data := content.read(_COPY_BYTES):
            file.write(data)
        if file.tell() != member.size:
            raise RecordError(FailureCode.ARCHIVE_CORRUPT, "the archive is cut short")


def _drain(source: _Source, limit: int) -> None:
    """Read to the end: tar ends with blocks of zeros, and one that was cut between two members has none."""
    read = 0
    source.allowance = limit + _HEADER_BYTES
    while data := source.read(_COPY_BYTES):
        read += len(data)
        if read > limit:
            raise RecordError(FailureCode.ARCHIVE_TOO_LARGE, f"more than {limit} bytes after the last member")
    if source.tail != bytes(_BLOCK):
        raise RecordError(FailureCode.ARCHIVE_CORRUPT, "the archive is cut short: it has no end mark")


def _check_complete(files: dict[str, int]) -> None:
    if "metadata.xml" not in files:
        raise RecordError(FailureCode.RECORDING_INCOMPLETE, f"metadata.xml is missing: {_REQUIRED_NOTE}")
    if "shapes.svg" not in files and not any(path.startswith(_MEDIA) for path in files):
        raise RecordError(FailureCode.RECORDING_INCOMPLETE, f"neither media nor shapes.svg: {_REQUIRED_NOTE}")
