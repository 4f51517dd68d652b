"""`make bench-record`: what rendering a recording costs, beside what encoding alone costs in the same run."""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from b3lb_jobs.record.encoding import encoders
from b3lb_jobs.record.layout import parse_profile
from b3lb_jobs.record.media import probe
from b3lb_jobs.record.plan import Plan, make_plan
from b3lb_jobs.record.program import ffmpeg_version
from b3lb_jobs.record.recording import read_recording
from dev.debian import debian_program
from dev.recordings.writing import write_recording
from tests.bench.record_scenarios import ENDLESS, SCENARIOS, RecordFigures, RecordScenario, bars, table
from tests.bench.record_tree import MIB, TreeUsage, measured

REPOSITORY = Path(__file__).resolve().parents[2]
_CONVERSION = "colorspace=ispace=smpte170m:iprimaries=bt709:itrc=bt709:irange=tv:all=bt709:range=tv:fast=1"


def main() -> None:
    """Measure what was asked for, print the table, write the report."""
    parser = argparse.ArgumentParser(prog="make bench-record", description=__doc__)
    names = [scenario.name for scenario in (*SCENARIOS, ENDLESS)]
    default = [scenario.name for scenario in SCENARIOS]
    parser.add_argument("--only", nargs="+", metavar="SCENARIO", choices=names, default=default)
    parser.add_argument("--repeat", type=int, default=3, help="rounds of limit and renderer; the median counts")
    parser.add_argument("--no-limit", action="store_true", help="only render")
    parser.add_argument("--python", default=sys.executable, help="the renderer's interpreter")
    parser.add_argument("--output", type=Path, default=REPOSITORY / ".bench" / "record.json")
    arguments = parser.parse_args()
    for program, package in (("ffmpeg", "ffmpeg"), ("rsvg-convert", "librsvg2-bin")):
        debian_program(program, package)
    rows = []
    for scenario in (*SCENARIOS, ENDLESS):
        if scenario.name in arguments.only:
            with tempfile.TemporaryDirectory(prefix="b3lb-bench-") as folder:
                rows.append(_measure(scenario, Path(folder), arguments))
                print(table(rows[-1:]), file=sys.stderr)
    print(table(rows))
    print(bars(rows))
    major, minor = ffmpeg_version()
    print(f"{datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores, FFmpeg {major}.{minor}, {rows[0].interpreter}")
    arguments.output.parent.mkdir(exist_ok=True)
    arguments.output.write_text(json.dumps([row.as_json() for row in rows], indent=1) + "\n")


def _measure(scenario: RecordScenario, folder: Path, arguments: argparse.Namespace) -> RecordFigures:
    """Return the medians of a scenario; limit and renderer take turns, so that both see the same machine."""
    print(f"{scenario.name}: writing {scenario.options.seconds:.0f} s …", file=sys.stderr)
    recording, work = folder / "recording", folder / "work"
    work.mkdir()
    write_recording(recording, scenario.options)
    profile = parse_profile(scenario.document)
    plan = make_plan(read_recording(recording, lambda path: probe(recording, path)), profile)
    target = work / f"video.{profile.container.value}"
    limits, renders = [], []
    for turn in range(arguments.repeat):
        print(f"{scenario.name}: round {turn + 1} of {arguments.repeat} …", file=sys.stderr)
        if not arguments.no_limit:
            limits.append(measured(limit_command(plan, scenario, recording, target), folder=work))
        renders.append(_render(arguments.python, scenario, recording=recording, target=target))
    reports = [json.loads(usage.output) for usage in renders]
    return RecordFigures(
        scenario=scenario.name,
        cpu_s=statistics.median(usage.cpu_s for usage in renders),
        limit_cpu_s=statistics.median(usage.cpu_s for usage in limits) if limits else 0.0,
        python_cpu_s=statistics.median(report["cpu_s"] for report in reports),
        wall_s=statistics.median(usage.wall_s for usage in renders),
        peak_mib=max(usage.peak_mib for usage in renders),
        frames=count_frames(target),
        planned_frames=plan.frames,
        states=len(plan.states),
        file_mib=target.stat().st_size / MIB,
        disk_mib=max(usage.disk_mib for usage in renders),
        interpreter=reports[0]["interpreter"],
        ffmpeg=ffmpeg_version(),
        runs=tuple(round(usage.cpu_s, 1) for usage in renders),
        limit_runs=tuple(round(usage.cpu_s, 1) for usage in limits),
    )


def _render(python: str, scenario: RecordScenario, *, recording: Path, target: Path) -> TreeUsage:
    command = [python, "-m", "tests.bench.record_process", str(recording), str(target.parent), str(target)]
    return measured([*command, json.dumps(scenario.document)], folder=target.parent)


def limit_command(plan: Plan, scenario: RecordScenario, recording: Path, target: Path) -> list[str]:
    """Return the cheapest FFmpeg that makes a video of this kind: one slide all the time, the webcams beside it."""
    slide = next(path for path in (recording / "presentation").rglob("slide*") if path.parent.name != "thumbnails")
    command = ["ffmpeg", "-nostdin", "-v", "error", "-y", "-framerate", str(plan.rate), "-i", str(slide)]
    size = f"{plan.stage_width}:{plan.stage_height}:force_original_aspect_ratio=decrease:force_divisible_by=2"
    still = f"scale={size}:out_color_matrix=bt709:out_range=tv,format=yuv420p,pad={plan.width}:{plan.height}:0:0"
    graph = f"[0:v]{still},loop=loop=-1:size=1:start=0"
    if plan.webcams is not None:
        box = plan.webcams.place.box
        command += ["-i", str(recording / plan.webcams.file.path)]
        graph += f"[still];[1:v]scale={box.width}:{box.height},setsar=1,format=yuv420p,{_CONVERSION},fps={plan.rate}"
        graph += f"[cam];[still][cam]overlay={box.x}:{box.y}:eof_action=pass"
    elif plan.sound is not None:
        command += ["-i", str(recording / plan.sound.path)]
    command += ["-filter_complex", f"{graph}[v]", "-map", "[v]", "-map", "1:a", "-frames:v", str(plan.frames)]
    command += ["-t", f"{plan.frames / plan.rate:.6f}", *encoders(plan, parse_profile(scenario.document))]
    return [*command, str(target)]


def count_frames(video: Path) -> int:
    """Return the number of a video's packets of pictures."""
    command = ["ffprobe", "-v", "error", "-select_streams", "v", "-count_packets", "-of", "json"]
    command += ["-show_entries", "stream=nb_read_packets", str(video)]
    document: dict[str, Any] = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    return int(document["streams"][0]["nb_read_packets"])


if __name__ == "__main__":
    main()
