"""Writes test recordings: as a folder, and as the archive that a BBB node sends."""

from __future__ import annotations

import tarfile
from pathlib import Path
from typing import BinaryIO

from dev.recordings.documents import PRESENTATION, documents, picture_path
from dev.recordings.media import write_media
from dev.recordings.options import Options
from dev.recordings.pictures import png, svg

_LOGO_SIDE = 64


def write_recording(root: Path, options: Options, *, media: bool = True) -> None:
    """Write a published recording's folder; without ``media`` no FFmpeg is needed."""
    for name, text in documents(options).items():
        _write(root / name, text.encode())
    for page in range(options.slides):
        path = picture_path(options, page)
        is_svg = path.endswith(".svg")
        picture = (
            svg(page, options.width, options.height).encode() if is_svg else png(page, options.width, options.height)
        )
        _write(root / path, picture)
        _write(root / f"presentation/{PRESENTATION}/thumbnails/thumb-{page + 1}.png", png(page, 16, 12))
    _write(root / f"presentation/{PRESENTATION}/poll_result1.svg", svg(99, 400, 200).encode())
    for name in ("logo", "deskshare"):
        _write(root / f"presentation/{name}.png", png(50, _LOGO_SIDE, _LOGO_SIDE))
    if media:
        write_media(root, options)


def write_archive(root: Path, stream: BinaryIO) -> None:
    """Write the folder as BBB nodes send it: like ``tar -cC folder .``, the same bytes for the same content."""
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for path in (root, *sorted(root.rglob("*"))):
            name = "./" + path.relative_to(root).as_posix() if path != root else "."
            archive.add(path, name, recursive=False, filter=_plain)


def _plain(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.mtime = member.uid = member.gid = 0
    member.uname = member.gname = "root"
    return member


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
