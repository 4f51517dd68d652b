"""Feeds the drawn stage to one FFmpeg process that makes the video in one pass."""

from __future__ import annotations

import contextlib
import signal
import subprocess
from collections import deque
from collections.abc import Callable
from pathlib import Path
from threading import Thread
from typing import IO, BinaryIO, cast

from b3lb.resources.record_profile import BBBRecordProfileSpec
from b3lb_jobs.record.encoding import (
    GRAPH_FILE,
    POINTER_FILE,
    SHARE_FILE,
    ffmpeg_command,
    filter_graph,
    share_script,
)
from b3lb_jobs.record.failures import (
    NO_ROOM_WORDS,
    STDERR_LINES,
    FailureCode,
    RecordError,
    RecordWarning,
    WarningCode,
    WarningLog,
)
from b3lb_jobs.record.matroska import PictureStream
from b3lb_jobs.record.plan import Plan
from b3lb_jobs.record.pointer_script import pointer_script
from b3lb_jobs.record.program import ffmpeg_version
from b3lb_jobs.record.raster import Rasteriser

_LINE_BYTES = 8_192
_TRUNCATED = b"File ended prematurely"


def render(
    plan: Plan,
    profile: BBBRecordProfileSpec,
    *,
    recording: Path,
    work: Path,
    target: Path,
    on_progress: Callable[[float], None] = lambda _share: None,
    on_start: Callable[[subprocess.Popen[bytes]], None] = lambda _process: None,
) -> tuple[RecordWarning, ...]:
    """Write the video of a plan.

    Args:
        plan: What to show.
        profile: How to encode it.
        recording: The unpacked recording.
        work: A folder for the filter graph and the cursor's script.
        target: The new file.
        on_progress: Is told the share of the video that is encoded, 0 to 1, from another thread.
        on_start: Is given FFmpeg's process; who kills it ends the work.

    Returns:
        What was left out, beside the plan's warnings.

    Raises:
        RecordError: ``ENCODER_FAILED``, also where there is no FFmpeg; ``OUT_OF_MEMORY``: FFmpeg was killed, as the
            kernel does that lacks memory.
    """
    (work / GRAPH_FILE).write_text(filter_graph(plan))
    (work / POINTER_FILE).write_text(pointer_script(plan))
    if plan.screen_share is not None:
        (work / SHARE_FILE).write_text(share_script(plan.screen_share, plan.rate, recording.absolute()))
    log = WarningLog()
    command = ffmpeg_command(
        plan, profile, recording=recording.absolute(), target=target.absolute(), version=ffmpeg_version()
    )
    with subprocess.Popen(
        command, cwd=work, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        stderr: deque[bytes] = deque(maxlen=STDERR_LINES)
        readers = [
            Thread(target=_read_stderr, args=(process.stderr, stderr, log)),
            Thread(target=_read_progress, args=(process.stdout, plan, on_progress)),
        ]
        for reader in readers:
            reader.start()
        try:
            on_start(process)
            _feed(plan, recording, cast("BinaryIO", process.stdin), log)
            process.wait()
        finally:
            # Whatever interrupts the feeding also ends the encoder.
            _stop(process)
            for reader in readers:
                reader.join()
    text = b"".join(stderr).decode(errors="replace").replace(f"{recording.absolute()}/", "")
    if process.returncode != 0 or any(words in text for words in NO_ROOM_WORDS):
        if process.returncode == -signal.SIGKILL:
            raise RecordError(FailureCode.OUT_OF_MEMORY, "FFmpeg was killed: out of memory", stderr=text)
        raise RecordError(FailureCode.ENCODER_FAILED, f"FFmpeg ended with code {process.returncode}", stderr=text)
    on_progress(1.0)
    return tuple(log)


def _feed(plan: Plan, recording: Path, pipe: BinaryIO, log: WarningLog) -> None:
    # FFmpeg that fails closes the pipe; its exit code and last words tell why.
    with contextlib.suppress(BrokenPipeError), pipe:
        stream = PictureStream(pipe, plan.stage_width, plan.stage_height)
        # The pixels live as long as it does.
        rasteriser = Rasteriser(plan, recording, log)
        picture = memoryview(b"")
        for frame, picture in rasteriser.pictures():
            stream.write(_milliseconds(frame, plan.rate), picture)
        # A state lasts until the next one: the last one until the frame after the end.
        stream.write(_milliseconds(plan.frames, plan.rate), picture)


def _milliseconds(frame: int, rate: int) -> int:
    return round(frame * 1000 / rate)


def _read_stderr(stream: IO[bytes] | None, lines: deque[bytes], log: WarningLog) -> None:
    while stream is not None and (line := stream.readline(_LINE_BYTES)):
        lines.append(line)
        # FFmpeg shows what is there and ends with code 0.
        if _TRUNCATED in line:
            log.add(WarningCode.MEDIA_TRUNCATED, "a file ends before its header says")


def _read_progress(stream: IO[bytes] | None, plan: Plan, on_progress: Callable[[float], None]) -> None:
    share = 0.0
    while stream is not None and (line := stream.readline(_LINE_BYTES)):
        key, _, value = line.strip().partition(b"=")
        # Microseconds, whatever FFmpeg's documentation says of a key of another name.
        if key == b"out_time_us" and value.isdigit():
            share = max(share, min(int(value) / 1e6 / plan.seconds, 1.0))
            on_progress(share)


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        # Asked politely it would finish its file, which nobody wants and takes long.
        process.kill()
        process.wait()
