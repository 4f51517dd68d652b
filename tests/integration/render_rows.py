"""Uploaded recordings with a video each that is to be rendered, as rows of a real database."""

from __future__ import annotations

from uuid import UUID

import sqlalchemy as sa

from b3lb.db.engine import transaction
from b3lb.db.node_states import notify
from b3lb.db.task_queue import enqueue
from b3lb.tasks import RENDER_RECORD

_RECORD_SET = sa.text(
    """
    INSERT INTO record_sets (namespace, record_id, meeting_id, tenant_slug, sub_id, archive_key, archive_bytes,
        started_at, ended_at, duration_milliseconds, install_id)
    VALUES (:namespace, :record_id, :record_id, :tenant, CASE WHEN :tenant IS NULL THEN NULL ELSE 1 END, 'archive',
        :size, now() - interval '2 hours', now() - interval '1 hour', :milliseconds, (SELECT id FROM installation))
    RETURNING id
    """
).bindparams(sa.bindparam("tenant", type_=sa.Text))
_RECORD = sa.text(
    "INSERT INTO records (record_set_id, profile, profile_generation, run_id) VALUES (:id, :profile, 1, :run)"
)
_PROFILE = sa.text(
    "INSERT INTO record_profiles (namespace, name, uid, generation, spec) VALUES (:namespace, :name, :name, 3, :spec)"
)


def add_profile(engine: sa.Engine, namespace: str, name: str = "hd", spec: str = "{}") -> None:
    """Store a BBBRecordProfile as the operator does."""
    with engine.begin() as connection:
        connection.execute(_PROFILE, {"namespace": namespace, "name": name, "spec": spec})


def upload(
    engine: sa.Engine, namespace: str, record_ids: list[str], *, tenant: str, milliseconds: int = 600_000
) -> None:
    """Store recordings as the front end does, and tell the operator."""
    common = {"namespace": namespace, "tenant": tenant, "size": 2**30, "milliseconds": milliseconds}
    with transaction(engine, timeout_seconds=120) as connection:
        for record_id in record_ids:
            connection.execute(_RECORD_SET, {**common, "record_id": record_id})
        notify(connection, namespace)


def planned_runs(engine: sa.Engine, namespace: str) -> dict[str, list[UUID]]:
    """Return by tenant the runs that are to render the uploaded recordings."""
    statement = sa.text(
        "SELECT tenant_slug, run_id FROM records JOIN record_sets ON record_sets.id = record_set_id"
        " WHERE namespace = :namespace AND run_id IS NOT NULL"
    )
    found: dict[str, list[UUID]] = {}
    with engine.connect() as connection:
        for row in connection.execute(statement, {"namespace": namespace}):
            found.setdefault(row.tenant_slug, []).append(row.run_id)
    return found


def plan_renders(
    engine: sa.Engine,
    namespace: str,
    record_ids: list[str],
    *,
    queue: str = "record",
    tenant: str | None = None,
    profile: str = "hd",
    milliseconds: int | None = 600_000,
    size: int = 2**30,
) -> list[UUID]:
    """Store uploaded recordings, each with a video to be rendered with ``profile``; return the runs, in order."""
    runs = []
    with transaction(engine, timeout_seconds=120) as connection:
        for record_id in record_ids:
            parameters = {
                "namespace": namespace,
                "record_id": record_id,
                "tenant": tenant,
                "size": size,
                "milliseconds": milliseconds,
            }
            record_set = connection.execute(_RECORD_SET, parameters).scalar_one()
            arguments = {"record_set": str(record_set), "profile": profile}
            run = enqueue(
                connection, namespace=namespace, queue=queue, task=RENDER_RECORD, arguments=arguments, tenant=tenant
            )
            connection.execute(_RECORD, {"id": record_set, "profile": profile, "run": run})
            runs.append(run)
    return runs


def record_of(engine: sa.Engine, run_id: UUID) -> tuple[str, str | None, int]:
    """Return state, reason and memory steps of the video that a run renders."""
    statement = sa.text("SELECT state, reason, memory_steps FROM records WHERE run_id = :run")
    with engine.connect() as connection:
        row = connection.execute(statement, {"run": run_id}).one()
    return row.state, row.reason, row.memory_steps
