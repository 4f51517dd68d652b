"""Environment, command and arguments of a container, as Kubernetes defines them."""

import base64
import re
from collections.abc import Mapping
from typing import Literal

from dev.kubelet.api import Manifest
from dev.kubelet.fields import ConfigurationError, field_value, resource_value

Reference = tuple[Literal["Secret", "ConfigMap"], str]
"""Kind and name of an object in the pod's namespace."""
Objects = Mapping[Reference, Manifest | None]
"""What was found of the referenced objects; None for those that do not exist."""

_EXPANSION = re.compile(r"\$(?:\$|\(([^)]*)\))")


def expand(text: str, variables: Mapping[str, str]) -> str:
    """Replaces ``$(NAME)`` by variables and ``$$`` by ``$``; references to unknown variables stay as they are.

    Source: https://kubernetes.io/docs/tasks/inject-data-application/define-interdependent-environment-variables/
    """
    return _EXPANSION.sub(lambda match: "$" if match[1] is None else variables.get(match[1], match[0]), text)


def object_data(kind: str, item: Manifest) -> dict[str, bytes]:
    """The entries of a Secret or ConfigMap."""
    encoded = item.get("data" if kind == "Secret" else "binaryData") or {}
    data = {key: base64.b64decode(value) for key, value in encoded.items()}
    if kind == "ConfigMap":
        data |= {key: value.encode() for key, value in (item.get("data") or {}).items()}
    return data


def referenced_entries(
    objects: Objects, reference: Reference, *, namespace: str, optional: bool
) -> dict[str, bytes] | None:
    """The entries of a referenced object; None if it does not exist and need not.

    Raises:
        ConfigurationError: it does not exist.
    """
    kind, name = reference
    found = objects[reference]
    if found is not None:
        return object_data(kind, found)
    if optional:
        return None
    raise ConfigurationError(f'{kind.lower()} "{name}" not found in namespace {namespace}')


def environment_references(container: Manifest) -> set[Reference]:
    """The Secrets and ConfigMaps whose entries are in a container's environment."""
    references: set[Reference] = set()
    for source in [
        *(container.get("envFrom") or []),
        *(item.get("valueFrom") or {} for item in container.get("env") or []),
    ]:
        for key in ("secretRef", "secretKeyRef"):
            if key in source:
                references.add(("Secret", source[key]["name"]))
        for key in ("configMapRef", "configMapKeyRef"):
            if key in source:
                references.add(("ConfigMap", source[key]["name"]))
    return references


def container_environment(
    container: Manifest,
    *,
    pod: Manifest,
    objects: Objects,
    services: Mapping[str, str],
    allocatable: Mapping[str, str],
) -> dict[str, str]:
    """The variables a pod gives a container.

    Args:
        container: The container of the pod's spec.
        pod: The pod, with its addresses in the status.
        objects: The objects of :func:`environment_references`.
        services: Variables of Services: known to expansions, weaker than the container's own.
        allocatable: The node's allocatable resources.

    Raises:
        ConfigurationError: something referenced, which is not optional, is missing.
    """
    own: dict[str, str] = {}
    namespace = pod["metadata"]["namespace"]
    for source in container.get("envFrom") or []:
        kind: Literal["Secret", "ConfigMap"] = "Secret" if "secretRef" in source else "ConfigMap"
        reference = source["secretRef" if kind == "Secret" else "configMapRef"]
        entries = referenced_entries(
            objects, (kind, reference["name"]), namespace=namespace, optional=bool(reference.get("optional"))
        )
        prefix = source.get("prefix", "")
        own |= {f"{prefix}{key}": _text(value) for key, value in (entries or {}).items()}
    for variable in container.get("env") or []:
        value: str | None
        if variable.get("value"):
            value = expand(variable["value"], {**services, **own})
        elif variable.get("valueFrom"):
            value = _value_from(
                variable["valueFrom"], container=container, pod=pod, objects=objects, allocatable=allocatable
            )
        else:
            value = ""
        if value is not None:
            own[variable["name"]] = value
    return {**services, **own}


def _value_from(
    source: Manifest, *, container: Manifest, pod: Manifest, objects: Objects, allocatable: Mapping[str, str]
) -> str | None:
    if "fieldRef" in source:
        return field_value(pod, source["fieldRef"]["fieldPath"])
    if "resourceFieldRef" in source:
        return resource_value(pod, source["resourceFieldRef"], container=container, allocatable=allocatable)
    for key, kind in _KEY_REFERENCES.items():
        if key in source:
            return _entry(kind, source[key], namespace=pod["metadata"]["namespace"], objects=objects)
    raise ConfigurationError(f"unsupported source of a variable: {', '.join(sorted(source))}")


_KEY_REFERENCES: dict[str, Literal["Secret", "ConfigMap"]] = {"secretKeyRef": "Secret", "configMapKeyRef": "ConfigMap"}


def _entry(
    kind: Literal["Secret", "ConfigMap"], reference: Manifest, *, namespace: str, objects: Objects
) -> str | None:
    optional = bool(reference.get("optional"))
    name, key = reference["name"], reference["key"]
    entries = referenced_entries(objects, (kind, name), namespace=namespace, optional=optional)
    if entries is not None and key in entries:
        return _text(entries[key])
    if optional:
        return None
    raise ConfigurationError(f"couldn't find key {key} in {kind} {namespace}/{name}")


def _text(value: bytes) -> str:
    # The way Python itself reads an environment: bytes that are not UTF-8 survive.
    return value.decode("utf-8", "surrogateescape")


def command_line(container: Manifest, *, entrypoint: list[str], variables: Mapping[str, str]) -> list[str]:
    """Program and arguments of a container: its ``command``, or else the image's entry point, and its ``args``.

    Args:
        container: The container of the pod's spec.
        entrypoint: The image's entry point, never expanded.
        variables: The variables of :func:`container_environment`.

    Raises:
        ConfigurationError: neither the container nor the image has a command.
    """
    command = [expand(word, variables) for word in container.get("command") or []] or entrypoint
    words = [*command, *(expand(word, variables) for word in container.get("args") or [])]
    if not words:
        raise ConfigurationError("no command specified")
    return words
