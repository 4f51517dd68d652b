"""The JSON schema of the chart's values: strict, from the defaults, their comments and the custom resources' types."""

from __future__ import annotations

from typing import Any

from kubernetes import client
from pydantic import BaseModel

from b3lb.resources import BBBClusterSpec, BBBQueueSpec, BBBRecordProfileSpec
from dev.chart_values import Value
from dev.crd_schema import JSONSchema, structural_schema

_NAME = "^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$"
_LABEL = "[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
# The longest suffix leaves 40 characters to what the names of objects begin with.
_OBJECT_NAME = "^([a-z]([-a-z0-9]{0,38}[a-z0-9])?)?$"
# https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#syntax-and-character-set
_LABEL_VALUE = "([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)"
_LABEL_KEY = f"^([a-z0-9]([-a-z0-9.]{{0,251}}[a-z0-9])?/)?{_LABEL_VALUE}$"
# Any printable ASCII character but "=": https://kubernetes.io/docs/reference/kubernetes-api/core/pod-v1/
_VARIABLE = "^[ -<>-~]+$"
# https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pulling-manifests
_PATH = "[a-z0-9]+((\\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\\.|_|__|-+)[a-z0-9]+)*)*"
_HOST = r"([A-Za-z0-9]([-A-Za-z0-9.]*[A-Za-z0-9])?|\[[0-9a-fA-F:]+\])(:[0-9]{1,5})?"
_QUANTITY = r"^([0-9]+(\.[0-9]*)?|\.[0-9]+)([KMGTPE]i|[numkMGTPE]|[eE][-+]?[0-9]+)?$"
_AMOUNTS: JSONSchema = {"type": "object", "additionalProperties": {"$ref": "#/$defs/quantity"}}
_QUANTITIES: dict[str, JSONSchema] = {
    "sizeLimit": {"$ref": "#/$defs/quantity"},
    "divisor": {"$ref": "#/$defs/quantity"},
    "requests": _AMOUNTS,
    "limits": _AMOUNTS,
}
# What Helm hands over where another chart has this one as a dependency, the second as its condition; neither is read.
# https://helm.sh/docs/topics/charts/#scope-dependencies-and-values
_AS_DEPENDENCY: dict[str, JSONSchema] = {
    "global": {"description": "Values of a parent chart; not used.", "type": "object"},
    "enabled": {"description": "Condition of a parent chart; not used.", "type": "boolean"},
}
_ACTIONS = (
    "Replace",
    "Keep",
    "Drop",
    "HashMod",
    "LabelMap",
    "LabelDrop",
    "LabelKeep",
    "Lowercase",
    "Uppercase",
    "KeepEqual",
    "DropEqual",
)
_TYPES = {bool: "boolean", int: "integer", str: "string", dict: "object", list: "array"}


def _array(items: JSONSchema) -> JSONSchema:
    return {"type": "array", "items": items}


def _text(pattern: str) -> JSONSchema:
    return {"type": "string", "pattern": pattern}


def _keyed(value: JSONSchema) -> JSONSchema:
    # Not propertyNames, whose error does not say where the wrong one is.
    return {"type": "object", "patternProperties": {_LABEL_KEY: value}, "additionalProperties": False}


def _named_schemas() -> dict[str, JSONSchema]:
    """Return what ``$ref`` may name."""
    string: JSONSchema = {"type": "string"}
    overrides: JSONSchema = {
        "podLabels": {"$ref": "#/$defs/labels"},
        "podAnnotations": {"$ref": "#/$defs/annotations"},
        "priorityClassName": {"$ref": "#/$defs/optionalName"},
        "nodeSelector": {"$ref": "#/$defs/labels"},
        "tolerations": {"$ref": "#/$defs/tolerations"},
        "affinity": {"$ref": "#/$defs/affinity"},
        "extraEnv": {"$ref": "#/$defs/env"},
    }
    return {
        "labels": _keyed(_text(f"^{_LABEL_VALUE}?$")),
        "annotations": _keyed(string),
        "names": {"type": "array", "items": _text(_NAME), "uniqueItems": True},
        "namespaces": {"type": "array", "items": _text(f"^{_LABEL}$"), "uniqueItems": True},
        "optionalName": _text(f"^$|{_NAME}"),
        "objectName": _text(_OBJECT_NAME),
        "registry": _text(f"^({_HOST}(/{_PATH})?)?$"),
        "repository": _text(f"^{_PATH}$"),
        "tag": _text("^([A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?$"),
        "quantity": {"type": ["string", "number"], "pattern": _QUANTITY, "minimum": 0},
        "resources": {
            "type": "object",
            "properties": {"requests": _AMOUNTS, "limits": _AMOUNTS},
            "additionalProperties": False,
        },
        "pullPolicy": {"enum": ["Always", "IfNotPresent", "Never"]},
        "ports": {"type": "array", "items": {"type": "integer", "minimum": 1, "maximum": 65535}, "minItems": 1},
        "optionalPorts": _array({"type": "integer", "minimum": 1, "maximum": 65535}),
        "parentRefs": _array(_parent()),
        "priority": {"type": "integer", "minimum": -2147483648, "maximum": 1000000000},
        "queueOverrides": {
            "type": "object",
            "additionalProperties": {"type": "object", "properties": overrides, "additionalProperties": False},
        },
        "clusterSpec": _spec_schema(structural_schema(BBBClusterSpec)),
        **_kubernetes_schemas(),
        "relabelings": _array(_relabeling()),
        "recordProfileSpec": _spec_schema(structural_schema(BBBRecordProfileSpec)),
        # The chart knows the queue's tasks and schedule.
        "queueSpec": {**_spec_schema(structural_schema(BBBQueueSpec)), "required": []},
    }


def _kubernetes_schemas() -> dict[str, JSONSchema]:
    """Return the parts of pods and policies that are handed on as they are, from the models of Kubernetes' client."""
    named = {"name": _text(f"^{_LABEL}$")}
    volume, mount = _kubernetes_schema(client.V1Volume), _kubernetes_schema(client.V1VolumeMount)
    variable = {"name": _text(_VARIABLE), "value": {"type": "string"}}
    return {
        "affinity": _kubernetes_schema(client.V1Affinity),
        "tolerations": _array(_kubernetes_schema(client.V1Toleration)),
        "topologySpreadConstraints": _array(_kubernetes_schema(client.V1TopologySpreadConstraint)),
        "volumes": _array({**volume, "properties": volume["properties"] | named}),
        "volumeMounts": _array({**mount, "properties": mount["properties"] | named}),
        "peers": _array(_kubernetes_schema(client.V1NetworkPolicyPeer)),
        "env": _array(
            {
                "type": "object",
                "properties": {**variable, "valueFrom": _kubernetes_schema(client.V1EnvVarSource)},
                "required": ["name"],
                "additionalProperties": False,
            }
        ),
    }


def _relabeling() -> JSONSchema:
    """Return a change of labels as a ServiceMonitor has it.

    https://prometheus-operator.dev/docs/api-reference/api/#monitoring.coreos.com/v1.RelabelConfig
    """
    string: JSONSchema = {"type": "string"}
    return {
        "type": "object",
        "properties": {
            "action": {"enum": [*_ACTIONS, *(action.lower() for action in _ACTIONS)]},
            "sourceLabels": _array(string),
            "separator": string,
            "targetLabel": string,
            "regex": string,
            "modulus": {"type": "integer", "minimum": 0},
            "replacement": string,
        },
        "additionalProperties": False,
    }


def _parent() -> JSONSchema:
    """Return what a route hangs on.

    https://gateway-api.sigs.k8s.io/reference/spec/#parentreference
    """
    properties: dict[str, JSONSchema] = {name: {"type": "string"} for name in ("group", "kind", "sectionName")}
    properties |= {
        "name": _text(_NAME),
        "namespace": _text(f"^{_LABEL}$"),
        "port": {"type": "integer", "minimum": 1, "maximum": 65535},
    }
    return {"type": "object", "properties": properties, "required": ["name"], "additionalProperties": False}


def _kubernetes_schema(model: type[BaseModel]) -> JSONSchema:
    return _terse(_spec_schema(structural_schema(model)))


def _terse(schema: JSONSchema) -> JSONSchema:
    """Return a schema without descriptions; a quantity is text to the client, and may be a number, too."""
    result = {name: value for name, value in schema.items() if name != "description"}
    if "properties" in schema:
        result["properties"] = {
            name: _QUANTITIES.get(name) or _terse(child) for name, child in schema["properties"].items()
        }
    if "items" in schema:
        result["items"] = _terse(schema["items"])
    return result


def values_schema(values: list[Value]) -> JSONSchema:
    """Return the whole schema."""
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Values of the chart b3lb",
        **_map_schema(values, **_AS_DEPENDENCY),
        "$defs": _named_schemas(),
    }


def _map_schema(values: list[Value], **further: JSONSchema) -> JSONSchema:
    properties = {value.name: _schema(value) for value in values} | further
    return {"type": "object", "properties": properties, "additionalProperties": False}


def _schema(value: Value) -> JSONSchema:
    if value.children:
        return {"description": value.description, **_map_schema(value.children)}
    if "$ref" in value.schema:
        return {"description": value.description, "$ref": f"#/$defs/{value.schema['$ref']}"}
    if isinstance(value.default, dict | list):
        raise TypeError(f"{value.path}: write a $ref, for what a map or list may hold does not follow from its default")
    return {"description": value.description, "type": _TYPES[type(value.default)], **value.schema}


def _spec_schema(schema: JSONSchema) -> JSONSchema:
    """Return the schema of a custom resource as Helm can check it: strict, without what only the API server knows."""
    result: dict[str, Any] = {name: value for name, value in schema.items() if not name.startswith("x-kubernetes-")}
    result.pop("default", None)
    if schema.get("x-kubernetes-int-or-string"):
        result["type"] = ["integer", "string"]
    if "properties" in schema:
        result["properties"] = {name: _spec_schema(child) for name, child in schema["properties"].items()}
        result["additionalProperties"] = False
    for name in ("items", "additionalProperties"):
        if isinstance(schema.get(name), dict):
            result[name] = _spec_schema(schema[name])
    return result
