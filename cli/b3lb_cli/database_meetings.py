"""What a secret's getMeetings lists, by the database itself."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from b3lb.db.engine import database_clock
from b3lb.db.listed import listed_meetings, secret_names
from b3lb.db.lists import SecretList, read_list
from b3lb.meetings.answer import meetings_answer
from b3lb_cli.database import ask
from b3lb_cli.meeting_list import Report, document
from b3lb_cli.outcome import CommandError, ExitCode, not_found


def answer(url: str, namespace: str, secret: str) -> bytes:
    """Return the answer to getMeetings.

    Raises:
        CommandError: There is no such secret, or the database does not say.
    """
    return ask(url, lambda connection: meetings_answer(_list(connection, namespace, secret).elements))


def meetings(url: str, namespace: str, secret: str) -> dict[str, Any]:
    """Return the list as a document.

    Raises:
        CommandError: There is no such secret, or the database does not say.
    """

    def read(connection: sa.Connection) -> Report:
        found = _list(connection, namespace, secret)
        return Report(
            namespace=namespace,
            secret=secret,
            version=found.version,
            digest=found.digest,
            reason=found.reason,
            as_of=found.as_of,
            now=database_clock(connection),
            meetings=listed_meetings(connection, namespace, secret),
        )

    return document(ask(url, read))


def _list(connection: sa.Connection, namespace: str, secret: str) -> SecretList:
    found = read_list(connection, namespace, secret)
    if found is None:
        names = secret_names(connection)
        raise CommandError(ExitCode.NOT_FOUND, not_found("BBBSecret", secret, namespace, names))
    return found
