"""Rows that the database does not take: found one by one, so that no bad row keeps the others from being stored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
import sqlalchemy.exc

from b3lb.db.errors import broken_rule
from b3lb.db.rows import Kind
from b3lb.db.statements import dump

REFUSED_REASON = "DatabaseRefused"
"""The ``blocked_reason`` of a row that holds nothing of its object's spec, for the database does not take it."""


@dataclass(frozen=True, slots=True)
class Refused:
    """A wanted row that the database does not take; ``rule`` names what it breaks and holds no value of the row."""

    kind: Kind
    name: str
    rule: str


def upsert(
    connection: sa.Connection, statement: sa.Executable, namespace: str, records: Sequence[dict[str, Any]]
) -> dict[str, int]:
    """Store all records with one statement; return their IDs by name."""
    rows = connection.execute(statement, {"namespace": namespace, "rows": dump(list(records))})
    return {row.name: row.id for row in rows}


def upsert_each(
    connection: sa.Connection,
    statement: sa.Executable,
    namespace: str,
    records: Sequence[dict[str, Any]],
    *,
    kind: Kind,
    refused: list[Refused],
) -> dict[str, int]:
    """Store the records that the database takes, each for itself if it does not take all; return their IDs by name.

    The others are added to ``refused``. Savepoints keep the transaction usable: three statements for a set that is
    taken, about three for each record otherwise.
    """
    try:
        with connection.begin_nested():
            return upsert(connection, statement, namespace, records)
    except (sqlalchemy.exc.IntegrityError, sqlalchemy.exc.DataError):
        ids: dict[str, int] = {}
    for record in records:
        try:
            with connection.begin_nested():
                ids.update(upsert(connection, statement, namespace, [record]))
        except (sqlalchemy.exc.IntegrityError, sqlalchemy.exc.DataError) as error:
            refused.append(Refused(kind, record["name"], broken_rule(error)))
    return ids
