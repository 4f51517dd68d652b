"""What several kinds say in the same way: that an object is in use as it is written, and all conditions at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from b3lb.resources.conditions import ConditionStatus, NodeReason, SecretReason, set_condition
from b3lb_operator.manifests.facts import Block, Verdict

_TRUE, _FALSE, _UNKNOWN = ConditionStatus.TRUE, ConditionStatus.FALSE, ConditionStatus.UNKNOWN

ACCEPTED = "Accepted"
PENDING = str(NodeReason.PENDING)


@dataclass(frozen=True, slots=True, kw_only=True)
class Acceptance:
    """What decides whether an object is in use as it is written.

    ``block`` says why it is not, and with the reason Pending why not yet. ``stored``: whether the database holds this
    very generation; ``missing``: whether it can be read and holds none. ``outdated`` says why the database says
    nothing. ``in_use`` and ``waiting`` are what to say when it is in use, and while the database does not hold it.
    """

    block: Block | None
    stored: bool
    missing: bool
    outdated: Block | None
    in_use: str
    waiting: str


def accepted(facts: Acceptance, before: Mapping[str, Any] | None) -> Verdict:
    """Return whether an object is in use; until it is stored, what was said of the generation before still stands.

    Args:
        facts: What is known.
        before: The condition as the object carries it, None for none.
    """
    if facts.block is not None:
        status = _UNKNOWN if facts.block.reason == PENDING else _FALSE
        return Verdict(status=status, reason=facts.block.reason, message=facts.block.message)
    if facts.stored:
        return Verdict(status=_TRUE, reason=ACCEPTED, message=facts.in_use)
    if not facts.missing and before is not None and before["status"] != _UNKNOWN:
        return Verdict(
            status=ConditionStatus(before["status"]),
            reason=before["reason"],
            message=before["message"],
            observed_generation=before.get("observedGeneration", 0),
        )
    if facts.outdated is not None and facts.outdated.reason == SecretReason.DATABASE_UNAVAILABLE:
        return Verdict(status=_UNKNOWN, reason=facts.outdated.reason, message=facts.outdated.message)
    return Verdict(status=_UNKNOWN, reason=PENDING, message=facts.waiting)


def set_conditions(
    conditions: Iterable[Mapping[str, Any]], verdicts: Mapping[str, Verdict], *, generation: int, now: datetime
) -> list[dict[str, Any]]:
    """Return ``conditions`` with those of ``verdicts`` in their places; ``generation`` is the present one."""
    result = [dict(condition) for condition in conditions]
    for type_, verdict in verdicts.items():
        observed = verdict.observed_generation
        result = set_condition(
            result,
            type_,
            status=verdict.status,
            reason=verdict.reason,
            message=verdict.message,
            observed_generation=generation if observed is None else observed,
            now=now,
        )
    return result
