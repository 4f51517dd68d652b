"""What a secret's getMeetings lists, by the database itself."""

from __future__ import annotations

import sqlalchemy as sa

from b3lb.db.listed import secret_names
from b3lb.db.lists import SecretList, read_list
from b3lb.meetings.answer import meetings_answer
from b3lb.views.meetings import Report, meetings_document, read_report
from b3lb.views.values import Document
from b3lb_cli.database import ask
from b3lb_cli.outcome import CommandError, ExitCode, not_found


def answer(url: str, namespace: str, secret: str) -> bytes:
    """Return the answer to getMeetings.

    Raises:
        CommandError: There is no such secret, or the database does not say.
    """

    def read(connection: sa.Connection) -> SecretList:
        found = read_list(connection, namespace, secret)
        if found is None:
            raise _unknown(connection, namespace, secret)
        return found

    return meetings_answer(ask(url, read).elements)


def meetings(url: str, namespace: str, secret: str) -> Document:
    """Return the list as a document, without passwords.

    Raises:
        CommandError: There is no such secret, or the database does not say.
    """

    def read(connection: sa.Connection) -> Report:
        found = read_report(connection, namespace, secret)
        if found is None:
            raise _unknown(connection, namespace, secret)
        return found

    return meetings_document(ask(url, read))


def _unknown(connection: sa.Connection, namespace: str, secret: str) -> CommandError:
    return CommandError(ExitCode.NOT_FOUND, not_found("BBBSecret", secret, namespace, secret_names(connection)))
