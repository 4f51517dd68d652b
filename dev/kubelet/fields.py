"""What the downward API says about a pod: ``fieldRef`` and ``resourceFieldRef``."""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from dev.kubelet.api import Manifest
from dev.kubelet.quantities import in_units

_SUBSCRIPT = re.compile(r"metadata\.(labels|annotations)\['(.+)'\]")
_FIELDS: dict[str, Callable[[Manifest], Any]] = {
    "metadata.name": lambda pod: pod["metadata"]["name"],
    "metadata.namespace": lambda pod: pod["metadata"]["namespace"],
    "metadata.uid": lambda pod: pod["metadata"]["uid"],
    "metadata.labels": lambda pod: _lines(pod["metadata"].get("labels")),
    "metadata.annotations": lambda pod: _lines(pod["metadata"].get("annotations")),
    "spec.nodeName": lambda pod: pod["spec"].get("nodeName"),
    "spec.serviceAccountName": lambda pod: pod["spec"].get("serviceAccountName"),
    "status.hostIP": lambda pod: pod["status"].get("hostIP"),
    "status.hostIPs": lambda pod: pod["status"].get("hostIP"),
    "status.podIP": lambda pod: pod["status"].get("podIP"),
    "status.podIPs": lambda pod: pod["status"].get("podIP"),
}


class ConfigurationError(Exception):
    """A container cannot be configured as its pod says; the message is the one of the waiting state."""


def field_value(pod: Manifest, path: str) -> str:
    """The text of a ``fieldRef``; empty for a label, annotation or field the pod does not have.

    Source: https://kubernetes.io/docs/concepts/workloads/pods/downward-api/

    Raises:
        ConfigurationError: the downward API has no such field.
    """
    match = _SUBSCRIPT.fullmatch(path)
    if match is not None:
        return str((pod["metadata"].get(match[1]) or {}).get(match[2], ""))
    if path not in _FIELDS:
        raise ConfigurationError(f"unsupported fieldPath: {path}")
    return str(_FIELDS[path](pod) or "")


def _lines(values: Mapping[str, str] | None) -> str:
    return "\n".join(f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in sorted((values or {}).items()))


def resource_value(pod: Manifest, reference: Manifest, *, container: Manifest, allocatable: Mapping[str, str]) -> str:
    """The text of a ``resourceFieldRef``: a whole number of divisors, rounded up.

    Args:
        pod: The pod.
        reference: The ``resourceFieldRef``.
        container: The container meant if the reference names none.
        allocatable: What a limit is if the container has none, by resource.

    Raises:
        ConfigurationError: there is no such container or resource.
    """
    name = reference.get("containerName")
    if name:
        everything = [*(pod["spec"].get("initContainers") or []), *pod["spec"]["containers"]]
        container = next((item for item in everything if item["name"] == name), {})
        if not container:
            raise ConfigurationError(f"container {name} not found")
    kind, _, resource = reference["resource"].partition(".")
    if kind not in {"limits", "requests"} or resource not in {"cpu", "memory", "ephemeral-storage"}:
        raise ConfigurationError(f"unsupported container resource: {reference['resource']}")
    default = allocatable.get(resource, "0") if kind == "limits" else "0"
    amount = ((container.get("resources") or {}).get(kind) or {}).get(resource, default)
    return str(in_units(str(amount), divisor=str(reference.get("divisor", "1"))))
