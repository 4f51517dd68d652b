"""``b3lb tenants metrics`` and ``b3lb accounting``: what the statistics queue noted of tenants."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Sequence
from datetime import date
from enum import StrEnum
from typing import Any

import sqlalchemy as sa

from b3lb.db.accounts import AccountedMonth, read_metrics, read_months, tenant_names
from b3lb_cli.database import ask
from b3lb_cli.outcome import CommandError, ExitCode, not_found
from b3lb_cli.table import shown, table

_MINUTE = 60_000
_HEADINGS = (
    "MONTH",
    "TENANT",
    "PARTICIPANT MIN",
    "MEETING MIN",
    "PEAK ATTENDEES",
    "PEAK MEETINGS",
    "RECORDINGS",
    "STATE",
)
_NUMBERS = frozenset(_HEADINGS[2:7])
_SLUG_COLUMNS = 20


class AccountingOutput(StrEnum):
    """Forms of the accounting."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"


def month_of(text: str) -> date:
    """Return the first day of a month that is written as ``YYYY-MM``.

    Raises:
        ValueError: It is not.
    """
    year, _, month = text.partition("-")
    if len(year) == 4 and len(month) == 2 and (year + month).isascii() and (year + month).isdigit():  # noqa: PLR2004 - digits
        try:
            return date(int(year), int(month), 1)
        except ValueError:
            pass
    raise ValueError(f"{text!r} is not a month: write YYYY-MM, such as 2026-11")


def metrics(url: str, namespace: str, tenant: str) -> None:
    """Print the tenant's metrics as they were last written.

    Raises:
        CommandError: There is no such tenant, or no text of it yet.
    """

    def question(connection: sa.Connection) -> str:
        found = read_metrics(connection, namespace, tenant)
        if found is None:
            names = tenant_names(connection)
            raise CommandError(ExitCode.NOT_FOUND, not_found("BBBTenant", tenant, namespace, names))
        if found.text is None:
            message = f"no metrics of BBBTenant {tenant} were written yet: does the queue statistics run?"
            raise CommandError(ExitCode.NOT_FOUND, message)
        return found.text

    sys.stdout.write(ask(url, question))


def accounting(url: str, namespace: str, *, tenant: str | None, month: date | None, output: AccountingOutput) -> None:
    """Print the months of a tenant or of all.

    Raises:
        CommandError: There is no such tenant.
    """

    def question(connection: sa.Connection) -> list[AccountedMonth]:
        found = read_months(connection, namespace, tenant=tenant, month=month)
        if tenant is not None and not found:
            names = tenant_names(connection)
            if tenant not in names.get(namespace, ()):
                raise CommandError(ExitCode.NOT_FOUND, not_found("BBBTenant", tenant, namespace, names))
        return found

    sys.stdout.write(render(ask(url, question), output))


def render(months: Sequence[AccountedMonth], output: AccountingOutput) -> str:
    """Return the months for people or for programs; minutes are rounded, milliseconds exact."""
    if output is AccountingOutput.JSON:
        return json.dumps([_object(month) for month in months], ensure_ascii=False, indent=2) + "\n"
    if output is AccountingOutput.CSV:
        return _csv(months)
    return table(_HEADINGS, [_line(month) for month in months], right=_NUMBERS)


def _object(month: AccountedMonth) -> dict[str, Any]:
    return {
        "month": f"{month.month:%Y-%m}",
        "tenant": month.slug,
        "timeZone": month.time_zone,
        "participantMinutes": round(month.participant_milliseconds / _MINUTE, 3),
        "meetingMinutes": round(month.meeting_milliseconds / _MINUTE, 3),
        "participantMilliseconds": month.participant_milliseconds,
        "meetingMilliseconds": month.meeting_milliseconds,
        "peakAttendees": month.peak_attendees,
        "peakMeetings": month.peak_meetings,
        "recordingBytes": month.recording_bytes,
        "startedAt": month.started_at.isoformat(),
        "closedAt": None if month.closed_at is None else month.closed_at.isoformat(),
        "asOf": month.written_at.isoformat(),
    }


_FIELDS = (
    "month",
    "tenant",
    "timeZone",
    "participantMinutes",
    "meetingMinutes",
    "participantMilliseconds",
    "meetingMilliseconds",
    "peakAttendees",
    "peakMeetings",
    "recordingBytes",
    "startedAt",
    "closedAt",
    "asOf",
)


def _csv(months: Sequence[AccountedMonth]) -> str:
    """Return the months by RFC 4180, with a heading; what is not known is empty."""
    text = io.StringIO()
    writer = csv.DictWriter(text, _FIELDS)
    writer.writeheader()
    writer.writerows(_object(month) for month in months)
    return text.getvalue()


def _line(month: AccountedMonth) -> tuple[str, ...]:
    return (
        f"{month.month:%Y-%m}",
        shown(month.slug, _SLUG_COLUMNS),
        f"{month.participant_milliseconds / _MINUTE:.1f}",
        f"{month.meeting_milliseconds / _MINUTE:.1f}",
        str(month.peak_attendees),
        str(month.peak_meetings),
        "-" if month.recording_bytes is None else str(month.recording_bytes),
        "running" if month.closed_at is None else "closed",
    )
