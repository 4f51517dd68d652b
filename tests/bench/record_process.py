"""The measured process of ``make bench-record``: reads an unpacked recording, plans its video and renders it.

``python -m tests.bench.record_process RECORDING WORK TARGET PROFILE`` with the profile as JSON prints a line of JSON:
the interpreter, the seconds of CPU and the memory of this process alone, and the warnings. With ``-`` as the target the
pictures are drawn for nobody: what the interpreter itself costs.
"""

from __future__ import annotations

import argparse
import io
import json
import platform
import resource
from dataclasses import asdict
from pathlib import Path
from typing import Any

from b3lb.resources.record_profile import BBBRecordProfileSpec
from b3lb_jobs.record.failures import RecordWarning, WarningLog
from b3lb_jobs.record.layout import parse_profile
from b3lb_jobs.record.matroska import PictureStream
from b3lb_jobs.record.media import probe
from b3lb_jobs.record.plan import Plan, make_plan
from b3lb_jobs.record.raster import Rasteriser
from b3lb_jobs.record.recording import read_recording
from b3lb_jobs.record.render import render
from dev.memory import peak_mebibytes


def main() -> None:
    """Render one recording."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recording", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("target")
    parser.add_argument("profile", type=json.loads)
    arguments = parser.parse_args()
    recording: Path = arguments.recording
    profile = parse_profile(arguments.profile)
    plan = make_plan(read_recording(recording, lambda path: probe(recording, path)), profile)
    warnings = _produce(plan, profile, recording=recording, work=arguments.work, target=arguments.target)
    used = resource.getrusage(resource.RUSAGE_SELF)
    report: dict[str, Any] = {
        "interpreter": f"{platform.python_implementation()} {platform.python_version()}",
        "cpu_s": used.ru_utime + used.ru_stime,
        "peak_mib": peak_mebibytes(),
        "states": len(plan.states),
        "warnings": [asdict(warning) for warning in (*plan.warnings, *warnings)],
    }
    print(json.dumps(report))


def _produce(
    plan: Plan, profile: BBBRecordProfileSpec, *, recording: Path, work: Path, target: str
) -> tuple[RecordWarning, ...]:
    if target != "-":
        return render(plan, profile, recording=recording, work=work, target=Path(target))
    log = WarningLog()
    with Path("/dev/null").open("wb") as nowhere:
        stream = PictureStream(io.BufferedWriter(nowhere.raw), plan.stage_width, plan.stage_height)
        rasteriser = Rasteriser(plan, recording, log)
        for frame, picture in rasteriser.pictures():
            stream.write(frame, picture)
    return tuple(log)


if __name__ == "__main__":
    main()
