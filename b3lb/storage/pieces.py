"""Bytes that came in pieces, as one file: nobody has to join them, which would take their size once more."""

from __future__ import annotations

import io
import os
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing_extensions import Buffer


class Pieces(io.RawIOBase):
    """A file to read and to seek in, made of pieces that do not change any more."""

    def __init__(self, pieces: Sequence[bytearray]) -> None:
        super().__init__()
        self._pieces = [memoryview(piece) for piece in pieces if piece]
        self._ends = list(accumulate(len(piece) for piece in self._pieces))
        self._position = 0

    def readable(self) -> bool:
        """Whether it can be read: always."""
        return True

    def seekable(self) -> bool:
        """Whether one can go anywhere in it: always."""
        return True

    def tell(self) -> int:
        """Return the position."""
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Go to a position and return it.

        Raises:
            ValueError: It lies before the begin.
        """
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise ValueError("a position is not negative")
        self._position = base + offset
        return self._position

    def readinto(self, buffer: Buffer, /) -> int:
        """Fill the buffer with what the piece at the position has; 0 at the end."""
        index = bisect_right(self._ends, self._position)
        if index == len(self._pieces):
            return 0
        piece, view = self._pieces[index], memoryview(buffer).cast("B")
        start = self._position - self._ends[index] + len(piece)
        found = piece[start : start + len(view)]
        view[: len(found)] = found
        self._position += len(found)
        return len(found)

    @property
    def _size(self) -> int:
        return self._ends[-1] if self._ends else 0
