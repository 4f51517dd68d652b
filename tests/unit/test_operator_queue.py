"""A BBBQueue's CronJob: made, kept, and left alone where it is not ours."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from typing import Any

import pytest

from b3lb.release import RunCounts
from b3lb.resources import BBBQueueSpec
from b3lb_operator.events import EventRecorder
from b3lb_operator.kinds import CRON_JOB, JOB, QUEUE, SECRET, Manifest
from b3lb_operator.kube import ConflictError, ForbiddenError, RefusedError
from b3lb_operator.manifests.cronjob import JobDefaults
from b3lb_operator.manifests.facts import Block
from b3lb_operator.reconcilers.queue import QueueReconciler, owned_jobs, task_block
from b3lb_operator.resolve import parse_spec
from b3lb_operator.status import StatusWriter
from b3lb_operator.store import Store
from tests.unit.operator_fakes import FakeKube, key, manifest_of, queue_manifest, secret_manifest

DEFAULTS = JobDefaults(image="b3lb:test", database_secret="db", encryption_secret="keys")
OLD = {"creationTimestamp": "2026-01-01T00:00:00Z"}


def with_metadata(manifest: Manifest, **metadata: Any) -> Manifest:
    return {**manifest, "metadata": {**manifest["metadata"], **metadata}}


class Fixture:
    """A reconciler on an API server in memory."""

    def __init__(self, *manifests: Manifest, defaults: JobDefaults = DEFAULTS) -> None:
        self.kube = FakeKube()
        self.store = Store(lambda _: None)
        for manifest in manifests:
            self.store.observe(QUEUE, "ADDED", self.kube.put(QUEUE, manifest))
        events = EventRecorder(self.kube, instance="pod")
        writer = StatusWriter(self.kube, self.store, events, clock=asyncio.get_running_loop().time)
        self.row_block: Block | None = None
        self.counts: RunCounts | None = None
        self.reconciler = QueueReconciler(
            kube=self.kube,
            store=self.store,
            writer=writer,
            defaults=defaults,
            row_block=lambda _key: self.row_block,
            run_counts=lambda _key: self.counts,
        )

    async def reconcile(self, name: str = "core") -> float | None:
        return await self.reconciler.reconcile(key(name))

    def put_cron_job(self, manifest: Manifest) -> None:
        """Put a CronJob in, as if somebody else had written it."""
        self.store.observe(CRON_JOB, "MODIFIED", self.kube.put(CRON_JOB, manifest))

    @property
    def cron_job(self) -> Manifest:
        return self.kube.object(CRON_JOB, "b3lb-core")

    @property
    def cron_job_writes(self) -> list[str]:
        return [method for method, path, _ in self.kube.writes if "/cronjobs/" in path]

    def ready(self, name: str = "core") -> tuple[str, str, str]:
        (condition,) = self.kube.object(QUEUE, name)["status"]["conditions"]
        return condition["status"], condition["reason"], condition["message"]


def until_missed() -> float:
    """Return the seconds until a slot of every minute is missed if it gets no Job."""
    return (75 - time.time()) % 60


async def test_a_queue_becomes_a_cron_job_that_it_owns_and_then_rests() -> None:
    fixture = Fixture(queue_manifest(tickSeconds=15))
    assert await fixture.reconcile() == pytest.approx(until_missed(), abs=2)
    owner = fixture.cron_job["metadata"]["ownerReferences"][0]
    assert (owner["uid"], owner["controller"]) == ("bbbqueues-core", True)
    assert fixture.ready()[:2] == ("True", "Scheduled")
    fixture.kube.requests.clear()
    await fixture.reconcile()
    assert fixture.kube.writes == []


async def test_a_cron_job_that_is_as_it_should_be_costs_no_request() -> None:
    fixture = Fixture(queue_manifest())
    await fixture.reconcile()
    fixture.put_cron_job(fixture.cron_job)
    fixture.kube.requests.clear()
    await fixture.reconcile()
    assert fixture.kube.requests == []


@pytest.mark.parametrize(
    "drift",
    [
        {"suspend": True},
        {"schedule": "0 0 1 1 *"},
        {"timeZone": "Europe/Berlin"},
        {"concurrencyPolicy": "Allow"},
        {"jobTemplate": {"spec": {"backoffLimit": 6}}},
    ],
)
async def test_changes_by_others_are_undone(drift: dict[str, Any]) -> None:
    fixture = Fixture(queue_manifest())
    await fixture.reconcile()
    wanted = fixture.cron_job["spec"]
    spec = {**wanted, **drift}
    if "jobTemplate" in drift:
        spec["jobTemplate"] = {**wanted["jobTemplate"], "spec": {**wanted["jobTemplate"]["spec"], "backoffLimit": 6}}
    fixture.put_cron_job({**fixture.cron_job, "spec": spec})
    await fixture.reconcile()
    assert fixture.cron_job["spec"] == wanted
    assert fixture.cron_job_writes == ["PATCH", "PATCH", "PUT"]


async def test_what_apply_cannot_undo_is_replaced_and_labels_of_others_stay() -> None:
    """Server-side apply leaves list entries of other managers in place."""
    fixture = Fixture(queue_manifest())
    await fixture.reconcile()
    wanted = fixture.cron_job

    def with_sidecar(manifest: Manifest) -> Manifest:
        template = manifest["spec"]["jobTemplate"]["spec"]["template"]
        pod = {**template["spec"], "containers": [*template["spec"]["containers"], {"name": "sidecar"}]}
        job = {**manifest["spec"]["jobTemplate"]["spec"], "template": {**template, "spec": pod}}
        spec = {**manifest["spec"], "jobTemplate": {**manifest["spec"]["jobTemplate"], "spec": job}}
        labels = {**manifest["metadata"]["labels"], "team": "x"}
        return with_metadata({**manifest, "spec": spec}, labels=labels)

    fixture.kube.after_apply = with_sidecar
    fixture.put_cron_job(with_sidecar(wanted))
    await fixture.reconcile()
    assert fixture.cron_job_writes[-2:] == ["PATCH", "PUT"]
    assert fixture.cron_job["spec"] == wanted["spec"]
    assert fixture.cron_job["metadata"]["labels"]["team"] == "x"


async def test_a_deleted_cron_job_is_made_again() -> None:
    fixture = Fixture(queue_manifest())
    await fixture.reconcile()
    gone = fixture.kube.objects.pop(CRON_JOB.path("farm", "b3lb-core"))
    fixture.store.observe(CRON_JOB, "ADDED", gone)
    fixture.store.observe(CRON_JOB, "DELETED", with_metadata(gone, resourceVersion="99"))
    await fixture.reconcile()
    assert fixture.cron_job["metadata"]["uid"] != gone["metadata"]["uid"]


async def test_a_cron_job_without_our_label_is_found_although_no_watch_shows_it() -> None:
    fixture = Fixture(queue_manifest())
    await fixture.reconcile()
    fixture.kube.put(CRON_JOB, with_metadata(fixture.cron_job, labels={}))
    await fixture.reconcile()
    assert fixture.cron_job["metadata"]["labels"]["app.kubernetes.io/part-of"] == "b3lb"


async def test_somebody_elses_cron_job_of_that_name_is_left_alone_and_said() -> None:
    fixture = Fixture(queue_manifest())
    foreign = manifest_of(CRON_JOB, "b3lb-core", {"schedule": "@daily"})
    fixture.kube.put(CRON_JOB, foreign)
    assert await fixture.reconcile() == 30
    assert fixture.cron_job["spec"] == {"schedule": "@daily"}
    status, reason, message = fixture.ready()
    assert (status, reason) == ("False", "Refused")
    assert "delete it" in message


@pytest.mark.parametrize("reason", ["UnknownTask", "TaskInOtherQueue", "ImageMissing"])
async def test_whatever_is_wrong_with_a_queue_a_foreign_cron_job_is_neither_changed_nor_counted(reason: str) -> None:
    young = queue_manifest(tasks=["no-such-task"] if reason == "UnknownTask" else ["check-nodes"])
    others = [with_metadata(queue_manifest("old"), **OLD)] if reason == "TaskInOtherQueue" else []
    image = "" if reason == "ImageMissing" else "b3lb:test"
    fixture = Fixture(young, *others, defaults=dataclasses.replace(DEFAULTS, image=image))
    foreign = {
        **manifest_of(CRON_JOB, "b3lb-core", {"schedule": "@daily"}, labels={"app.kubernetes.io/part-of": "b3lb"}),
        "status": {"lastScheduleTime": "2026-03-01T11:00:00Z", "lastSuccessfulTime": "2026-03-01T11:00:30Z"},
    }
    fixture.put_cron_job(foreign)
    owners = [{"kind": "CronJob", "name": "b3lb-core", "uid": foreign["metadata"]["uid"]}]
    fixture.store.observe(JOB, "ADDED", manifest_of(JOB, "b3lb-core-1", ownerReferences=owners))
    await fixture.reconcile()
    assert fixture.cron_job_writes == []
    assert fixture.cron_job["spec"] == {"schedule": "@daily"}
    # That it has to go first is said before what is missing for one of our own.
    assert fixture.ready()[1] == ("Refused" if reason == "ImageMissing" else reason)
    status = fixture.kube.object(QUEUE, "core")["status"]
    assert status["active"] == 0
    assert status.keys() & {"lastScheduleTime", "lastSuccessTime"} == set()


async def test_the_cron_job_of_a_queue_of_the_same_name_before_is_not_suspended_either() -> None:
    fixture = Fixture(queue_manifest(tasks=["no-such-task"]))
    owners = [{"kind": "BBBQueue", "name": "core", "uid": "the-one-before", "controller": True}]
    labels = {"app.kubernetes.io/managed-by": "b3lb-operator"}
    fixture.kube.put(CRON_JOB, manifest_of(CRON_JOB, "b3lb-core", {}, labels=labels, ownerReferences=owners))
    await fixture.reconcile()
    assert fixture.cron_job_writes == []


async def test_a_cron_job_that_took_the_name_meanwhile_is_not_suspended() -> None:
    fixture = Fixture(queue_manifest())
    await fixture.reconcile()
    fixture.put_cron_job(fixture.cron_job)
    fixture.kube.put(CRON_JOB, manifest_of(CRON_JOB, "b3lb-core", {"schedule": "@daily"}))
    broken = with_metadata(queue_manifest(tasks=["no-such-task"]), generation=2)
    fixture.store.observe(QUEUE, "MODIFIED", fixture.kube.put(QUEUE, broken))
    with pytest.raises(ConflictError):
        await fixture.reconcile()
    assert fixture.cron_job["spec"] == {"schedule": "@daily"}


async def test_an_orphan_of_ours_is_taken_back() -> None:
    fixture = Fixture(queue_manifest())
    labels = {"app.kubernetes.io/managed-by": "b3lb-operator"}
    fixture.kube.put(CRON_JOB, manifest_of(CRON_JOB, "b3lb-core", {"schedule": "@daily"}, labels=labels))
    await fixture.reconcile()
    assert fixture.cron_job["spec"]["schedule"] == "* * * * *"


async def test_the_cron_job_of_a_deleted_queue_of_the_same_name_is_waited_for() -> None:
    fixture = Fixture(queue_manifest())
    owners = [{"kind": "BBBQueue", "name": "core", "uid": "the-one-before", "controller": True}]
    fixture.kube.put(CRON_JOB, manifest_of(CRON_JOB, "b3lb-core", {}, ownerReferences=owners))
    assert await fixture.reconcile() is None
    assert fixture.cron_job_writes == []
    assert fixture.ready()[:2] == ("Unknown", "Pending")


@pytest.mark.parametrize("error", [RefusedError, ForbiddenError])
async def test_what_the_api_server_says_against_a_cron_job_is_a_condition(error: type[Exception]) -> None:
    fixture = Fixture(queue_manifest())

    def refuse(method: str, path: str) -> Exception | None:
        return error("exceeded quota") if method == "PATCH" and "cronjobs" in path else None

    fixture.kube.failure = refuse
    assert await fixture.reconcile() == 30
    status, reason, message = fixture.ready()
    assert (status, reason) == ("False", "Refused")
    assert "exceeded quota" in message


async def test_without_any_image_the_condition_says_so() -> None:
    fixture = Fixture(queue_manifest(), defaults=JobDefaults(image="", database_secret="d", encryption_secret="e"))
    await fixture.reconcile()
    assert fixture.ready()[:2] == ("False", "ImageMissing")
    assert fixture.cron_job_writes == []


async def test_a_queue_that_must_not_run_suspends_its_cron_job_and_heals() -> None:
    """Deleting the CronJob would kill a pod that runs."""
    fixture = Fixture(queue_manifest())
    await fixture.reconcile()
    fixture.put_cron_job(fixture.cron_job)
    broken = with_metadata(queue_manifest(tasks=["no-such-task"]), generation=2)
    fixture.store.observe(QUEUE, "MODIFIED", fixture.kube.put(QUEUE, broken))
    await fixture.reconcile()
    assert fixture.cron_job["spec"]["suspend"] is True
    status, reason, message = fixture.ready()
    assert (status, reason) == ("False", "UnknownTask")
    assert "check-nodes" in message
    mended = with_metadata(queue_manifest(), generation=3)
    fixture.store.observe(QUEUE, "MODIFIED", fixture.kube.put(QUEUE, mended))
    await fixture.reconcile()
    assert fixture.cron_job["spec"]["suspend"] is False


async def test_of_two_queues_with_one_task_the_older_runs_it() -> None:
    young = queue_manifest("core")
    old = with_metadata(queue_manifest("zz-old"), **OLD)
    fixture = Fixture(young, old)
    await fixture.reconcile("core")
    await fixture.reconcile("zz-old")
    assert fixture.ready("core")[:2] == ("False", "TaskInOtherQueue")
    assert "zz-old" in fixture.ready("core")[2]
    assert fixture.ready("zz-old")[:2] == ("True", "Scheduled")
    assert CRON_JOB.path("farm", "b3lb-core") not in fixture.kube.objects


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({}, "runs check-nodes already: delete it or take check-nodes out of it"),
        ({"suspend": True}, "but is suspended: resume it, or delete it or take check-nodes out of it"),
        ({"tasks": ["check-nodes", "typo"]}, "but runs nothing, for there is no task typo: correct it"),
    ],
)
def test_an_older_queue_keeps_its_tasks_and_the_younger_says_why_nothing_runs(spec: dict[str, Any], words: str) -> None:
    young = queue_manifest()
    block = task_block(young, parse_spec_of(young), [with_metadata(queue_manifest("old", **spec), **OLD)])
    assert block is not None
    assert block.reason == "TaskInOtherQueue"
    assert "BBBQueue old" in block.message
    assert words in block.message


def test_a_queue_that_is_being_deleted_or_cannot_be_read_takes_no_task_from_others() -> None:
    young = queue_manifest()
    spec = parse_spec_of(young)
    leaving = with_metadata(queue_manifest("old"), **OLD, deletionTimestamp="2026-03-01T12:00:00Z")
    unreadable = with_metadata({**queue_manifest("older"), "spec": {}}, **OLD)
    assert task_block(young, spec, [leaving, unreadable]) is None


def parse_spec_of(manifest: Manifest) -> Any:
    return parse_spec(BBBQueueSpec, manifest)


async def test_a_spec_that_cannot_be_read_is_a_condition_and_the_cron_job_stays() -> None:
    fixture = Fixture({**queue_manifest(), "spec": {"tasks": "x"}})
    await fixture.reconcile()
    assert fixture.ready()[:2] == ("False", "InvalidSpec")
    assert fixture.cron_job_writes == []


async def test_a_queue_that_is_being_deleted_or_gone_is_left_to_the_garbage_collector() -> None:
    fixture = Fixture(with_metadata(queue_manifest(), deletionTimestamp="2026-03-01T12:00:00Z"))
    assert await fixture.reconcile() is None
    assert await fixture.reconcile("unknown") is None
    assert fixture.kube.requests == []


async def test_jobs_are_counted_in_the_status_at_most_once_a_minute() -> None:
    fixture = Fixture(queue_manifest())
    await fixture.reconcile()
    fixture.put_cron_job(fixture.cron_job)
    uid = fixture.cron_job["metadata"]["uid"]
    owners = [{"kind": "CronJob", "name": "b3lb-core", "uid": uid}]
    fixture.store.observe(JOB, "ADDED", manifest_of(JOB, "b3lb-core-1", ownerReferences=owners))
    assert await fixture.reconcile() == pytest.approx(until_missed(), abs=2)
    fixture.store.observe(JOB, "ADDED", manifest_of(JOB, "b3lb-core-2", ownerReferences=owners))
    assert fixture.kube.object(QUEUE, "core")["status"]["active"] == 1
    delay = await fixture.reconcile()
    assert fixture.kube.object(QUEUE, "core")["status"]["active"] == 1
    assert delay == pytest.approx(min(until_missed(), 60), abs=2)


async def test_the_status_counts_enqueued_runs_as_the_database_and_their_jobs_as_the_cluster_has_them() -> None:
    manifest = queue_manifest("work")
    del manifest["spec"]["schedule"]
    fixture = Fixture({**manifest, "spec": {**manifest["spec"], "tasks": ["update-statistics"], "concurrency": 4}})
    fixture.counts = RunCounts(waiting=5, in_flight=1)
    owners = [{"kind": "BBBQueue", "name": "work", "uid": "bbbqueues-work"}]
    fixture.store.observe(JOB, "ADDED", manifest_of(JOB, "b3lb-run-1-1", ownerReferences=owners))
    assert await fixture.reconcile("work") is None
    status = fixture.kube.object(QUEUE, "work")["status"]
    assert (status["depth"], status["active"], status["replicas"]) == (5, 1, 4)
    assert fixture.ready("work")[:2] == ("True", "OnDemand")


def test_only_jobs_of_the_cron_job_are_its_own() -> None:
    cron_job = manifest_of(CRON_JOB, "b3lb-core")
    own = manifest_of(JOB, "a", ownerReferences=[{"uid": cron_job["metadata"]["uid"]}])
    other = manifest_of(JOB, "b", ownerReferences=[{"uid": "else"}])
    assert owned_jobs([own, other, manifest_of(JOB, "c")], cron_job) == [own]
    assert owned_jobs([own, other, manifest_of(JOB, "c")], None) == []


async def test_a_queue_that_the_database_does_not_take_keeps_its_cron_job_and_says_so() -> None:
    fixture = Fixture(queue_manifest())
    fixture.row_block = Block("DatabaseRefused", "by its rule queues_tick_seconds_check")
    await fixture.reconcile()
    assert fixture.cron_job["spec"]["suspend"] is False
    assert fixture.ready() == ("False", *dataclasses.astuple(fixture.row_block))
    fixture.row_block = None
    await fixture.reconcile()
    assert fixture.ready()[:2] == ("True", "Scheduled")


async def test_a_queue_whose_jobs_cannot_start_names_the_missing_secrets_and_is_looked_at_again() -> None:
    fixture = Fixture(queue_manifest())
    await fixture.reconcile()
    fixture.store.observe(SECRET, "ADDED", fixture.kube.put(SECRET, secret_manifest("keys", keys="k")))
    owners = [{"kind": "CronJob", "name": "b3lb-core", "uid": fixture.cron_job["metadata"]["uid"]}]
    job = manifest_of(JOB, "b3lb-core-1", ownerReferences=owners)
    ended = {
        "type": "Failed",
        "status": "True",
        "lastTransitionTime": "2026-01-01T00:02:00Z",
        "reason": "DeadlineExceeded",
    }
    fixture.store.observe(JOB, "ADDED", {**job, "status": {"conditions": [ended]}})
    assert await fixture.reconcile() is not None
    assert fixture.ready()[:2] == ("False", "JobsFailing")
    assert fixture.ready()[2].startswith(
        "the last Job, b3lb-core-1, failed: DeadlineExceeded; Secret db does not exist, so no pod can start; CronJob"
    )
