"""Errors of the database, sorted and told without secrets."""

from __future__ import annotations

import psycopg
import sqlalchemy.exc

from b3lb.redaction import redact

MESSAGE_CHARACTERS = 300

_TRANSIENT_CLASSES = frozenset({"08", "40", "53", "57", "58"})
"""SQLSTATE classes that pass: connection, rollback (deadlock), resources, operator intervention, system error."""

_TRANSIENT_CODES = frozenset({"25006", "25P03", "25P04", "55P03"})
"""A standby after a failover (read-only), transaction time-outs, lock not available."""

_MISSING_SCHEMA_CODES = frozenset({"42P01", "42703", "3F000"})
"""Table, column or schema is missing."""


class InvalidDatabaseURLError(ValueError):
    """The database URL cannot be used; the message does not repeat it, for it holds a password."""


def is_transient(error: BaseException) -> bool:
    """Whether ``error`` says that the database is away or busy, so that the same call may succeed later.

    Lost and refused connections, shutdown, fail-over to a read-only standby, deadlocks, exceeded time-outs and an
    exhausted pool are transient; wrong statements, violated constraints and missing rights are not.
    """
    if isinstance(error, sqlalchemy.exc.TimeoutError):
        return True
    if isinstance(error, sqlalchemy.exc.DBAPIError):
        if error.connection_invalidated or error.orig is None:
            return True
        return is_transient(error.orig)
    if not isinstance(error, psycopg.Error):
        return False
    if error.sqlstate is None:
        return isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
    return error.sqlstate[:2] in _TRANSIENT_CLASSES or error.sqlstate in _TRANSIENT_CODES


def lacks_schema(error: BaseException) -> bool:
    """Whether a schema, table or column is missing: the database was emptied or replaced while we ran."""
    cause = error.orig if isinstance(error, sqlalchemy.exc.DBAPIError) else error
    return isinstance(cause, psycopg.Error) and cause.sqlstate in _MISSING_SCHEMA_CODES


def refuses_row(error: BaseException) -> bool:
    """Whether a row breaks a rule of its table (a check, a key, a type), so that trying again is no use."""
    return isinstance(error, sqlalchemy.exc.IntegrityError | sqlalchemy.exc.DataError)


def broken_rule(error: sqlalchemy.exc.DBAPIError) -> str:
    """Return the name of the constraint or column that a row breaks, else of the fault; never a value of the row."""
    cause = error.orig
    if not isinstance(cause, psycopg.Error):
        return type(error).__name__
    return cause.diag.constraint_name or cause.diag.column_name or type(cause).__name__


def describe(error: BaseException) -> str:
    """Return ``error`` in one line for people: no statement, no parameters, no row, no password."""
    cause = error.orig if isinstance(error, sqlalchemy.exc.DBAPIError) and error.orig is not None else error
    # The server's further lines quote the statement and the row.
    primary = cause.diag.message_primary if isinstance(cause, psycopg.Error) else None
    lines = [line.strip() for line in (primary or str(cause)).splitlines()]
    text = "; ".join(line for line in lines if line) or type(cause).__name__
    return redact(text)[:MESSAGE_CHARACTERS]
