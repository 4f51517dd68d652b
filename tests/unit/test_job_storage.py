"""Where recordings are, in the pods that work on them and in no others."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

import pytest

from b3lb.resources import BBBQueueSpec
from b3lb.settings import SettingsError, load_settings
from b3lb.tasks import DEFAULT_QUEUES, STORING
from b3lb_operator.manifests.cronjob import JobDefaults, QueueIdentity, RunIdentity, build_cronjob, build_run_job
from b3lb_operator.manifests.job_template import InvalidJobTemplateError, JobStorage, JobTemplate, parse_job_storage
from b3lb_operator.settings import ProgramSettings

VOLUME = {"name": "storage", "persistentVolumeClaim": {"claimName": "b3lb-storage"}}
MOUNT = {"name": "storage", "mountPath": "/var/lib/b3lb"}
DIRECTORY: dict[str, Any] = {
    "env": [{"name": "B3LB_STORAGE_DIRECTORY", "value": "/var/lib/b3lb"}],
    "volumes": [VOLUME],
    "volumeMounts": [MOUNT],
}
SECRET_KEY = {"secretKeyRef": {"name": "s3", "key": "secret-access-key"}}
BUCKET: dict[str, Any] = {
    "env": [
        {"name": "B3LB_S3_BUCKET", "value": "recordings"},
        {"name": "B3LB_S3_SECRET_ACCESS_KEY", "valueFrom": SECRET_KEY},
    ]
}


def defaults(storage: dict[str, Any] | None, **template: Any) -> JobDefaults:
    return JobDefaults(
        image="i",
        database_secret="d",
        encryption_secret="e",
        template=JobTemplate.model_validate(template),
        storage=None if storage is None else JobStorage.model_validate(storage),
    )


def pod(storage: dict[str, Any] | None, *tasks: str, **template: Any) -> dict[str, Any]:
    """Return the spec of a pod of a queue's schedule."""
    spec = BBBQueueSpec.model_validate({"tasks": list(tasks), "schedule": "15 3 * * *"})
    identity = QueueIdentity(namespace="farm", name="other", uid="u")
    cron_job = build_cronjob(spec, identity=identity, defaults=defaults(storage, **template))
    found: dict[str, Any] = cron_job["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    return found


def with_container(plain: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """Return a pod's spec with other fields of its container."""
    return {**plain, "containers": [{**plain["containers"][0], **fields}]}


def test_a_directory_is_mounted_and_its_files_do_not_change_their_group_at_each_start() -> None:
    plain = pod(None, "sweep-storage")
    (container,) = plain["containers"]
    expected = with_container(
        plain,
        env=[*container["env"], *DIRECTORY["env"]],
        volumeMounts=[*container["volumeMounts"], MOUNT],
    )
    security = {**plain["securityContext"], "fsGroupChangePolicy": "OnRootMismatch"}
    volumes = [*plain["volumes"], VOLUME]
    assert pod(DIRECTORY, "sweep-storage") == {**expected, "volumes": volumes, "securityContext": security}


def test_of_a_bucket_the_pods_get_variables_only() -> None:
    plain = pod(None, "forget-rows", "finish-deletions")
    expected = with_container(plain, env=[*plain["containers"][0]["env"], *BUCKET["env"]])
    assert pod(BUCKET, "forget-rows", "finish-deletions") == expected


@pytest.mark.parametrize("task", sorted(set(DEFAULT_QUEUES) - STORING - {"check-nodes"}))
def test_pods_that_do_not_touch_recordings_get_nothing(task: str) -> None:
    assert pod(DIRECTORY, task) == pod(None, task)


def test_the_pod_of_an_enqueued_run_gets_it_too() -> None:
    spec = BBBQueueSpec.model_validate({"tasks": ["render-record"]})
    identity = QueueIdentity(namespace="farm", name="record", uid="u")
    job = build_run_job(spec, identity=identity, defaults=defaults(DIRECTORY), run=RunIdentity(UUID(int=1), 1))
    found = job["spec"]["template"]["spec"]
    assert VOLUME in found["volumes"]
    assert MOUNT in found["containers"][0]["volumeMounts"]
    assert DIRECTORY["env"][0] in found["containers"][0]["env"]


def test_no_template_leads_the_pods_to_another_storage() -> None:
    stolen = {
        "env": [{"name": "B3LB_STORAGE_DIRECTORY", "value": "/elsewhere"}, {"name": "TZ", "value": "UTC"}],
        "volumes": [{"name": "storage", "emptyDir": {}}],
        "volumeMounts": [{"name": "ca", "mountPath": "/var/lib/b3lb"}],
    }
    found = pod(DIRECTORY, "sweep-storage", **stolen)
    plain = pod(DIRECTORY, "sweep-storage")
    assert found == with_container(plain, env=[*plain["containers"][0]["env"], {"name": "TZ", "value": "UTC"}])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "write a JSON object, e.g. {}"),
        ("{}", "env: Field required"),
        ('{"env": []}', "env: List should have at least 1 item after validation, not 0"),
        ('{"env": [{"name": "A"}, {"name": "A"}]}', "env: A stands there twice"),
        ('{"env": [{"name": "A"}], "claim": "x"}', "claim: Extra inputs are not permitted"),
    ],
)
def test_a_wrong_storage_is_refused_with_the_fields_name(text: str, message: str) -> None:
    with pytest.raises(InvalidJobTemplateError) as refused:
        parse_job_storage(text)
    assert str(refused.value) == message


def test_the_operator_reads_storage_and_image_from_its_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_settings(ProgramSettings).job_defaults.storage is None
    monkeypatch.setenv("B3LB_JOB_STORAGE", json.dumps(DIRECTORY))
    monkeypatch.setenv("B3LB_JOB_PYPY_IMAGE", "b3lb-pypy:1")
    found = load_settings(ProgramSettings).job_defaults
    assert found.storage == JobStorage.model_validate(DIRECTORY)
    assert found.pypy_image == "b3lb-pypy:1"
    monkeypatch.setenv("B3LB_JOB_STORAGE", '{"env": "hidden"}')
    with pytest.raises(SettingsError) as refused:
        load_settings(ProgramSettings)
    assert str(refused.value) == "B3LB_JOB_STORAGE: env: Input should be a valid list"
