"""The CronJob of a BBBQueue: whole dictionaries per feature."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from b3lb.resources import BBBQueueSpec
from b3lb_operator.manifests.cronjob import JobDefaults, QueueIdentity, build_cronjob, cron_job_name

IDENTITY = QueueIdentity(namespace="farm", name="core", uid="f3c9")
DEFAULTS = JobDefaults(
    image="registry.example.org/b3lb:1.0", database_secret="b3lb-database", encryption_secret="b3lb-encryption"
)
LABELS = {
    "app.kubernetes.io/name": "b3lb-job",
    "app.kubernetes.io/instance": "b3lb-core",
    "app.kubernetes.io/component": "jobs",
    "app.kubernetes.io/part-of": "b3lb",
    "app.kubernetes.io/managed-by": "b3lb-operator",
    "b3lb.io/queue": "core",
}
CORE: dict[str, Any] = {
    "apiVersion": "batch/v1",
    "kind": "CronJob",
    "metadata": {
        "namespace": "farm",
        "name": "b3lb-core",
        "labels": LABELS,
        "ownerReferences": [
            {
                "apiVersion": "b3lb.io/v1alpha1",
                "kind": "BBBQueue",
                "name": "core",
                "uid": "f3c9",
                "controller": True,
                "blockOwnerDeletion": True,
            }
        ],
    },
    "spec": {
        "schedule": "* * * * *",
        "timeZone": "Etc/UTC",
        "suspend": False,
        "concurrencyPolicy": "Forbid",
        "startingDeadlineSeconds": 30,
        "successfulJobsHistoryLimit": 3,
        "failedJobsHistoryLimit": 5,
        "jobTemplate": {
            "metadata": {"labels": LABELS},
            "spec": {
                "backoffLimit": 0,
                "activeDeadlineSeconds": 75,
                "ttlSecondsAfterFinished": 86400,
                "parallelism": 1,
                "completions": 1,
                "template": {
                    "metadata": {"labels": LABELS},
                    "spec": {
                        "restartPolicy": "Never",
                        "terminationGracePeriodSeconds": 15,
                        "automountServiceAccountToken": False,
                        "enableServiceLinks": False,
                        "securityContext": {
                            "runAsNonRoot": True,
                            "runAsUser": 65532,
                            "runAsGroup": 65532,
                            "fsGroup": 65532,
                            "seccompProfile": {"type": "RuntimeDefault"},
                        },
                        "containers": [
                            {
                                "name": "job",
                                "image": "registry.example.org/b3lb:1.0",
                                "imagePullPolicy": "IfNotPresent",
                                "command": ["b3lb-job"],
                                "args": ["check-nodes"],
                                "env": [
                                    {
                                        "name": "B3LB_DATABASE_URL",
                                        "valueFrom": {"secretKeyRef": {"name": "b3lb-database", "key": "url"}},
                                    },
                                    {
                                        "name": "B3LB_ENCRYPTION_KEYS",
                                        "valueFrom": {"secretKeyRef": {"name": "b3lb-encryption", "key": "keys"}},
                                    },
                                    {"name": "B3LB_NAMESPACE", "value": "farm"},
                                    {"name": "B3LB_QUEUE", "value": "core"},
                                    {
                                        "name": "B3LB_POD_NAME",
                                        "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.name"}},
                                    },
                                    {"name": "B3LB_TICK_SECONDS", "value": "15"},
                                    {"name": "B3LB_MAX_IN_FLIGHT", "value": "100"},
                                    {"name": "B3LB_LOG_FORMAT", "value": "json"},
                                    {"name": "B3LB_LOG_LEVEL", "value": "info"},
                                ],
                                "resources": {
                                    "requests": {"cpu": "100m", "memory": "256Mi"},
                                    "limits": {"memory": "1Gi"},
                                },
                                "terminationMessagePath": "/dev/termination-log",
                                "terminationMessagePolicy": "FallbackToLogsOnError",
                                "securityContext": {
                                    "allowPrivilegeEscalation": False,
                                    "capabilities": {"drop": ["ALL"]},
                                    "readOnlyRootFilesystem": True,
                                },
                                "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],  # noqa: S108 - inside the pod
                            }
                        ],
                        "volumes": [{"name": "tmp", "emptyDir": {"sizeLimit": "64Mi"}}],
                    },
                },
            },
        },
    },
}


def build(defaults: JobDefaults = DEFAULTS, **fields: Any) -> dict[str, Any]:
    values = {"tasks": ["check-nodes"], "schedule": "* * * * *", **fields}
    return build_cronjob(BBBQueueSpec.model_validate(values), identity=IDENTITY, defaults=defaults)


def core(tick_seconds: int | None = None) -> dict[str, Any]:
    """Return a copy of the whole CronJob, without B3LB_TICK_SECONDS unless given."""
    expected = copy.deepcopy(CORE)
    environment = container(expected)["env"]
    if tick_seconds is None:
        environment[:] = [entry for entry in environment if entry["name"] != "B3LB_TICK_SECONDS"]
    return expected


def job(cron_job: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = cron_job["spec"]["jobTemplate"]["spec"]
    return found


def container(cron_job: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = job(cron_job)["template"]["spec"]["containers"][0]
    return found


def test_the_core_queue() -> None:
    assert build(tickSeconds=15) == CORE


def test_the_same_queue_gives_the_same_cron_job() -> None:
    assert build(tickSeconds=15) == build(tickSeconds=15)
    assert [*build()["spec"]] == [*build(suspend=True)["spec"]]


def test_without_ticks_the_tasks_own_default_counts() -> None:
    assert build() == core()


def test_suspension_time_zone_and_history() -> None:
    expected = core()
    expected["spec"] |= {
        "suspend": True,
        "timeZone": "Europe/Berlin",
        "successfulJobsHistoryLimit": 0,
        "failedJobsHistoryLimit": 1,
    }
    fields: dict[str, Any] = {"timeZone": "Europe/Berlin", "successfulJobsHistoryLimit": 0, "failedJobsHistoryLimit": 1}
    assert build(suspend=True, **fields) == expected


def test_an_own_image_goes_before_the_default() -> None:
    expected = core()
    container(expected)["image"] = "other:2"
    assert build(image="other:2") == expected


def test_without_any_image_nothing_is_built() -> None:
    nothing = JobDefaults(image="", database_secret="d", encryption_secret="e")
    with pytest.raises(ValueError, match=r"spec\.image"):
        build(nothing)
    assert container(build(nothing, image="own:1"))["image"] == "own:1"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (
            {"requests": {"cpu": 2, "memory": "2Gi"}, "limits": {"memory": "4Gi", "ephemeral-storage": "1Gi"}},
            {"requests": {"cpu": "2", "memory": "2Gi"}, "limits": {"memory": "4Gi", "ephemeral-storage": "1Gi"}},
        ),
        ({"limits": {"memory": "2Gi"}}, {"limits": {"memory": "2Gi"}}),
        ({}, {}),
    ],
)
def test_own_resources_take_the_place_of_the_default_as_a_whole(given: Any, expected: Any) -> None:
    cron_job = core()
    container(cron_job)["resources"] = expected
    assert build(resources=given) == cron_job


def test_tasks_and_requests_in_flight_reach_the_pod() -> None:
    expected = core()
    container(expected)["args"] = ["check-nodes", "other"]
    flight = next(entry for entry in container(expected)["env"] if entry["name"] == "B3LB_MAX_IN_FLIGHT")
    flight["value"] = "7"
    assert build(tasks=["check-nodes", "other"], maxInFlight=7) == expected


def test_an_override_changes_the_queues_label_and_nothing_else() -> None:
    overridden = JobDefaults(
        image=DEFAULTS.image,
        database_secret=DEFAULTS.database_secret,
        encryption_secret=DEFAULTS.encryption_secret,
        queue_labels={"core": "fast", "other": "slow"},
    )
    expected = core()
    labels = {**LABELS, "b3lb.io/queue": "fast"}
    expected["metadata"]["labels"] = labels
    expected["spec"]["jobTemplate"]["metadata"]["labels"] = labels
    job(expected)["template"]["metadata"]["labels"] = labels
    assert build(overridden) == expected


def test_logging_follows_the_operator() -> None:
    loud = JobDefaults(image="i", database_secret="d", encryption_secret="e", log_format="console", log_level="debug")
    values = {entry["name"]: entry.get("value") for entry in container(build(loud))["env"]}
    assert (values["B3LB_LOG_FORMAT"], values["B3LB_LOG_LEVEL"]) == ("console", "debug")


@pytest.mark.parametrize(
    ("schedule", "start", "active"),
    [
        ("* * * * *", 30, 75),
        ("*/5 * * * *", 120, 900),
        ("0,30 8-18 * * *", 120, 900),
        ("10-20 * * * *", 120, 900),
        ("15 3 * * *", 3600, 21600),
        ("0 * * * *", 3600, 21600),
        ("@hourly", 3600, 21600),
        ("@daily", 3600, 21600),
    ],
)
def test_deadlines_follow_the_pace_of_the_schedule(schedule: str, start: int, active: int) -> None:
    expected = core()
    expected["spec"] |= {"schedule": schedule, "startingDeadlineSeconds": start}
    job(expected)["activeDeadlineSeconds"] = active
    assert build(schedule=schedule) == expected


def test_the_longest_name_of_a_queue_makes_a_name_that_kubernetes_takes() -> None:
    assert len(cron_job_name("q" * 40)) <= 52
