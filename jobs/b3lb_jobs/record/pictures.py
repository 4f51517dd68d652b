"""Pictures of a recording as cairo surfaces, opened with bounds: slides come from outside."""

from __future__ import annotations

import io
import subprocess
from pathlib import Path

import cairocffi

MAXIMUM_PIXELS = 50_000_000
_MEMORY_KIB = 2**20
_SECONDS = 30
_LARGEST_SIDE = 4_096
_OUTPUT_BYTES = 64 * 2**20
_PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
_JPEG_MAGIC = b"\xff\xd8\xff"
_HEADER_BYTES = 24
# Its own guard against pictures of gigabytes; side and output are bounded as for SVG.
_JPEG_TO_PNG = (
    *("ffmpeg", "-v", "error", "-threads", "1", "-max_pixels", str(MAXIMUM_PIXELS), "-f", "jpeg_pipe", "-i", "pipe:0"),
    *("-frames:v", "1", "-c:v", "png", "-f", "image2pipe", "-vf"),
)


class PictureError(ValueError):
    """A picture that cannot be shown."""


def load_picture(path: Path, width: float) -> cairocffi.ImageSurface:
    """Return a picture; an SVG is drawn with this width in pixels.

    Raises:
        PictureError: it is missing, broken, too large or of an unknown kind.
    """
    try:
        if path.suffix == ".svg":
            return _png(io.BytesIO(_drawn_svg(path, round(width))))
        with path.open("rb") as file:
            # Names say PNG where presentations have JPEG.
            is_jpeg = file.read(len(_JPEG_MAGIC)) == _JPEG_MAGIC
            file.seek(0)
            return _png(io.BytesIO(_decoded_jpeg(path)) if is_jpeg else file)
    except OSError as error:
        raise PictureError(f"{path.name}: {type(error).__name__}") from None
    except cairocffi.CairoError as error:
        raise PictureError(f"{path.name}: {error}") from None


def _png(file: io.BufferedIOBase | io.BytesIO) -> cairocffi.ImageSurface:
    """Decode a PNG after a look at its size: a few bytes may claim to be a picture of gigabytes."""
    header = file.read(_HEADER_BYTES)
    if not header.startswith(_PNG_MAGIC) or len(header) < _HEADER_BYTES:
        raise PictureError("no PNG")
    width, height = int.from_bytes(header[16:20], "big"), int.from_bytes(header[20:24], "big")
    if not 0 < width * height <= MAXIMUM_PIXELS:
        raise PictureError(f"a picture of {width} x {height} pixels")
    file.seek(0)
    return cairocffi.ImageSurface.create_from_png(file)


def _drawn_svg(path: Path, width: int) -> bytes:
    """Return an SVG as PNG: drawn by a program of its own, whose time and memory are bounded.

    It reads the SVG from its standard input: what has no place of its own can name no other file.
    """
    side = max(1, min(width, _LARGEST_SIDE))
    size = ["-w", str(side), "-h", str(_LARGEST_SIDE), "--keep-aspect-ratio"]
    return _converted(path, ["rsvg-convert", *size])


def _decoded_jpeg(path: Path) -> bytes:
    """Return a JPEG as PNG, made smaller where it is larger than any video."""
    side = f"min({{}},{_LARGEST_SIDE})"
    fit = f"scale='{side.format('iw')}':'{side.format('ih')}':force_original_aspect_ratio=decrease,format=rgb24"
    return _converted(path, [*_JPEG_TO_PNG, fit, "pipe:1"])


def _converted(path: Path, command: list[str]) -> bytes:
    """Return what a program makes of a file on its standard input, within bounds of time, memory and size."""
    # The shell limits the memory: a function between fork and exec is not safe beside threads.
    limited = ["sh", "-c", f'ulimit -v {_MEMORY_KIB} && exec "$@"', "sh", *command]
    with path.open("rb") as file:
        try:
            done = subprocess.run(limited, stdin=file, capture_output=True, timeout=_SECONDS, check=False)
        except subprocess.TimeoutExpired:
            raise PictureError(f"{path.name}: not drawn within {_SECONDS} s") from None
    if done.returncode != 0 or len(done.stdout) > _OUTPUT_BYTES:
        raise PictureError(f"{path.name}: {command[0]} failed with code {done.returncode}")
    return done.stdout
