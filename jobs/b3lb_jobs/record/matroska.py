"""The stage's pictures as a stream of Matroska that FFmpeg reads from a pipe: one uncompressed picture for each state.

Nothing is compressed, nothing is stored, and between two states no byte is sent. Sources: RFC 8794 (EBML), RFC 9559
(Matroska).
"""

from __future__ import annotations

import struct
from typing import BinaryIO

_UNKNOWN_SIZE = b"\x01" + b"\xff" * 7
_EBML, _SEGMENT, _INFO, _TRACKS, _CLUSTER = 0x1A45DFA3, 0x18538067, 0x1549A966, 0x1654AE6B, 0x1F43B675
_KEYFRAME = b"\x80"
# Four bytes for each pixel: blue, green, red, unused.
_FOURCC = b"BGR\0"
PIXEL_BYTES = 4
_SLICE_BYTES = 256 * 1024


def _size(length: int) -> bytes:
    return struct.pack(">Q", length | 1 << 56)


def _element(identity: int, data: bytes) -> bytes:
    return identity.to_bytes((identity.bit_length() + 7) // 8, "big") + _size(len(data)) + data


def _integer(identity: int, value: int) -> bytes:
    return _element(identity, value.to_bytes(max(1, (value.bit_length() + 7) // 8), "big"))


class PictureStream:
    """Writes pictures of one size with their times in milliseconds."""

    def __init__(self, stream: BinaryIO, width: int, height: int) -> None:
        self._stream = stream
        self._bytes = width * height * PIXEL_BYTES
        video = _integer(0xB0, width) + _integer(0xBA, height) + _element(0x2EB524, _FOURCC)
        track = b"".join(
            (
                _integer(0xD7, 1),  # TrackNumber
                _integer(0x73C5, 1),  # TrackUID
                _integer(0x83, 1),  # TrackType: video
                _element(0x86, b"V_UNCOMPRESSED"),
                _element(0xE0, video),
            )
        )
        stream.write(
            _element(_EBML, _element(0x4282, b"matroska") + _integer(0x4287, 4) + _integer(0x4285, 2))
            + _SEGMENT.to_bytes(4, "big")
            + _UNKNOWN_SIZE
            + _element(_INFO, _integer(0x2AD7B1, 1_000_000))  # TimestampScale: milliseconds
            + _element(_TRACKS, _element(0xAE, track))
        )

    def write(self, milliseconds: int, picture: memoryview | bytes) -> None:
        """Write a picture that is shown from this time on.

        Raises:
            ValueError: it has another size.
        """
        if len(picture) != self._bytes:
            raise ValueError(f"a picture of {len(picture)} bytes instead of {self._bytes}")
        time = _integer(0xE7, milliseconds)
        block = b"\xa3" + _size(self._bytes + 4) + b"\x81\0\0" + _KEYFRAME
        length = len(time) + len(block) + self._bytes
        self._stream.write(_CLUSTER.to_bytes(4, "big") + _size(length) + time + block)
        # In slices: some interpreters copy what they write.
        view = memoryview(picture)
        for start in range(0, self._bytes, _SLICE_BYTES):
            self._stream.write(view[start : start + _SLICE_BYTES])
