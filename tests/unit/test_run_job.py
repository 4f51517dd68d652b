"""The Job of an enqueued run, and what its end says when the pod could not."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from b3lb.resources import BBBQueueSpec
from b3lb_operator.manifests.cronjob import (
    JobDefaults,
    QueueIdentity,
    RunIdentity,
    build_cronjob,
    build_run_job,
    pod_selector,
    run_job_name,
)
from b3lb_operator.manifests.run_end import Cause, JobEnd, has_failed, job_end

RUN = RunIdentity(UUID(int=7), 2)
NAME = "b3lb-run-00000000000000000000000000000007-2"
IDENTITY = QueueIdentity(namespace="farm", name="record", uid="f3c9")
DEFAULTS = JobDefaults(image="b3lb:1", database_secret="db", encryption_secret="keys")


def build(**spec: Any) -> dict[str, Any]:
    fields = BBBQueueSpec.model_validate({"tasks": ["work"], **spec})
    return build_run_job(fields, identity=IDENTITY, defaults=DEFAULTS, run=RUN)


def container(job: dict[str, Any]) -> dict[str, Any]:
    (found,) = job["spec"]["template"]["spec"]["containers"]
    assert isinstance(found, dict)
    return found


def test_name_and_labels_follow_from_run_and_attempt_and_fit_into_a_label() -> None:
    job = build()
    assert job["metadata"]["name"] == run_job_name(RUN) == NAME
    assert len(run_job_name(RunIdentity(RUN.id, 10_000))) <= 63
    assert job["metadata"]["labels"]["b3lb.io/run"] == str(RUN.id)
    assert job["metadata"]["labels"]["app.kubernetes.io/part-of"] == "b3lb"
    (owner,) = job["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["uid"], owner["controller"]) == ("BBBQueue", "f3c9", True)


def test_kubernetes_retries_nothing_and_ends_the_run_at_its_hard_limit() -> None:
    spec = build(timeLimitSeconds=900)["spec"]
    assert (spec["backoffLimit"], spec["activeDeadlineSeconds"]) == (0, 900)
    assert (spec["parallelism"], spec["completions"], spec["podReplacementPolicy"]) == (1, 1, "Failed")
    assert spec["template"]["spec"]["restartPolicy"] == "Never"


def test_the_pod_is_told_the_run_and_the_limits_of_its_queue() -> None:
    retry = {"maxRetries": 1, "backoffSeconds": 2, "maximumSeconds": 3}
    found = container(build(retry=retry, softTimeLimitSeconds=5))
    assert (found["command"], found["args"]) == (["b3lb-job"], ["--run", str(RUN.id)])
    values = {entry["name"]: entry.get("value") for entry in found["env"]}
    expected = {
        "B3LB_RUN_ID": str(RUN.id),
        "B3LB_ATTEMPT": "2",
        "B3LB_SOFT_TIME_LIMIT_SECONDS": "5",
        "B3LB_MAX_RETRIES": "1",
        "B3LB_RETRY_BACKOFF_SECONDS": "2",
        "B3LB_RETRY_MAXIMUM_SECONDS": "3",
        "B3LB_QUEUE": "record",
    }
    assert expected.items() <= values.items()


def test_by_default_a_run_has_four_minutes_and_one_more_to_save_and_three_retries() -> None:
    job = build()
    values = {entry["name"]: entry.get("value") for entry in container(job)["env"]}
    assert (values["B3LB_SOFT_TIME_LIMIT_SECONDS"], job["spec"]["activeDeadlineSeconds"]) == ("240", 300)
    assert (values["B3LB_MAX_RETRIES"], values["B3LB_RETRY_BACKOFF_SECONDS"]) == ("3", "10")


@pytest.mark.parametrize("limits", [{"cpu": 2, "memory": "1Gi"}, {"cpu": "1500m"}])
def test_a_pod_does_as_much_side_by_side_as_it_has_cpus(limits: dict[str, Any]) -> None:
    (entry,) = worker_counts(build(resources={"limits": limits}))
    reference = {"containerName": "job", "resource": "limits.cpu", "divisor": "1"}
    assert entry == {"name": "B3LB_CONCURRENCY", "valueFrom": {"resourceFieldRef": reference}}


@pytest.mark.parametrize("spec", [{}, {"resources": {"limits": {"memory": "1Gi"}, "requests": {"cpu": 4}}}])
def test_a_pod_that_may_use_all_cpus_of_its_node_does_one_thing_at_a_time(spec: dict[str, Any]) -> None:
    assert worker_counts(build(**spec)) == [{"name": "B3LB_CONCURRENCY", "value": "1"}]


def worker_counts(job: dict[str, Any]) -> list[dict[str, Any]]:
    return [entry for entry in container(job)["env"] if entry["name"] == "B3LB_CONCURRENCY"]


def test_the_selector_of_a_queue_finds_its_pods_whatever_starts_them() -> None:
    scheduled = BBBQueueSpec.model_validate({"tasks": ["work"], "schedule": "@daily"})
    cron_job = build_cronjob(scheduled, identity=IDENTITY, defaults=DEFAULTS)
    wanted = dict(pair.split("=") for pair in pod_selector(IDENTITY.name).split(","))
    for job in (build(), cron_job["spec"]["jobTemplate"]):
        assert wanted.items() <= job["spec"]["template"]["metadata"]["labels"].items()


def test_the_pod_is_as_harmless_as_that_of_a_cron_job() -> None:
    scheduled = BBBQueueSpec.model_validate({"tasks": ["work"], "schedule": "@daily"})
    cron_job = build_cronjob(scheduled, identity=IDENTITY, defaults=DEFAULTS)
    pods = [job["spec"]["template"]["spec"] for job in (build(), cron_job["spec"]["jobTemplate"])]
    for pod in pods:
        del pod["containers"][0]["args"], pod["containers"][0]["env"]
    assert pods[0] == pods[1]


def test_a_queue_without_schedule_has_no_cron_job_and_one_without_image_no_job() -> None:
    spec = BBBQueueSpec.model_validate({"tasks": ["work"]})
    with pytest.raises(ValueError, match="no schedule"):
        build_cronjob(spec, identity=IDENTITY, defaults=DEFAULTS)
    bare = JobDefaults(image="", database_secret="db", encryption_secret="keys")
    with pytest.raises(ValueError, match="no image"):
        build_run_job(spec, identity=IDENTITY, defaults=bare, run=RUN)


def ended(type_: str, reason: str = "BackoffLimitExceeded", status: str = "True") -> dict[str, Any]:
    conditions = [{"type": type_, "status": status, "reason": reason}]
    return {"spec": {"activeDeadlineSeconds": 300}, "status": {"conditions": conditions}}


def pod(code: int, reason: str = "Error") -> dict[str, Any]:
    return {"status": {"containerStatuses": [{"state": {"terminated": {"exitCode": code, "reason": reason}}}]}}


@pytest.mark.parametrize(
    "job", [{"status": {}}, {}, ended("Failed", status="False"), ended("FailureTarget"), ended("Suspended")]
)
def test_a_job_that_goes_on_has_no_end(job: dict[str, Any]) -> None:
    assert job_end(job, [pod(137)]) is None
    assert not has_failed(job)


@pytest.mark.parametrize(
    ("code", "reason", "passing", "error"),
    [
        (137, "Error", True, "the pod was killed by signal 9 (exit code 137)"),
        (143, "Error", True, "the pod was killed by signal 15 (exit code 143)"),
        (137, "OOMKilled", False, "OOMKilled: the pod used more memory than its limit allows"),
        (75, "Error", True, "the pod ended without a word (exit code 75)"),
        (1, "Error", True, "the pod ended without a word (exit code 1)"),
        *((code, "Error", False, f"the pod ended without a word (exit code {code})") for code in (64, 65, 69, 70, 78)),
    ],
)
def test_what_killed_a_pod_says_whether_another_attempt_makes_sense(
    code: int, reason: str, passing: bool, error: str
) -> None:
    cause = Cause.OUT_OF_MEMORY if code == 69 or reason == "OOMKilled" else Cause.WORKER_LOST
    assert job_end(ended("Failed"), [pod(code, reason)]) == JobEnd(passing, error, cause)


def test_the_hard_limit_is_final_whatever_the_pod_said_last() -> None:
    end = job_end(ended("Failed", "DeadlineExceeded"), [pod(143)])
    assert end == JobEnd(passing=False, error="the hard time limit of 300 s is over", cause=Cause.TIMEOUT)
    overdue = {**pod(143), "spec": {"activeDeadlineSeconds": 700}}
    overdue["status"]["reason"] = "DeadlineExceeded"
    end = job_end(ended("Failed"), [overdue])
    assert end == JobEnd(passing=False, error="the hard time limit of 700 s is over", cause=Cause.TIMEOUT)


def test_of_pods_that_followed_each_other_the_last_one_says_how_it_ended() -> None:
    drained = {**pod(143), "metadata": {"creationTimestamp": "2026-11-23T20:00:00Z"}}
    killed = {**pod(137, "OOMKilled"), "metadata": {"creationTimestamp": "2026-11-23T20:10:00Z"}}
    for pods in ([drained, killed], [killed, drained]):
        end = job_end(ended("Failed"), pods)
        assert end is not None
        assert end.cause is Cause.OUT_OF_MEMORY


def test_a_pod_that_is_gone_or_was_evicted_leaves_its_reason() -> None:
    gone = job_end(ended("Failed"), [])
    assert gone == JobEnd(passing=True, error="the pod is gone without a word: BackoffLimitExceeded")
    evicted = job_end(ended("Failed"), [{"status": {"reason": "Evicted"}}])
    assert evicted == JobEnd(passing=True, error="the pod is gone without a word: Evicted")
    words = 'Usage of EmptyDir volume "tmp" exceeds the limit "3277Mi".'
    full = job_end(ended("Failed"), [{"status": {**pod(137)["status"], "reason": "Evicted", "message": words}}])
    assert full == JobEnd(passing=True, error=f"the pod was evicted: {words}", cause=Cause.DISK_FULL)


def test_a_complete_job_whose_row_is_open_is_a_failure() -> None:
    assert job_end(ended("Complete"), []) == JobEnd(passing=False, error="the pod ended without noting a result")
