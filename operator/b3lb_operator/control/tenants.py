"""``/tenants``, their metrics and accounting, and ``/meetings`` of an API secret."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any

import sqlalchemy as sa

from b3lb.db.accounts import AccountedMonth, MetricsText, read_metrics, read_months
from b3lb.metrics.tenants import SecretMetrics
from b3lb.resources.conditions import ConditionStatus, TenantCondition, find_condition
from b3lb.views.accounting import month_document
from b3lb.views.meetings import Report, meetings_document, read_report
from b3lb.views.months import month_of
from b3lb.views.values import Document, listing, timestamp
from b3lb_operator.control.farms import MOST_ITEMS, Farms
from b3lb_operator.control.questions import BadQuestionError, Question, UnknownObjectError, shown
from b3lb_operator.kinds import API_SECRET, TENANT, Key, Kind, Manifest

_NAMES_SHOWN = 20


async def tenants(farms: Farms, question: Question) -> Document:
    """Return the tenants with what runs under them."""
    namespaces = question.namespaces(farms.namespaces)
    look, now = await farms.look(), datetime.now(UTC)
    items: list[Document] = []
    for namespace in namespaces:
        by_slug: dict[str, list[SecretMetrics]] = defaultdict(list)
        for secret in () if look is None else look.secrets.get(namespace, ()):
            by_slug[secret.slug].append(secret)
        for key, manifest in farms.store.in_namespace(TENANT, namespace):
            items.append(tenant_item(key, manifest, by_slug.get(manifest["spec"]["slug"], ()), now=now))
    return farms.listing("TenantList", items)


def tenant_item(key: Key, manifest: Manifest, secrets: Sequence[SecretMetrics], *, now: datetime) -> Document:
    """Return what is shown of a tenant; ``secrets`` are its own as the database knows them, none while it was not read.

    Without them its numbers are those that its status shows.
    """
    spec, status = manifest["spec"], manifest.get("status") or {}
    accepted = _condition(status, TenantCondition.ACCEPTED)
    limits = spec.get("limits", {})
    meetings, attendees = _running(secrets, status.get("usage", {}))
    return {
        "namespace": key.namespace,
        "name": key.name,
        "slug": spec["slug"],
        "enabled": spec.get("enabled", True),
        "accepted": accepted.get("status", ConditionStatus.UNKNOWN.value),
        "reason": accepted.get("reason"),
        "meetings": meetings,
        "attendees": attendees,
        "attendeeLimit": limits.get("attendees"),
        "meetingLimit": limits.get("meetings"),
        "limitReached": _condition(status, TenantCondition.LIMIT_REACHED).get("status") == ConditionStatus.TRUE,
        "secrets": status.get("secrets"),
        "lastUsed": timestamp(now if meetings else _last_used(secrets)),
    }


def _running(secrets: Sequence[SecretMetrics], usage: Mapping[str, int]) -> tuple[int | None, int | None]:
    """Return the tenant's meetings and attendees; sub-id 0, where there is one, has the sum."""
    if not secrets:
        return usage.get("meetings"), usage.get("attendees")
    whole = [secret for secret in secrets if secret.sub_id == 0] or list(secrets)
    return sum(secret.totals.meetings for secret in whole), sum(secret.totals.attendees for secret in whole)


def _last_used(secrets: Iterable[SecretMetrics]) -> datetime | None:
    """Return when the list of a secret that ever had a meeting last changed."""
    moments = [secret.changed_at for secret in secrets if secret.counters.meetings]
    return max((moment for moment in moments if moment is not None), default=None)


def _condition(status: Mapping[str, Any], type_: str) -> Mapping[str, Any]:
    return find_condition(status.get("conditions", ()), type_) or {}


async def tenant_metrics(farms: Farms, question: Question) -> Document:
    """Return a tenant's metrics in Prometheus' text format as they were last written."""
    namespaces, name = question.namespaces(farms.namespaces), question.path["slug"].lower()

    def read(connection: sa.Connection) -> list[MetricsText]:
        found = (read_metrics(connection, namespace, name) for namespace in namespaces)
        return [text for text in found if text is not None]

    found = await farms.ask(read)
    if not found:
        raise _unknown(farms, TENANT, name, namespaces)
    text = next((item.text for item in found if item.text is not None), None)
    if text is None:
        message = f"no metrics of BBBTenant {shown(name)} were written yet: does the queue statistics run?"
        raise UnknownObjectError(message)
    return {"kind": "TenantMetrics", "slug": name.upper(), "text": text}


async def accounting(farms: Farms, question: Question) -> Document:
    """Return what tenants had in each month."""
    namespaces = question.namespaces(farms.namespaces)
    tenant, month = question.text("tenant"), _month(question)
    name = None if tenant is None else tenant.lower()
    now = datetime.now(UTC)

    def read(connection: sa.Connection) -> list[AccountedMonth]:
        found = (read_months(connection, namespace, tenant=name, month=month) for namespace in namespaces)
        return [entry for months in found for entry in months]

    found = await farms.ask(read)
    if name is not None and not found and name not in _names(farms, TENANT, namespaces):
        raise _unknown(farms, TENANT, name, namespaces)
    return listing("AccountedMonthList", [month_document(entry) for entry in found], as_of=now, most=MOST_ITEMS)


def _month(question: Question) -> date | None:
    text = question.text("month")
    try:
        return None if text is None else month_of(text)
    except ValueError as error:
        raise BadQuestionError(str(error)) from None


async def meetings(farms: Farms, question: Question) -> Document:
    """Return the meetings that an API secret sees."""
    namespaces, name = question.namespaces(farms.namespaces), question.text("secret")
    if name is None:
        raise BadQuestionError("say whose meetings: secret=NAME of a BBBSecret, such as uni-001")

    def read(connection: sa.Connection) -> Report | None:
        reports = (read_report(connection, namespace, name) for namespace in namespaces)
        return next((report for report in reports if report is not None), None)

    report = await farms.ask(read)
    if report is None:
        raise _unknown(farms, API_SECRET, name, namespaces)
    return meetings_document(report)


def _names(farms: Farms, kind: Kind, namespaces: Sequence[str]) -> list[str]:
    return [key.name for namespace in namespaces for key, _ in farms.store.in_namespace(kind, namespace)]


def _unknown(farms: Farms, kind: Kind, name: str, namespaces: Sequence[str]) -> UnknownObjectError:
    known = _names(farms, kind, namespaces)
    more = ", …" if len(known) > _NAMES_SHOWN else ""
    there = f"there are {', '.join(known[:_NAMES_SHOWN])}{more}" if known else "there is none at all"
    return UnknownObjectError(f"no {kind.name} {shown(name)} in {', '.join(namespaces)}; {there}")
