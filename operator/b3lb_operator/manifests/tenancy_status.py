"""The statuses of tenants, API secrets and record profiles: pure functions.

Accepted says whether the object is in use as it is written, LimitReached whether as much runs as it allows. Usage that
is not known is absent: 0 would claim to be known.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
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
class Bound:
    """Limits, and what they are held against at admission; ``running`` is None while nothing was counted.

    ``tenant`` names the BBBTenant whose limits they are, at an API secret; the object's own have none.
    """

    limits: LimitsSpec
    running: SecretTotals | None
    tenant: str = ""

    @property
    def exists(self) -> bool:
        """Whether anything is limited."""
        return self.limits.meetings is not None or self.limits.attendees is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageFacts:
    """What runs now and what may.

    ``totals`` is the usage to show, None while nothing was counted; sub-id 0 sees more than what its own limits are
    held against. ``bounds`` all apply; those of the object itself come first. ``outdated`` says why nothing is counted
    any more, ``unrun`` why it is not to be expected that anything will be, e.g. that no BBBQueue runs the task.
    """

    totals: SecretTotals | None
    bounds: Sequence[Bound]
    outdated: Block | None
    unrun: str = ""


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
        TenantCondition.LIMIT_REACHED: limit_reached(usage, verdict),
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


def limit_reached(facts: UsageFacts, acceptance: Verdict) -> Verdict:
    """Return whether no new meeting may be created because of a limit, in the order in which admission finds it.

    Args:
        facts: What runs and what may.
        acceptance: What Accepted says; unless it is True, there is nothing to be limited.
    """
    if acceptance.status != _TRUE:
        return Verdict(status=_UNKNOWN, reason=acceptance.reason, message=acceptance.message)
    bounds = [bound for bound in facts.bounds if bound.exists]
    if not bounds:
        others = "".join(f", and so is that of BBBTenant {bound.tenant}" for bound in facts.bounds if bound.tenant)
        unrun = f"; usage is not updated: {facts.unrun}" if facts.unrun else ""
        return Verdict(status=_FALSE, reason=LimitReason.NO_LIMITS, message=f"spec.limits is empty{others}{unrun}")
    if facts.outdated is not None:
        return Verdict(status=_UNKNOWN, reason=facts.outdated.reason, message=facts.outdated.message)
    known = [(bound, bound.running) for bound in bounds if bound.running is not None]
    if len(known) < len(bounds):
        advice = facts.unrun or "see the BBBQueue that runs update-secrets-lists, its CronJob and its Jobs"
        message = f"what runs was not counted yet: {advice}"
        return Verdict(status=_UNKNOWN, reason=SecretReason.PENDING, message=message)
    below = Verdict(status=_FALSE, reason=LimitReason.BELOW_LIMITS, message="less runs than the limits allow")
    return _reached(known) or below


def _reached(bounds: Sequence[tuple[Bound, SecretTotals]]) -> Verdict | None:
    """Return which limit is reached: those of meetings come first, and the object's own before its tenant's."""
    for bound, running in bounds:
        maximum = bound.limits.meetings
        if maximum is not None and running.meetings >= maximum:
            message = f"no new meetings: {running.meetings} run{_whose(bound, 'meetings')} is {maximum}"
            return Verdict(status=_TRUE, reason=LimitReason.MEETING_LIMIT_REACHED, message=message)
    for bound, running in bounds:
        maximum = bound.limits.attendees
        if maximum is not None and running.attendees >= maximum:
            message = f"no new meetings: {running.attendees} attendees{_whose(bound, 'attendees')} is {maximum}"
            return Verdict(status=_TRUE, reason=LimitReason.ATTENDEE_LIMIT_REACHED, message=message)
    return None


def _whose(bound: Bound, field: str) -> str:
    return f" in BBBTenant {bound.tenant}, whose spec.limits.{field}" if bound.tenant else f", spec.limits.{field}"
