"""Every encrypted value of the configuration, to see which keys it takes; reads only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import sqlalchemy as sa

from b3lb.db.planning.sealing import api_secret_context, secret_context
from b3lb.db.tables import nodes, secrets

MOST_ROWS = 20_000
"""Rows of each table that are read at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedRow:
    """An encrypted value: of a BBBNode or a BBBSecret (``kind``), and whether its object is deleted."""

    kind: str
    namespace: str
    name: str
    deleted: bool
    key_id: str
    ciphertext: bytes = field(repr=False)

    @property
    def context(self) -> str:
        """The place that its encryption authenticates."""
        place = secret_context if self.kind == "bbbnode" else api_secret_context
        return place(self.namespace, self.name)


def read_sealed_rows(connection: sa.Connection, namespaces: Sequence[str]) -> list[SealedRow]:
    """Return the encrypted values of some namespaces, deleted objects' included: two statements."""
    found: list[SealedRow] = []
    for kind, table in (("bbbnode", nodes), ("bbbsecret", secrets)):
        statement = (
            sa.select(
                table.c.namespace,
                table.c.name,
                table.c.deleted_at.is_not(None).label("deleted"),
                table.c.secret_key_id.label("key_id"),
                table.c.secret_ciphertext.label("ciphertext"),
            )
            .where(table.c.namespace.in_(namespaces), table.c.secret_ciphertext.is_not(None))
            .order_by(table.c.id)
            .limit(MOST_ROWS)
        )
        found += [SealedRow(kind=kind, **row) for row in connection.execute(statement).mappings()]
    return found
