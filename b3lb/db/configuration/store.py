"""What all kinds of configuration rows share: how they are locked, read, written and soft-deleted as sets.

A transaction-level advisory lock per namespace keeps two operators (a hand-over) from writing at the same time.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from b3lb.crypto import Encrypted, KeyRing
from b3lb.db.planning import Plan, Write
from b3lb.db.refusals import Refused, upsert, upsert_each
from b3lb.db.rows import Action, ApiSecretRow, Changed, ClusterRow, Kind, NodeRow, Row
from b3lb.db.statements import dump, recordset
from b3lb.db.tables import clusters, nodes, queues, record_profiles, secrets, tenants

_TABLES = {
    Kind.CLUSTER: clusters,
    Kind.NODE: nodes,
    Kind.QUEUE: queues,
    Kind.TENANT: tenants,
    Kind.SECRET: secrets,
    Kind.RECORD_PROFILE: record_profiles,
}

_LOCK = sa.select(sa.func.pg_advisory_xact_lock(sa.func.hashtextextended(sa.bindparam("lock_name"), 0)))


def _wanted(table: sa.Table) -> sa.ColumnElement[bool]:
    """Return the condition for rows of a namespace: those with the given names, or all for a null."""
    names = sa.bindparam("names", type_=postgresql.ARRAY(sa.Text))
    return sa.and_(
        table.c.namespace == sa.bindparam("namespace"),
        sa.or_(names.is_(None), table.c.name == sa.any_(names)),
    )


def _select(table: sa.Table, owner: sa.Table | None = None) -> sa.Select[Any]:
    """Return the statement that reads rows, with the name of the row to which the foreign key leads as ``owner``."""
    statement = sa.select(table)
    if owner is not None:
        statement = sa.select(table, owner.c.name.label("owner")).select_from(table.outerjoin(owner))
    return statement.where(_wanted(table)).order_by(table.c.id)


_OWNERS = {Kind.NODE: clusters, Kind.SECRET: tenants}
_SELECT = {kind: _select(table, _OWNERS.get(kind)) for kind, table in _TABLES.items()}


def _live(table: sa.Table) -> sa.Select[Any]:
    return sa.select(table.c.name, table.c.id).where(
        table.c.namespace == sa.bindparam("namespace"), table.c.deleted_at.is_(None)
    )


_LIVE = {Kind.CLUSTER: _live(clusters), Kind.TENANT: _live(tenants)}


def _upsert(table: sa.Table) -> sa.Executable:
    """Return the statement that inserts, updates and revives the rows of one namespace."""
    names = [column.name for column in table.c if column.name not in {"id", "namespace", "deleted_at"}]
    records = recordset("rows", [table.c[name] for name in names])
    insert = postgresql.insert(table).from_select(
        ["namespace", *names],
        sa.select(sa.bindparam("namespace", type_=sa.Text), *[records.c[name] for name in names]).order_by(
            records.c.name
        ),
    )
    values: dict[str, Any] = {name: insert.excluded[name] for name in names if name != "name"}
    if "revision" in values:
        values["revision"] = sa.func.greatest(table.c.revision, insert.excluded.revision)
    return insert.on_conflict_do_update(
        index_elements=[table.c.namespace, table.c.name], set_={**values, "deleted_at": None}
    ).returning(table.c.id, table.c.name)


_UPSERT = {kind: _upsert(table) for kind, table in _TABLES.items()}


def _soft_delete(table: sa.Table, column: sa.Column[Any], parameter: str) -> sa.Executable:
    returned = [table.c.id, table.c.name]
    return (
        sa.update(table)
        .where(
            table.c.namespace == sa.bindparam("row_namespace"),
            column == sa.any_(sa.bindparam(parameter, type_=postgresql.ARRAY(column.type))),
            table.c.deleted_at.is_(None),
        )
        .values(deleted_at=sa.func.clock_timestamp())
        .returning(*returned)
    )


_DELETE = {kind: _soft_delete(table, table.c.id, "ids") for kind, table in _TABLES.items()}
_DELETE_BY_UID = {kind: _soft_delete(table, table.c.uid, "uids") for kind, table in _TABLES.items()}


_SEALED = ("secret_ciphertext", "secret_key_id", "secret_hash")


def _reseal(table: sa.Table) -> sa.Executable:
    """Return the statement that replaces the encrypted secrets of rows, whatever else is in them."""
    records = recordset("rows", [table.c.id, *[table.c[name] for name in _SEALED]])
    return sa.update(table).where(table.c.id == records.c.id).values({name: records.c[name] for name in _SEALED})


_RESEAL = {kind: _reseal(_TABLES[kind]) for kind in (Kind.CLUSTER, Kind.NODE, Kind.SECRET)}


def existing_rows(
    connection: sa.Connection, kind: Kind, namespace: str, desired: Sequence[Row], *, complete: bool
) -> Sequence[Mapping[Any, Any]]:
    """Return the rows of a namespace, deleted ones included: all, or those that ``desired`` names.

    Nobody else writes configuration of the namespace until the transaction ends.
    """
    connection.execute(_LOCK, {"lock_name": f"b3lb/configuration/{namespace}"})
    parameters = {"namespace": namespace, "names": None if complete else [row.name for row in desired]}
    return connection.execute(_SELECT[kind], parameters).mappings().all()


def live_ids(connection: sa.Connection, kind: Kind, namespace: str) -> dict[str, int]:
    """Return the IDs, by name, of the clusters or tenants that are not deleted."""
    return {row.name: row.id for row in connection.execute(_LIVE[kind], {"namespace": namespace})}


def execute_plan(
    connection: sa.Connection,
    kind: Kind,
    namespace: str,
    planned: Plan[Row],
    records: list[dict[str, Any]],
    *,
    refused: list[Refused] | None,
) -> list[Changed]:
    """Write what is planned, ``records`` being its writes as columns, and return what was written.

    Rows that the database does not take are added to ``refused``; with None, the first of them raises.
    """
    changes = []
    if records:
        if refused is None:
            ids = upsert(connection, _UPSERT[kind], namespace, records)
        else:
            ids = upsert_each(connection, _UPSERT[kind], namespace, records, kind=kind, refused=refused)
        changes = [
            Changed(
                kind,
                ids[write.row.name],
                write.row.name,
                write.action,
                revision=write.revision,
                repoll=write.repoll and kind is Kind.NODE,
            )
            for write in planned.writes
            if write.row.name in ids
        ]
    if planned.deletes:
        parameters = {"row_namespace": namespace, "ids": [item.id for item in planned.deletes]}
        deleted = connection.execute(_DELETE[kind], parameters)
        changes += [Changed(kind, row.id, row.name, Action.DELETE) for row in deleted]
    return changes


def delete_by_uid(connection: sa.Connection, kind: Kind, namespace: str, uids: Collection[str]) -> list[Changed]:
    """Soft-delete single rows whose custom resources are gone; a re-created object's row, with its new uid, stays."""
    rows = connection.execute(_DELETE_BY_UID[kind], {"row_namespace": namespace, "uids": list(uids)})
    return [Changed(kind, row.id, row.name, Action.DELETE) for row in rows]


def store_resealed(connection: sa.Connection, kind: Kind, resealed: Mapping[int, Encrypted]) -> None:
    """Store secrets that were encrypted again, by the IDs of their rows."""
    if resealed:
        records = [{"id": row_id, **_sealed(sealed)} for row_id, sealed in resealed.items()]
        connection.execute(_RESEAL[kind], {"rows": dump(records)})


def sealed_columns(
    write: Write[ClusterRow] | Write[NodeRow] | Write[ApiSecretRow], keys: KeyRing, *, context: str
) -> dict[str, str | bytes | None]:
    """Return the columns of a row's secret, encrypted only if that is asked for."""
    sealed = write.existing.secret if write.existing is not None else None
    if write.row.secret is None:
        sealed = None
    elif write.seal:
        sealed = keys.encrypt(write.row.secret, context=context)
    return _sealed(sealed)


def _sealed(sealed: Encrypted | None) -> dict[str, str | bytes | None]:
    return {
        "secret_ciphertext": None if sealed is None else sealed.ciphertext,
        "secret_key_id": None if sealed is None else sealed.key_id,
        "secret_hash": None if sealed is None else sealed.hash,
    }


def sealed_from(row: Mapping[Any, Any]) -> Encrypted | None:
    """Return the encrypted secret of a row as it was read."""
    if row["secret_ciphertext"] is None:
        return None
    return Encrypted(ciphertext=row["secret_ciphertext"], key_id=row["secret_key_id"], hash=row["secret_hash"])
