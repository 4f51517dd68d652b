"""The farms that are measured, and what is reported of them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class TickScenario:
    """Ticks over a farm; ``hanging`` nodes accept connections and never answer.

    Every tenant has a secret with sub-id 0; further ones are spread over the tenants. Between two ticks about 30 % of
    the meetings change.
    """

    name: str
    nodes: int
    hanging: int = 0
    meetings: int = 20
    attendees: int = 15
    tenants: int = 20
    secrets: int = 35
    ticks: int = 5


TICKS = (
    TickScenario("s10", 10),
    TickScenario("s100", 100),
    TickScenario("s300", 300, tenants=50, secrets=88),
    TickScenario("s100dead", 100, hanging=10),
)

STATISTICS = TickScenario("statistics", 300, tenants=50, secrets=88, ticks=3)
"""Runs of the statistics queue over 6 000 meetings, between which the core queue ticks."""

TIMEOUT_SECONDS = 5
"""Of a poll, by default."""

BARS: dict[str, dict[str, float]] = {
    "s10": {"statements": 40},
    "s100": {"cpu_s": 1.0, "statements": 40},
    "s300": {
        "ratio": 1.6,
        "cpu_s": 3.0,
        "pg_cpu_s": 0.3,
        "wal_mib": 6,
        "wal_checkpoint_mib": 12,
        "peak_rss_mib": 250,
        "wall_s": 5,
        "statements": 40,
    },
    "scrape": {"cpu_s": 0.25, "statements": 10},
    "s100dead": {"wall_s": TIMEOUT_SECONDS + 1, "statements": 40, "unseen": 10},
    "statistics": {"cpu_s": 1.0, "statements": 20},
    "renders": {"peak_rss_mib": 220},
}
"""The most that a tick may take. Of the nodes that hang no poll can be good: so many may be unseen."""


@dataclass(frozen=True, slots=True)
class Figures:
    """One row of the table; medians of the ticks, seconds and MiB.

    ``cpu_s`` is the job's CPU time of a tick (check-nodes and update-secrets-lists), ``floor_cpu_s`` that of the same
    GETs by the bare HTTP client and of parsing the same bodies, reading eleven fields of each meeting and printing it
    again, ``pg_cpu_s`` that of all PostgreSQL processes. ``changed`` is the share of the meetings that changed,
    ``wal_checkpoint_mib`` the WAL of a tick right after a checkpoint, ``unseen`` the nodes that the worst of the ticks
    had no good poll of. For ``statistics`` all is of a run of that queue, and the floor is one query that adds up the
    meetings, by the bare driver, and printing the families of all tenants. For ``idle`` CPU is per second, statements
    and WAL per minute. For ``renders`` all is the operator's until the last one; statements and WAL are not counted.
    """

    scenario: str
    cpu_s: float
    floor_cpu_s: float
    pg_cpu_s: float
    wall_s: float
    peak_rss_mib: float
    statements: int
    wal_mib: float
    wal_checkpoint_mib: float = 0.0
    changed: float = 0.0
    unseen: int = 0

    @property
    def ratio(self) -> float:
        """The job's CPU time by the floor."""
        return self.cpu_s / self.floor_cpu_s if self.floor_cpu_s else 0.0

    def as_json(self) -> dict[str, Any]:
        """Return the row for the report file."""
        return {key: round(value, 4) if isinstance(value, float) else value for key, value in asdict(self).items()}


def bars(rows: list[Figures]) -> str:
    """Return each figure that has a bar beside it, and whether it is kept."""
    return "\n".join(
        f"{row.scenario} {name}: {value:.3g}, at most {most:g}: {'kept' if value <= most else 'MISSED'}"
        for row in rows
        for name, most in BARS.get(row.scenario, {}).items()
        for value in [float(getattr(row, name))]
    )


def table(rows: list[Figures]) -> str:
    """Return the rows as a table for people."""
    header = (
        "scenario",
        "cpu s",
        "floor s",
        "ratio",
        "pg cpu s",
        "wall s",
        "rss MiB",
        "statements",
        "wal MiB",
        "after checkpoint",
        "changed",
        "unseen",
    )
    lines = [header, *(_line(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in lines
    )


def _line(row: Figures) -> tuple[str, ...]:
    ratio = f"{row.ratio:.2f}" if row.floor_cpu_s else "-"
    return (
        row.scenario,
        f"{row.cpu_s:.3f}",
        f"{row.floor_cpu_s:.3f}" if row.floor_cpu_s else "-",
        ratio,
        f"{row.pg_cpu_s:.3f}",
        f"{row.wall_s:.2f}",
        f"{row.peak_rss_mib:.0f}",
        str(row.statements),
        f"{row.wal_mib:.2f}",
        f"{row.wal_checkpoint_mib:.2f}" if row.wal_checkpoint_mib else "-",
        f"{row.changed:.0%}" if row.changed else "-",
        str(row.unseen),
    )
