"""The JSON schema of the chart's values: strict, from the defaults, their comments and the custom resources' types."""

from __future__ import annotations

from typing import Any

from b3lb.resources import BBBClusterSpec, BBBQueueSpec
from dev.chart_values import Value
from dev.crd_schema import JSONSchema, structural_schema

_NAME = "^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$"
_QUANTITY = r"^([0-9]+(\.[0-9]*)?|\.[0-9]+)([KMGTPE]i|[numkMGTPE]|[eE][-+]?[0-9]+)?$"
_STRINGS: JSONSchema = {"type": "object", "additionalProperties": {"type": "string"}}
_OBJECT: JSONSchema = {"type": "object"}
_OBJECTS: JSONSchema = {"type": "array", "items": {"type": "object"}}
_AMOUNTS: JSONSchema = {"type": "object", "additionalProperties": {"$ref": "#/$defs/quantity"}}
_TYPES = {bool: "boolean", int: "integer", str: "string", dict: "object", list: "array"}


def _entries(properties: JSONSchema, *required: str) -> JSONSchema:
    item: JSONSchema = {"type": "object", "properties": properties, "additionalProperties": False}
    return {"type": "array", "items": item | ({"required": list(required)} if required else {})}


def _named_schemas() -> dict[str, JSONSchema]:
    """Return what ``$ref`` may name."""
    string: JSONSchema = {"type": "string"}
    tolerated: JSONSchema = dict.fromkeys(("key", "operator", "value", "effect"), string)
    labels = {**_STRINGS, "propertyNames": {"maxLength": 317}}
    overrides: JSONSchema = {
        "podLabels": {"$ref": "#/$defs/labels"},
        "podAnnotations": {"$ref": "#/$defs/annotations"},
        "priorityClassName": string,
        "nodeSelector": {"$ref": "#/$defs/labels"},
        "tolerations": {"$ref": "#/$defs/tolerations"},
        "affinity": {"$ref": "#/$defs/object"},
        "extraEnv": {"$ref": "#/$defs/env"},
    }
    return {
        "labels": {**labels, "additionalProperties": {"type": "string", "maxLength": 63}},
        "annotations": labels,
        "names": {"type": "array", "items": {"type": "string", "pattern": _NAME}, "uniqueItems": True},
        "optionalName": {"type": "string", "pattern": f"^$|{_NAME}"},
        "object": _OBJECT,
        "objects": _OBJECTS,
        "namedObjects": {"type": "array", "items": {"type": "object", "required": ["name"]}},
        "quantity": {"type": ["string", "integer"], "pattern": _QUANTITY},
        "resources": {
            "type": "object",
            "properties": {"requests": _AMOUNTS, "limits": _AMOUNTS},
            "additionalProperties": False,
        },
        "pullPolicy": {"enum": ["Always", "IfNotPresent", "Never"]},
        "ports": {"type": "array", "items": {"type": "integer", "minimum": 1, "maximum": 65535}, "minItems": 1},
        "priority": {"type": "integer", "minimum": -2147483648, "maximum": 1000000000},
        "tolerations": _entries({**tolerated, "tolerationSeconds": {"type": "integer"}}),
        "env": _entries({"name": {"type": "string", "minLength": 1}, "value": string, "valueFrom": _OBJECT}, "name"),
        "queueOverrides": {
            "type": "object",
            "additionalProperties": {"type": "object", "properties": overrides, "additionalProperties": False},
        },
        "clusterSpec": _spec_schema(structural_schema(BBBClusterSpec)),
        # The chart knows the queue's tasks and schedule.
        "queueSpec": {**_spec_schema(structural_schema(BBBQueueSpec)), "required": []},
    }


def values_schema(values: list[Value]) -> JSONSchema:
    """Return the whole schema."""
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Values of the chart b3lb",
        **_map_schema(values),
        "$defs": _named_schemas(),
    }


def _map_schema(values: list[Value]) -> JSONSchema:
    properties = {value.name: _schema(value) for value in values}
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
