"""The load of a node, the number by which the load balancer chooses."""

from __future__ import annotations

from dataclasses import dataclass

CPU_BASE = 10_000


@dataclass(frozen=True, slots=True)
class LoadFormula:
    """The factors of a cluster; ``cpu_maximum`` is the term of a node whose CPU is fully used."""

    attendee_factor: int = 1
    meeting_factor: int = 30
    cpu_terms: int = 6
    cpu_maximum: int = 5000


def node_load(
    formula: LoadFormula, *, attendees: int, meetings: int, cpu: int | None, weight_percent: int = 100
) -> float:
    """Return the load: attendees · a + meetings · m + cpu term, then · 100 / weight.

    The cpu term is sum(c^i for i in 1..terms) · maximum / terms with c = cpu / 10000: near 0 it is flat, near full use
    it is steep, so that a busy node repels rooms long before it is saturated.

    Args:
        formula: The cluster's factors.
        attendees: Participants of all meetings.
        meetings: Number of meetings.
        cpu: Load that the node reports, 0..10000, or None when unknown (term 0).
        weight_percent: Strength of the node; 200 halves its load.
    """
    share = min(max(cpu or 0, 0), CPU_BASE) / CPU_BASE
    cpu_term = sum(share**power for power in range(1, formula.cpu_terms + 1)) * formula.cpu_maximum / formula.cpu_terms
    return (attendees * formula.attendee_factor + meetings * formula.meeting_factor + cpu_term) * 100 / weight_percent
