"""Webcams, sound and screen share, made by FFmpeg from its own test pictures."""

from __future__ import annotations

import subprocess
from pathlib import Path

from dev.debian import debian_program
from dev.recordings.options import Options, Webcams, share_times

_VP9 = ("-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-b:v", "400k", "-g", "150")
_H264 = ("-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p")
_WEBCAM = "testsrc2=size=640x480:rate=15"
_TONE = "sine=frequency=440:sample_rate=48000"
# Longer webcams repeat what is encoded once.
_PIECE_SECONDS = 60.0


def write_media(root: Path, options: Options) -> None:
    """Write the recording's audio and video files.

    Raises:
        ToolchainError: FFmpeg is missing and cannot be installed.
        subprocess.CalledProcessError: FFmpeg failed.
    """
    seconds = f"{options.seconds:.3f}"
    tone = ("-f", "lavfi", "-t", seconds, "-i", _TONE)
    match options.webcams:
        case Webcams.WEBM:
            _write_webcams(root / "video/webcams.webm", options.seconds, *_VP9, "-c:a", "libopus", "-b:a", "48k")
        case Webcams.MP4:
            _write_webcams(root / "video/webcams.mp4", options.seconds, *_H264, "-c:a", "aac")
        case Webcams.NONE:
            _run(root / "audio/audio.webm", *tone, "-c:a", "libopus", "-b:a", "48k")
            _run(root / "audio/audio.ogg", *tone, "-c:a", "libvorbis")
        case Webcams.SILENT:
            pass
    shares = share_times(options)
    if shares:
        shown = "+".join(f"between(t,{begin},{end})" for begin, end in shares)
        picture = f"color=white:size=1280x720:rate=5[blank];[blank][0:v]overlay=enable='{shown}'"
        source = ("-f", "lavfi", "-t", seconds, "-i", "testsrc=size=1280x720:rate=5")
        _run(root / "deskshare/deskshare.webm", *source, "-filter_complex", picture, "-t", seconds, *_VP9)


def _write_webcams(target: Path, seconds: float, *encoders: str) -> None:
    piece = min(seconds, _PIECE_SECONDS)
    sources = [("-f", "lavfi", "-t", f"{piece:.3f}", "-i", source) for source in (_WEBCAM, _TONE)]
    if seconds <= _PIECE_SECONDS:
        _run(target, *sources[0], *sources[1], *encoders)
        return
    part = target.with_name(f"piece{target.suffix}")
    _run(part, *sources[0], *sources[1], *encoders)
    _run(target, "-stream_loop", "-1", "-i", str(part), "-t", f"{seconds:.3f}", "-c", "copy")
    part.unlink()


def _run(target: Path, *arguments: str) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    program = debian_program("ffmpeg", "ffmpeg")
    command = [str(program), "-nostdin", "-v", "error", "-y", *arguments, "-fflags", "+bitexact", str(target)]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
