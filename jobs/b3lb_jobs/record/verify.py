"""Whether a video that FFmpeg wrote is what was asked for, before anybody sees it; and its first frame as a picture."""

from __future__ import annotations

import json
import struct
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from b3lb.resources.record_profile import BBBRecordProfileSpec, Container
from b3lb_jobs.record.failures import FailureCode, RecordError
from b3lb_jobs.record.plan import Plan
from b3lb_jobs.record.values import positive

DURATION_SECONDS = 0.5
"""A video is at most so much longer or shorter than its plan."""

_CODECS = {Container.MP4: ("h264", "aac"), Container.WEBM: ("vp9", "opus")}
_FORMATS = {Container.MP4: "mp4", Container.WEBM: "webm"}
_TAGS = ("color_space", "color_primaries", "color_transfer")
_ENTRIES = "format=format_name,duration:stream=codec_type,codec_name,width,height,pix_fmt,nb_read_packets," + ",".join(
    _TAGS
)
# Packets are counted without decoding them, at the disk's speed.
_PROBE_SECONDS = 600.0
_POSTER_SECONDS = 60.0
_BOX_HEADER, _LARGE_BOX_HEADER = 8, 16
_MOST_BOXES = 1_000


def verify(video: Path, plan: Plan, profile: BBBRecordProfileSpec) -> float:
    """Return the length in seconds of a video that is as planned.

    Raises:
        RecordError: ``VERIFY_FAILED``: it is not; the message says in what.
    """
    command = ["ffprobe", "-v", "error", "-count_packets", "-of", "json", "-show_entries", _ENTRIES, f"file:{video}"]
    done = _run(command, _PROBE_SECONDS, "ffprobe cannot read the video", video.parent)
    try:
        document = json.loads(done)
    except ValueError:
        raise RecordError(FailureCode.VERIFY_FAILED, "ffprobe's answer is no JSON") from None
    found = problems(document, plan, profile)
    if profile.container is Container.MP4:
        with video.open("rb") as file:
            found += [] if is_fast_start(file) else ["the index is not at the file's front"]
    if found:
        raise RecordError(FailureCode.VERIFY_FAILED, "; ".join(found))
    return positive(document["format"]["duration"]) or plan.seconds


def problems(document: Mapping[str, Any], plan: Plan, profile: BBBRecordProfileSpec) -> list[str]:
    """Return in what a video is not as planned, by ffprobe's JSON of it: pure."""
    container = document.get("format", {})
    streams = document.get("streams", [])
    videos = [stream for stream in streams if stream.get("codec_type") == "video"]
    sounds = [stream for stream in streams if stream.get("codec_type") == "audio"]
    found = []
    if _FORMATS[profile.container] not in str(container.get("format_name", "")).split(","):
        found.append(f"the container is {container.get('format_name')} instead of {profile.container.value}")
    length = positive(container.get("duration"))
    if length is None or abs(length - plan.frames / plan.rate) > DURATION_SECONDS:
        found.append(f"it lasts {length} s instead of {plan.frames / plan.rate:g} s")
    video_codec, sound_codec = _CODECS[profile.container]
    if len(videos) == 1:
        found += _picture_problems(videos[0], plan, video_codec)
    else:
        found.append(f"{len(videos)} video streams instead of 1")
    codecs = [sound.get("codec_name") for sound in sounds]
    if codecs != [sound_codec]:
        found.append(f"its sound is {codecs} instead of {sound_codec}")
    return found


def _picture_problems(stream: Mapping[str, Any], plan: Plan, codec: str) -> list[str]:
    expected = {
        "codec_name": codec,
        "width": plan.width,
        "height": plan.height,
        "pix_fmt": "yuv420p",
        **dict.fromkeys(_TAGS, "bt709"),
    }
    found = [
        f"{name} is {stream.get(name)} instead of {value}"
        for name, value in expected.items()
        if stream.get(name) != value
    ]
    frames = str(stream.get("nb_read_packets", ""))
    if not frames.isdecimal() or abs(int(frames) - plan.frames) > 1:
        found.append(f"{frames or 'no'} frames instead of {plan.frames}")
    return found


def is_fast_start(file: BinaryIO) -> bool:
    """Whether an MP4 file has its index (``moov``) before its media (``mdat``), so that players need not seek.

    Source: ISO/IEC 14496-12, 4.2: boxes with 32 or 64 bits of size and a type of four characters.
    """
    for _ in range(_MOST_BOXES):
        header = file.read(_BOX_HEADER)
        if len(header) < _BOX_HEADER:
            return False
        size, kind = struct.unpack(">I4s", header)
        if kind in (b"moov", b"mdat"):
            return bool(kind == b"moov")
        skipped = size - _BOX_HEADER
        if size == 1:
            (large,) = struct.unpack(">Q", file.read(_BOX_HEADER).ljust(_BOX_HEADER, b"\0"))
            skipped = large - _LARGE_BOX_HEADER
        if skipped < 0:
            return False
        file.seek(skipped, 1)
    return False


def write_poster(video: Path, target: Path) -> None:
    """Write the first frame of a video as PNG.

    Raises:
        RecordError: ``VERIFY_FAILED``: it cannot be decoded.
    """
    command = ["ffmpeg", "-nostdin", "-hide_banner", "-v", "error", "-y", "-i", f"file:{video}", "-map", "0:v:0"]
    command += ["-frames:v", "1", "-f", "image2", "-update", "1", f"file:{target}"]
    _run(command, _POSTER_SECONDS, "the first frame cannot be decoded", video.parent)


def _run(command: Sequence[str], seconds: float, fault: str, folder: Path) -> bytes:
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=seconds, check=False)
    except subprocess.TimeoutExpired:
        raise RecordError(FailureCode.VERIFY_FAILED, f"{fault} within {seconds:g} s") from None
    if done.returncode != 0:
        stderr = done.stderr[-8192:].decode(errors="replace").replace(f"{folder}/", "")
        raise RecordError(FailureCode.VERIFY_FAILED, fault, stderr=stderr)
    return done.stdout
