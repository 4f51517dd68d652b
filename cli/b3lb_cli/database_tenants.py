"""What the statistics queue noted of tenants, by the database itself."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import sqlalchemy as sa

from b3lb.db.accounts import AccountedMonth, read_metrics, read_months, tenant_names
from b3lb.db.engine import database_clock
from b3lb_cli.database import ask
from b3lb_cli.outcome import CommandError, ExitCode, not_found

_MINUTE = 60_000


def metrics(url: str, namespace: str, tenant: str) -> str:
    """Return the tenant's metrics as they were last written.

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

    return ask(url, question)


def accounting(url: str, namespace: str, *, tenant: str | None, month: date | None) -> dict[str, Any]:
    """Return the months of a tenant or of all.

    Raises:
        CommandError: There is no such tenant.
    """

    def question(connection: sa.Connection) -> tuple[list[AccountedMonth], datetime]:
        found = read_months(connection, namespace, tenant=tenant, month=month)
        if tenant is not None and not found:
            names = tenant_names(connection)
            if tenant not in names.get(namespace, ()):
                raise CommandError(ExitCode.NOT_FOUND, not_found("BBBTenant", tenant, namespace, names))
        return found, database_clock(connection)

    found, now = ask(url, question)
    items = [month_document(entry) for entry in found]
    return {"kind": "AccountedMonthList", "asOf": now.astimezone(UTC).isoformat(), "items": items}


def month_document(month: AccountedMonth) -> dict[str, Any]:
    """Return a month for programs: minutes rounded, milliseconds exact."""
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
