"""The API server takes everything that the chart renders, and a namespace that enforces "restricted" takes its pods."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from b3lb.resources import BBBQueueSpec
from b3lb_operator.manifests.cronjob import JobDefaults, QueueIdentity, build_cronjob
from b3lb_operator.manifests.job_template import parse_job_storage, parse_job_template
from dev.controlplane import ControlPlane
from tests.integration.chart.charts import NAMESPACE, VALUE_SETS, Helm, Manifest, declared, find, pods

# The first use of the control plane's programs builds them.
pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1200)]

NAMESPACES = (NAMESPACE, "chart-farm-a", "chart-farm-b")


@pytest.fixture(scope="module")
def prepared(plane_with_definitions: ControlPlane) -> ControlPlane:
    """Definitions, and namespaces that enforce the Pod Security Standard "restricted"."""
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    for name in NAMESPACES:
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
        plane_with_definitions.kubectl("apply", "-f", "-", input=json.dumps(namespace))
    return plane_with_definitions


def dry_run(plane: ControlPlane, manifests: list[Manifest]) -> None:
    text = yaml.safe_dump_all(manifests)
    options = ("--server-side", "--force-conflicts", "--dry-run=server", "--validate=strict")
    answers = plane.kubectl("apply", *options, "-f", "-", input=text).splitlines()
    assert len(answers) == len(manifests)


def job_pod(manifests: list[Manifest]) -> list[Manifest]:
    """Return the CronJob that the operator of this rendering makes of a queue that works on recordings, and its pod."""
    (container,) = find(manifests, "Deployment", _operator(manifests))["spec"]["template"]["spec"]["containers"]
    env = {entry["name"]: entry.get("value") for entry in container["env"]}
    defaults = JobDefaults(
        image=env["B3LB_JOB_IMAGE"],
        database_secret=env["B3LB_JOB_DATABASE_SECRET"],
        encryption_secret=env["B3LB_JOB_ENCRYPTION_SECRET"],
        template=parse_job_template(env["B3LB_JOB_TEMPLATE"]),
        storage=parse_job_storage(env["B3LB_JOB_STORAGE"] or "") if "B3LB_JOB_STORAGE" in env else None,
    )
    spec = BBBQueueSpec.model_validate({"tasks": ["check-nodes", "sweep-storage"], "schedule": "* * * * *"})
    namespace = env["B3LB_NAMESPACES"].partition(",")[0]
    identity = QueueIdentity(namespace=namespace, name="core", uid="00000000-0000-0000-0000-000000000000")
    cron_job: Manifest = build_cronjob(spec, identity=identity, defaults=defaults)
    template: dict[str, Any] = cron_job["spec"]["jobTemplate"]["spec"]["template"]
    metadata = {**template["metadata"], "name": "core-pod", "namespace": namespace}
    return [cron_job, {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}]


def _operator(manifests: list[Manifest]) -> str:
    names = (item["metadata"]["name"] for item in manifests if item["kind"] == "Deployment")
    (name,) = (name for name in names if name.endswith("-operator"))
    return str(name)


@pytest.mark.parametrize("name", VALUE_SETS)
def test_every_object_passes_strict_validation_and_every_pod_is_restricted(
    prepared: ControlPlane, helm: Helm, name: str
) -> None:
    manifests = helm.render_set(name)
    needed = [item for item in manifests if item["kind"] in {"ServiceAccount", "PriorityClass"}]
    if needed:
        prepared.kubectl("apply", "--server-side", "-f", "-", input=yaml.safe_dump_all(needed))
    # A farm's custom resources are applied without their ConfigMap's uid here.
    dry_run(prepared, [*manifests, *declared(manifests)])
    # The admission of pods is what enforces the standard; their workloads only get a warning.
    dry_run(prepared, [*job_pod(manifests), *pods(manifests)])
    if needed:
        prepared.kubectl("delete", "-f", "-", "--wait=false", input=yaml.safe_dump_all(needed))
