"""What the statistics queue noted of tenants, by the database itself."""

from __future__ import annotations

from datetime import date, datetime

import sqlalchemy as sa

from b3lb.db.accounts import AccountedMonth, read_metrics, read_months, tenant_names
from b3lb.db.engine import database_clock
from b3lb.views.accounting import month_document
from b3lb.views.values import Document, listing
from b3lb_cli.database import ask
from b3lb_cli.outcome import CommandError, ExitCode, not_found


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


def accounting(url: str, namespace: str, *, tenant: str | None, month: date | None) -> Document:
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
    return listing("AccountedMonthList", [month_document(entry) for entry in found], as_of=now)
