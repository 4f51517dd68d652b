"""The reference page of the custom resources, made from the same types as the CRDs."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

from b3lb.resources import API_VERSION, CATEGORY, Resource
from b3lb.resources.reasons import REASONS, Meaning
from dev.crd_schema import JSONSchema, structural_schema

_INTRODUCTION = f"""# Custom resources

<!-- Generated from b3lb/resources by python -m dev.generate_crds; changes here are overwritten. -->

All kinds belong to `{API_VERSION}`, are namespaced, and are listed together by `kubectl get {CATEGORY}`. References
point to objects of the same namespace. The same texts are shown by `kubectl explain`, e.g.
`kubectl explain bbbnodes.spec`. *Required* fields must be written, even when the object around them is optional: then
only if that object is written.
"""


def reference_page(resources: Sequence[Resource]) -> str:
    """Return the page in Markdown."""
    return "\n".join([_INTRODUCTION, *(_section(resource) for resource in resources)])


def _section(resource: Resource) -> str:
    spec, status = structural_schema(resource.spec), structural_schema(resource.status)
    parts = [
        f"## {resource.kind}\n",
        f"{resource.description} Short name `{resource.short_name}`: `kubectl get {resource.short_name}`.\n",
        "### Spec\n",
        _table(("Field", "Type", "Default", "Limits", "Description"), (_spec_row(*field) for field in _fields(spec))),
        _rules(spec, resource),
        "### Status\n",
        _table(("Field", "Type", "Description"), (_status_row(*field) for field in _fields(status, depth=2))),
        "### Conditions\n",
        _table(("Condition", "Status", "Reason", "Meaning"), map(_reason_row, REASONS[resource.kind])),
    ]
    return "\n".join(part for part in parts if part)


def _table(header: Sequence[str], rows: Iterator[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines) + "\n"


def _fields(schema: JSONSchema, prefix: str = "", *, depth: int = 9) -> Iterator[tuple[str, JSONSchema, bool]]:
    """Yield path, schema and whether it is required, for every field below an object, and of the objects in lists."""
    for name, child in schema.get("properties", {}).items():
        yield prefix + name, child, name in schema.get("required", ())
        for inner, separator, levels in ((child, ".", 1), (child.get("items", {}), "[].", 2)):
            if depth > levels:
                yield from _fields(inner, f"{prefix}{name}{separator}", depth=depth - levels)


def _spec_row(path: str, schema: JSONSchema, required: bool) -> Sequence[str]:
    default = "*required*" if required else _value(schema["default"]) if _shown_default(schema) else ""
    return f"`{path}`", _type(schema), default, _limits(schema), _escaped(schema["description"])


def _status_row(path: str, schema: JSONSchema, _required: bool) -> Sequence[str]:
    return f"`{path}`", _type(schema), _escaped(schema["description"])


def _reason_row(meaning: Meaning) -> Sequence[str]:
    return meaning.condition, meaning.status, meaning.reason, _escaped(meaning.text)


def _escaped(text: str) -> str:
    """Return text with those characters escaped that Markdown would take for marks."""
    return re.sub(r"([*<_])", r"\\\1", text)


def _shown_default(schema: JSONSchema) -> bool:
    return "default" in schema and schema["default"] != {}


def _value(value: Any) -> str:
    return f"`{value if isinstance(value, str) else json.dumps(value)}`"


def _type(schema: JSONSchema) -> str:
    if schema.get("x-kubernetes-int-or-string"):
        return "quantity"
    if "additionalProperties" in schema:
        return f"map of {_type(schema['additionalProperties'])}"
    if schema["type"] == "array":
        return f"list of {_type(schema['items'])}"
    return "time" if schema.get("format") == "date-time" else str(schema["type"])


def _limits(schema: JSONSchema) -> str:
    if schema.get("x-kubernetes-int-or-string"):
        return ""
    if "enum" in schema:
        return ", ".join(_value(value) for value in schema["enum"])
    if "minimum" in schema:
        return f"{schema['minimum']} to {schema['maximum']}"
    if schema.get("type") == "array":
        return f"{schema.get('minItems', 0)} to {schema['maxItems']} entries"
    if "maxLength" in schema:
        return f"at most {schema['maxLength']} characters"
    return f"at most {schema['maxProperties']} entries" if "maxProperties" in schema else ""


def _rules(spec: JSONSchema, resource: Resource) -> str:
    """Return the messages of all rules as a list: what the API server says to those who break them."""
    schemas = chain([spec], (schema for _, schema, _ in _fields(spec)))
    messages = [rule["message"] for schema in schemas for rule in schema.get("x-kubernetes-validations", ())]
    messages += [rule.message for rule in resource.rules]
    if not messages:
        return ""
    return (
        "\n".join(["The API server also checks:\n", *(f"* {_escaped(message)}" for message in dict.fromkeys(messages))])
        + "\n"
    )
