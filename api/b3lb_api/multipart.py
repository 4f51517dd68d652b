"""A multipart form of one file and one small field, read while it arrives (RFC 7578).

Nothing but the small field is kept: the file's bytes go on to whoever asked for them.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

MOST_PARTS = 16
MOST_HEADERS = 16
LONGEST_HEADER = 4096
LONGEST_BOUNDARY = 256


class FormError(ValueError):
    """The body is no form as nodes send it; the message says why."""


class _Place(Enum):
    FILE = auto()
    FIELD = auto()
    ELSEWHERE = auto()


class UploadForm:
    """A form that is being read: `feed` it the body in pieces of any size, then `finish`.

    ``field`` holds the small part once it is complete. Other parts are passed over.
    """

    def __init__(self, content_type: str, *, file: str, field: str, most_field_bytes: int) -> None:
        """Begin.

        Args:
            content_type: The request's header of that name.
            file: Name of the part whose bytes `feed` returns.
            field: Name of the part that is kept.
            most_field_bytes: How large that one may be.

        Raises:
            FormError: It is no multipart form.
        """
        kind, parameters = parse_options_header(content_type)
        boundary = parameters.get(b"boundary", b"")
        if kind != b"multipart/form-data" or not 1 <= len(boundary) <= LONGEST_BOUNDARY:
            raise FormError("not multipart/form-data with a boundary")
        self._names = {file.encode(): _Place.FILE, field.encode(): _Place.FIELD}
        self._most_field_bytes = most_field_bytes
        self._parser = MultipartParser(
            boundary, self._callbacks(), max_header_count=MOST_HEADERS, max_header_size=LONGEST_HEADER
        )
        self._place = _Place.ELSEWHERE
        self._seen: set[_Place] = set()
        self._parts = 0
        self._header = bytearray()
        self._value = bytearray()
        self._disposition = b""
        self._collected = bytearray()
        self._file: list[bytes] = []
        self._complete = False
        self.field: bytes | None = None

    @property
    def has_file(self) -> bool:
        """Whether the file's part has begun."""
        return _Place.FILE in self._seen

    def feed(self, data: bytes) -> bytes:
        """Read the next piece; return the file's bytes in it.

        Raises:
            FormError: The form is broken, or has too much of something.
        """
        try:
            self._parser.write(data)
        except FormParserError:
            raise FormError("malformed multipart body") from None
        found = self._file[0] if len(self._file) == 1 else b"".join(self._file)
        self._file.clear()
        return found

    def finish(self) -> bytes:
        """Return the field when the body has ended.

        Raises:
            FormError: The body broke off, or one of both parts is missing.
        """
        if not self._complete:
            raise FormError("the multipart body broke off")
        if self.field is None or not self.has_file:
            raise FormError("the form lacks one of its parts")
        return self.field

    def _callbacks(self) -> MultipartCallbacks:
        return {
            "on_part_begin": self._part_begins,
            "on_header_field": self._header_continues,
            "on_header_value": self._value_continues,
            "on_header_end": self._header_ends,
            "on_headers_finished": self._headers_end,
            "on_part_data": self._data_continues,
            "on_part_end": self._part_ends,
            "on_end": self._form_ends,
        }

    def _part_begins(self) -> None:
        self._parts += 1
        if self._parts > MOST_PARTS:
            raise FormError("the form has too many parts")
        self._disposition = b""

    def _header_continues(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _value_continues(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_ends(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._disposition = bytes(self._value)
        self._header.clear()
        self._value.clear()

    def _headers_end(self) -> None:
        _, parameters = parse_options_header(self._disposition)
        self._place = self._names.get(parameters.get(b"name", b""), _Place.ELSEWHERE)
        if self._place is _Place.ELSEWHERE:
            return
        if self._place in self._seen:
            raise FormError("the form has a part twice")
        self._seen.add(self._place)

    def _data_continues(self, data: bytes, start: int, end: int) -> None:
        if self._place is _Place.FILE:
            self._file.append(data[start:end])
        elif self._place is _Place.FIELD:
            self._collected += memoryview(data)[start:end]
            if len(self._collected) > self._most_field_bytes:
                raise FormError(f"a field has more than {self._most_field_bytes} bytes")

    def _part_ends(self) -> None:
        if self._place is _Place.FIELD:
            self.field = bytes(self._collected)
            self._collected.clear()
        self._place = _Place.ELSEWHERE

    def _form_ends(self) -> None:
        self._complete = True
