"""``b3lb meetings``: what a secret's getMeetings lists."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from enum import StrEnum

import sqlalchemy as sa

from b3lb.db.engine import database_clock
from b3lb.db.listed import listed_meetings, secret_names
from b3lb.db.lists import SecretList, read_list
from b3lb.meetings.answer import meetings_answer
from b3lb_cli.database import ask
from b3lb_cli.outcome import CommandError, ExitCode, not_found
from b3lb_cli.report import Report, as_json, as_table, summary


class Output(StrEnum):
    """Forms of the list."""

    TABLE = "table"
    JSON = "json"
    XML = "xml"


@dataclass(frozen=True, slots=True)
class Question:
    """A BBBSecret by namespace and name."""

    namespace: str
    secret: str


def meetings(url: str, question: Question, output: Output) -> None:
    """Print what the secret's getMeetings lists.

    Raises:
        CommandError: There is no such secret, or the database does not say.
    """
    if output is Output.XML:
        answer = ask(url, lambda connection: meetings_answer(_list(connection, question).elements))
        # Byte by byte what the front end serves; only a person's prompt wants a line of its own.
        sys.stdout.buffer.write(answer + (b"\n" if sys.stdout.isatty() else b""))
        return
    report = ask(url, lambda connection: _report(connection, question))
    if output is Output.JSON:
        sys.stdout.write(as_json(report))
        return
    sys.stdout.write(as_table(report))
    sys.stdout.flush()
    sys.stderr.write(f"{summary(report)}\n")


def _list(connection: sa.Connection, question: Question) -> SecretList:
    found = read_list(connection, question.namespace, question.secret)
    if found is None:
        names = secret_names(connection)
        raise CommandError(ExitCode.NOT_FOUND, not_found("BBBSecret", question.secret, question.namespace, names))
    return found


def _report(connection: sa.Connection, question: Question) -> Report:
    found = _list(connection, question)
    return Report(
        namespace=question.namespace,
        secret=question.secret,
        version=found.version,
        digest=found.digest,
        reason=found.reason,
        as_of=found.as_of,
        now=database_clock(connection),
        meetings=listed_meetings(connection, question.namespace, question.secret),
    )
