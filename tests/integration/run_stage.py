"""The operator's reconciler of enqueued runs in a test's own thread: real rows, a fake API server, one queue."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast
from uuid import UUID

import sqlalchemy as sa

from b3lb.db.engine import transaction
from b3lb.db.run_history import TaskRun
from b3lb.db.task_attempts import AttemptEnd, begin_attempt, end_attempt
from b3lb.db.task_runs import TaskState
from b3lb_operator.database import Database, DatabaseUnavailableError
from b3lb_operator.kinds import JOB, QUEUE, Key, Manifest, key_of
from b3lb_operator.manifests.cronjob import JobDefaults, RunIdentity, run_job_name
from b3lb_operator.reconcilers.runs import RunReconciler
from b3lb_operator.store import Store
from tests.integration.enqueued_runs import get, put
from tests.unit.operator_fakes import NAMESPACE, FakeKube, manifest_of

T = TypeVar("T")
DEFAULTS = JobDefaults(image="b3lb:test", database_secret="db", encryption_secret="keys")


class FakeDatabase:
    """Transactions in the test's own thread."""

    def __init__(self, engine: sa.Engine) -> None:
        self.engine = engine
        self.away = False

    async def call(self, function: Callable[[sa.Connection], T]) -> T:
        if self.away:
            raise DatabaseUnavailableError("away")
        with transaction(self.engine, timeout_seconds=10) as connection:
            return function(connection)


class RunStage:
    """A queue `core` with the task `check-nodes`, which every program knows."""

    def __init__(self, engine: sa.Engine, **spec: Any) -> None:
        self.engine = engine
        self.kube = FakeKube()
        self.store = Store(lambda _: None)
        self.database = FakeDatabase(engine)
        self.told: list[Key] = []
        self.declare(**spec)
        self.start()

    def start(self, chance: Callable[[], float] = lambda: 1.0) -> None:
        """Begin anew, as an operator that knows nothing."""
        self.reconciler = RunReconciler(
            kube=self.kube,
            store=self.store,
            database=cast("Database", self.database),
            defaults=DEFAULTS,
            chance=chance,
            on_counts=self.told.append,
        )

    def declare(self, **spec: Any) -> None:
        fields = {"tasks": ["check-nodes"], "schedule": "* * * * *", **spec}
        fields = {name: value for name, value in fields.items() if value is not None}
        self.store.observe(QUEUE, "MODIFIED", self.kube.put(QUEUE, manifest_of(QUEUE, "core", fields)))

    async def look(self) -> float:
        return await self.reconciler.reconcile(NAMESPACE)

    def put(self, **values: Any) -> UUID:
        return put(self.engine, NAMESPACE, queue="core", task="check-nodes", **values)

    def row(self, run_id: UUID) -> TaskRun:
        return get(self.engine, NAMESPACE, run_id)

    def job(self, run_id: UUID, attempt: int = 1) -> Manifest | None:
        return self.kube.objects.get(JOB.path(NAMESPACE, run_job_name(RunIdentity(run_id, attempt))))

    def jobs(self) -> list[str]:
        return [path for path in self.kube.objects if "/jobs/" in path]

    def fail(self, run_id: UUID, reason: str = "BackoffLimitExceeded", attempt: int = 1) -> None:
        """Let a Job end as one whose pod was killed, and let the watch show it."""
        job = self.job(run_id, attempt)
        assert job is not None
        conditions = [{"type": "Failed", "status": "True", "reason": reason}]
        self.store.observe(JOB, "MODIFIED", self.kube.put(JOB, {**job, "status": {"conditions": conditions}}))

    def remove(self, run_id: UUID, attempt: int = 1) -> None:
        """Let a Job be gone."""
        job = self.job(run_id, attempt)
        assert job is not None
        del self.kube.objects[JOB.path(*key_of(job))]
        self.store.observe(JOB, "DELETED", {**job, "metadata": {**job["metadata"], "resourceVersion": "999999"}})

    def end(self, run_id: UUID, attempt: int = 1) -> None:
        """Let the pod succeed."""
        with transaction(self.engine, timeout_seconds=10) as connection:
            begin_attempt(connection, run_id, attempt=attempt, pod="pod")
            end_attempt(connection, run_id, attempt=attempt, end=AttemptEnd(state=TaskState.SUCCESS))
