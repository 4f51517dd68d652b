"""From a pydantic model to a schema that a CustomResourceDefinition may carry.

Pydantic writes JSON Schema; Kubernetes takes "structural schemas" only
(https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#specifying-a-structural-schema):
no references, no null among alternatives, no titles. Defaults inside an object are applied only when the object is
there, so that an optional object with defaults gets ``default: {}`` itself.
"""

from __future__ import annotations

import json
from typing import Any

from pydantic import BaseModel

JSONSchema = dict[str, Any]

_INT_OR_STRING = [{"type": "integer"}, {"type": "string"}]
_UNSUPPORTED = ("exclusiveMinimum", "exclusiveMaximum", "const", "prefixItems", "oneOf", "discriminator")


class UnsupportedSchemaError(ValueError):
    """A model uses something that has no counterpart in a structural schema."""


def structural_schema(model: type[BaseModel]) -> JSONSchema:
    """Return the structural schema of a model.

    Raises:
        UnsupportedSchemaError: The model uses something that has no counterpart.
    """
    raw = model.model_json_schema(by_alias=True, mode="validation")
    return _convert(raw, raw.get("$defs", {}), model.__name__)


def has_defaults(schema: JSONSchema) -> bool:
    """Whether a property of an object has a default; those of inner objects stand on these objects already."""
    return any("default" in child for child in schema.get("properties", {}).values())


def with_described_defaults(schema: JSONSchema) -> JSONSchema:
    """Return a schema whose descriptions end with the defaults, for ``kubectl explain`` shows no default.

    An empty object as default says nothing: those of its fields are told there.
    """
    described = dict(schema)
    if schema.get("default", {}) != {}:
        default = schema["default"]
        text = default if isinstance(default, str) and default else json.dumps(default, ensure_ascii=False)
        described["description"] = f"{schema['description']} Default: {text}."
    if "properties" in schema:
        described["properties"] = {name: with_described_defaults(child) for name, child in schema["properties"].items()}
    for keyword in ("items", "additionalProperties"):
        if isinstance(schema.get(keyword), dict):
            described[keyword] = with_described_defaults(schema[keyword])
    return described


def _convert(schema: JSONSchema, definitions: dict[str, JSONSchema], path: str) -> JSONSchema:
    schema = _resolve(schema, definitions, path)
    unsupported = [keyword for keyword in _UNSUPPORTED if keyword in schema]
    if unsupported:
        raise UnsupportedSchemaError(f"{path}: {', '.join(unsupported)}")
    if "properties" in schema:
        children = {
            name: _convert(child, definitions, f"{path}.{name}") for name, child in schema["properties"].items()
        }
        required = schema.get("required", ())
        for name, child in children.items():
            if name not in required and not _nullable(schema["properties"][name]) and has_defaults(child):
                child["default"] = {}
        schema["properties"] = children
    for keyword in ("items", "additionalProperties"):
        if isinstance(schema.get(keyword), dict):
            schema[keyword] = _convert(schema[keyword], definitions, f"{path}[]")
    return schema


def _nullable(schema: JSONSchema) -> bool:
    return {"type": "null"} in schema.get("anyOf", ())


def _resolve(schema: JSONSchema, definitions: dict[str, JSONSchema], path: str) -> JSONSchema:
    """Return the schema with references and alternatives replaced; what the field itself says goes first."""
    outer = {key: value for key, value in schema.items() if key not in {"title", "$defs", "$ref", "anyOf"}}
    if outer.get("default", ...) is None:
        del outer["default"]
    if "$ref" in schema:
        inner = _resolve(definitions[schema["$ref"].rpartition("/")[2]], definitions, path)
        return {**inner, **outer}
    if "anyOf" not in schema:
        return outer
    alternatives = [alternative for alternative in schema["anyOf"] if alternative != {"type": "null"}]
    if alternatives == _INT_OR_STRING:
        return {"x-kubernetes-int-or-string": True, "anyOf": alternatives, **outer}
    if len(alternatives) != 1:
        raise UnsupportedSchemaError(f"{path}: more than one alternative: {alternatives}")
    return {**_resolve(alternatives[0], definitions, path), **outer}
