"""Reading an object of an S3 server from front to back over connections that may break."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import botocore.exceptions
import urllib3.exceptions

from b3lb.storage.interface import StorageError

if TYPE_CHECKING:
    from typing_extensions import Buffer

ATTEMPTS = 6
LONGEST_PAUSE_SECONDS = 16.0

_BROKEN = (botocore.exceptions.BotoCoreError, urllib3.exceptions.HTTPError, OSError)


class S3Reader(io.RawIOBase):
    """An object, or ``length`` bytes of it from ``start`` on; the object is always the same version of it.

    Raises:
        StorageError: The connection broke so often, one time after the other, or the object is another one now.
    """

    def __init__(
        self,
        client: Any,
        *,
        bucket: str,
        key: str,
        start: int,
        length: int | None,
        faults: Callable[[str], AbstractContextManager[None]],
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        super().__init__()
        self._client = client
        self._target = {"Bucket": bucket, "Key": key}
        self._position = start
        self._end = None if length is None else start + length
        self._faults = faults
        self._pause = pause
        self._version: str | None = None
        self._body: Any = None
        self._connect()

    def readable(self) -> bool:
        """Whether it can be read: always."""
        return True

    def readinto(self, buffer: Buffer, /) -> int:
        """Fill the buffer with what there is; 0 at the end."""
        view = memoryview(buffer).cast("B")
        if not len(view):
            return 0
        for attempt in range(ATTEMPTS):
            try:
                if self._body is None:
                    self._connect()
                data: bytes = self._body.read(len(view))
            except _BROKEN as error:
                self._disconnect()
                if attempt == ATTEMPTS - 1:
                    raise StorageError(f"S3: {self._target['Key']} broke off: {type(error).__name__}") from None
                self._pause(min(LONGEST_PAUSE_SECONDS, 2.0**attempt))
                continue
            view[: len(data)] = data
            self._position += len(data)
            return len(data)
        raise AssertionError("unreachable")

    def close(self) -> None:
        """Let the connection go."""
        self._disconnect()
        super().close()

    def _connect(self) -> None:
        more: dict[str, Any] = {}
        if self._position or self._end is not None:
            last = "" if self._end is None else self._end - 1
            more["Range"] = f"bytes={self._position}-{last}"
        if self._version is not None:
            more["IfMatch"] = self._version
        with self._faults(self._target["Key"]):
            answer = self._client.get_object(**self._target, **more)
        self._version = answer["ETag"]
        self._body = answer["Body"]

    def _disconnect(self) -> None:
        if self._body is not None:
            self._body.close()
            self._body = None
