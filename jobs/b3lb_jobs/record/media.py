"""What is in an audio or video file, asked of ffprobe.

A file from outside may be anything: only the containers that BBB writes are opened, and nothing but files, so that no
play list leads to another file or server (https://ffmpeg.org/ffmpeg-formats.html, ``format_whitelist``).
"""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from b3lb_jobs.record.failures import FailureCode, RecordError
from b3lb_jobs.record.values import number, positive

INPUT_GUARD = ("-protocol_whitelist", "file", "-format_whitelist", "matroska,webm,ogg,mov,mp4,m4a,3gp,3g2,mj2")
_PROBE_SECONDS = 60.0
_LARGEST_SIDE = 8192
_ENTRIES = (
    "format=duration,start_time:stream=codec_type,codec_name,width,height,avg_frame_rate,color_space,duration:"
    "stream_disposition=attached_pic"
)


@dataclass(frozen=True, slots=True)
class Video:
    """A video stream: codec's name as FFmpeg has it, size in pixels, frames per second if known."""

    codec: str
    width: int
    height: int
    rate: float | None
    colour_space: str | None


@dataclass(frozen=True, slots=True)
class Media:
    """A file of audio, video or both; ``path`` is within the recording, ``duration`` and ``start`` are in seconds."""

    path: str
    duration: float | None
    video: Video | None
    audio_codec: str | None
    start: float = 0.0


def probe(root: Path, path: str, *, program: str = "ffprobe") -> Media:
    """Return what is in ``root/path``.

    Raises:
        RecordError: ``MEDIA_CORRUPT``: ffprobe cannot read it, or not within a minute.
        OSError: ffprobe is missing.
    """
    command = [program, "-v", "error", *INPUT_GUARD, "-of", "json", "-show_entries", _ENTRIES, f"file:{root / path}"]
    try:
        done = subprocess.run(
            command, capture_output=True, stdin=subprocess.DEVNULL, timeout=_PROBE_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise RecordError(FailureCode.MEDIA_CORRUPT, f"{path}: ffprobe took longer than a minute") from None
    stderr = done.stderr[-8192:].decode(errors="replace").replace(f"{root}/", "")
    if done.returncode != 0:
        raise RecordError(FailureCode.MEDIA_CORRUPT, f"{path}: ffprobe cannot read it", stderr=stderr)
    return parse_probe(done.stdout, path)


def parse_probe(output: bytes, path: str) -> Media:
    """Return what ffprobe's JSON says of a file.

    Raises:
        RecordError: ``MEDIA_CORRUPT``: no JSON, or neither audio nor video that can be shown.
    """
    try:
        document = json.loads(output)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise RecordError(FailureCode.MEDIA_CORRUPT, f"{path}: ffprobe's answer is no JSON")
    listed = document.get("streams")
    streams = [stream for stream in listed if isinstance(stream, dict)] if isinstance(listed, list) else []
    videos = [video for stream in streams if (video := _video(stream))]
    audios = [str(stream.get("codec_name")) for stream in streams if stream.get("codec_type") == "audio"]
    if not videos and not audios:
        raise RecordError(FailureCode.MEDIA_CORRUPT, f"{path}: neither audio nor video")
    container = document.get("format")
    durations = [container, *streams] if isinstance(container, dict) else streams
    known = [found for one in durations if (found := positive(one.get("duration"))) is not None]
    return Media(
        path,
        duration=known[0] if known else None,
        video=videos[0] if videos else None,
        audio_codec=audios[0] if audios else None,
        start=(number(container.get("start_time")) if isinstance(container, dict) else None) or 0.0,
    )


def _video(stream: dict[str, Any]) -> Video | None:
    width, height = number(stream.get("width")), number(stream.get("height"))
    disposition = stream.get("disposition")
    is_cover = isinstance(disposition, dict) and disposition.get("attached_pic") == 1
    if stream.get("codec_type") != "video" or is_cover or not width or not height:
        return None
    if not (0 < width <= _LARGEST_SIDE and 0 < height <= _LARGEST_SIDE):
        return None
    space = stream.get("color_space")
    known = space if isinstance(space, str) and space != "unknown" else None
    return Video(str(stream.get("codec_name")), int(width), int(height), _rate(stream.get("avg_frame_rate")), known)


def _rate(value: Any) -> float | None:
    over, _, under = value.partition("/") if isinstance(value, str) else ("", "", "")
    frames, seconds = positive(over), positive(under or "1")
    return frames / seconds if frames and seconds else None
