"""FFmpeg's command line and filter graph for a plan: pure, and free of anything that came from outside but numbers.

The command runs in a folder that holds the filter graph and the cursor's script; the recording's files are named by
their paths. Work that depends on the picture is done once for each state, before ``fps`` repeats it for each frame.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

from b3lb.resources.record_profile import BBBRecordProfileSpec, Container
from b3lb_jobs.record.drawings import Colour
from b3lb_jobs.record.media import INPUT_GUARD
from b3lb_jobs.record.plan import Plan, PlannedVideo, ScreenShareVideo
from b3lb_jobs.record.program import Version

GRAPH_FILE = "graph.txt"
POINTER_FILE = "pointer.ass"
SHARE_FILE = "share.ffconcat"
_GOP_SECONDS = 10
# The screen share has few frames a second: the one that is shown at its begin is found before it.
_LEAD_SECONDS = 2
# CRF of x264 → of VP9, the same class of quality: 23 → 36.
_CRF_OFFSET = 13
_LARGEST_VP9_CRF = 63
# From these versions of FFmpeg on: https://ffmpeg.org/ffmpeg.html, "-/" before an option, and "-fps_mode".
_OPTIONS_FROM_FILES: Version = (7, 0)
_FPS_MODE: Version = (5, 1)
_STAGE_INPUT = ("-f", "matroska", "-probesize", "32", "-analyzeduration", "0", "-i", "pipe:0")
# The list is this program's own; what it names is as guarded as every input. Its times are taken as they are, though a
# part begins with the key frame before it.
_SHARE_INPUT = ("-an", "-threads", "1", "-f", "concat", "-safe", "0", "-seek_timestamp", "1")
_SHARE_GUARD = (*INPUT_GUARD[:-1], f"{INPUT_GUARD[-1]},concat")
# WebRTC's and FFmpeg's default for small pictures that do not say it.
_UNTAGGED = "smpte170m"
_MATRICES = ("smpte170m", "bt470bg", "bt2020nc")
# The filter "scale" takes three times the CPU time for the same conversion.
# From version 7 on FFmpeg's encoders write what the pictures say of their colours, whatever the options are.
_TAGS = "setparams=colorspace=bt709:color_primaries=bt709:color_trc=bt709:range=tv"
_CONVERSION = "colorspace=ispace={}:iprimaries=bt709:itrc=bt709:irange=tv:all=bt709:range=tv:fast=1"


def filter_graph(plan: Plan) -> str:
    """Return the graph from the inputs to ``[v]``."""
    backdrop = _hex(plan.backdrop)
    pad = f"pad={plan.width}:{plan.height}:0:0:color={backdrop}"
    chains = [f"[0:v]scale=out_color_matrix=bt709:out_range=tv,format=yuv420p,{pad},fps={plan.rate}[b0]"]
    last = "b0"
    # Webcams first: a slide's frames wait for theirs and are copied one by one. FFmpeg 7 lays anything else onto all of
    # them at once, and has as many pictures in memory.
    if plan.webcams is not None:
        box, place = plan.webcams.place.box, plan.webcams.place
        crop = "crop=iw:iw*9/16," if place.crop else ""
        size = f"{box.width}:{box.height}"
        chains.append(f"[{_webcams_input(plan)}:v]{crop}{_scaled(size, plan.webcams.file)},fps={plan.rate}[cam]")
        chains.append(f"[{last}][cam]overlay={box.x}:{box.y}:eof_action=pass[c]")
        last = "c"
    if plan.screen_share is not None:
        chains += _share_chains(plan.screen_share, rate=plan.rate, below=last)
        last = "s"
    pointer = f"ass={POINTER_FILE}," if plan.pointer else ""
    # With the option "-frames:v" FFmpeg 5.1 ends the sound as well, however far it is.
    chains.append(f"[{last}]{pointer}trim=end_frame={plan.frames},{_TAGS}[v]")
    return ";\n".join(chains) + "\n"


def _share_chains(share: ScreenShareVideo, *, rate: int, below: str) -> Iterator[str]:
    """Yield the chains that lay all spans of the screen share onto ``[below]``; the result is ``[s]``."""
    read = [f"gte(t,{begin})*lt(t,{end / rate:.6f})" for begin, end in _read_parts(share, rate)]
    # Between two frames, so that no rounding moves a border.
    enabled = [f"gte(t,{(begin - 0.5) / rate:.6f})*lt(t,{(end - 0.5) / rate:.6f})" for begin, end in share.spans]
    # What is decoded on the way from a key frame to a span is neither scaled nor shown a second time.
    select = f"select='(isnan(prev_selected_t)+gt(t,prev_selected_t))*({'+'.join(read)})'"
    shift = f"setpts=PTS+{_read_parts(share, rate)[0][0]}/TB"
    yield f"[1:v]{shift},{select},{_scaled(f'{share.box.width}:{share.box.height}', share.file)}[d]"
    # One overlay for all: each copies every frame, shown or not, and with FFmpeg 7.1 several take more memory.
    yield f"[{below}][d]overlay={share.box.x}:{share.box.y}:eof_action=repeat:enable='{'+'.join(enabled)}'[s]"


def share_script(share: ScreenShareVideo, rate: int, recording: Path) -> str:
    """Return which parts of the screen share's file are read, one after the other, each at its time.

    Source: https://ffmpeg.org/ffmpeg-formats.html#concat-1
    """
    name = f"file:{recording / share.file.path}".replace("'", "'\\''")
    lines = ["ffconcat version 1.0"]
    parts = _read_parts(share, rate)
    ends = [*(begin for begin, _ in parts[1:]), math.ceil(parts[-1][1] / rate)]
    for (begin, end), following in zip(parts, ends, strict=True):
        first, last = share.file.start + begin, share.file.start + end / rate
        lines += [f"file '{name}'", f"duration {following - begin}", f"inpoint {first:.6f}", f"outpoint {last:.6f}"]
    return "\n".join(lines) + "\n"


def ffmpeg_command(
    plan: Plan, profile: BBBRecordProfileSpec, *, recording: Path, target: Path, version: Version
) -> list[str]:
    """Return FFmpeg's arguments; it reads the stage from its standard input and reports progress on its output.

    Args:
        plan: What to show.
        profile: How to encode it.
        recording: The unpacked recording.
        target: The new file.
        version: That of the installed FFmpeg.
    """
    command = ["ffmpeg", "-hide_banner", "-nostats", "-loglevel", "warning", "-y", "-progress", "pipe:1"]
    command += _STAGE_INPUT
    if plan.screen_share is not None:
        command += [*_SHARE_INPUT, *_SHARE_GUARD, "-i", f"file:{SHARE_FILE}"]
    # Webcams' pictures and sound come from the same file, opened twice: from version 7 on FFmpeg reads a file whenever
    # one of its streams is wanted, and all pictures that come with the sound are in memory until they are.
    if plan.webcams is not None:
        command += ["-an", *_file(recording, plan.webcams.file.path)]
    if plan.sound is None:
        command += ["-f", "lavfi", "-i", "anullsrc=channel_layout=mono:sample_rate=48000"]
    else:
        command += ["-vn", *_file(recording, plan.sound.path)]
    length = f"{plan.frames / plan.rate:.6f}"
    graph = "-/filter_complex" if version >= _OPTIONS_FROM_FILES else "-filter_complex_script"
    # The graph ends with the frames that are wanted: none is repeated or dropped after it.
    timing = "-fps_mode" if version >= _FPS_MODE else "-vsync"
    sound = _webcams_input(plan) + (plan.webcams is not None)
    command += [graph, GRAPH_FILE, "-map", "[v]", "-map", f"{sound}:a:0", timing, "passthrough"]
    command += ["-t", length, *encoders(plan, profile)]
    return [*command, "-map_metadata", "-1", "-f", profile.container.value, f"file:{target}"]


def encoders(plan: Plan, profile: BBBRecordProfileSpec) -> list[str]:
    """Return the options of the output's video and sound."""
    tags = ["-colorspace", "bt709", "-color_primaries", "bt709", "-color_trc", "bt709", "-color_range", "tv"]
    group = ["-g", str(_GOP_SECONDS * plan.rate), "-pix_fmt", "yuv420p", *tags]
    crf = profile.video.crf
    if profile.container is Container.WEBM:
        vp9 = ["-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-row-mt", "1", "-tile-columns", "2"]
        # VP9 has no quality that is lossless, but a mode of its own.
        quality = ["-crf", str(min(crf + _CRF_OFFSET, _LARGEST_VP9_CRF))] if crf else ["-crf", "0", "-lossless", "1"]
        quality += ["-b:v", "0"]
        is_opus = plan.sound is not None and plan.sound.codec == "opus"
        sound = ["-c:a", "copy"] if is_opus else ["-c:a", "libopus", "-b:a", "64k", "-af", "apad"]
        return [*vp9, *quality, *group, *sound]
    x264 = ["-c:v", "libx264", "-preset", profile.video.preset.value, "-crf", str(crf)]
    # Lossless H.264 exists in its own profile only.
    x264 += ["-profile:v", "high"] if crf else []
    return [*x264, *group, "-c:a", "aac", "-b:a", "96k", "-af", "apad", "-movflags", "+faststart"]


def _webcams_input(plan: Plan) -> int:
    """Return the number of the input after the stage and, if there is one, the screen share."""
    return 1 if plan.screen_share is None else 2


def _file(recording: Path, path: str) -> list[str]:
    return [*INPUT_GUARD, "-i", f"file:{recording / path}"]


def _scaled(size: str, file: PlannedVideo) -> str:
    """Return the filters that bring a file's picture to a size and to the video's colour matrix."""
    scaled = f"scale={size},setsar=1,format=yuv420p"
    if file.colour_space == "bt709":
        return scaled
    matrix = file.colour_space if file.colour_space in _MATRICES else _UNTAGGED
    return f"{scaled},{_CONVERSION.format(matrix)}"


def _read_parts(share: ScreenShareVideo, rate: int) -> list[tuple[int, int]]:
    """Return the parts of the screen share that are read: from a second on until a frame."""
    parts: list[tuple[int, int]] = []
    for begin, end in share.spans:
        # Whole seconds, so that nothing is rounded on the way.
        start = max(0, begin // rate - _LEAD_SECONDS)
        if parts and start * rate <= parts[-1][1]:
            start = parts.pop()[0]
        parts.append((start, end))
    return parts


def _hex(colour: Colour) -> str:
    return f"0x{colour.red:02x}{colour.green:02x}{colour.blue:02x}"
