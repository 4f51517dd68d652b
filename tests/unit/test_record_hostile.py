"""Hostile pictures and documents of a recording take bounded time and memory, and nothing outside is opened."""

from __future__ import annotations

import socket
import struct
import time
import zlib
from pathlib import Path
from threading import Thread

import pytest

from b3lb_jobs.record import pictures, slides
from b3lb_jobs.record.failures import FailureCode, RecordError, WarningCode, WarningLog
from b3lb_jobs.record.pictures import MAXIMUM_PIXELS, PictureError, load_picture
from b3lb_jobs.record.slides import read_slides
from dev.debian import debian_program
from dev.recordings.pictures import png

SVG = '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" width="8" height="8">{}</svg>'
RED = '<svg xmlns="http://www.w3.org/2000/svg" width="8" height="8"><rect width="8" height="8" fill="#f00"/></svg>'


@pytest.fixture(scope="module", autouse=True)
def programs() -> None:
    debian_program("rsvg-convert", "librsvg2-bin")


def drawn(path: Path) -> set[bytes]:
    """Return the colours of a picture, and nothing of one that is refused."""
    try:
        picture = load_picture(path, 8)
    except PictureError:
        return set()
    data = bytes(picture.get_data())
    return {data[start : start + 4] for start in range(0, len(data), 4)} - {bytes(4)}


@pytest.mark.parametrize(
    "reference",
    [
        '<image width="8" height="8" xlink:href="{href}"/>',
        '<image width="8" height="8" href="{href}"/>',
        '<use xlink:href="{href}#a"/>',
        '<style>@import url("{href}");</style>',
        '<filter id="f"><feImage xlink:href="{href}"/></filter><rect width="8" height="8" filter="url(#f)"/>',
    ],
)
@pytest.mark.parametrize("place", ["beside", "outside", "absolute", "data"])
def test_an_svg_shows_no_other_file(reference: str, place: str, tmp_path: Path) -> None:
    folder = tmp_path / "recording/presentation/p/svgs"
    folder.mkdir(parents=True)
    hrefs = {
        "beside": "other.svg",
        "outside": "../../../../other.svg",
        "absolute": f"file://{tmp_path}/other.svg",
        "data": "data:image/svg+xml,%3Csvg/%3E",
    }
    for other in (folder / "other.svg", tmp_path / "other.svg"):
        other.write_text(RED)
    path = folder / "slide1.svg"
    path.write_text(SVG.format(reference.format(href=hrefs[place])))
    assert b"\0\0\xff\xff" not in drawn(path)


def test_an_svg_opens_no_connection(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(2.0)
        port = server.getsockname()[1]
        seen: list[bool] = []

        def accept() -> None:
            try:
                server.accept()[0].close()
            except TimeoutError:
                return
            seen.append(True)

        thread = Thread(target=accept)
        thread.start()
        path = tmp_path / "slide1.svg"
        path.write_text(SVG.format(f'<image width="8" height="8" xlink:href="http://127.0.0.1:{port}/a.png"/>'))
        drawn(path)
        server.settimeout(0.1)
        socket.create_connection(("127.0.0.1", port)).close()
        thread.join()
        # Our own knock is the only one.
        assert seen == [True]
        with pytest.raises(TimeoutError):
            server.accept()


@pytest.mark.parametrize(
    "content",
    [
        '<!DOCTYPE svg [<!ENTITY a SYSTEM "file:///etc/hostname">]>' + SVG.format("<text>&a;</text>"),
        '<!DOCTYPE svg SYSTEM "file:///etc/hostname">' + SVG.format(""),
        SVG.replace('"8"', '"99999999"').format(""),
        SVG.format("<g>" * 100_000 + "</g>" * 100_000),
        SVG.format('<g id="a"><use xlink:href="#a"/></g>'),
        "",
        "\x00" * 100,
    ],
    ids=["entity", "DTD", "size", "depth", "circle", "empty", "zeros"],
)
def test_a_hostile_svg_ends_soon(content: str, tmp_path: Path) -> None:
    path = tmp_path / "slide1.svg"
    path.write_text(content)
    began = time.monotonic()
    drawn(path)
    assert time.monotonic() - began < 20


def test_an_svg_that_copies_itself_without_end_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "_SECONDS", 0.5)
    copies = [f'<g id="l{n + 1}">{f"""<use xlink:href="#l{n}"/>""" * 10}</g>' for n in range(9)]
    path = tmp_path / "slide1.svg"
    path.write_text(SVG.format('<g id="l0"><rect width="1" height="1"/></g>' + "".join(copies)))
    with pytest.raises(PictureError, match=r"not drawn within 0.5 s"):
        load_picture(path, 8)


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def test_a_png_that_claims_to_be_huge_is_not_decoded(tmp_path: Path) -> None:
    path = tmp_path / "slide-1.png"
    for width, height in ((100_000, 100_000), (2**31 - 1, 1), (MAXIMUM_PIXELS + 1, 1), (0, 5)):
        header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
        data = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(100_000))) + chunk(b"IEND", b"")
        path.write_bytes(b"\x89PNG\r\n\x1a\n" + data)
        assert drawn(path) == set()


def test_a_png_whose_texts_unpack_to_gigabytes_is_read_without_them(tmp_path: Path) -> None:
    bomb = chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(50 * 2**20), 9))
    good = png(0, 16, 16)
    path = tmp_path / "slide-1.png"
    path.write_bytes(good[:33] + bomb * 3 + good[33:])
    began = time.monotonic()
    assert drawn(path)
    assert time.monotonic() - began < 20


def test_more_shapes_than_anybody_draws_are_counted_and_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert slides.MAXIMUM_SHAPES == 100_000
    monkeypatch.setattr(slides, "MAXIMUM_SHAPES", 1_000)
    count = 1_050
    shape = '<g class="shape" timestamp="1.0" undo="-1" shape="a{}"><line x1="0" y1="0" x2="9" y2="9"/></g>'
    path = tmp_path / "shapes.svg"
    path.write_text(
        '<svg xmlns:xlink="x"><image id="image1" in="0" out="9" width="9" height="9"/><g image="image1">'
        + "".join(map(shape.format, range(count)))
        + "</g></svg>"
    )
    log = WarningLog()
    (slide,) = read_slides(path, log)
    assert len(slide.shapes) == 1_000
    assert {warning.code: warning.count for warning in log}[WarningCode.SHAPE_SKIPPED] == 50


@pytest.mark.parametrize(
    "content",
    [
        '<!DOCTYPE svg [<!ENTITY a "b">]><svg>&a;</svg>',
        '<!DOCTYPE svg [<!ENTITY % a SYSTEM "file:///etc/passwd"> %a;]><svg/>',
        "<svg>" * 100,
        "<svg" + "".join(f' a{n}="{n}"' for n in range(5)) + ">",
        '<?xml version="1.0" encoding="utf-7"?><svg/>',
        "<svg>&unknown;</svg>",
    ],
)
def test_xml_with_entities_or_without_end_is_refused(content: str, tmp_path: Path) -> None:
    path = tmp_path / "shapes.svg"
    path.write_text(content)
    with pytest.raises(RecordError) as caught:
        read_slides(path, WarningLog())
    assert caught.value.code is FailureCode.XML_INVALID


def test_a_document_type_that_lies_elsewhere_is_not_fetched(tmp_path: Path) -> None:
    path = tmp_path / "shapes.svg"
    path.write_text('<!DOCTYPE svg SYSTEM "http://127.0.0.1:9/svg.dtd"><svg/>')
    assert read_slides(path, WarningLog()) == ()
