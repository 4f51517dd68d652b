"""What every storage does: objects appear whole under their keys or not at all, and are read, listed and deleted.

A key is a relative path such as ``<namespace>/<record set>/archive.tar``. What is being written has no key yet; what
was left half written can be found and dropped as `Unfinished`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import BinaryIO, Protocol, Self

LONGEST_KEY = 512
CHUNK_BYTES = 1 << 20
"""What is moved at a time."""

_SEGMENT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,199}")


class StorageError(Exception):
    """The storage could not do what was asked; trying again later may help. No message holds a credential."""


class StorageFullError(StorageError):
    """There is no room left, or not for this one."""


class ObjectNotFoundError(StorageError):
    """There is no object with this key."""


class InvalidKeyError(ValueError):
    """A key that no storage takes; a mistake of the program or of a manifest."""


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object: its key, size in bytes, and when it was written, UTC."""

    key: str
    size: int
    modified_at: datetime


@dataclass(frozen=True, slots=True)
class Unfinished:
    """What was begun and neither published nor discarded; ``key`` is where it was meant to go, where that is known."""

    id: str
    key: str | None
    begun_at: datetime


@dataclass(frozen=True, slots=True)
class Deleted:
    """How much was deleted."""

    objects: int = 0
    size: int = 0

    def __add__(self, other: Deleted) -> Deleted:
        return Deleted(self.objects + other.objects, self.size + other.size)


class Writer(Protocol):
    """An object that is being written; leaving its ``with`` block without `publish` discards it."""

    @property
    def size(self) -> int:
        """Bytes so far."""

    @property
    def sha256(self) -> str:
        """Checksum of the bytes so far, hexadecimal."""

    def write(self, data: bytes) -> None:
        """Add to it.

        Raises:
            StorageError: The storage failed; nothing but `discard` makes sense any more.
        """

    def publish(self) -> StoredObject:
        """Make it appear under its key, durably and at once, in place of an object that may be there.

        Raises:
            StorageError: The storage failed.
        """

    def discard(self) -> None:
        """Leave nothing of it; does nothing after `publish`. Faults are left to the sweep of what is unfinished."""

    def __enter__(self) -> Self:
        """Return itself."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Discard what was not published."""


class Storage(Protocol):
    """A storage. Every method may raise `StorageError`, and `InvalidKeyError` for a malformed key or prefix."""

    def create(self, key: str, *, content_type: str = "application/octet-stream") -> Writer:
        """Begin an object."""

    def open(self, key: str, *, start: int = 0, length: int | None = None) -> BinaryIO:
        """Open an object, or ``length`` bytes of it from ``start`` on, for reading once from front to back.

        Raises:
            ObjectNotFoundError: There is none.
        """

    def stat(self, key: str) -> StoredObject | None:
        """Return what is known of an object; None if there is none."""

    def list(self, prefix: str = "") -> Iterator[StoredObject]:
        """Go through the objects whose keys begin with ``prefix`` (empty, or ending in a slash)."""

    def delete(self, key: str) -> Deleted:
        """Delete an object; none is no fault."""

    def delete_prefix(self, prefix: str) -> Deleted:
        """Delete all objects whose keys begin with ``prefix``, which ends in a slash; none is no fault."""

    def unfinished(self, *, before: datetime) -> Iterator[Unfinished]:
        """Go through what was begun before a point in time and neither published nor discarded."""

    def drop(self, unfinished: Unfinished) -> None:
        """Drop what is unfinished; gone already is no fault."""

    def presign(self, key: str, *, seconds: int, file_name: str | None = None) -> str | None:
        """Return a URL that serves the object to anyone for a while; None where the storage has no such thing."""


def check_key(key: str) -> str:
    """Return ``key`` if it is one: segments of letters, digits, ``_``, ``.``, ``-``, none with a dot or dash in front.

    Raises:
        InvalidKeyError: It is not.
    """
    if len(key) > LONGEST_KEY or not all(is_segment(segment) for segment in key.split("/")):
        raise InvalidKeyError(f"not a storage key: {key[:LONGEST_KEY]!r}")
    return key


def is_segment(name: str) -> bool:
    """Whether a name may stand between the slashes of a key."""
    return _SEGMENT.fullmatch(name) is not None


def check_prefix(prefix: str) -> str:
    """Return ``prefix`` if it is a key and a slash.

    Raises:
        InvalidKeyError: It is not.
    """
    if not prefix.endswith("/"):
        raise InvalidKeyError("a prefix ends in a slash")
    check_key(prefix[:-1])
    return prefix
