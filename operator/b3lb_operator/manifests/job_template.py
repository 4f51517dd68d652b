"""What an administrator adds to the pods of the queues, and how it is merged into a pod: pure functions.

Nothing here can take away what keeps the pods harmless: there is no token, no privilege, and no way to set them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, ConfigDict, Field, ValidationError

from b3lb.resources.base import Schema

_STRICT = ConfigDict(extra="forbid", hide_input_in_errors=True)

T = TypeVar("T")
Parsed = TypeVar("Parsed", bound=Schema)


class InvalidJobTemplateError(ValueError):
    """The JSON is none, or says something that is not allowed; the message is one line and repeats no value."""


class EnvironmentVariable(Schema):
    """As in a container (https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/#environment-variables)."""

    model_config = _STRICT

    name: str = Field(min_length=1)
    value: str | None = None
    value_from: dict[str, Any] | None = None

    def manifest(self) -> dict[str, Any]:
        """Return it as a container's field."""
        return self.model_dump(by_alias=True, exclude_none=True)


def _check_names(value: list[EnvironmentVariable]) -> list[EnvironmentVariable]:
    names = [entry.name for entry in value]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"{', '.join(twice)} stands there twice")
    return value


Environment = Annotated[list[EnvironmentVariable], AfterValidator(_check_names)]
"""Variables, none of them twice."""


class PodTemplate(Schema):
    """What may differ from queue to queue; all fields as in a pod."""

    model_config = _STRICT

    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)
    priority_class_name: str | None = None
    node_selector: dict[str, str] = Field(default_factory=dict)
    tolerations: list[dict[str, Any]] = Field(default_factory=list)
    affinity: dict[str, Any] = Field(default_factory=dict)
    env: Environment = Field(default_factory=list)


class JobTemplate(PodTemplate):
    """What the pods of every queue get, and under ``queues`` what those of one queue get beside it or instead."""

    service_account_name: str | None = None
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] = "IfNotPresent"
    image_pull_secrets: list[str] = Field(default_factory=list)
    volumes: list[dict[str, Any]] = Field(default_factory=list)
    volume_mounts: list[dict[str, Any]] = Field(default_factory=list)
    queues: dict[str, PodTemplate] = Field(default_factory=dict)

    def of_queue(self, queue: str) -> PodTemplate:
        """Return what the pods of a queue get: maps are merged, lists added, and the queue's own goes first."""
        own = self.queues.get(queue, PodTemplate())
        env = {entry.name: entry for entry in (*self.env, *own.env)}
        return PodTemplate(
            labels={**self.labels, **own.labels},
            annotations={**self.annotations, **own.annotations},
            priority_class_name=own.priority_class_name or self.priority_class_name,
            node_selector={**self.node_selector, **own.node_selector},
            tolerations=[*self.tolerations, *own.tolerations],
            affinity={**self.affinity, **own.affinity},
            env=list(env.values()),
        )


class JobStorage(Schema):
    """Where recordings are, for the pods that work on them: all fields as in a pod with one container."""

    model_config = _STRICT

    env: Environment = Field(min_length=1)
    volumes: list[dict[str, Any]] = Field(default_factory=list)
    volume_mounts: list[dict[str, Any]] = Field(default_factory=list)


def parse_job_template(text: str) -> JobTemplate:
    """Return the template that stands in JSON.

    Raises:
        InvalidJobTemplateError: It is no JSON object, or says something unknown or malformed; the message names the
            first such field.
    """
    return _parse(JobTemplate, text)


def parse_job_storage(text: str) -> JobStorage:
    """Return the storage that stands in JSON.

    Raises:
        InvalidJobTemplateError: As of a template.
    """
    return _parse(JobStorage, text)


def _parse(model: type[Parsed], text: str) -> Parsed:
    try:
        return model.model_validate(json.loads(text))
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        path = ".".join(str(part) for part in first["loc"]) or "the whole"
        raise InvalidJobTemplateError(f"{path}: {first['msg'].removeprefix('Value error, ')}") from None
    except ValueError:
        raise InvalidJobTemplateError("write a JSON object, e.g. {}") from None


def merge_pod(pod: Mapping[str, Any], template: JobTemplate, queue: str) -> dict[str, Any]:
    """Return a pod's spec, whose only container is the program, with what the template says of the queue's pods.

    What the pod has itself stays: environment variables, volumes and mounts are put behind its own, and one with a
    name that is taken is left out.
    """
    own = template.of_queue(queue)
    (container,) = pod["containers"]
    merged = {
        **pod,
        "serviceAccountName": template.service_account_name,
        "imagePullSecrets": [{"name": name} for name in template.image_pull_secrets],
        "priorityClassName": own.priority_class_name,
        "nodeSelector": own.node_selector,
        "tolerations": own.tolerations,
        "affinity": own.affinity,
        "containers": [
            {
                **container,
                "imagePullPolicy": template.image_pull_policy,
                "env": _added(container["env"], [entry.manifest() for entry in own.env]),
                "volumeMounts": _added(container["volumeMounts"], template.volume_mounts, key="mountPath"),
            }
        ],
        "volumes": _added(pod["volumes"], template.volumes),
    }
    return {name: value for name, value in merged.items() if value or name in pod}


def with_storage(pod: Mapping[str, Any], storage: JobStorage) -> dict[str, Any]:
    """Return a pod's spec, whose only container is the program, with the storage of recordings in it."""
    (container,) = pod["containers"]
    merged = {
        **pod,
        "containers": [
            {
                **container,
                "env": _added(container["env"], [entry.manifest() for entry in storage.env]),
                "volumeMounts": _added(container["volumeMounts"], storage.volume_mounts, key="mountPath"),
            }
        ],
        "volumes": _added(pod["volumes"], storage.volumes),
    }
    if not storage.volumes:
        return merged
    # Else each pod would begin by changing the group of every recording there is.
    security = {**pod["securityContext"], "fsGroupChangePolicy": "OnRootMismatch"}
    return {**merged, "securityContext": security}


def _added(own: list[dict[str, T]], further: list[dict[str, T]], *, key: str = "name") -> list[dict[str, T]]:
    taken = {entry[key] for entry in own}
    return [*own, *(entry for entry in further if entry.get(key) not in taken)]
