"""What each secret's meetings add up to and whether its list changed; one statement each, however many secrets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from b3lb.db.refusals import REFUSED_REASON
from b3lb.db.statements import differs, dump, recordset
from b3lb.db.tables import meetings, secret_states, secrets, tenants
from b3lb.meetings.model import SecretTotals
from b3lb.meetings.totals import ComparedList, ListState

MAXIMUM_GAUGE = 2**31 - 1

GAUGES = ("meetings", "attendees", "listeners", "voices", "videos", "moderators")
"""The fields of `SecretTotals`, which are columns, too."""

owns_slug = sa.or_(tenants.c.blocked_reason.is_(None), tenants.c.blocked_reason == REFUSED_REASON)
"""The condition for tenants to which their slug attributes meetings; only another tenant's claim takes them away."""

closed_reason = sa.case(
    (secrets.c.deleted_at.is_not(None), "Deleted"),
    (sa.not_(secrets.c.enabled), "Disabled"),
    (sa.or_(tenants.c.id.is_(None), tenants.c.deleted_at.is_not(None)), "TenantNotFound"),
    (sa.not_(tenants.c.enabled), "TenantDisabled"),
    (sa.not_(owns_slug), "TenantNotAccepted"),
    else_="",
)
"""Why a secret's list is empty whatever runs; empty if it is not. A select with it outer-joins ``tenants``."""

_member = secrets.alias("member")
_total = {
    "meetings": sa.func.count(meetings.c.id),
    **{name: sa.func.coalesce(sa.func.sum(meetings.c[name]), 0) for name in GAUGES if name != "meetings"},
}
_entry = sa.func.int8send(meetings.c.id).op("||")(meetings.c.digest)
_nothing = sa.literal_column("''::bytea", sa.LargeBinary)
_in_order = postgresql.aggregate_order_by(_nothing, meetings.c.created_at, meetings.c.id)
_listed = sa.func.string_agg(_entry, _in_order).filter(meetings.c.element.is_not(None))


def in_list(member: sa.FromClause) -> sa.ColumnElement[bool]:
    """Return the condition that the meetings of the secret ``member`` are in the list of the one in ``secrets``.

    Sub-id 0 sees the whole tenant, also what runs under a disabled secret.
    """
    return sa.and_(
        member.c.tenant_id == secrets.c.tenant_id,
        member.c.deleted_at.is_(None),
        sa.or_(secrets.c.sub_id == 0, member.c.id == secrets.c.id),
    )


is_open = sa.and_(meetings.c.state == "open", meetings.c.ended_at.is_(None))
"""The condition for meetings that are listed; its second half is what the index knows."""

_present = (
    sa.select(
        *[sa.func.least(total, MAXIMUM_GAUGE).label(name) for name, total in _total.items()],
        sa.func.sha256(sa.func.coalesce(_listed, _nothing)).label("list_digest"),
    )
    .select_from(_member.join(meetings, sa.and_(meetings.c.secret_id == _member.c.id, is_open)))
    .where(closed_reason == "", in_list(_member))
    .lateral("present")
)
_LOAD = (
    sa.select(
        secrets.c.id,
        secrets.c.name,
        closed_reason.label("reason"),
        *_present.c,
        secret_states.c.secret_id,
        secret_states.c.reason.label("stored_reason"),
        *[secret_states.c[name].label(f"stored_{name}") for name in GAUGES],
        secret_states.c.list_digest.label("stored_list_digest"),
    )
    .select_from(
        secrets.outerjoin(tenants, tenants.c.id == secrets.c.tenant_id)
        .outerjoin(secret_states, secret_states.c.secret_id == secrets.c.id)
        .join(_present, sa.true())
    )
    .where(
        secrets.c.namespace == sa.bindparam("namespace"),
        sa.or_(secrets.c.deleted_at.is_(None), secret_states.c.secret_id.is_not(None)),
    )
    .order_by(secrets.c.id)
)


def load_totals(connection: sa.Connection, namespace: str) -> list[ComparedList]:
    """Return what the list of every secret of ``namespace`` holds and what was noted of it, by ID: one statement.

    A deleted secret is among them if something was noted of it. Sums beyond 32 bits are given as the greatest number
    that has them.
    """
    return [_compared(row) for row in connection.execute(_LOAD, {"namespace": namespace}).mappings()]


def _compared(row: Mapping[Any, Any]) -> ComparedList:
    stored = None if row["secret_id"] is None else _state(row, "stored_")
    return ComparedList(secret_id=row["id"], name=row["name"], found=_state(row, ""), stored=stored)


def _state(row: Mapping[Any, Any], prefix: str) -> ListState:
    totals = SecretTotals(**{name: int(row[prefix + name]) for name in GAUGES})
    return ListState(totals=totals, digest=row[f"{prefix}list_digest"], reason=row[f"{prefix}reason"])


_VALUES = [*GAUGES, "list_digest", "reason"]
_records = recordset("rows", [secret_states.c.secret_id, *[secret_states.c[name] for name in _VALUES]])
_INSERT = postgresql.insert(secret_states).from_select(
    ["secret_id", *_VALUES, "written_at"],
    sa.select(_records.c.secret_id, *[_records.c[name] for name in _VALUES], sa.func.clock_timestamp())
    .select_from(_records.join(secrets, secrets.c.id == _records.c.secret_id))
    .order_by(_records.c.secret_id),
)
_WRITE = _INSERT.on_conflict_do_update(
    index_elements=[secret_states.c.secret_id],
    set_={
        **{name: _INSERT.excluded[name] for name in _VALUES},
        "list_version": secret_states.c.list_version + 1,
        "written_at": sa.func.clock_timestamp(),
    },
    where=differs(secret_states, _INSERT.excluded, _VALUES),
).execution_options(preserve_rowcount=True)


def write_totals(connection: sa.Connection, rows: Sequence[ComparedList]) -> int:
    """Note what was found and give each list its next version; return how many rows were written.

    One statement, none for an empty sequence. What is noted already gets no new version.
    """
    if not rows:
        return 0
    return connection.execute(_WRITE, {"rows": dump([_record(row) for row in rows])}).rowcount


def _record(row: ComparedList) -> dict[str, Any]:
    gauges_found = {name: getattr(row.found.totals, name) for name in GAUGES}
    return {
        "secret_id": row.secret_id,
        **gauges_found,
        "list_digest": row.found.digest,
        "reason": row.found.reason,
    }


_GAUGES = (
    sa.select(secret_states.c.secret_id, *[secret_states.c[name] for name in GAUGES])
    .select_from(secret_states.join(secrets, secrets.c.id == secret_states.c.secret_id))
    .where(secrets.c.namespace == sa.bindparam("namespace"), secrets.c.deleted_at.is_(None))
    .order_by(secret_states.c.secret_id)
)


def gauges(connection: sa.Connection, namespace: str) -> dict[int, SecretTotals]:
    """Return the noted totals of the secrets of ``namespace`` that are not deleted, by ID: one statement.

    Those of sub-id 0 are the whole tenant's, so they must not be added to the others'.
    """
    rows = connection.execute(_GAUGES, {"namespace": namespace})
    return {secret_id: SecretTotals(*totals) for secret_id, *totals in rows}
