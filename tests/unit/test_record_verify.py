"""A video is only shown when it is what was asked for."""

import io
import struct
from types import SimpleNamespace
from typing import Any, cast

import pytest

from b3lb_jobs.record.layout import parse_profile
from b3lb_jobs.record.plan import Plan
from b3lb_jobs.record.verify import is_fast_start, problems

PLAN = cast("Plan", SimpleNamespace(frames=100, rate=10, width=640, height=360))
PICTURE = {
    "codec_type": "video",
    "codec_name": "h264",
    "width": 640,
    "height": 360,
    "pix_fmt": "yuv420p",
    "color_space": "bt709",
    "color_primaries": "bt709",
    "color_transfer": "bt709",
    "nb_read_packets": "100",
}
SOUND = {"codec_type": "audio", "codec_name": "aac"}
FORMAT = {"format_name": "mov,mp4,m4a,3gp,3g2,mj2", "duration": "10.02"}


def found(*, container: str = "mp4", form: Any = FORMAT, streams: Any = None, **picture: Any) -> list[str]:
    document = {"format": form, "streams": [PICTURE | picture, SOUND] if streams is None else streams}
    return problems(document, PLAN, parse_profile({"container": container}))


def test_a_video_as_planned_has_no_problems() -> None:
    assert found() == []
    assert found(nb_read_packets="99") == []
    webm = [PICTURE | {"codec_name": "vp9"}, SOUND | {"codec_name": "opus"}]
    assert found(container="webm", form=FORMAT | {"format_name": "matroska,webm"}, streams=webm) == []


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"form": FORMAT | {"format_name": "matroska,webm"}}, "the container is matroska,webm instead of mp4"),
        ({"form": FORMAT | {"duration": "9.4"}}, "it lasts 9.4 s instead of 10 s"),
        ({"form": {"format_name": "mp4"}}, "it lasts None s instead of 10 s"),
        ({"codec_name": "mpeg4"}, "codec_name is mpeg4 instead of h264"),
        ({"width": 642}, "width is 642 instead of 640"),
        ({"pix_fmt": "yuv444p"}, "pix_fmt is yuv444p instead of yuv420p"),
        ({"color_space": "smpte170m"}, "color_space is smpte170m instead of bt709"),
        ({"nb_read_packets": "98"}, "98 frames instead of 100"),
        ({"nb_read_packets": "N/A"}, "N/A frames instead of 100"),
        ({"streams": [PICTURE]}, "its sound is [] instead of aac"),
        ({"streams": [PICTURE, PICTURE, SOUND]}, "2 video streams instead of 1"),
        ({"container": "webm"}, "the container is mov,mp4,m4a,3gp,3g2,mj2 instead of webm"),
    ],
)
def test_each_difference_is_named(changes: dict[str, Any], problem: str) -> None:
    assert problem in found(**changes)


def box(kind: bytes, size: int) -> bytes:
    return struct.pack(">I4s", size + 8, kind) + bytes(size)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (box(b"ftyp", 12) + box(b"moov", 5) + box(b"mdat", 5), True),
        (box(b"ftyp", 12) + box(b"mdat", 5) + box(b"moov", 5), False),
        (struct.pack(">I4sQ", 1, b"free", 20) + bytes(4) + box(b"moov", 1), True),
        (b"", False),
        (box(b"ftyp", 12), False),
        (struct.pack(">I4s", 3, b"ftyp") + box(b"moov", 1), False),
    ],
    ids=["index-first", "media-first", "large-box", "empty", "neither", "nonsense"],
)
def test_the_index_has_to_be_at_the_front(data: bytes, expected: bool) -> None:
    assert is_fast_start(io.BytesIO(data)) is expected
