"""What archives and videos take in the storage, by tenant."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa

STORED_BY_SLUG: Final = """
    SELECT record_sets.tenant_slug AS slug, sum(record_sets.archive_bytes)::bigint AS archives,
        sum(record_sets.video_bytes)::bigint AS videos
    FROM record_sets
    WHERE record_sets.namespace = :namespace AND record_sets.tenant_slug IS NOT NULL
    GROUP BY record_sets.tenant_slug
"""
"""The select of the bytes of each slug that recordings of a namespace have."""


@dataclass(frozen=True, slots=True)
class StoredBytes:
    """Bytes of archives and of videos."""

    archives: int = 0
    videos: int = 0


_LOAD = sa.text(STORED_BY_SLUG)


def load_stored_bytes(connection: sa.Connection, namespace: str) -> dict[str, StoredBytes]:
    """Return what the recordings of each slug take: one statement; slugs without any are left out."""
    rows = connection.execute(_LOAD, {"namespace": namespace})
    return {row.slug: StoredBytes(row.archives, row.videos) for row in rows}
