"""What an administrator adds to the pods of the queues."""

from __future__ import annotations

import json
from typing import Any

import pytest

from b3lb.resources import BBBQueueSpec
from b3lb.settings import SettingsError, load_settings
from b3lb_operator.manifests.cronjob import JobDefaults, QueueIdentity, build_cronjob
from b3lb_operator.manifests.job_template import InvalidJobTemplateError, JobTemplate, parse_job_template
from b3lb_operator.settings import OperatorSettings

SPEC = BBBQueueSpec.model_validate({"tasks": ["check-nodes"], "schedule": "* * * * *"})
FULL: dict[str, Any] = {
    "serviceAccountName": "b3lb-jobs",
    "imagePullPolicy": "Always",
    "imagePullSecrets": ["registry"],
    "labels": {"team": "video", "b3lb.io/queue": "stolen"},
    "annotations": {"note": "all"},
    "priorityClassName": "farm-b3lb-medium",
    "nodeSelector": {"pool": "batch"},
    "tolerations": [{"key": "batch", "operator": "Exists"}],
    "affinity": {"nodeAffinity": {}},
    "env": [{"name": "HTTPS_PROXY", "value": "http://proxy"}, {"name": "B3LB_QUEUE", "value": "stolen"}],
    "volumes": [{"name": "ca", "secret": {"secretName": "ca"}}, {"name": "tmp", "hostPath": {"path": "/"}}],
    "volumeMounts": [{"name": "ca", "mountPath": "/ca"}, {"name": "ca", "mountPath": "/tmp"}],  # noqa: S108 - taken
    "queues": {
        "core": {
            "annotations": {"note": "core"},
            "priorityClassName": "farm.b3lb-core",
            "nodeSelector": {"disk": "ssd"},
            "tolerations": [{"key": "core", "operator": "Exists"}],
            "env": [{"name": "HTTPS_PROXY", "valueFrom": {"fieldRef": {"fieldPath": "status.hostIP"}}}],
        }
    },
}


def pod_template(template: JobTemplate, queue: str = "core") -> dict[str, Any]:
    defaults = JobDefaults(image="i", database_secret="d", encryption_secret="e", template=template)
    identity = QueueIdentity(namespace="farm", name=queue, uid="u")
    cron_job = build_cronjob(SPEC, identity=identity, defaults=defaults)
    found: dict[str, Any] = cron_job["spec"]["jobTemplate"]["spec"]["template"]
    return found


def expected(plain: dict[str, Any], queue: str, **own: Any) -> dict[str, Any]:
    """Return what FULL makes of a pod: everything that the pod has itself stays, and nothing has it twice."""
    container = plain["spec"]["containers"][0]
    proxy = {"name": "HTTPS_PROXY", **own.pop("proxy", {"value": "http://proxy"})}
    return {
        "metadata": {
            "labels": {"team": "video", **plain["metadata"]["labels"], "b3lb.io/queue": queue},
            "annotations": own.pop("annotations", {"note": "all"}),
        },
        "spec": {
            **plain["spec"],
            "serviceAccountName": "b3lb-jobs",
            "imagePullSecrets": [{"name": "registry"}],
            "priorityClassName": "farm-b3lb-medium",
            "nodeSelector": {"pool": "batch"},
            "tolerations": [{"key": "batch", "operator": "Exists"}],
            "affinity": {"nodeAffinity": {}},
            "containers": [
                {
                    **container,
                    "imagePullPolicy": "Always",
                    "env": [*container["env"], proxy],
                    "volumeMounts": [*container["volumeMounts"], {"name": "ca", "mountPath": "/ca"}],
                }
            ],
            "volumes": [*plain["spec"]["volumes"], {"name": "ca", "secret": {"secretName": "ca"}}],
            **own,
        },
    }


def test_a_template_reaches_the_pods_of_every_queue() -> None:
    plain = pod_template(JobTemplate(), "other")
    assert pod_template(parse_job_template(json.dumps(FULL)), "other") == expected(plain, "other")


def test_what_is_said_of_one_queue_is_merged_and_goes_first() -> None:
    plain = pod_template(JobTemplate())
    assert pod_template(parse_job_template(json.dumps(FULL))) == expected(
        plain,
        "core",
        annotations={"note": "core"},
        priorityClassName="farm.b3lb-core",
        nodeSelector={"pool": "batch", "disk": "ssd"},
        tolerations=[{"key": "batch", "operator": "Exists"}, {"key": "core", "operator": "Exists"}],
        proxy={"valueFrom": {"fieldRef": {"fieldPath": "status.hostIP"}}},
    )


def test_no_template_can_give_a_pod_a_token_or_privileges() -> None:
    spec = pod_template(parse_job_template(json.dumps(FULL)))["spec"]
    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["containers"][0]["securityContext"]["readOnlyRootFilesystem"] is True


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "write a JSON object, e.g. {}"),
        ("[]", "the whole: Input should be a valid dictionary or instance of JobTemplate"),
        ('{"hostNetwork": true}', "hostNetwork: Extra inputs are not permitted"),
        ('{"queues": {"core": {"volumes": []}}}', "queues.core.volumes: Extra inputs are not permitted"),
        ('{"labels": {"a": 1}}', "labels.a: Input should be a valid string"),
        ('{"env": [{"value": "x"}]}', "env.0.name: Field required"),
        ('{"env": [{"name": "A"}, {"name": "A"}]}', "env: A stands there twice"),
        ('{"imagePullPolicy": "Sometimes"}', "imagePullPolicy: Input should be 'Always', 'IfNotPresent' or 'Never'"),
    ],
)
def test_a_wrong_template_is_refused_with_the_fields_name(text: str, message: str) -> None:
    with pytest.raises(InvalidJobTemplateError, match=r".") as refused:
        parse_job_template(text)
    assert str(refused.value) == message


def test_the_operator_does_not_start_with_a_wrong_template(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("B3LB_DATABASE_URL", "postgresql://db/b3lb")
    monkeypatch.setenv("B3LB_ENCRYPTION_KEYS", f"k1:{'A' * 43}=")
    monkeypatch.setenv("B3LB_JOB_TEMPLATE", '{"env": [{"name": "A", "secret": "hidden"}]}')
    with pytest.raises(SettingsError) as refused:
        load_settings(OperatorSettings)
    assert str(refused.value) == "B3LB_JOB_TEMPLATE: env.0.secret: Extra inputs are not permitted"
    monkeypatch.setenv("B3LB_JOB_TEMPLATE", json.dumps(FULL))
    assert load_settings(OperatorSettings).job_defaults.template.service_account_name == "b3lb-jobs"
