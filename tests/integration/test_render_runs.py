"""Renders among the enqueued runs, on real rows and a fake API server: their Jobs, and what a pod's death means."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa

from b3lb.db.engine import transaction
from b3lb.db.render_needs import read_render_needs
from b3lb.db.renders import begin_render, step_memory
from b3lb.db.task_attempts import AttemptEnd, begin_attempt, end_attempt
from b3lb.db.task_queue import mark_released, revoke
from b3lb.db.task_runs import TaskState
from b3lb.recordings.render_needs import RenderKey, RenderNeeds
from b3lb_operator.kinds import JOB, POD, QUEUE, Manifest
from b3lb_operator.manifests.cronjob import RUN_LABEL
from tests.integration.render_rows import add_profile, plan_renders, record_of
from tests.integration.run_stage import RunStage
from tests.unit.operator_fakes import NAMESPACE, manifest_of

pytestmark = pytest.mark.integration

OOM = {"exitCode": 137, "reason": "OOMKilled"}
KILLED = {"exitCode": 137, "reason": "Error"}


class RenderStage(RunStage):
    """A queue `record` that renders, and the BBBRecordProfile `hd`."""

    def __init__(self, engine: sa.Engine, **spec: Any) -> None:
        add_profile(engine, NAMESPACE)
        super().__init__(engine, **spec)

    def declare(self, **spec: Any) -> None:
        fields = {"tasks": ["render-record"], **spec}
        self.store.observe(QUEUE, "MODIFIED", self.kube.put(QUEUE, manifest_of(QUEUE, "record", fields)))

    def plan(self, *record_ids: str, **values: Any) -> list[UUID]:
        return plan_renders(self.engine, NAMESPACE, list(record_ids), **values)

    def job(self, run_id: UUID, attempt: int = 1) -> Manifest | None:
        return next(
            (
                job
                for path, job in self.kube.objects.items()
                if "/jobs/" in path
                and job["metadata"]["labels"][RUN_LABEL] == str(run_id)
                and environment(job)["B3LB_ATTEMPT"] == str(attempt)
            ),
            None,
        )

    def begin(self, run_id: UUID, pod: str, attempt: int = 1) -> bool:
        """Let a pod claim the run and its video; return whether it may work."""
        with transaction(self.engine, timeout_seconds=10) as connection:
            claimed = begin_attempt(connection, run_id, attempt=attempt, pod=pod)
            if claimed is None:
                return False
            record_set, profile = UUID(claimed.arguments["record_set"]), claimed.arguments["profile"]
            assert begin_render(connection, run_id=run_id, attempt=attempt, record_set=record_set, profile=profile)
            return True

    def die(self, run_id: UUID, terminated: dict[str, Any], attempt: int = 1, **status: Any) -> None:
        """Let the Job's pod end without a word, and let the watch show it."""
        job = self.job(run_id, attempt)
        assert job is not None
        pod = manifest_of(POD, f"{job['metadata']['name']}-aaaaa")
        pod["metadata"]["labels"] = {"batch.kubernetes.io/controller-uid": job["metadata"]["uid"]}
        pod["spec"] = {"activeDeadlineSeconds": 3000}
        pod["status"] = {"containerStatuses": [{"state": {"terminated": terminated}}], **status}
        self.kube.put(POD, pod)
        self.fail(run_id, attempt=attempt)


def environment(job: Manifest) -> dict[str, str]:
    (container,) = job["spec"]["template"]["spec"]["containers"]
    return {entry["name"]: entry.get("value", "") for entry in container["env"]}


def memory(job: Manifest | None) -> str:
    assert job is not None
    (container,) = job["spec"]["template"]["spec"]["containers"]
    return str(container["resources"]["limits"]["memory"])


@pytest.fixture
def stage(engine: sa.Engine) -> RenderStage:
    return RenderStage(engine)


async def test_what_a_render_needs_is_read_from_recording_and_profile(stage: RenderStage) -> None:
    (run_id,) = stage.plan("r-1", tenant="UNI", milliseconds=90_500)
    (by_clock,) = stage.plan("r-2", milliseconds=None, profile="none", size=7)
    with stage.engine.connect() as connection:
        needs, other = (read_render_needs(connection, run) for run in (run_id, by_clock))
        assert read_render_needs(connection, UUID(int=1)) is None
    assert needs is not None
    assert other is not None
    assert needs == RenderNeeds(
        key=RenderKey(needs.key.record_set_id, "hd"),
        record_id="r-1",
        tenant="UNI",
        spec={},
        generation=3,
        memory_steps=0,
        archive_bytes=2**30,
        seconds=90.5,
    )
    assert (other.seconds, other.spec, other.generation, other.tenant) == (3600.0, None, None, None)


async def test_a_render_has_a_job_that_is_called_after_its_video_whoever_makes_it(stage: RenderStage) -> None:
    (run_id,) = stage.plan("r-1")
    for _ in range(2):
        stage.start()
        await stage.look()
    assert len(stage.jobs()) == 1
    job = stage.job(run_id)
    assert job is not None
    name = job["metadata"]["name"]
    assert name.startswith("render-")
    assert "-hd-" in name
    assert job["spec"]["template"]["spec"]["activeDeadlineSeconds"] == 600 + 4 * 600
    statement = sa.text("SELECT job_name, job_uid FROM task_runs")
    with stage.engine.connect() as connection:
        assert tuple(connection.execute(statement).one()) == (name, job["metadata"]["uid"])


async def test_a_run_whose_video_is_not_its_own_any_more_gets_no_pod(stage: RenderStage) -> None:
    (run_id,) = stage.plan("r-1")
    with stage.engine.begin() as connection:
        connection.execute(sa.text("UPDATE records SET run_id = gen_random_uuid()"))
    await stage.look()
    assert stage.jobs() == []
    assert (stage.row(run_id).state, stage.row(run_id).error) == ("REVOKED", "there is no video that this run renders")


async def test_each_render_has_a_pod_of_its_own_whatever_the_batch_size(engine: sa.Engine) -> None:
    stage = RenderStage(engine, batchSize=5, concurrency=2)
    stage.plan("r-1", "r-2", "r-3")
    await stage.look()
    assert len(stage.jobs()) == 2


async def test_tenants_share_the_places_whoever_uploads_more(engine: sa.Engine) -> None:
    stage = RenderStage(engine, concurrency=4)
    many = stage.plan(*(f"a-{number}" for number in range(20)), tenant="AAA")
    few = stage.plan("b-1", "b-2", tenant="BBB")
    await stage.look()
    assert [stage.job(run) is not None for run in few] == [True, True]
    assert sum(stage.job(run) is not None for run in many) == 2


async def test_the_pod_that_follows_one_that_was_drained_goes_on_with_the_attempt(stage: RenderStage) -> None:
    (run_id,) = stage.plan("r-1")
    await stage.look()
    job = stage.job(run_id)
    assert job is not None
    first, second = (f"{job['metadata']['name']}-{suffix}" for suffix in ("aaaaa", "bbbbb"))
    assert stage.begin(run_id, first)
    assert not stage.begin(run_id, "render-of-another-job-aaaaa")
    assert stage.begin(run_id, second)
    with transaction(stage.engine, timeout_seconds=10) as connection:
        late = AttemptEnd(state=TaskState.FAILURE, error="late")
        assert not end_attempt(connection, run_id, attempt=1, end=late, pod=first)
        assert end_attempt(connection, run_id, attempt=1, end=AttemptEnd(state=TaskState.SUCCESS), pod=second)
    assert (stage.row(run_id).state, stage.row(run_id).attempts) == ("SUCCESS", 1)


@pytest.mark.parametrize("terminated", [OOM, {"exitCode": 69, "reason": "Error"}])
async def test_a_render_out_of_memory_is_tried_once_more_at_once_with_half_as_much_more(
    engine: sa.Engine, terminated: dict[str, Any]
) -> None:
    stage = RenderStage(engine, retry={"maxRetries": 0})
    (run_id,) = stage.plan("r-1")
    await stage.look()
    assert memory(stage.job(run_id)) == "10Gi"
    stage.begin(run_id, "pod-1")
    stage.die(run_id, terminated)
    await stage.look()
    assert stage.row(run_id).state == "RETRY"
    assert record_of(engine, run_id) == ("PENDING", "OutOfMemory", 1)
    await stage.look()
    again = stage.job(run_id, 2)
    assert memory(again) == "15360Mi"
    assert again is not None
    assert again["metadata"]["name"].endswith("-2")
    stage.begin(run_id, "pod-2", 2)
    stage.die(run_id, terminated, 2)
    await stage.look()
    assert stage.row(run_id).state == "FAILURE"
    assert record_of(engine, run_id) == ("FAILED", "OutOfMemory", 1)
    with engine.connect() as connection:
        assert connection.execute(sa.text("SELECT state, reason FROM record_sets")).one() == ("FAILED", "OutOfMemory")


async def test_a_pod_that_asked_for_more_memory_and_died_before_it_said_so_is_followed_by_one(
    stage: RenderStage,
) -> None:
    (run_id,) = stage.plan("r-1")
    await stage.look()
    stage.begin(run_id, "pod-1")
    with transaction(stage.engine, timeout_seconds=10) as connection:
        assert step_memory(connection, run_id=run_id, attempt=1)
    stage.die(run_id, OOM)
    await stage.look()
    assert stage.row(run_id).state == "RETRY"
    await stage.look()
    assert memory(stage.job(run_id, 2)) == "15360Mi"


async def test_what_the_pod_said_itself_costs_no_memory_step(stage: RenderStage) -> None:
    (run_id,) = stage.plan("r-1")
    await stage.look()
    stage.begin(run_id, "pod-1")
    stage.end(run_id)
    stage.die(run_id, OOM)
    await stage.look()
    assert stage.row(run_id).state == "SUCCESS"
    assert record_of(stage.engine, run_id)[2] == 0


async def test_a_render_that_takes_too_long_has_failed_with_that_reason(stage: RenderStage) -> None:
    (run_id,) = stage.plan("r-1")
    await stage.look()
    stage.begin(run_id, "pod-1")
    stage.die(run_id, {"exitCode": 143, "reason": "Error"}, reason="DeadlineExceeded")
    await stage.look()
    assert (stage.row(run_id).state, stage.row(run_id).error) == ("FAILURE", "the hard time limit of 3000 s is over")
    assert record_of(stage.engine, run_id) == ("FAILED", "Timeout", 0)


async def test_a_killed_render_is_tried_again_and_the_last_time_its_worker_is_lost(engine: sa.Engine) -> None:
    stage = RenderStage(engine, retry={"maxRetries": 1, "backoffSeconds": 1})
    (run_id,) = stage.plan("r-1")
    await stage.look()
    stage.begin(run_id, "pod-1")
    stage.die(run_id, KILLED)
    await stage.look()
    assert stage.row(run_id).state == "RETRY"
    assert record_of(engine, run_id) == ("PENDING", "WorkerLost", 0)
    await asyncio.sleep(1)
    await stage.look()
    stage.begin(run_id, "pod-2", 2)
    stage.die(run_id, KILLED, 2)
    await stage.look()
    assert stage.row(run_id).state == "FAILURE"
    assert record_of(engine, run_id) == ("FAILED", "WorkerLost", 0)


async def test_the_job_of_a_revoked_render_is_deleted(stage: RenderStage) -> None:
    (run_id,) = stage.plan("r-1")
    await stage.look()
    with transaction(stage.engine, timeout_seconds=10) as connection:
        revoke(connection, NAMESPACE, run_id, why="by hand")
    await stage.look()
    job = stage.job(run_id)
    deleted = [path for method, path, _ in stage.kube.requests if method == "DELETE"]
    assert job is None or deleted == [JOB.path(NAMESPACE, job["metadata"]["name"])]


async def test_a_render_whose_job_was_deleted_is_done_again_when_its_pod_is_gone(stage: RenderStage) -> None:
    (run_id,) = stage.plan("r-1")
    await stage.look()
    stage.begin(run_id, "pod-1")
    job = stage.job(run_id)
    assert job is not None
    pod = manifest_of(POD, "pod-1")
    pod["metadata"]["labels"] = {"batch.kubernetes.io/controller-uid": job["metadata"]["uid"]}
    stage.kube.put(POD, {**pod, "status": {"phase": "Running"}})
    stage.remove(run_id)
    stage.start()
    await stage.look()
    assert stage.row(run_id).state == "STARTED"
    stage.kube.put(POD, {**pod, "status": {"phase": "Failed"}})
    await stage.look()
    assert (stage.row(run_id).state, stage.row(run_id).error) == ("RETRY", "its Job was deleted")
    assert record_of(stage.engine, run_id) == ("PENDING", "WorkerLost", 0)


async def test_jobs_that_are_deleted_again_and_again_end_a_render_with_the_last_attempt(engine: sa.Engine) -> None:
    stage = RenderStage(engine, retry={"maxRetries": 0})
    (run_id,) = stage.plan("r-1")
    await stage.look()
    stage.remove(run_id)
    await stage.look()
    assert (stage.row(run_id).state, stage.row(run_id).error) == (
        "FAILURE",
        "its Job was deleted (attempt 1, the last one)",
    )
    assert record_of(engine, run_id) == ("FAILED", "WorkerLost", 0)


@pytest.mark.parametrize("with_job", [True, False], ids=["at-work", "released"])
async def test_renders_in_flight_whose_queue_is_deleted_wait_for_it(engine: sa.Engine, *, with_job: bool) -> None:
    """However few attempts it allowed, and also if no operator saw it going."""
    stage = RenderStage(engine, retry={"maxRetries": 0})
    (run_id,) = stage.plan("r-1")
    if with_job:
        await stage.look()
        stage.begin(run_id, "pod-1")
        stage.remove(run_id)
    else:
        with transaction(engine, timeout_seconds=10) as connection:
            mark_released(connection, NAMESPACE, "record", runs=[run_id], spent_until=None)
    queue = stage.kube.object(QUEUE, "record")
    stage.store.observe(QUEUE, "DELETED", {**queue, "metadata": {**queue["metadata"], "resourceVersion": "999999"}})
    stage.start()
    for _ in range(2):
        await stage.look()
    assert (stage.row(run_id).state, stage.row(run_id).attempts, stage.jobs()) == ("RETRY", 1, [])
    assert record_of(engine, run_id)[0] == "PENDING"
    stage.declare()
    stage.start()
    await stage.look()
    assert stage.job(run_id, 2) is not None
    assert stage.begin(run_id, "pod-2", 2)
