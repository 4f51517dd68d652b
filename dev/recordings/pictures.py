"""Slides whose corners have colours of their own, as PNG and as SVG."""

from __future__ import annotations

import struct
import zlib

Rgb = tuple[int, int, int]
_BACKGROUND: Rgb = (250, 250, 245)
_CORNER = 8  # the corners are an eighth of width and height


def corner_colours(page: int) -> tuple[Rgb, Rgb, Rgb, Rgb]:
    """Return the colours of a page's corners: upper left, upper right, lower left, lower right."""
    shade = 40 + page * 53 % 200
    return (220, shade, 30), (30, 220, shade), (shade, 30, 220), (20, 20 + shade // 2, 60 + shade // 2)


def png(page: int, width: int, height: int) -> bytes:
    """Return the page as PNG (https://www.w3.org/TR/png/)."""
    wide, high = width // _CORNER, height // _CORNER
    upper_left, upper_right, lower_left, lower_right = (bytes(colour) for colour in corner_colours(page))
    middle = bytes(_BACKGROUND)
    upper = b"\0" + upper_left * wide + middle * (width - 2 * wide) + upper_right * wide
    plain = b"\0" + middle * width
    lower = b"\0" + lower_left * wide + middle * (width - 2 * wide) + lower_right * wide
    rows = upper * high + plain * (height - 2 * high) + lower * high
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(rows, 6)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(name, data) for name, data in chunks)


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def svg(page: int, width: int, height: int) -> str:
    """Return the page as SVG, as pdftocairo writes pages."""
    wide, high = width // _CORNER, height // _CORNER
    places = [(0, 0), (width - wide, 0), (0, height - high), (width - wide, height - high)]
    corners = "".join(
        f'<rect x="{x}" y="{y}" width="{wide}" height="{high}" fill="rgb({red},{green},{blue})"/>'
        for (x, y), (red, green, blue) in zip(places, corner_colours(page), strict=True)
    )
    red, green, blue = _BACKGROUND
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'width="{width}px" height="{height}px" viewBox="0 0 {width} {height}" version="1.2">'
        f'<rect width="{width}" height="{height}" fill="rgb({red},{green},{blue})"/>{corners}</svg>\n'
    )
