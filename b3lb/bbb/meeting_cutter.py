"""Cuts the list of getMeetings into its meetings without parsing them, so that those that did not change never are.

It rests on one property of XML: where an element begins in its parent's content, it has exactly one end, which does not
depend on what stands before or after it (there are no entities without a document type declaration, and the head that
is asked for declares neither namespaces nor another encoding). So what begins at such a place and is well-formed by
itself is the element, and so is what has the same bytes as something that was found to be well-formed before.
"""

from __future__ import annotations

import re

# BBB's own head is 62 bytes long; a longer one is left to the parser.
_HEAD_BYTES = 256
_HEAD = re.compile(
    rb"""(?:\xef\xbb\xbf)?(?:<\?xml\ version=["']1\.0["'](?:\ encoding=["'](?i:utf-8)["'])?\s*\?>)?"""
    rb"""\s*<response>\s*<returncode>SUCCESS</returncode>\s*<meetings>""",
    re.VERBOSE,
)
_SPACE = re.compile(rb"[ \t\r\n]*")
_START = b"<meeting>"
_END = b"</meeting>"


class MeetingCutter:
    """Bytes of an answer go in, candidates for meeting elements and all other bytes come out.

    Whatever does not look as BBB prints it ends the cutting: from there on everything is among the other bytes.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._other = bytearray()
        self._begun = False
        self._ended = False
        self._position = 0
        self._searched = 0

    @property
    def waiting(self) -> int:
        """Number of bytes that wait for the end of their element."""
        return len(self._buffer) - self._position

    def feed(self, data: bytes) -> None:
        """Take the next bytes; ``candidate`` is to be called until it returns None after this."""
        if self._ended:
            self._other += data
            return
        del self._buffer[: self._position]
        self._searched = max(0, self._searched - self._position)
        self._position = 0
        self._buffer += data

    def candidate(self) -> bytes | None:
        """Return what is a meeting's element if it is well-formed by itself, None if there is no more at present."""
        if self._ended or not (self._begun or self._begin()):
            return None
        buffer = self._buffer
        start = _SPACE.match(buffer, self._position).end()  # type: ignore[union-attr]  # it matches the empty string
        if not buffer.startswith(_START, start):
            if len(buffer) - start >= len(_START):
                self.stop(start)
            return None
        end = buffer.find(_END, max(start, self._searched))
        if end < 0:
            self._position = start
            self._searched = max(start, len(buffer) - len(_END) + 1)
            return None
        self._position = end + len(_END)
        return bytes(buffer[start : self._position])

    def stop(self, position: int | None = None) -> None:
        """Cut no more: from ``position`` (default: where it is) everything is among the other bytes."""
        if not self._ended:
            self._ended = True
            self._other += self._buffer[self._position if position is None else position :]
            self._buffer = bytearray()
            self._position = 0

    def put_back(self, candidate: bytes) -> None:
        """Cut no more, beginning with the last candidate, which is not an element."""
        self.stop(self._position - len(candidate))

    def other(self) -> bytes:
        """Return the bytes for the parser that have come together since the last call."""
        if not self._other:
            return b""
        other = bytes(self._other)
        self._other.clear()
        return other

    def _begin(self) -> bool:
        head = _HEAD.match(self._buffer)
        if head:
            self._begun = True
            self._other += head[0]
            self._position = head.end()
        elif len(self._buffer) > _HEAD_BYTES:
            self.stop()
        return self._begun
