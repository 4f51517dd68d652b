"""Storage in a directory on a volume: written beside, brought to disk, renamed.

What is being written is a file in ``.unfinished`` of the same file system, so that renaming it is atomic; file and
directories are synchronised (fsync(2)) before an object counts as published.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import os
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from b3lb.storage.interface import (
    CHUNK_BYTES,
    Deleted,
    ObjectNotFoundError,
    StorageError,
    StorageFullError,
    StoredObject,
    Unfinished,
    check_key,
    check_prefix,
    is_segment,
)
from b3lb.storage.window import Window

_UNFINISHED = ".unfinished"
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class DirectoryStorage:
    """Objects as files below a directory, which must exist and which nobody else may write to."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def __repr__(self) -> str:
        return f"DirectoryStorage({str(self._root)!r})"

    def create(self, key: str, *, content_type: str = "application/octet-stream") -> DirectoryWriter:
        """Begin an object; the file's name alone says of what type it is, so ``content_type`` is not kept."""
        del content_type
        with _faults():
            folder = self._root / _UNFINISHED
            folder.mkdir(exist_ok=True)
            return DirectoryWriter(self._root, key=check_key(key), temporary=folder / uuid.uuid4().hex)

    def open(self, key: str, *, start: int = 0, length: int | None = None) -> BinaryIO:
        """Open an object; see `Storage.open`."""
        with _faults(key):
            file = self._path(key).open("rb", buffering=0)
            if start:
                file.seek(start)
        return io.BufferedReader(Window(_Readable(file), length), CHUNK_BYTES)

    def stat(self, key: str) -> StoredObject | None:
        """Return what is known of an object."""
        path = self._path(key)
        try:
            with _faults(key):
                return _stored(key, path.stat())
        except ObjectNotFoundError:
            return None

    def list(self, prefix: str = "") -> Iterator[StoredObject]:
        """Go through the objects below a prefix, in the order of their names."""
        folder = self._root / check_prefix(prefix) if prefix else self._root
        with _faults():
            yield from self._walk(folder)

    def delete(self, key: str) -> Deleted:
        """Delete an object and the directories that are empty then."""
        path = self._path(key)
        try:
            with _faults(key):
                size = path.stat().st_size
                path.unlink()
        except ObjectNotFoundError:
            return Deleted()
        self._prune(path.parent)
        return Deleted(1, size)

    def delete_prefix(self, prefix: str) -> Deleted:
        """Delete all objects below a prefix."""
        return sum((self.delete(found.key) for found in list(self.list(check_prefix(prefix)))), Deleted())

    def unfinished(self, *, before: datetime) -> Iterator[Unfinished]:
        """Go through the files that nobody has written to since ``before``."""
        with _faults():
            for entry in _entries(self._root / _UNFINISHED):
                with contextlib.suppress(FileNotFoundError):
                    written = datetime.fromtimestamp(entry.stat(follow_symlinks=False).st_mtime, UTC)
                    if written < before:
                        yield Unfinished(entry.name, None, written)

    def drop(self, unfinished: Unfinished) -> None:
        """Drop what is unfinished."""
        with _faults():
            (self._root / _UNFINISHED / check_key(unfinished.id)).unlink(missing_ok=True)

    def presign(self, key: str, *, seconds: int, file_name: str | None = None) -> str | None:
        """Return None: a directory serves nobody by itself."""
        del key, seconds, file_name
        return None

    def _path(self, key: str) -> Path:
        return self._root / check_key(key)

    def _walk(self, folder: Path) -> Iterator[StoredObject]:
        for entry in _entries(folder):
            path = folder / entry.name
            # No object: a file system's own, as lost+found, which may not even be readable.
            if not is_segment(entry.name) or entry.is_symlink():
                continue
            if entry.is_dir():
                yield from self._walk(path)
            else:
                with contextlib.suppress(FileNotFoundError):
                    yield _stored(path.relative_to(self._root).as_posix(), entry.stat())

    def _prune(self, folder: Path) -> None:
        # Not empty, or gone already: somebody else's work.
        with contextlib.suppress(OSError):
            while folder != self._root:
                folder.rmdir()
                folder = folder.parent


class _Readable:
    """A file whose faults are the storage's: a volume may go while it is read."""

    def __init__(self, file: io.FileIO) -> None:
        self._file = file

    def readinto(self, buffer: memoryview, /) -> int | None:
        with _faults():
            return self._file.readinto(buffer)

    def close(self) -> None:
        self._file.close()


class DirectoryWriter:
    """A file that is being written."""

    def __init__(self, root: Path, *, key: str, temporary: Path) -> None:
        self._root = root
        self._key = key
        self._temporary = temporary
        self._digest = hashlib.sha256()
        self._file = temporary.open("xb", buffering=0)
        self.size = 0

    @property
    def sha256(self) -> str:
        """Checksum of the bytes so far, hexadecimal."""
        return self._digest.hexdigest()

    def write(self, data: bytes) -> None:
        """Add to it."""
        with _faults():
            view = memoryview(data)
            while view:
                view = view[self._file.write(view) :]
        self._digest.update(data)
        self.size += len(data)

    def publish(self) -> StoredObject:
        """Bring it to disk and give it its name."""
        target = self._root / self._key
        with _faults():
            os.fsync(self._file.fileno())
            self._file.close()
            _make_directories(self._root, target.parent)
            self._temporary.replace(target)
            _synchronise(target.parent)
            return _stored(self._key, target.stat())

    def discard(self) -> None:
        """Delete the file unless it was published."""
        with contextlib.suppress(OSError):
            self._file.close()
            self._temporary.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.discard()


@contextlib.contextmanager
def _faults(key: str = "") -> Iterator[None]:
    """Turn what the operating system says into the storage's errors; paths of the volume are not repeated."""
    try:
        yield
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
        if not key:
            raise StorageError(f"storage directory: {error.strerror}") from error
        raise ObjectNotFoundError(f"no object {key}") from error
    except OSError as error:
        kind = StorageFullError if error.errno in _FULL else StorageError
        raise kind(f"storage directory: {error.strerror or type(error).__name__}") from error


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except (FileNotFoundError, NotADirectoryError):
        return []


def _stored(key: str, status: os.stat_result) -> StoredObject:
    return StoredObject(key, status.st_size, datetime.fromtimestamp(status.st_mtime, UTC))


def _make_directories(root: Path, folder: Path) -> None:
    """Make ``folder`` below ``root``, each new directory brought to disk within its parent.

    A sweep may remove an empty directory in between, so whoever comes next makes it again.
    """
    if folder == root or folder.is_dir():
        return
    _make_directories(root, folder.parent)
    folder.mkdir(exist_ok=True)
    _synchronise(folder.parent)


def _synchronise(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
