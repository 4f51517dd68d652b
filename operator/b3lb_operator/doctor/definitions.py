"""Whether the API server serves the custom resources as this version wants them: pure functions."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from b3lb.findings import Check, Finding, Group
from b3lb.resources import API_VERSION, GROUP, RESOURCES, VERSION, Resource

OPENAPI_PATH = f"/openapi/v3/apis/{API_VERSION}"
"""Where the API server publishes the schemas of the group and version; any authenticated client may read it."""

REMEDY = "kubectl apply --server-side -f crds/ (or helm upgrade with crds.enabled=true), both of this version"
_SHOWN = 4

_SERVED = Check(Group.CLUSTER, "DefinitionServed")
_SCHEMA = Check(Group.CLUSTER, "DefinitionSchema")


@dataclass(frozen=True, slots=True, kw_only=True)
class DefinitionFacts:
    """What the API server says of the group.

    ``served`` are the plurals of its kinds. ``schemas`` holds, by kind, the published schema (OpenAPI 3). ``error`` is
    why neither could be read.
    """

    served: frozenset[str] = frozenset()
    schemas: Mapping[str, Mapping[str, Any]] | None = None
    error: str = ""


def check_definitions(facts: DefinitionFacts) -> Iterator[Finding]:
    """Yield a finding per kind that is missing or differs, else one for all."""
    if facts.error:
        yield _SERVED.unknown(f"the API server was not asked: {facts.error}")
        return
    missing = [resource for resource in RESOURCES if resource.plural not in facts.served]
    for resource in missing:
        message = f"the API server does not serve {resource.plural} of {API_VERSION}"
        yield _SERVED.failed(message, object=_object(resource), remedy=REMEDY)
    if not missing:
        yield _SERVED.ok(f"all {len(RESOURCES)} kinds of {GROUP} are served as {VERSION}")
    if facts.schemas is None:
        yield _SCHEMA.unknown("the API server publishes no schemas of the group yet")
        return
    findings = [_compare(resource, facts.schemas.get(resource.kind)) for resource in RESOURCES]
    told = [finding for finding in findings if finding is not None]
    yield from told
    if not told and not missing:
        yield _SCHEMA.ok("their fields are those of this version")


def schemas_of(document: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Return the schemas of a published document (OpenAPI 3) by kind."""
    found: dict[str, Mapping[str, Any]] = {}
    for schema in (document.get("components") or {}).get("schemas", {}).values():
        for kind in schema.get("x-kubernetes-group-version-kind", ()):
            if kind.get("group") == GROUP and kind.get("version") == VERSION:
                found[kind["kind"]] = schema
    return found


def fields_of(schema: Mapping[str, Any], path: str, definitions: Mapping[str, Any] | None = None) -> Iterator[str]:
    """Yield the paths of all fields that a schema has, those of list entries and maps included."""
    definitions = definitions or schema.get("$defs", {})
    for inner in _alternatives(schema, definitions):
        for name, child in inner.get("properties", {}).items():
            yield f"{path}.{name}"
            yield from fields_of(child, f"{path}.{name}", definitions)
        for keyword in ("items", "additionalProperties"):
            if isinstance(inner.get(keyword), Mapping):
                yield from fields_of(inner[keyword], f"{path}[]", definitions)


def _alternatives(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield schema
    for alternative in (*schema.get("anyOf", ()), *schema.get("allOf", ())):
        yield from _alternatives(alternative, definitions)
    if "$ref" in schema:
        yield from _alternatives(definitions.get(schema["$ref"].rpartition("/")[2], {}), definitions)


def _compare(resource: Resource, schema: Mapping[str, Any] | None) -> Finding | None:
    if schema is None:
        return None
    served = {field for part in ("spec", "status") for field in fields_of(schema["properties"].get(part, {}), part)}
    wanted = _wanted(resource)
    if lacking := sorted(wanted - served):
        message = f"the definition is older than the operator and lacks {_listed(lacking)}: what it lacks is dropped"
        return _SCHEMA.failed(message, object=_object(resource), remedy=REMEDY)
    if more := sorted(served - wanted):
        message = f"the definition is newer than the operator, which ignores {_listed(more)}"
        return _SCHEMA.warning(message, object=_object(resource), remedy="upgrade the operator to the same version")
    return None


@functools.cache
def _wanted(resource: Resource) -> frozenset[str]:
    """Return the fields that this version knows; making a schema takes milliseconds, and it never changes."""
    parts = (("spec", resource.spec), ("status", resource.status))
    return frozenset(
        field for part, model in parts for field in fields_of(model.model_json_schema(by_alias=True), part)
    )


def _listed(fields: list[str]) -> str:
    rest = len(fields) - _SHOWN
    return ", ".join(fields[:_SHOWN]) + (f" and {rest} more" if rest > 0 else "")


def _object(resource: Resource) -> str:
    return f"customresourcedefinition/{resource.definition_name}"
