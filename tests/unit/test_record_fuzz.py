"""Whatever a recording's files hold: each parser reads what can be read or says one of the known failures."""

from __future__ import annotations

import io
import json
import math
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from b3lb_jobs.record.archive import extract
from b3lb_jobs.record.bounded_xml import read_xml
from b3lb_jobs.record.failures import FailureCode, RecordError, SkippedShapeError, WarningLog
from b3lb_jobs.record.layout import parse_profile
from b3lb_jobs.record.media import Media, Video, parse_probe
from b3lb_jobs.record.paths import PathError, parse_path
from b3lb_jobs.record.plan import make_plan
from b3lb_jobs.record.raster import Rasteriser
from b3lb_jobs.record.recording import read_recording
from b3lb_jobs.record.slides import read_slides
from b3lb_jobs.record.tldraw import version1, version2
from b3lb_jobs.record.values import LARGEST, number, picture_path
from dev.recordings.writing import write_archive
from tests.unit.record_fuzz import EVENTS, JSON, NUMBERS, SHAPE, SHAPES, TLDRAW, VALUES

FEW = settings(max_examples=25, deadline=None)
SOME = settings(max_examples=60, deadline=None)
PROFILE = parse_profile({"width": 320, "height": 240, "video": {"framesPerSecond": 5}})
WEBCAMS = Media("video/webcams.webm", 2.0, Video("vp9", 640, 480, 15.0, None), "opus")
METADATA = (
    b"<recording><id>r</id><meeting id='r' externalId='m'/><playback><duration>2000</duration></playback></recording>"
)


@contextmanager
def refused_as(*codes: FailureCode) -> Iterator[None]:
    """Let pass what is refused for one of these reasons."""
    try:
        yield
    except RecordError as error:
        if error.code not in codes:
            raise


def numbers_in(value: Any) -> Iterator[float]:
    """All numbers of a document."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        for one in value:
            yield from numbers_in(one)
    elif isinstance(value, int | float):
        yield value


@SOME
@given(NUMBERS | st.floats() | JSON)
def test_a_number_is_finite_and_bounded_or_none(value: Any) -> None:
    found = number(value)
    assert found is None or abs(found) <= LARGEST


@SOME
@given(VALUES | st.text(max_size=50).map(lambda text: f"presentation/{text}"))
def test_a_picture_is_within_the_recording_or_none(text: str) -> None:
    path = picture_path(text)
    assert path is None or (path.startswith("presentation/") and ".." not in path.split("/") and "\0" not in path)


@SOME
@given(st.text("MLHVCQAZmz0123456789.,-+eE ", max_size=80))
def test_a_path_holds_finite_numbers_or_is_refused(text: str) -> None:
    try:
        path = parse_path(text)
    except PathError:
        return
    assert all(math.isfinite(value) for command in path for value in command.points)


@SOME
@given(st.binary(max_size=200) | JSON.map(lambda value: json.dumps(value).encode()))
def test_what_ffprobe_says_is_read_or_the_file_is_corrupt(output: bytes) -> None:
    with refused_as(FailureCode.MEDIA_CORRUPT):
        media = parse_probe(output, "video/webcams.webm")
        assert media.video is not None or media.audio_codec is not None


@SOME
@given(SHAPE)
def test_a_shape_of_tldraw_is_drawn_or_skipped(shape: Any) -> None:
    data = shape if isinstance(shape, dict) else {}
    for draw in (version1.drawing, lambda one: version2.drawing(one, {"shape:1": one, "shape:2": {"parentId": one}})):
        try:
            drawn = draw(data)
        except SkippedShapeError:
            continue
        assert isinstance(drawn, tuple)


@SOME
@given(st.binary(max_size=300) | EVENTS | SHAPES)
def test_xml_is_read_or_invalid(content: bytes) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "shapes.svg"
        path.write_bytes(content)
        with refused_as(FailureCode.XML_INVALID):
            read_xml(path)
            read_slides(path, WarningLog())


@settings(max_examples=25, deadline=None)
@given(SHAPES, EVENTS, EVENTS, EVENTS, TLDRAW)
def test_a_recording_of_hostile_documents_has_a_finite_plan_that_can_be_drawn(
    shapes: bytes, panzooms: bytes, cursor: bytes, shares: bytes, tldraw: Any
) -> None:
    with TemporaryDirectory() as name:
        root = Path(name)
        (root / "presentation").mkdir()
        for file in ("video/webcams.webm", "deskshare/deskshare.webm"):
            (root / file).parent.mkdir()
            (root / file).touch()
        documents = {"metadata.xml": METADATA, "shapes.svg": shapes, "panzooms.xml": panzooms, "cursor.xml": cursor}
        for file, content in (
            documents | {"deskshare.xml": shares, "tldraw.json": json.dumps(tldraw).encode()}
        ).items():
            (root / file).write_bytes(content)
        plan = make_plan(read_recording(root, lambda _path: WEBCAMS), PROFILE)
        document = json.loads(json.dumps(plan.document(), allow_nan=False))
        assert all(math.isfinite(value) for value in numbers_in(document))
        frames = [frame for frame, _ in Rasteriser(plan, root, WarningLog()).pictures()]
        assert frames == sorted(set(frames))
        assert all(0 <= frame < plan.frames for frame in frames)


@FEW
@given(EVENTS)
def test_metadata_is_read_or_invalid(content: bytes) -> None:
    with TemporaryDirectory() as name:
        root = Path(name)
        (root / "metadata.xml").write_bytes(content)
        with refused_as(FailureCode.XML_INVALID, FailureCode.NOTHING_TO_RENDER):
            make_plan(read_recording(root, lambda _path: WEBCAMS), PROFILE)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    root = tmp_path_factory.mktemp("archive")
    (root / "presentation/p").mkdir(parents=True)
    for name in ("metadata.xml", "shapes.svg", "presentation/p/slide-1.png"):
        (root / name).write_bytes(METADATA)
    stream = io.BytesIO()
    write_archive(root, stream)
    return stream.getvalue()


@SOME
@given(st.lists(st.tuples(st.integers(0, 4_000), st.binary(min_size=1, max_size=12)), min_size=1, max_size=4))
def test_an_archive_with_changed_bytes_stays_within_its_folder(
    archive: bytes, changes: list[tuple[int, bytes]]
) -> None:
    broken = bytearray(archive)
    for place, content in changes:
        broken[place : place + len(content)] = content
    check_extraction(bytes(broken))


_MEMBER = st.builds(
    lambda name, kind, link, size: (name, kind, link, size),
    st.sampled_from(
        ["./metadata.xml", "../x", "/etc/x", "video/webcams.webm", "a/../../b", "./shapes.svg/x", "\u0000"]
    ),
    st.sampled_from([tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.DIRTYPE, b"S", b"L"]),
    st.sampled_from(["", "/etc/passwd", "metadata.xml"]),
    st.sampled_from([0, 3, 10**12]),
)


@SOME
@given(st.lists(_MEMBER, max_size=4))
def test_an_archive_of_hostile_members_stays_within_its_folder(members: list[tuple[str, bytes, str, int]]) -> None:
    stream = io.BytesIO()
    for name, kind, link, size in members:
        member = tarfile.TarInfo(name)
        member.type, member.linkname, member.size = kind, link, size
        stream.write(member.tobuf(tarfile.GNU_FORMAT))
        stream.write(bytes(512 if 0 < size < 512 else 0))
    stream.write(bytes(1024))
    check_extraction(stream.getvalue())


def check_extraction(content: bytes) -> None:
    with TemporaryDirectory() as name:
        outside, inside = Path(name), Path(name) / "inside"
        inside.mkdir()
        with refused_as(*(code for code in FailureCode if code.value.startswith(("ARCHIVE_", "RECORDING_")))):
            found = extract(io.BytesIO(content), inside)
            assert all((inside / path).is_file() for path in found.files)
        assert list(outside.iterdir()) == [inside]
        assert not any(path.is_symlink() for path in inside.rglob("*"))
