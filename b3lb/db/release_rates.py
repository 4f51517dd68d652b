"""How far the rates of queues are spent: the one point in time that a token bucket needs."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from b3lb.db.tables import release_rates

_namespace: sa.BindParameter[str] = sa.bindparam("for_namespace", type_=sa.Text)
_SPENT = sa.select(release_rates.c.spent_until).where(
    release_rates.c.namespace == _namespace, release_rates.c.queue == sa.bindparam("of_queue")
)
_insert_rate = postgresql.insert(release_rates).values(
    namespace=_namespace,
    queue=sa.bindparam("of_queue"),
    spent_until=sa.bindparam("until", type_=sa.TIMESTAMP(timezone=True)),
)
_SPEND = _insert_rate.on_conflict_do_update(
    index_elements=[release_rates.c.namespace, release_rates.c.queue],
    set_={"spent_until": _insert_rate.excluded.spent_until},
)


def read_spent_until(connection: sa.Connection, namespace: str, queue: str) -> datetime | None:
    """Return the state of a queue's rate, None before its first release."""
    parameters = {"for_namespace": namespace, "of_queue": queue}
    return connection.execute(_SPENT, parameters).scalar_one_or_none()


def write_spent_until(connection: sa.Connection, namespace: str, queue: str, until: datetime) -> None:
    """Note the state of a queue's rate, in the transaction that releases."""
    connection.execute(_SPEND, {"for_namespace": namespace, "of_queue": queue, "until": until})
