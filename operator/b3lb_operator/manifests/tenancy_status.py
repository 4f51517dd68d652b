"""The statuses of tenants, API secrets and record profiles: pure functions.

Accepted says whether the object is in use as it is written, LimitReached whether as much runs as it allows. Usage that
is not known is absent: 0 would claim to be known.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from b3lb.meetings.model import SecretTotals
from b3lb.resources.conditions import (
    ConditionStatus,
    LimitReason,
    RecordProfileCondition,
    SecretReason,
    TenantCondition,
    find_condition,
)
from b3lb.resources.usage import LimitsSpec
from b3lb_operator.manifests.facts import Block, Verdict
from b3lb_operator.manifests.verdicts import Acceptance, accepted, set_conditions

_TRUE, _FALSE, _UNKNOWN = ConditionStatus.TRUE, ConditionStatus.FALSE, ConditionStatus.UNKNOWN


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageFacts:
    """What runs now and what may: ``totals`` is None while nothing was counted, ``outdated`` why it counts no more."""

    limits: LimitsSpec
    totals: SecretTotals | None
    outdated: Block | None


def build_usage_status(
    acceptance: Acceptance,
    usage: UsageFacts,
    *,
    generation: int,
    extra: Mapping[str, Any],
    old: Mapping[str, Any],
    now: datetime,
) -> dict[str, Any]:
    """Return the whole status of a tenant or an API secret; absent keys are to be removed from the object.

    Args:
        acceptance: What decides whether it is in use.
        usage: What decides about limits and usage.
        generation: The object's.
        extra: Fields of the kind itself.
        old: The status that the object carries, {} for none.
        now: The database's time.
    """
    conditions = old.get("conditions", ())
    verdict = accepted(acceptance, find_condition(conditions, TenantCondition.ACCEPTED))
    observed = generation if verdict.observed_generation is None else verdict.observed_generation
    verdicts: dict[str, Verdict] = {
        TenantCondition.ACCEPTED: verdict,
        TenantCondition.LIMIT_REACHED: limit_reached(usage),
    }
    known = usage.totals is not None and usage.outdated is None
    numbers = {"usage": dataclasses.asdict(usage.totals)} if usage.totals is not None and known else {}
    return {
        "observedGeneration": observed,
        **extra,
        **numbers,
        "conditions": set_conditions(conditions, verdicts, generation=observed, now=now),
    }


def build_record_profile_status(
    acceptance: Acceptance, *, generation: int, old: Mapping[str, Any], now: datetime
) -> dict[str, Any]:
    """Return the whole status of a BBBRecordProfile."""
    conditions = old.get("conditions", ())
    verdict = accepted(acceptance, find_condition(conditions, RecordProfileCondition.ACCEPTED))
    observed = generation if verdict.observed_generation is None else verdict.observed_generation
    verdicts: dict[str, Verdict] = {RecordProfileCondition.ACCEPTED: verdict}
    return {
        "observedGeneration": observed,
        "conditions": set_conditions(conditions, verdicts, generation=observed, now=now),
    }


def limit_reached(facts: UsageFacts) -> Verdict:
    """Return whether no new meeting may be created because of the object's own limits."""
    limits, totals = facts.limits, facts.totals
    if limits.meetings is None and limits.attendees is None:
        return Verdict(status=_FALSE, reason=LimitReason.NO_LIMITS, message="spec.limits is empty")
    if facts.outdated is not None:
        return Verdict(status=_UNKNOWN, reason=facts.outdated.reason, message=facts.outdated.message)
    if totals is None:
        message = "what runs was not counted yet: is there a BBBQueue with the task update-secrets-lists?"
        return Verdict(status=_UNKNOWN, reason=SecretReason.PENDING, message=message)
    if limits.meetings is not None and totals.meetings >= limits.meetings:
        message = f"no new meetings: {totals.meetings} run, spec.limits.meetings is {limits.meetings}"
        return Verdict(status=_TRUE, reason=LimitReason.MEETING_LIMIT_REACHED, message=message)
    if limits.attendees is not None and totals.attendees >= limits.attendees:
        message = f"no new meetings: {totals.attendees} attendees, spec.limits.attendees is {limits.attendees}"
        return Verdict(status=_TRUE, reason=LimitReason.ATTENDEE_LIMIT_REACHED, message=message)
    return Verdict(status=_FALSE, reason=LimitReason.BELOW_LIMITS, message="less runs than spec.limits allows")
