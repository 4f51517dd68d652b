"""The recordings that are rendered by ``make bench-record``, and what is reported of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from dev.recordings.options import Options, Webcams

RATE = 15


@dataclass(frozen=True, slots=True)
class RecordScenario:
    """A recording and the profile that it is rendered with."""

    name: str
    options: Options
    profile: Mapping[str, Any] = field(default_factory=dict)

    @property
    def document(self) -> dict[str, Any]:
        """The profile's spec."""
        return {"video": {"framesPerSecond": RATE}, **self.profile}


_LONG = Options(seconds=600, slides=20, shapes=590, moves=1_600, zooms=94, screen_shares=3)
_SHORT = Options(seconds=60, slides=4, shapes=56, moves=115, zooms=9)
_SOUND = Options(seconds=600, slides=20, shapes=590, moves=1_600, zooms=94, screen_shares=0, webcams=Webcams.NONE)

SCENARIOS = (
    RecordScenario("long-mp4", _LONG),
    RecordScenario("short-mp4", _SHORT),
    RecordScenario("long-webm", _LONG, {"container": "webm"}),
    RecordScenario("audio-only", _SOUND),
)
ENDLESS = RecordScenario(
    "3h-mp4",
    Options(seconds=3 * 3600, slides=60, shapes=6_000, moves=20_000, zooms=1_000, screen_shares=0),
    {"width": 640, "height": 360, "video": {"framesPerSecond": RATE}},
)
"""Only on demand: it takes a quarter of an hour."""

RATIO = 1.2
PEAK_MIB = {5: 700.0, 7: 1_200.0}
"""By FFmpeg's major version: later ones keep more pictures in queues."""
GROWTH_MIB = 100.0
_ROUNDING_MIB = 1.0


@dataclass(frozen=True, slots=True)
class RecordFigures:
    """One row of the table: medians of all rounds, seconds of CPU and MiB of the whole tree of processes.

    ``limit_cpu_s`` is the CPU time of encoding alone: the webcams beside one slide that never changes, with the same
    encoder. ``python_cpu_s`` is the renderer's own share of ``cpu_s``. ``disk_mib`` is the most that the render had on
    the disk beside the recording; the video is ``file_mib`` of it.
    """

    scenario: str
    cpu_s: float
    limit_cpu_s: float
    python_cpu_s: float
    wall_s: float
    peak_mib: float
    frames: int
    planned_frames: int
    states: int
    file_mib: float
    disk_mib: float
    interpreter: str
    ffmpeg: tuple[int, int]
    runs: tuple[float, ...]
    limit_runs: tuple[float, ...]

    @property
    def ratio(self) -> float:
        """The renderer's CPU time by the limit."""
        return self.cpu_s / self.limit_cpu_s if self.limit_cpu_s else 0.0

    def as_json(self) -> dict[str, Any]:
        """Return the row for the report file."""
        row = asdict(self) | {"ratio": self.ratio}
        return {key: round(value, 3) if isinstance(value, float) else value for key, value in row.items()}


def bars(rows: Iterable[RecordFigures]) -> str:
    """Return each figure that has a bar beside it, and whether it is kept."""
    found = {row.scenario: row for row in rows}
    lines = [line for row in found.values() for line in _own_bars(row)]
    short = found.get("short-mp4")
    for name in ("long-mp4", ENDLESS.name):
        if short is not None and name in found:
            growth = found[name].peak_mib - short.peak_mib
            lines.append(_line(f"{name} MiB above short-mp4", growth, GROWTH_MIB))
    return "\n".join(lines)


def _own_bars(row: RecordFigures) -> Iterable[str]:
    if row.limit_cpu_s and row.scenario == "long-mp4":
        yield _line(f"{row.scenario} CPU by the limit", row.ratio, RATIO)
    yield _line(f"{row.scenario} MiB", row.peak_mib, PEAK_MIB[7] if row.ffmpeg >= (7, 0) else PEAK_MIB[5])
    yield _line(f"{row.scenario} frames missing", float(abs(row.planned_frames - row.frames)), 0)
    yield _line(f"{row.scenario} MiB on the disk beside the video", row.disk_mib - row.file_mib, _ROUNDING_MIB)


def _line(what: str, value: float, most: float) -> str:
    return f"{what}: {value:.3g}, at most {most:g}: {'kept' if value <= most else 'MISSED'}"


def table(rows: Iterable[RecordFigures]) -> str:
    """Return the rows as a table for people."""
    header = ("scenario", "cpu s", "limit s", "ratio", "python s", "wall s", "peak MiB", "frames", "states", "file MiB")
    lines = [header, *(_cells(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    return "\n".join("  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) for line in lines)


def _cells(row: RecordFigures) -> tuple[str, ...]:
    return (
        row.scenario,
        f"{row.cpu_s:.1f}",
        f"{row.limit_cpu_s:.1f}",
        f"{row.ratio:.2f}" if row.limit_cpu_s else "-",
        f"{row.python_cpu_s:.2f}",
        f"{row.wall_s:.1f}",
        f"{row.peak_mib:.0f}",
        str(row.frames),
        str(row.states),
        f"{row.file_mib:.1f}",
    )
