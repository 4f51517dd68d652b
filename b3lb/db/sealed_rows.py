"""Every encrypted value of the configuration, to see which keys it takes; reads only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import sqlalchemy as sa

from b3lb.db.planning.sealing import api_secret_context, secret_context, upload_secret_context
from b3lb.db.tables import clusters, nodes, secrets

MOST_ROWS = 20_000
"""Rows of each table that are read at most."""

_PLACES = {"bbbcluster": upload_secret_context, "bbbnode": secret_context, "bbbsecret": api_secret_context}


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedRow:
    """An encrypted value: of a BBBCluster, BBBNode or BBBSecret (``kind``), and whether its object is deleted."""

    kind: str
    namespace: str
    name: str
    deleted: bool
    key_id: str
    ciphertext: bytes = field(repr=False)

    @property
    def context(self) -> str:
        """The place that its encryption authenticates."""
        return _PLACES[self.kind](self.namespace, self.name)


def read_sealed_rows(connection: sa.Connection, namespaces: Sequence[str]) -> list[SealedRow]:
    """Return the encrypted values of some namespaces, deleted objects' included: three statements."""
    found: list[SealedRow] = []
    for kind, table in (("bbbcluster", clusters), ("bbbnode", nodes), ("bbbsecret", secrets)):
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
