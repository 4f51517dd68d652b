"""The generated CRDs and their reference page: up to date, structural, bounded and described."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import Field

from b3lb.resources import (
    CLUSTER,
    NODE,
    QUEUE,
    RECORD_PROFILE,
    RESOURCES,
    SECRET,
    TENANT,
    BBBClusterSpec,
    BBBNodeSpec,
    BBBSecretSpec,
    BBBTenantSpec,
    Resource,
)
from b3lb.resources.base import Schema
from dev.crd_schema import UnsupportedSchemaError, structural_schema
from dev.generate_crds import definition, generated_files, main, out_of_date
from dev.generated import ROOT

SPECS: dict[str, type[Schema]] = {resource.kind: resource.spec for resource in RESOURCES}


def walk(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, schema
    for name, child in schema.get("properties", {}).items():
        yield from walk(child, f"{path}.{name}")
    for keyword in ("items", "additionalProperties"):
        if isinstance(schema.get(keyword), dict):
            yield from walk(schema[keyword], f"{path}[]")


def schemas() -> list[tuple[str, dict[str, Any]]]:
    found = []
    for resource in RESOURCES:
        root = definition(resource)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
        for part in ("spec", "status"):
            found += list(walk(root["properties"][part], f"{resource.kind}.{part}"))
    return found


SCHEMAS = schemas()


def columns(resource: Resource, priority: int = 0) -> list[str]:
    found = definition(resource)["spec"]["versions"][0]["additionalPrinterColumns"]
    return [column["name"] for column in found if column.get("priority", 0) <= priority]


def test_the_files_in_the_repository_are_what_the_types_say() -> None:
    assert out_of_date() == []


def test_check_names_what_is_out_of_date_and_changes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([], root=tmp_path) == 0
    assert main(["--check"], root=tmp_path) == 0
    changed = tmp_path / "crds" / "b3lb.io_bbbnodes.yaml"
    changed.write_text("changed by hand")
    (tmp_path / "crds" / "left-over.yaml").write_text("of a kind that is gone")
    (tmp_path / "docs" / "reference" / "custom-resources.md").unlink()
    assert main(["--check"], root=tmp_path) == 1
    said = capsys.readouterr().err.splitlines()
    assert [line.partition(" ")[0] for line in said] == [
        "crds/b3lb.io_bbbnodes.yaml",
        "crds/left-over.yaml",
        "docs/reference/custom-resources.md",
    ]
    assert changed.read_text() == "changed by hand"
    assert main([], root=tmp_path) == 0
    assert main(["--check"], root=tmp_path) == 0


def test_generating_twice_gives_the_same_text() -> None:
    assert generated_files() == generated_files()


@pytest.mark.parametrize(("path", "schema"), SCHEMAS, ids=[path for path, _ in SCHEMAS])
def test_every_schema_is_structural_bounded_and_described(path: str, schema: dict[str, Any]) -> None:
    assert not {"$ref", "title", "exclusiveMinimum", "exclusiveMaximum", "nullable"} & schema.keys()
    if schema.get("x-kubernetes-int-or-string"):
        assert "pattern" in schema
        return
    assert "anyOf" not in schema
    bound = {"string": {"maxLength", "enum"}, "array": {"maxItems"}, "integer": {"minimum", "enum"}}
    assert bound.get(schema["type"], schema.keys()) & schema.keys(), path
    if "additionalProperties" in schema:
        assert "maxProperties" in schema
    if not path.endswith("[]"):
        assert schema["description"].endswith(".")
    if ".spec" in path and schema["type"] == "integer" and "enum" not in schema:
        assert "maximum" in schema


@pytest.mark.parametrize(("path", "schema"), SCHEMAS, ids=[path for path, _ in SCHEMAS])
def test_a_description_tells_the_default_for_kubectl_explain_shows_nothing_else(
    path: str, schema: dict[str, Any]
) -> None:
    default = schema.get("default", {})
    _, label, told = schema.get("description", "").partition(" Default: ")
    if default == {} or ".status" in path:
        assert not label
    else:
        assert told == f"{default if isinstance(default, str) else json.dumps(default)}."


@pytest.mark.parametrize(("path", "schema"), SCHEMAS, ids=[path for path, _ in SCHEMAS])
def test_an_optional_object_with_defaults_appears_with_them(path: str, schema: dict[str, Any]) -> None:
    for name, child in schema.get("properties", {}).items():
        inner = child.get("properties", {}).values()
        filled = child.get("default") == {}
        assert not filled or "required" not in child, f"{path}.{name}"
        if filled:
            assert any("default" in grandchild for grandchild in inner)


@pytest.mark.parametrize(
    ("resource", "minimal"),
    [
        (CLUSTER, {}),
        (NODE, {"host": "a.example.org", "secretRef": {"name": "a"}}),
        (TENANT, {"slug": "UNI"}),
        (SECRET, {"tenantRef": {"name": "uni"}, "subId": 1}),
        (RECORD_PROFILE, {}),
        (QUEUE, {"tasks": ["check-nodes"], "schedule": "* * * * *"}),
    ],
    ids=lambda value: value.kind if isinstance(value, Resource) else "",
)
def test_defaults_of_the_crds_are_those_of_the_types(resource: Resource, minimal: dict[str, Any]) -> None:
    schema = definition(resource)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    filled = apply_defaults(schema, {"spec": dict(minimal)} if minimal else {})
    written = resource.spec.model_validate(minimal).model_dump(mode="json", by_alias=True)
    assert filled["spec"] == without_absent(written)


def without_absent(value: dict[str, Any]) -> dict[str, Any]:
    """Return what is written, without what is null, empty or holds nothing else."""
    inner = {name: without_absent(child) if isinstance(child, dict) else child for name, child in value.items()}
    return {name: child for name, child in inner.items() if child not in (None, {}, [])}


def apply_defaults(schema: dict[str, Any], value: dict[str, Any]) -> dict[str, Any]:
    """Fill in defaults as the API server does: outer ones first, then those inside."""
    for name, child in schema.get("properties", {}).items():
        if name not in value and "default" in child:
            value[name] = dict(child["default"]) if isinstance(child["default"], dict) else child["default"]
        if isinstance(value.get(name), dict):
            apply_defaults(child, value[name])
    return value


def test_columns() -> None:
    assert columns(NODE) == [
        "State",
        "Ready",
        "Schedulable",
        "Load",
        "CPU",
        "Meetings",
        "Attendees",
        "Reason",
        "Age",
    ]
    assert [name for name in columns(NODE, 1) if name not in columns(NODE)] == ["Cluster", "Message"]
    assert columns(TENANT) == ["Slug", "Enabled", "Accepted", "Meetings", "Attendees", "Reason", "Age"]
    assert columns(SECRET) == ["Tenant", "Sub ID", "Enabled", "Accepted", "Meetings", "Attendees", "Reason", "Age"]
    assert columns(RECORD_PROFILE) == ["Width", "Height", "Container", "Default", "Accepted", "Age"]
    assert columns(CLUSTER) == ["Nodes", "Meetings", "Attendees", "Headroom", "Mass Failure", "Ready", "Reason", "Age"]
    assert columns(QUEUE) == [
        "Schedule",
        "Tick",
        "Suspend",
        "Depth",
        "Active",
        "Last Success",
        "Ready",
        "Reason",
        "Age",
    ]


def test_every_rule_has_a_message_that_says_what_to_write() -> None:
    for path, schema in SCHEMAS:
        for rule in schema.get("x-kubernetes-validations", ()):
            assert any(word in rule["message"] for word in ("write", "must", "e.g.")), path


FROM_THE_CHART = {("BBBCluster", "default"), ("BBBQueue", "core")}


@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*.yaml")), ids=lambda path: path.name)
def test_the_examples_are_valid_and_refer_to_what_is_in_them_or_in_the_chart(path: Path) -> None:
    documents = list(yaml.safe_load_all(path.read_text()))
    names = {(document["kind"], document["metadata"]["name"]) for document in documents}
    keys = {
        ("Secret", document["metadata"]["name"], key)
        for document in documents
        for key in document.get("stringData", ())
    }
    for document in documents:
        if document["kind"] in SPECS:
            spec = SPECS[document["kind"]].model_validate(document.get("spec", {}))
            assert set(references(spec)) <= names | keys | FROM_THE_CHART
            if isinstance(spec, BBBTenantSpec | BBBSecretSpec):
                assert spec.object_name == document["metadata"]["name"]
    absent = {"minimal.yaml": {"BBBCluster", "BBBQueue", "BBBRecordProfile"}}.get(path.name, set())
    # A BBBRecording is made by the operator.
    assert {"Secret", *SPECS} - {kind for kind, _ in names} == absent | {"BBBRecording"}


def references(spec: Schema) -> Iterator[tuple[str, ...]]:
    """Yield kind, name and, of a core Secret, the key of what a spec refers to."""
    if isinstance(spec, BBBNodeSpec):
        yield "BBBCluster", spec.cluster_ref.name
    if isinstance(spec, BBBTenantSpec):
        yield from (("BBBCluster", cluster.name) for cluster in spec.cluster_refs)
    if isinstance(spec, BBBSecretSpec):
        yield "BBBTenant", spec.tenant_ref.name
        yield from (("BBBRecordProfile", profile.name) for profile in spec.record_profile_refs)
    if isinstance(spec, BBBNodeSpec | BBBSecretSpec) and spec.secret_ref:
        yield "Secret", spec.secret_ref.name, spec.secret_ref.key
    if isinstance(spec, BBBClusterSpec) and spec.tls.ca_secret_ref:
        yield "Secret", spec.tls.ca_secret_ref.name, spec.tls.ca_secret_ref.key


def test_the_reference_lists_the_fields_of_objects_in_lists_and_their_defaults() -> None:
    page = generated_files()[Path("docs/reference/custom-resources.md")]
    assert '| `clusterRefs` | list of object | `[{"name": "default"}]` | 1 to 32 entries |' in page
    assert "| `clusterRefs[].name` | string | *required* |" in page
    assert "| `resources.requests.memory` | quantity |  |  | Memory, e.g. 8Gi; absent: what the BBBQueue says" in page


class TwoAlternatives(Schema):
    value: int | bool = Field(description="Two types.")


class Exclusive(Schema):
    value: int = Field(gt=0, description="An exclusive bound.")


@pytest.mark.parametrize(("model", "name"), [(TwoAlternatives, "value"), (Exclusive, "value")])
def test_what_a_structural_schema_cannot_say_is_an_error_that_names_the_field(model: type[Schema], name: str) -> None:
    with pytest.raises(UnsupportedSchemaError, match=rf"{model.__name__}\.{name}"):
        structural_schema(model)
