"""Whether this program may work on the database's schema.

Migrations only ever expand within a minor version, and the database says which programs it still serves: its schema's
version and the oldest program allowed. So programs and schema can be upgraded and rolled back one after the other.
"""

from __future__ import annotations

from dataclasses import dataclass

import psycopg.errors
import sqlalchemy as sa
import sqlalchemy.exc
from sqlalchemy.dialects import postgresql

from b3lb.db.tables import OLDEST_PROGRAM, SCHEMA_VERSION, schema_version


class SchemaMismatchError(Exception):
    """Program and database do not fit; the message says which side is too old. Waiting may help: exit code 75."""


@dataclass(frozen=True, slots=True)
class SchemaRange:
    """What the database says: its schema's version and the oldest program that it serves."""

    version: int
    oldest_program: int


def read_schema(connection: sa.Connection) -> SchemaRange | None:
    """Return the database's range, or None for an empty database; then the transaction is spent."""
    try:
        row = connection.execute(sa.select(schema_version.c.version, schema_version.c.oldest_program)).one_or_none()
    except sqlalchemy.exc.ProgrammingError as error:
        if isinstance(error.orig, psycopg.errors.UndefinedTable):
            return None
        raise
    return None if row is None else SchemaRange(version=row.version, oldest_program=row.oldest_program)


def judge(found: SchemaRange | None, *, program: int = SCHEMA_VERSION) -> str | None:
    """Return why a program for schema ``program`` must not work on ``found``, or None if it may."""
    if found is None:
        return "the database has no schema yet; the operator creates it"
    if found.version < program:
        return (
            f"the database is too old: its schema is {found.version}, this program needs {program};"
            " the operator of this version upgrades it"
        )
    if found.oldest_program > program:
        return (
            f"this program is too old: it was made for schema {program}, the database has {found.version}"
            f" and serves programs from {found.oldest_program} on"
        )
    return None


def check_schema(connection: sa.Connection) -> None:
    """Make sure that this program may work on the database: one statement.

    Raises:
        SchemaMismatchError: It may not.
    """
    problem = judge(read_schema(connection))
    if problem is not None:
        raise SchemaMismatchError(problem)


def write_schema(connection: sa.Connection) -> None:
    """Note this program's schema as the database's."""
    values = {"version": SCHEMA_VERSION, "oldest_program": OLDEST_PROGRAM}
    insert = postgresql.insert(schema_version).values(singleton=True, **values)
    connection.execute(insert.on_conflict_do_update(index_elements=[schema_version.c.singleton], set_=values))
