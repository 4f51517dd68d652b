"""What runs now per tenant, API secret, front end and its server, and the metrics texts of tenants.

One statement each, however many tenants and meetings there are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from b3lb.db.secret_states import GAUGES, MAXIMUM_GAUGE, is_open, owns_slug
from b3lb.db.statements import dump, recordset
from b3lb.db.tables import meetings, secrets, tenant_metrics, tenant_stats, tenants
from b3lb.meetings.model import SecretTotals


@dataclass(frozen=True, slots=True)
class OriginStats:
    """What runs under a secret for one front end: ``origin`` and ``origin_server`` are what it says of itself.

    ``found`` is what runs, None for nothing any more; ``stored`` is what was noted, None for nothing.
    """

    tenant_id: int
    secret_id: int
    secret: str
    origin: str
    origin_server: str
    found: SecretTotals | None
    stored: SecretTotals | None


_KEY = ("secret_id", "origin", "origin_server")
_found = (
    sa.select(
        secrets.c.tenant_id,
        secrets.c.id.label("secret_id"),
        meetings.c.origin,
        meetings.c.origin_server,
        sa.func.count().label("meetings"),
        *[
            sa.func.least(sa.func.sum(meetings.c[name]), MAXIMUM_GAUGE).label(name)
            for name in GAUGES
            if name != "meetings"
        ],
    )
    .select_from(meetings.join(secrets, secrets.c.id == meetings.c.secret_id))
    .where(
        is_open,
        secrets.c.namespace == sa.bindparam("namespace"),
        secrets.c.deleted_at.is_(None),
        secrets.c.tenant_id.is_not(None),
    )
    .group_by(secrets.c.tenant_id, secrets.c.id, meetings.c.origin, meetings.c.origin_server)
    .cte("found")
)
_stored = (
    sa.select(tenant_stats)
    .select_from(tenant_stats.join(tenants, tenants.c.id == tenant_stats.c.tenant_id))
    .where(tenants.c.namespace == sa.bindparam("namespace"))
    .cte("stored")
)
_same = sa.and_(*[_found.c[name] == _stored.c[name] for name in _KEY])
_numbers = [sa.tuple_(*[side.c[name] for name in ("tenant_id", *GAUGES)]) for side in (_found, _stored)]
_secret_id = sa.func.coalesce(_found.c.secret_id, _stored.c.secret_id)
_LOAD = (
    sa.select(
        *[sa.func.coalesce(_found.c[name], _stored.c[name]).label(name) for name in ("tenant_id", *_KEY)],
        secrets.c.name.label("secret"),
        *[_found.c[name].label(f"found_{name}") for name in GAUGES],
        *[_stored.c[name].label(f"stored_{name}") for name in GAUGES],
    )
    .select_from(_found.join(_stored, _same, full=True).join(secrets, secrets.c.id == _secret_id))
    .where(_numbers[0].is_distinct_from(_numbers[1]))
    .order_by(*_KEY)
)


def load_changed_stats(connection: sa.Connection, namespace: str) -> list[OriginStats]:
    """Return where what runs is not what was noted: one statement.

    Open meetings count, unless their secret is deleted; whether it is enabled does not matter.
    """
    return [_stats(row) for row in connection.execute(_LOAD, {"namespace": namespace}).mappings()]


def _stats(row: Mapping[Any, Any]) -> OriginStats:
    return OriginStats(
        tenant_id=row["tenant_id"],
        secret_id=row["secret_id"],
        secret=row["secret"],
        origin=row["origin"],
        origin_server=row["origin_server"],
        found=_totals(row, "found_"),
        stored=_totals(row, "stored_"),
    )


def _totals(row: Mapping[Any, Any], prefix: str) -> SecretTotals | None:
    if row[f"{prefix}meetings"] is None:
        return None
    return SecretTotals(**{name: int(row[prefix + name]) for name in GAUGES})


_COLUMNS = ("tenant_id", *_KEY, *GAUGES)
_records = recordset("rows", [tenant_stats.c[name] for name in _COLUMNS])
_INSERT = postgresql.insert(tenant_stats).from_select(
    [*_COLUMNS, "last_updated"],
    sa.select(*[_records.c[name] for name in _COLUMNS], sa.func.clock_timestamp()).order_by(
        *[_records.c[name] for name in _KEY]
    ),
)
_WRITE = _INSERT.on_conflict_do_update(
    index_elements=[tenant_stats.c[name] for name in _KEY],
    set_={name: _INSERT.excluded[name] for name in ("tenant_id", *GAUGES, "last_updated")},
).execution_options(preserve_rowcount=True)
_old = recordset("rows", [tenant_stats.c[name] for name in _KEY])
_REMOVE = sa.delete(tenant_stats).where(
    sa.tuple_(*[tenant_stats.c[name] for name in _KEY]).in_(sa.select(*[_old.c[name] for name in _KEY]))
)


def write_stats(connection: sa.Connection, changed: Sequence[OriginStats]) -> int:
    """Note what was found and remove what has nothing any more; return how many rows: two statements at most."""
    written = 0
    kept = [{**_key(stats), **_gauges(stats.found)} for stats in changed if stats.found is not None]
    gone = [_key(stats) for stats in changed if stats.found is None]
    if kept:
        written += connection.execute(_WRITE, {"rows": dump(kept)}).rowcount
    if gone:
        written += connection.execute(_REMOVE, {"rows": dump(gone)}).rowcount
    return written


def _key(stats: OriginStats) -> dict[str, Any]:
    return {name: getattr(stats, name) for name in ("tenant_id", *_KEY)}


def _gauges(totals: SecretTotals) -> dict[str, int]:
    return {name: getattr(totals, name) for name in GAUGES}


@dataclass(frozen=True, slots=True)
class StoredText:
    """A tenant and its metrics text as noted, None for none; ``has_metrics``: it is not deleted and owns its slug."""

    tenant_id: int
    tenant: str
    slug: str
    has_metrics: bool
    text: str | None


_has_metrics = sa.and_(tenants.c.deleted_at.is_(None), owns_slug)
_LOAD_TEXTS = (
    sa.select(tenants.c.id, tenants.c.name, tenants.c.slug, _has_metrics, tenant_metrics.c.text)
    .select_from(tenants.outerjoin(tenant_metrics, tenant_metrics.c.tenant_id == tenants.c.id))
    .where(
        tenants.c.namespace == sa.bindparam("namespace"),
        sa.or_(_has_metrics, tenant_metrics.c.tenant_id.is_not(None)),
    )
    .order_by(tenants.c.id)
)


def load_texts(connection: sa.Connection, namespace: str) -> list[StoredText]:
    """Return the tenants of ``namespace`` that have, or had, metrics: one statement."""
    return [StoredText(*row) for row in connection.execute(_LOAD_TEXTS, {"namespace": namespace})]


_texts = recordset("rows", [tenant_metrics.c.tenant_id, tenant_metrics.c.text])
_INSERT_TEXTS = postgresql.insert(tenant_metrics).from_select(
    ["tenant_id", "text", "written_at"],
    sa.select(_texts.c.tenant_id, _texts.c.text, sa.func.clock_timestamp()).order_by(_texts.c.tenant_id),
)
_WRITE_TEXTS = _INSERT_TEXTS.on_conflict_do_update(
    index_elements=[tenant_metrics.c.tenant_id],
    set_={name: _INSERT_TEXTS.excluded[name] for name in ("text", "written_at")},
).execution_options(preserve_rowcount=True)
_REMOVE_TEXTS = sa.delete(tenant_metrics).where(
    tenant_metrics.c.tenant_id == sa.any_(sa.bindparam("ids", type_=postgresql.ARRAY(sa.BigInteger)))
)


def write_texts(connection: sa.Connection, texts: Mapping[int, str | None]) -> int:
    """Note the texts by the tenant's ID, and remove those that are None: two statements at most."""
    written = 0
    rows = [{"tenant_id": tenant_id, "text": text} for tenant_id, text in texts.items() if text is not None]
    gone = [tenant_id for tenant_id, text in texts.items() if text is None]
    if rows:
        written += connection.execute(_WRITE_TEXTS, {"rows": dump(rows)}).rowcount
    if gone:
        written += connection.execute(_REMOVE_TEXTS, {"ids": gone}).rowcount
    return written
