"""Which object stands where: everything of a record set below one prefix, and one object for the whole storage."""

from __future__ import annotations

from uuid import UUID

from b3lb.storage.interface import check_key

INSTALLATION_KEY = "installation.json"
ARCHIVE_NAME = "archive.tar"
MANIFEST_NAME = "manifest.json"

_VIDEOS = "videos"

RECORD_SETS = "recordsets/"
"""The prefix of all record sets."""


def record_set_prefix(namespace: str, record_set: UUID) -> str:
    """Return the prefix of all that belongs to a record set."""
    return f"{check_key(f'{RECORD_SETS}{namespace}/{record_set}')}/"


def archive_key(namespace: str, record_set: UUID) -> str:
    """Return the key of the archive as the node sent it."""
    return f"{record_set_prefix(namespace, record_set)}{ARCHIVE_NAME}"


def manifest_key(namespace: str, record_set: UUID) -> str:
    """Return the key of the record set's manifest."""
    return f"{record_set_prefix(namespace, record_set)}{MANIFEST_NAME}"


def video_prefix(namespace: str, record_set: UUID, record: UUID) -> str:
    """Return the prefix of what the attempts at one video stored; its row says which of it is the video."""
    return f"{record_set_prefix(namespace, record_set)}{_VIDEOS}/{record}/"


def is_video(key: str) -> bool:
    """Whether a key is that of a video or its still picture."""
    parts = key.split("/")
    return key.startswith(RECORD_SETS) and len(parts) > 4 and parts[3] == _VIDEOS  # noqa: PLR2004 - above it record sets, namespace, and the set's own


def record_set_of(key: str) -> tuple[str, UUID] | None:
    """Return namespace and record set to which an object belongs by its key; None if to none."""
    parts = key.removeprefix(RECORD_SETS).split("/")
    if not key.startswith(RECORD_SETS) or len(parts) <= 2:  # noqa: PLR2004 - namespace, record set, and what is below
        return None
    try:
        return parts[0], UUID(parts[1])
    except ValueError:
        return None
