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


@dataclass(frozen=True, slots=True)
class Figures:
    """One row of the table; medians of the ticks, seconds and MiB.

    ``cpu_s`` is the job's CPU time of a tick (check-nodes and update-secrets-lists), ``floor_cpu_s`` that of the same
    GETs by the bare HTTP client and of parsing the same bodies, reading eleven fields of each meeting and printing it
    again, ``pg_cpu_s`` that of all PostgreSQL processes. ``changed`` is the share of the meetings that changed,
    ``wal_checkpoint_mib`` the WAL of a tick right after a checkpoint. For ``idle`` CPU is per second, statements and
    WAL per minute.
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

    def as_json(self) -> dict[str, Any]:
        """Return the row for the report file."""
        return {key: round(value, 4) if isinstance(value, float) else value for key, value in asdict(self).items()}


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
    ratio = f"{row.cpu_s / row.floor_cpu_s:.2f}" if row.floor_cpu_s else "-"
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
    )
