"""The Job of a render, whole, and how much memory, disk and time its pod gets."""

from __future__ import annotations

import dataclasses
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from b3lb.recordings.render_needs import RenderKey, RenderNeeds
from b3lb.resources import BBBQueueSpec, BBBRecordProfileSpec
from b3lb_operator.covers import quantity
from b3lb_operator.manifests.cronjob import JobDefaults, QueueIdentity, RunIdentity, build_run_job
from b3lb_operator.manifests.job_template import JobTemplate
from b3lb_operator.manifests.render_job import build_render_job, is_render_job, render_job_name
from b3lb_operator.manifests.render_resources import (
    MIB,
    deadline_seconds,
    disk_bytes,
    heap_mebibytes,
    render_resources,
)

GIB = 2**30
RUN = RunIdentity(UUID(int=7), 1)
IDENTITY = QueueIdentity(namespace="farm", name="record", uid="f3c9")
DEFAULTS = JobDefaults(image="b3lb:1", pypy_image="b3lb-pypy:1", database_secret="db", encryption_secret="keys")
KEY = RenderKey(UUID("0a1b2c3d-4e5f-6789-abcd-ef0123456789"), "hd")
NAME = "render-0a1b2c3d4e5f-hd-6bae4268"
NEEDS = RenderNeeds(
    key=KEY,
    record_id="183f0bf3a0982a127bdb8161e0c44eb696b3e75c-1700000000000",
    tenant="UNI",
    spec={"width": 1920},
    generation=3,
    memory_steps=0,
    archive_bytes=GIB,
    seconds=600.0,
)


def queue(**fields: Any) -> BBBQueueSpec:
    return BBBQueueSpec.model_validate({"tasks": ["render-record"], **fields})


def profile(**fields: Any) -> BBBRecordProfileSpec:
    return BBBRecordProfileSpec.model_validate(fields)


def build(of_queue: BBBQueueSpec | None = None, *, defaults: JobDefaults = DEFAULTS, **needs: Any) -> dict[str, Any]:
    changed = dataclasses.replace(NEEDS, **needs)
    return build_render_job(of_queue or queue(), identity=IDENTITY, defaults=defaults, run=RUN, needs=changed)


def container(job: dict[str, Any]) -> dict[str, Any]:
    (found,) = job["spec"]["template"]["spec"]["containers"]
    assert isinstance(found, dict)
    return found


def environment(job: dict[str, Any]) -> dict[str, str | None]:
    return {entry["name"]: entry.get("value") for entry in container(job)["env"]}


LABELS = {
    "app.kubernetes.io/name": "b3lb-job",
    "app.kubernetes.io/instance": "b3lb-record",
    "app.kubernetes.io/component": "jobs",
    "app.kubernetes.io/part-of": "b3lb",
    "app.kubernetes.io/managed-by": "b3lb-operator",
    "b3lb.io/queue": "record",
    "b3lb.io/run": "00000000-0000-0000-0000-000000000007",
    "b3lb.io/record-set": "0a1b2c3d-4e5f-6789-abcd-ef0123456789",
    "b3lb.io/record-id": "183f0bf3a0982a127bdb8161e0c44eb696b3e75c-1700000000000",
    "b3lb.io/profile": "hd",
    "b3lb.io/tenant": "UNI",
}
ANNOTATIONS = {"b3lb.io/memory-steps": "0", "b3lb.io/profile-generation": "3"}
ENVIRONMENT = [
    {"name": "B3LB_DATABASE_URL", "valueFrom": {"secretKeyRef": {"name": "db", "key": "url"}}},
    {"name": "B3LB_ENCRYPTION_KEYS", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "keys"}}},
    {"name": "B3LB_NAMESPACE", "value": "farm"},
    {"name": "B3LB_QUEUE", "value": "record"},
    {"name": "B3LB_POD_NAME", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.name"}}},
    {"name": "B3LB_MAX_IN_FLIGHT", "value": "100"},
    {"name": "B3LB_LOG_FORMAT", "value": "json"},
    {"name": "B3LB_LOG_LEVEL", "value": "info"},
    {"name": "B3LB_RUN_ID", "value": "00000000-0000-0000-0000-000000000007"},
    {"name": "B3LB_ATTEMPT", "value": "1"},
    {"name": "B3LB_SOFT_TIME_LIMIT_SECONDS", "value": "2940"},
    {"name": "B3LB_MAX_RETRIES", "value": "3"},
    {"name": "B3LB_RETRY_BACKOFF_SECONDS", "value": "10"},
    {"name": "B3LB_RETRY_MAXIMUM_SECONDS", "value": "600"},
    {"name": "B3LB_CONCURRENCY", "value": "1"},
    {"name": "PYPY_GC_MAX", "value": "6963MB"},
]
JOB = {
    "apiVersion": "batch/v1",
    "kind": "Job",
    "metadata": {
        "namespace": "farm",
        "name": NAME,
        "labels": LABELS,
        "annotations": ANNOTATIONS,
        "ownerReferences": [
            {
                "apiVersion": "b3lb.io/v1alpha1",
                "kind": "BBBQueue",
                "name": "record",
                "uid": "f3c9",
                "controller": True,
                "blockOwnerDeletion": True,
            }
        ],
    },
    "spec": {
        "backoffLimit": 0,
        "activeDeadlineSeconds": 43200,
        "ttlSecondsAfterFinished": 86400,
        "parallelism": 1,
        "completions": 1,
        "podReplacementPolicy": "Failed",
        "podFailurePolicy": {
            "rules": [
                {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
                {
                    "action": "FailJob",
                    "onExitCodes": {"operator": "In", "values": [64, 65, 66, 67, 68, 69, 70, 78]},
                },
            ]
        },
        "template": {
            "metadata": {"labels": LABELS, "annotations": ANNOTATIONS},
            "spec": {
                "restartPolicy": "Never",
                "terminationGracePeriodSeconds": 30,
                "activeDeadlineSeconds": 3000,
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
                        "image": "b3lb-pypy:1",
                        "imagePullPolicy": "IfNotPresent",
                        "command": ["b3lb-job"],
                        "args": ["--run", "00000000-0000-0000-0000-000000000007"],
                        "env": ENVIRONMENT,
                        "resources": {
                            "requests": {"cpu": "1", "memory": "8Gi", "ephemeral-storage": "3277Mi"},
                            "limits": {"memory": "10Gi", "ephemeral-storage": "3277Mi"},
                        },
                        "terminationMessagePath": "/dev/termination-log",
                        "terminationMessagePolicy": "FallbackToLogsOnError",
                        "securityContext": {
                            "allowPrivilegeEscalation": False,
                            "capabilities": {"drop": ["ALL"]},
                            "readOnlyRootFilesystem": True,
                        },
                        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],  # noqa: S108 - a volume of the pod's own
                    }
                ],
                "volumes": [{"name": "tmp", "emptyDir": {"sizeLimit": "3277Mi"}}],
            },
        },
    },
}


def test_the_whole_job_of_a_render_of_ten_minutes_and_one_gibibyte() -> None:
    assert build() == JOB


def test_after_it_ran_out_of_memory_only_memory_its_heap_and_the_annotation_are_others() -> None:
    job = build(memory_steps=1)
    resources = container(job)["resources"]
    assert (resources["requests"]["memory"], resources["limits"]["memory"]) == ("12288Mi", "15360Mi")
    assert environment(job)["PYPY_GC_MAX"] == "11059MB"
    assert job["metadata"]["annotations"]["b3lb.io/memory-steps"] == "1"
    resources["requests"]["memory"], resources["limits"]["memory"] = "8Gi", "10Gi"
    container(job)["env"][-1]["value"] = "6963MB"
    for metadata in (job["metadata"], job["spec"]["template"]["metadata"]):
        metadata["annotations"] = ANNOTATIONS
    assert job == JOB


def test_a_render_on_cpython_has_the_other_image_and_no_heap_of_pypy() -> None:
    job = build(spec={"runtime": "cpython"})
    assert container(job)["image"] == "b3lb:1"
    assert "PYPY_GC_MAX" not in environment(job)


@pytest.mark.parametrize(
    ("image", "defaults", "expected"),
    [
        ("own:1", DEFAULTS, "own:1"),
        (None, dataclasses.replace(DEFAULTS, pypy_image=""), "b3lb:1"),
        (None, DEFAULTS, "b3lb-pypy:1"),
    ],
)
def test_the_queues_image_goes_before_that_of_the_runtime(
    image: str | None, defaults: JobDefaults, expected: str
) -> None:
    assert container(build(queue(image=image), defaults=defaults))["image"] == expected


def test_without_any_image_there_is_no_job() -> None:
    with pytest.raises(ValueError, match="no image"):
        build(defaults=dataclasses.replace(DEFAULTS, image="", pypy_image=""))


@pytest.mark.parametrize("spec", [None, {}, {"width": "as wide as it goes"}])
def test_of_a_profile_that_cannot_be_read_the_pod_tells_so_it_gets_one(spec: dict[str, Any] | None) -> None:
    job = build(spec=spec, generation=None)
    assert container(job) == container(JOB)
    assert job["metadata"]["annotations"] == {"b3lb.io/memory-steps": "0"}


def test_names_that_can_be_no_label_are_left_out() -> None:
    job = build(key=RenderKey(KEY.record_set_id, "x" * 64), record_id="a b", tenant=None)
    assert {"b3lb.io/profile", "b3lb.io/record-id", "b3lb.io/tenant"}.isdisjoint(job["metadata"]["labels"])


def test_the_administrators_own_heap_and_further_variables_and_volumes_stay() -> None:
    template = JobTemplate.model_validate(
        {
            "env": [{"name": "PYPY_GC_MAX", "value": "1GB"}],
            "volumes": [{"name": "scratch", "emptyDir": {}}],
            "annotations": {"example.org/team": "video"},
        }
    )
    job = build(defaults=dataclasses.replace(DEFAULTS, template=template))
    assert environment(job)["PYPY_GC_MAX"] == "1GB"
    assert job["spec"]["template"]["spec"]["volumes"][1] == {"name": "scratch", "emptyDir": {}}
    assert job["spec"]["template"]["metadata"]["annotations"] == {"example.org/team": "video", **ANNOTATIONS}


@pytest.mark.parametrize("render", [True, False])
def test_under_kueue_a_job_begins_suspended_with_kueues_label(render: bool) -> None:
    labels = {"kueue.x-k8s.io/queue-name": "renders"}
    template = JobTemplate.model_validate({"queues": {"record": {"labels": labels}}})
    defaults = dataclasses.replace(DEFAULTS, template=template)
    job = build(defaults=defaults) if render else build_run_job(queue(), identity=IDENTITY, defaults=defaults, run=RUN)
    assert job["spec"]["suspend"] is True
    assert job["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "renders"
    other = dataclasses.replace(IDENTITY, name="other")
    plain = build_run_job(queue(), identity=other, defaults=defaults, run=RUN)
    assert "suspend" not in plain["spec"]


def test_names_are_short_and_follow_from_video_run_and_attempt_alone() -> None:
    assert render_job_name(KEY, RUN) == NAME
    assert render_job_name(KEY, RunIdentity(RUN.id, 2)) == f"{NAME}-2"
    assert is_render_job(NAME)


@given(st.uuids(), st.text(), st.uuids(), st.integers(1, 10**9))
def test_whatever_the_profile_is_called_the_name_of_the_job_is_a_dns_label_of_at_most_63_characters(
    record_set: UUID, name: str, run: UUID, attempt: int
) -> None:
    found = render_job_name(RenderKey(record_set, name), RunIdentity(run, attempt))
    assert len(found) <= 63
    assert set(found) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")
    assert found[-1] != "-"


@pytest.mark.parametrize(
    ("of_profile", "of_queue", "expected"),
    [
        ({}, {}, ("8Gi", "10Gi")),
        ({}, {"requests": {"memory": "2Gi"}, "limits": {"memory": "3Gi"}}, ("2Gi", "3Gi")),
        (
            {"requests": {"memory": "4Gi"}, "limits": {"memory": "5Gi"}},
            {"requests": {"memory": "2Gi"}, "limits": {"memory": "3Gi"}},
            ("4Gi", "5Gi"),
        ),
        ({"limits": {"memory": "9Gi"}}, {"requests": {"memory": "2Gi"}}, ("2Gi", "9Gi")),
        # What contradicts each other follows the one that goes before.
        ({"limits": {"memory": "2Gi"}}, {}, ("2Gi", "2Gi")),
        ({"requests": {"memory": "16Gi"}}, {"limits": {"memory": "3Gi"}}, ("16Gi", "16Gi")),
        ({}, {"requests": {"memory": "8Gi"}, "limits": {"memory": "4Gi"}}, ("4Gi", "4Gi")),
    ],
)
def test_memory_is_what_the_profile_says_else_the_queue_else_eight_and_ten_gibibytes(
    of_profile: dict[str, Any], of_queue: dict[str, Any], expected: tuple[str, str]
) -> None:
    found = render_resources(NEEDS, profile(resources=of_profile), queue(resources=of_queue))
    assert (found.requests["memory"], found.limits["memory"]) == expected


def test_disk_is_two_gibibytes_and_a_fifth_more_than_the_archive_unless_somebody_says_otherwise() -> None:
    assert disk_bytes(10 * GIB) == 14 * GIB
    given = {"requests": {"ephemeral-storage": "20Gi"}, "limits": {"ephemeral-storage": "40Gi"}}
    job = build(spec={"resources": given})
    assert job["spec"]["template"]["spec"]["volumes"] == [{"name": "tmp", "emptyDir": {"sizeLimit": "40Gi"}}]
    assert container(job)["resources"]["requests"]["ephemeral-storage"] == "20Gi"


amounts = st.dictionaries(
    st.sampled_from(["cpu", "memory", "ephemeral-storage"]), st.sampled_from(["1Gi", "3Gi", "16Gi", "7000M"])
)
levels = st.builds(lambda requests, limits: {"requests": requests, "limits": limits}, amounts, amounts)


@given(levels, levels, st.integers(0, 3), st.integers(0, 2**40))
def test_no_request_is_ever_above_its_limit_and_more_steps_are_more_memory(
    of_profile: dict[str, Any], of_queue: dict[str, Any], steps: int, archive_bytes: int
) -> None:
    needs = dataclasses.replace(NEEDS, memory_steps=steps, archive_bytes=archive_bytes)
    arguments = profile(resources=of_profile), queue(resources=of_queue)
    found = render_resources(needs, *arguments)
    for name, limit in found.limits.items():
        if name in found.requests:
            assert quantity(found.requests[name]) <= quantity(limit)
    more = render_resources(dataclasses.replace(needs, memory_steps=steps + 1), *arguments)
    assert quantity(more.limits["memory"]) > quantity(found.limits["memory"])


@pytest.mark.parametrize(
    ("seconds", "longest", "expected"),
    [(600.0, 43200, 3000), (0.0, 43200, 600), (None, 43200, 43200), (20_000.0, 43200, 43200), (600.0, 900, 900)],
)
def test_a_render_has_ten_minutes_and_four_times_its_length_within_the_queues_limit(
    seconds: float | None, longest: int, expected: int
) -> None:
    assert deadline_seconds(seconds, longest) == expected


def test_pypys_heap_is_what_ffmpeg_and_a_fifth_of_the_limit_leave() -> None:
    assert heap_mebibytes("10Gi") == 10240 - 2048 - 1229
    assert heap_mebibytes("10Gi", ffmpeg=600 * MIB) == 10240 - 2048 - 600
    assert heap_mebibytes("1536Mi") == 1536 // 4
