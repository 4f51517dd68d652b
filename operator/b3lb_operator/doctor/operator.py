"""Whether the operator itself does its work: a pure function."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from b3lb.findings import Check, Finding, Group

LAG_WARNING_SECONDS = 1.0

_LIVE = Check(Group.OPERATOR, "OperatorLive")
_READY = Check(Group.OPERATOR, "OperatorReady")
_LAG = Check(Group.OPERATOR, "OperatorLag")


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorFacts:
    """What ``/livez`` and ``/readyz`` say fails, and how late the event loop was in the last minute, in seconds."""

    not_live: Sequence[str] = ()
    not_ready: Sequence[str] = ()
    lag_seconds: float = 0.0


def check_operator(facts: OperatorFacts) -> Iterator[Finding]:
    """Yield what is wrong with the operator."""
    for problem in facts.not_live:
        yield _LIVE.failed(problem, remedy="kubectl rollout restart deployment/b3lb-operator, if it does not by itself")
    if not facts.not_live:
        yield _LIVE.ok("its watches and its event loop go on")
    for problem in facts.not_ready:
        yield _READY.failed(problem, remedy="kubectl logs deployment/b3lb-operator --tail=50")
    if not facts.not_ready:
        yield _READY.ok("definitions, database and comparison are there")
    if facts.lag_seconds > LAG_WARNING_SECONDS:
        message = f"its event loop was up to {facts.lag_seconds:.1f} s late: it lacks CPU"
        yield _LAG.warning(message, remedy="raise operator.resources: kubectl top pod -l app.kubernetes.io/name=b3lb")
    else:
        yield _LAG.ok(f"its event loop was at most {facts.lag_seconds:.2f} s late")
