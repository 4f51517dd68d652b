"""What a look of the metrics costs where there are very many recordings."""

from __future__ import annotations

import time
from collections.abc import Iterator
from string import ascii_lowercase
from typing import Any

import pytest
import sqlalchemy as sa

from b3lb.db.record_metrics import read_record_metrics
from b3lb.db.stored_bytes import load_stored_bytes
from tests.integration.database_farm import Farm

pytestmark = pytest.mark.integration

RECORDINGS, TENANTS = 100_000, 50
MOST_SECONDS = 2.0
"""Many times what it takes on an idle machine: others may be at work on this one."""

_FILL = (
    """
    INSERT INTO record_sets (namespace, record_id, meeting_id, tenant_slug, sub_id, state, archive_key, archive_bytes,
        video_bytes, ended_at, rendered_at, install_id, metadata)
    SELECT 'default', 'r-' || n, 'm', upper(names[1 + n % cardinality(names)]), 1, 'RENDERED', 'archive', 1000, 500,
        now(), now(), gen_random_uuid(), jsonb_build_object('bbb-context', repeat('x', 600))
    FROM generate_series(1, :count) AS n, (SELECT array_agg(name) AS names FROM tenants) AS known
    """,
    """
    INSERT INTO records (record_set_id, profile, state, nonce, file_key, file_bytes, file_sha256, finished_at)
    SELECT id, 'standard', 'RENDERED', record_id, 'video', 500, repeat('0', 64), now() FROM record_sets
    """,
    """
    INSERT INTO callbacks (namespace, kind, record_id, meeting_id, secret_id, url, state, finished_at)
    SELECT 'default', 'recording-ready', record_id, 'm', 1, 'https://lms.example.org', 'DELIVERED', now()
    FROM record_sets
    """,
)


def plans(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for child in node.get("Plans", ()):
        yield from plans(child)


def test_a_look_at_a_hundred_thousand_recordings_reads_indexes_and_is_done_in_no_time(farm: Farm) -> None:
    farm.fill_tenants([farm.tenant(f"t{letter}{more}") for letter in ascii_lowercase[:10] for more in "abcde"], [])
    statements: list[str] = []

    def explained(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_more: Any) -> tuple[str, Any]:
        statements.append(statement)
        return statement, parameters

    with farm.engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        # Neither triggers nor foreign keys: half a minute for what is not measured.
        connection.exec_driver_sql("SET session_replication_role = replica")
        for statement in _FILL:
            connection.execute(sa.text(statement), {"count": RECORDINGS} if ":count" in statement else {})
        connection.exec_driver_sql("VACUUM (ANALYZE) record_sets, records, callbacks")
        sa.event.listen(connection, "before_cursor_execute", explained, retval=True)
        began = time.monotonic()
        found = read_record_metrics(connection, ["default"])
        seconds = time.monotonic() - began
        sa.event.remove(connection, "before_cursor_execute", explained)
        (statement,) = statements
        (plan,) = connection.exec_driver_sql(
            f"EXPLAIN (FORMAT JSON) {statement}", {"namespaces": ["default"]}
        ).scalar_one()
        of_tenants = load_stored_bytes(connection, "default")
    assert len(found.stored) == 2 * TENANTS
    assert sum(item.size for item in found.stored) == RECORDINGS * 1500
    assert len(of_tenants) == TENANTS
    assert seconds < MOST_SECONDS
    read = [node for node in plans(plan["Plan"]) if node["Node Type"] == "Seq Scan"]
    assert {node["Relation Name"] for node in read}.isdisjoint({"record_sets", "records", "callbacks"})
