"""A readable file that ends after so many bytes of another one."""

from __future__ import annotations

import io
import math
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from typing_extensions import Buffer


class _Source(Protocol):
    def readinto(self, buffer: memoryview, /) -> int | None: ...

    def close(self) -> None: ...


class Window(io.RawIOBase):
    """The next ``length`` bytes of ``source``, all for None; closing it closes the source."""

    def __init__(self, source: _Source, length: int | None) -> None:
        super().__init__()
        self._source = source
        self._left: float = math.inf if length is None else length

    def readable(self) -> bool:
        """Whether it can be read: always."""
        return True

    def readinto(self, buffer: Buffer, /) -> int:
        """Fill the buffer with what is left at most; 0 at the end."""
        view = memoryview(buffer).cast("B")
        if self._left < len(view):
            view = view[: int(self._left)]
        count = (self._source.readinto(view) or 0) if len(view) else 0
        self._left -= count
        return count

    def close(self) -> None:
        """Close the source, too."""
        self._source.close()
        super().close()
