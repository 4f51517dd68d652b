"""Webcams, sound and screen share, made by FFmpeg from its own test pictures."""

from __future__ import annotations

import subprocess
from pathlib import Path

from dev.debian import debian_program
from dev.recordings.options import Options, Webcams, share_times

_VP9 = ("-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-b:v", "400k", "-g", "150")
_H264 = ("-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p")
_WEBCAM = "testsrc2=size=640x480:rate=15"


def write_media(root: Path, options: Options) -> None:
    """Write the recording's audio and video files.

    Raises:
        ToolchainError: FFmpeg is missing and cannot be installed.
        subprocess.CalledProcessError: FFmpeg failed.
    """
    seconds = f"{options.seconds:.3f}"
    tone = ("-f", "lavfi", "-t", seconds, "-i", "sine=frequency=440:sample_rate=48000")
    webcams = ("-f", "lavfi", "-t", seconds, "-i", _WEBCAM)
    match options.webcams:
        case Webcams.WEBM:
            _run(root / "video/webcams.webm", *webcams, *tone, *_VP9, "-c:a", "libopus", "-b:a", "48k")
        case Webcams.MP4:
            _run(root / "video/webcams.mp4", *webcams, *tone, *_H264, "-c:a", "aac")
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


def _run(target: Path, *arguments: str) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    program = debian_program("ffmpeg", "ffmpeg")
    command = [str(program), "-nostdin", "-v", "error", "-y", *arguments, "-fflags", "+bitexact", str(target)]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
