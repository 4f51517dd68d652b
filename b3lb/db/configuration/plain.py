"""Queues, tenants and record profiles: rows that need nothing but their own fields."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from b3lb.db.configuration.store import execute_plan, existing_rows
from b3lb.db.planning import cleaned, compare_rows, plan
from b3lb.db.refusals import Refused
from b3lb.db.rows import Changed, Existing, Kind, QueueRow, RecordProfileRow, Row, TenantRow


def apply_queues(
    connection: sa.Connection,
    namespace: str,
    desired: Sequence[QueueRow],
    *,
    complete: bool,
    refused: list[Refused] | None = None,
) -> list[Changed]:
    """Make the queues of ``namespace`` equal to ``desired``; return what was written."""
    return _apply(connection, Kind.QUEUE, namespace, desired, complete=complete, row_type=QueueRow, refused=refused)


def apply_tenants(
    connection: sa.Connection,
    namespace: str,
    desired: Sequence[TenantRow],
    *,
    complete: bool,
    refused: list[Refused] | None = None,
) -> list[Changed]:
    """Make the tenants of ``namespace`` equal to ``desired``; return what was written.

    A deleted tenant's row keeps its ID, its secrets and their counters, and gets all back when the object comes back.
    """
    return _apply(connection, Kind.TENANT, namespace, desired, complete=complete, row_type=TenantRow, refused=refused)


def apply_record_profiles(
    connection: sa.Connection,
    namespace: str,
    desired: Sequence[RecordProfileRow],
    *,
    complete: bool,
    refused: list[Refused] | None = None,
) -> list[Changed]:
    """Make the record profiles of ``namespace`` equal to ``desired``; return what was written."""
    return _apply(
        connection,
        Kind.RECORD_PROFILE,
        namespace,
        desired,
        complete=complete,
        row_type=RecordProfileRow,
        refused=refused,
    )


def _apply(
    connection: sa.Connection,
    kind: Kind,
    namespace: str,
    desired: Sequence[Row],
    *,
    complete: bool,
    row_type: type[Row],
    refused: list[Refused] | None,
) -> list[Changed]:
    existing = existing_rows(connection, kind, namespace, desired, complete=complete)
    names = [item.name for item in dataclasses.fields(row_type)]
    planned = plan(
        [cleaned(row) for row in desired],
        [_existing(row, row_type, names) for row in existing],
        complete=complete,
        compare=compare_rows,
    )
    records = [{name: getattr(write.row, name) for name in names} for write in planned.writes]
    return execute_plan(connection, kind, namespace, planned, records, refused=refused)


def _existing(row: Mapping[Any, Any], row_type: type[Row], names: Sequence[str]) -> Existing[Row]:
    # Arrays come back as lists.
    values: dict[str, Any] = {name: tuple(value) if isinstance(value := row[name], list) else value for name in names}
    return Existing(id=row["id"], row=row_type(**values), deleted=row["deleted_at"] is not None)
