"""The Job of a render: that of an enqueued run, with what its recording and its BBBRecordProfile ask for; pure."""

from __future__ import annotations

import hashlib
import re
from typing import Any

from pydantic import ValidationError

from b3lb.recordings.render_needs import RenderKey, RenderNeeds
from b3lb.resources import BBBQueueSpec, BBBRecordProfileSpec
from b3lb.resources.base import GROUP
from b3lb.resources.queue import QueueResources
from b3lb.resources.record_profile import Runtime
from b3lb_operator.manifests.cronjob import JobDefaults, QueueIdentity, RunIdentity, build_run_job
from b3lb_operator.manifests.render_resources import deadline_seconds, heap_mebibytes, render_resources
from b3lb_operator.manifests.run_jobs import disruption_tolerant

RECORD_SET_LABEL = f"{GROUP}/record-set"
RECORD_LABEL = f"{GROUP}/record-id"
PROFILE_LABEL = f"{GROUP}/profile"
TENANT_LABEL = f"{GROUP}/tenant"
MEMORY_STEPS_ANNOTATION = f"{GROUP}/memory-steps"
GENERATION_ANNOTATION = f"{GROUP}/profile-generation"

GRACE_SECONDS = 30
"""A render that is stopped ends FFmpeg, deletes what it has and is gone within ten seconds."""

_PREFIX = "render-"
_SAVING_SECONDS = 60
_LABEL_VALUE = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_NO_NAME = re.compile(r"[^a-z0-9]+")


def render_job_name(key: RenderKey, run: RunIdentity) -> str:
    """Return the name of the Job of an attempt: at most 63 characters, and the same whoever makes it."""
    profile = _NO_NAME.sub("-", key.profile.lower())[:20].strip("-") or "profile"
    digest = hashlib.sha256(run.id.bytes).hexdigest()[:8]
    attempt = "" if run.attempt == 1 else f"-{run.attempt}"
    return f"{_PREFIX}{key.record_set_id.hex[:12]}-{profile}-{digest}{attempt}"


def is_render_job(name: str) -> bool:
    """Whether a Job's name is that of a render."""
    return name.startswith(_PREFIX)


def build_render_job(
    spec: BBBQueueSpec, *, identity: QueueIdentity, defaults: JobDefaults, run: RunIdentity, needs: RenderNeeds
) -> dict[str, Any]:
    """Return the Job of one attempt of a render.

    A pod that a drain, a preemption or a lack of resources on its node took away is replaced within the attempt. Time
    counts from the pod's start, for a pod of such size may wait for a node; the queue's limit holds for all of it.

    Raises:
        ValueError: Neither the spec nor the defaults name an image.
    """
    profile = _profile(needs)
    resources = render_resources(needs, profile, spec)
    seconds = deadline_seconds(needs.seconds, spec.hard_limit_seconds)
    fitted = spec.model_copy(
        update={
            "image": spec.image or _image(profile, defaults) or None,
            "resources": resources,
            "time_limit_seconds": spec.hard_limit_seconds,
            "soft_time_limit_seconds": max(1, min(spec.soft_limit_seconds, seconds - _SAVING_SECONDS)),
        }
    )
    job = build_run_job(fitted, identity=identity, defaults=defaults, run=run)
    metadata, template = job["metadata"], job["spec"]["template"]
    labels, annotations = _labels(needs), _annotations(needs)
    pod_metadata = {
        "labels": {**template["metadata"]["labels"], **labels},
        "annotations": {**template["metadata"].get("annotations", {}), **annotations},
    }
    pod = _pod(template["spec"], profile, resources, seconds)
    return {
        **job,
        "metadata": {
            **metadata,
            "name": render_job_name(needs.key, run),
            "labels": {**metadata["labels"], **labels},
            "annotations": annotations,
        },
        "spec": {**disruption_tolerant(job["spec"]), "template": {"metadata": pod_metadata, "spec": pod}},
    }


def _profile(needs: RenderNeeds) -> BBBRecordProfileSpec:
    """Return the profile; of one that is not there or cannot be read the pod says so, with the defaults."""
    try:
        return BBBRecordProfileSpec.model_validate(needs.spec or {})
    except ValidationError:
        return BBBRecordProfileSpec()


def _image(profile: BBBRecordProfileSpec, defaults: JobDefaults) -> str:
    if profile.runtime is Runtime.PYPY and defaults.pypy_image:
        return defaults.pypy_image
    return defaults.image


def _labels(needs: RenderNeeds) -> dict[str, str]:
    """Return what the render is found by; a name that can be no label's value is left out."""
    labels = {
        RECORD_SET_LABEL: str(needs.key.record_set_id),
        RECORD_LABEL: needs.record_id,
        PROFILE_LABEL: needs.key.profile,
        TENANT_LABEL: needs.tenant or "",
    }
    return {name: value for name, value in labels.items() if _LABEL_VALUE.fullmatch(value)}


def _annotations(needs: RenderNeeds) -> dict[str, str]:
    values = {MEMORY_STEPS_ANNOTATION: needs.memory_steps, GENERATION_ANNOTATION: needs.generation}
    return {name: str(value) for name, value in values.items() if value is not None}


def _pod(pod: dict[str, Any], profile: BBBRecordProfileSpec, resources: QueueResources, seconds: int) -> dict[str, Any]:
    (container,) = pod["containers"]
    disk = str(resources.limits["ephemeral-storage"])
    temporary, *others = pod["volumes"]
    environment = list(container["env"])
    if profile.runtime is Runtime.PYPY and all(entry["name"] != "PYPY_GC_MAX" for entry in environment):
        heap = f"{heap_mebibytes(resources.limits['memory'])}MB"
        environment.append({"name": "PYPY_GC_MAX", "value": heap})
    return {
        **pod,
        "terminationGracePeriodSeconds": GRACE_SECONDS,
        "activeDeadlineSeconds": seconds,
        "containers": [{**container, "env": environment}],
        "volumes": [{**temporary, "emptyDir": {"sizeLimit": disk}}, *others],
    }
