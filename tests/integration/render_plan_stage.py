"""Recordings that are planned on real PostgreSQL, as the operator plans them."""

from typing import Any
from uuid import UUID

from b3lb.db.configuration import apply_record_profiles
from b3lb.db.engine import transaction
from b3lb.db.render_plan import plan_renders
from b3lb.db.renders import begin_render
from b3lb.db.task_attempts import AttemptEnd, end_attempt
from b3lb.db.task_queue import mark_released, read_content
from b3lb.db.task_runs import TaskState
from b3lb.recordings.steering import Recording, Wish
from tests.integration.database_farm import Farm
from tests.integration.recordings_stage import Recordings

NAMESPACE = "default"


class Stage:
    """Recordings of the secret uni-001 that are UPLOADED, and the profiles hd (default) and sd."""

    def __init__(self, farm: Farm, *profiles: str) -> None:
        self.farm = farm
        self.recordings = Recordings(farm)
        self.profiles(*(profiles or ("hd",)))
        self.deleted: tuple[str, ...] = ()
        self.wishes: dict[str, Wish] = {}
        self.queue: str | None = "record"

    def profiles(self, *names: str) -> None:
        rows = [self.farm.record_profile(name, is_default=name == "hd") for name in names]
        with transaction(self.farm.engine, timeout_seconds=10) as connection:
            apply_record_profiles(connection, NAMESPACE, rows, complete=True)

    def upload(self, name: str = "r-1", *, of: str | None = "uni-001", state: str = "UPLOADED") -> UUID:
        found = self.recordings.add(name, state=state, of=of)
        self.farm.run("DELETE FROM records WHERE record_set_id = :id", id=found)
        self.farm.run("UPDATE record_sets SET reason = NULL WHERE id = :id AND state <> 'FAILED'", id=found)
        return found

    def plan(self) -> dict[str, Recording]:
        with transaction(self.farm.engine, timeout_seconds=10) as connection:
            seen = plan_renders(connection, NAMESPACE, queue=self.queue, wishes=self.wishes, deleted=self.deleted)
        return {recording.name: recording for recording in seen.recordings}

    def wish(self, name: str = "r-1", **fields: Any) -> dict[str, Recording]:
        self.wishes[name] = Wish(uid=f"uid-{name}", **fields)
        return self.plan()

    def states(self, name: str = "r-1") -> tuple[str, dict[str, str]]:
        ((state,),) = self.farm.rows("SELECT state FROM record_sets WHERE record_id = :name", name=name)
        rows = self.farm.rows(
            "SELECT profile, r.state FROM records r JOIN record_sets s ON s.id = record_set_id WHERE record_id = :name",
            name=name,
        )
        return str(state), {str(profile): str(of) for profile, of in rows}

    def runs(self) -> list[Any]:
        with transaction(self.farm.engine, timeout_seconds=10) as connection:
            return list(read_content(connection, NAMESPACE).runs)

    def release(self) -> UUID:
        """Release the run that waits, as the operator does."""
        with transaction(self.farm.engine, timeout_seconds=10) as connection:
            (run,) = (run for run in read_content(connection, NAMESPACE).runs if not run.in_flight)
            mark_released(connection, NAMESPACE, run.queue, runs=[run.id], spent_until=None)
            return UUID(str(run.id))

    def begin(self, record_set: UUID, run: UUID, profile: str = "hd") -> bool:
        with transaction(self.farm.engine, timeout_seconds=10) as connection:
            work = begin_render(connection, run_id=run, attempt=1, record_set=record_set, profile=profile)
            return work is not None

    def end(self, run: UUID, state: TaskState, error: str = "the pod is gone without a word") -> None:
        with transaction(self.farm.engine, timeout_seconds=10) as connection:
            assert end_attempt(connection, run, attempt=1, end=AttemptEnd(state=state, error=error))
