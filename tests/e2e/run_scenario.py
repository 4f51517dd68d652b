"""Enqueued runs on a real control plane: what the end-to-end tests of them have in common."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import psutil
import psycopg
import sqlalchemy as sa

from b3lb.db.engine import create_engine
from b3lb.db.run_history import TaskRun, read_runs
from dev.environment import Installation
from dev.farm.process import Farm
from dev.scenario import NOTHING_DECLARED, Scenario, queue
from tests.e2e.conftest import remove
from tests.integration.enqueued_runs import PACKAGE, get, put

_PYTHONPATH = {"extraEnv": [{"name": "PYTHONPATH", "value": PACKAGE}]}
WITH_TASKS = {**NOTHING_DECLARED, "operator": _PYTHONPATH, "jobs": _PYTHONPATH}
"""Values of a release whose operator and pods have the task `work`."""


class Runs(Scenario):
    """Runs of the task `work`."""

    def __init__(self, installation: Installation, farm: Farm) -> None:
        super().__init__(installation, farm)
        self.engine: sa.Engine = create_engine(installation.database_url, application_name="tests")

    def declare_queue(self, name: str = "work", **spec: Any) -> None:
        """Declare a queue that runs `work` on demand and wait until the database has it."""
        fields = {name: value for name, value in queue(name, ["work"], **spec)["spec"].items() if value is not None}
        fields.pop("schedule"), fields.pop("tickSeconds")
        self.apply({**queue(name, ["work"]), "spec": fields})
        expected = "False/Suspended" if spec.get("suspend") else "True/OnDemand"
        self.expect_condition(name, "Ready", expected, within=10, of="bbbqueue")
        with psycopg.connect(self.installation.database_url, autocommit=True) as connection:
            count = "SELECT count(*) FROM queues WHERE name = %s AND deleted_at IS NULL AND generation = %s"
            generation = self.get("bbbqueue", name)["metadata"]["generation"]
            self.expect(
                "the database has the queue",
                lambda: connection.execute(count, (name, generation)).fetchone() == (1,),
                within=10,
            )

    def forget(self) -> None:
        """Take objects and runs away."""
        self.engine.dispose()
        remove(self.installation)
        with psycopg.connect(self.installation.database_url) as connection:
            connection.execute("DELETE FROM task_runs")
            connection.execute("DELETE FROM release_rates")

    def put(self, **values: Any) -> UUID:
        """Enqueue a run; return its ID."""
        return put(self.engine, self.installation.namespace, **values)

    def row(self, run_id: UUID) -> TaskRun:
        """Return a run."""
        return get(self.engine, self.installation.namespace, run_id)

    def listed(self) -> list[TaskRun]:
        """Return all runs, newest first."""
        with self.engine.connect() as connection:
            return read_runs(connection, self.installation.namespace)

    def expect_state(self, run_id: UUID, state: str, *, within: float) -> TaskRun:
        """Wait until a run is in a state; return it."""
        self.expect(f"run is {state}", lambda: self.row(run_id).state == state, within=within)
        return self.row(run_id)

    def job_names(self) -> list[str]:
        """Return the names of the Jobs of runs."""
        return self.installation.kubectl("get", "jobs", "-l", "b3lb.io/run", "-o", "name").split()

    def kill_pod(self, run_id: UUID, *, chunk: int | None = None) -> None:
        """Kill the process of a run's pod, or of one of its chunks, without a warning."""
        found = [process for process in psutil.process_iter(["cmdline"]) if _is_pod(process, str(run_id))]
        if chunk is not None:
            found = [process for process in found if environment_of(process).get("B3LB_CHUNK") == str(chunk)]
        assert found
        for process in found:
            process.kill()


def _is_pod(process: psutil.Process, run_id: str) -> bool:
    words = process.info["cmdline"] or []
    return "--run" in words and run_id in words and any("b3lb-job" in word or word == "b3lb_jobs" for word in words)


def environment_of(process: psutil.Process) -> dict[str, str]:
    """Return the environment of a process, empty when it is gone."""
    try:
        return process.environ()
    except psutil.Error:
        return {}
