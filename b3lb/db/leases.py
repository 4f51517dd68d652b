"""Leases: at most one writer per name, without session locks.

A lease is a row with a token that grows with every acquisition and never repeats. Every transaction of its holder
calls `fence` first, which locks the row: a successor waits for that transaction, and a holder that was overtaken (it
slept, or lost the network) writes nothing any more. See Kleppmann, "How to do distributed locking" (2016).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from b3lb.db.tables import leases


class LeaseLostError(Exception):
    """The lease expired or somebody else took it: whatever was to be written must not be."""


LONGEST_LEASE_SECONDS = 120.0
"""A lease that is said to last longer was taken before the database's clock was set back: it has expired."""


@dataclass(frozen=True, slots=True)
class Lease:
    """A lease as acquired; ``token`` is the fencing token."""

    name: str
    holder: str
    token: int


def _expiry() -> sa.ColumnElement[object]:
    # Not now(): that is the transaction's start, and the transaction may have waited for the row.
    return sa.func.clock_timestamp() + sa.func.make_interval(0, 0, 0, 0, 0, 0, sa.bindparam("ttl", type_=sa.Double))


_INSERT = postgresql.insert(leases).values(
    name=sa.bindparam("name"), holder=sa.bindparam("holder"), token=1, expires_at=_expiry()
)
_ACQUIRE = _INSERT.on_conflict_do_update(
    index_elements=[leases.c.name],
    set_={"holder": _INSERT.excluded.holder, "token": leases.c.token + 1, "expires_at": _expiry()},
    where=sa.or_(
        leases.c.expires_at <= sa.func.clock_timestamp(),
        leases.c.expires_at > sa.func.clock_timestamp() + timedelta(seconds=LONGEST_LEASE_SECONDS),
        leases.c.holder == _INSERT.excluded.holder,
    ),
).returning(leases.c.token)

_MINE = sa.and_(
    leases.c.name == sa.bindparam("lease_name"),
    leases.c.holder == sa.bindparam("lease_holder"),
    leases.c.token == sa.bindparam("lease_token"),
    leases.c.expires_at > sa.func.clock_timestamp(),
)
_FENCE = sa.select(leases.c.token).where(_MINE).with_for_update()
_RELEASE = sa.update(leases).where(_MINE).values(expires_at=sa.func.clock_timestamp())


def acquire(connection: sa.Connection, name: str, *, holder: str, ttl_seconds: float) -> Lease | None:
    """Take the lease ``name`` for ``ttl_seconds``, or return None while somebody else holds it.

    The same holder gets it again at once, with a new token (renewal, or a repeated call whose answer was lost), so a
    holder's name must belong to one process.

    Raises:
        ValueError: ``ttl_seconds`` is more than a lease may last.
    """
    if ttl_seconds > LONGEST_LEASE_SECONDS:
        raise ValueError(f"a lease lasts at most {LONGEST_LEASE_SECONDS:g} s")
    token = connection.execute(_ACQUIRE, {"name": name, "holder": holder, "ttl": ttl_seconds}).scalar_one_or_none()
    return None if token is None else Lease(name=name, holder=holder, token=token)


def fence(connection: sa.Connection, lease: Lease) -> None:
    """Make sure until the end of the transaction that nobody overtakes ``lease``.

    Raises:
        LeaseLostError: The lease expired, was released or has another holder.
    """
    if connection.execute(_FENCE, _parameters(lease)).scalar_one_or_none() is None:
        raise LeaseLostError(f"the lease {lease.name} (token {lease.token}) of {lease.holder} is lost")


def release(connection: sa.Connection, lease: Lease) -> None:
    """Give the lease back; nothing happens if it is lost already. The row stays, for its token must never repeat."""
    connection.execute(_RELEASE, _parameters(lease))


def _parameters(lease: Lease) -> dict[str, object]:
    return {"lease_name": lease.name, "lease_holder": lease.holder, "lease_token": lease.token}
