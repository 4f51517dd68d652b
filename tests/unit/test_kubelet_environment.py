"""Environment and command of a container as the process kubelet builds them."""

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dev.kubelet.environment import (
    Objects,
    command_line,
    container_environment,
    environment_references,
    expand,
)
from dev.kubelet.fields import ConfigurationError, field_value
from dev.kubelet.quantities import in_units, parse_quantity

ALLOCATABLE = {"cpu": "8", "memory": "32Gi", "ephemeral-storage": "100Gi"}
POD = {
    "metadata": {
        "name": "render-1",
        "namespace": "farm",
        "uid": "u-1",
        "labels": {"app": "b3lb", "batch.kubernetes.io/job-completion-index": "3"},
        "annotations": {"note": 'a "b"'},
    },
    "spec": {
        "nodeName": "n1",
        "serviceAccountName": "jobs",
        "containers": [
            {"name": "main", "resources": {"limits": {"cpu": "1500m", "memory": "64Mi"}, "requests": {"cpu": "250m"}}},
            {"name": "other", "resources": {"limits": {"memory": "1Gi"}}},
        ],
    },
    "status": {"podIP": "127.77.0.5", "hostIP": "127.77.0.1"},
}


def encoded(**entries: str) -> dict[str, str]:
    return {key: base64.b64encode(value.encode()).decode() for key, value in entries.items()}


def environment(container: dict[str, Any], objects: Objects | None = None, **services: str) -> dict[str, str]:
    return container_environment(
        {"name": "main", **container}, pod=POD, objects=objects or {}, services=services, allocatable=ALLOCATABLE
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$(A)/$(B)", "one/two"),
        ("$$(A)", "$(A)"),
        ("$$$(A)", "$one"),
        ("$(MISSING)", "$(MISSING)"),
        ("$A ${A} $", "$A ${A} $"),
        ("$(A", "$(A"),
        ("$($(A)", "$($(A)"),
        ("$()", "$()"),
        ("a$$b", "a$b"),
    ],
)
def test_expansion_follows_the_rules_of_kubernetes(text: str, expected: str) -> None:
    assert expand(text, {"A": "one", "B": "two"}) == expected


@given(st.text())
def test_doubled_dollars_protect_any_text(text: str) -> None:
    assert expand(text.replace("$", "$$"), {"A": "one"}) == text


def test_the_whole_environment_of_a_container() -> None:
    container = {
        "resources": {"limits": {"cpu": "1500m", "memory": "64Mi"}, "requests": {"cpu": "250m"}},
        "envFrom": [
            {"secretRef": {"name": "database"}},
            {"configMapRef": {"name": "settings"}, "prefix": "S_"},
            {"configMapRef": {"name": "absent", "optional": True}},
        ],
        "env": [
            {"name": "PLAIN", "value": "x"},
            {"name": "EMPTY"},
            {"name": "URL", "value": "postgresql://$(user)@$(HOST):$(PORT)/$(LATER)"},
            {"name": "LATER", "value": "$(PLAIN)$(PLAIN)"},
            {"name": "S_LEVEL", "value": "own"},
            {"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "database", "key": "password"}}},
            {"name": "LOG", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "LOG"}}},
            {"name": "NO", "valueFrom": {"secretKeyRef": {"name": "database", "key": "no", "optional": True}}},
            {"name": "GONE", "valueFrom": {"configMapKeyRef": {"name": "absent", "key": "k", "optional": True}}},
            {
                "name": "INDEX",
                "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['batch.kubernetes.io/job-completion-index']"}},
            },
            {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
            {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
            {"name": "CPU", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu", "divisor": "0"}}},
            {"name": "MILLI", "valueFrom": {"resourceFieldRef": {"resource": "requests.cpu", "divisor": "1m"}}},
            {"name": "MEMORY", "valueFrom": {"resourceFieldRef": {"resource": "limits.memory", "divisor": "1Mi"}}},
            {"name": "UNSET", "valueFrom": {"resourceFieldRef": {"resource": "requests.memory", "divisor": "0"}}},
            {
                "name": "OTHER",
                "valueFrom": {"resourceFieldRef": {"containerName": "other", "resource": "limits.cpu", "divisor": "1"}},
            },
        ],
    }
    objects: Objects = {
        ("Secret", "database"): {"data": encoded(user="b3lb", password="geheim")},
        ("ConfigMap", "settings"): {"data": {"LEVEL": "info", "LOG": "json"}},
        ("ConfigMap", "absent"): None,
    }

    assert environment_references(container) == objects.keys()
    assert environment(container, objects, HOST="10.0.0.1", PORT="5432") == {
        "HOST": "10.0.0.1",
        "PORT": "5432",
        "user": "b3lb",
        "password": "geheim",
        "S_LEVEL": "own",
        "S_LOG": "json",
        "PLAIN": "x",
        "EMPTY": "",
        # LATER is not known yet when URL is made.
        "URL": "postgresql://b3lb@10.0.0.1:5432/$(LATER)",
        "LATER": "xx",
        "PASSWORD": "geheim",
        "LOG": "json",
        "INDEX": "3",
        "NODE": "n1",
        "IP": "127.77.0.5",
        "CPU": "2",
        "MILLI": "250",
        "MEMORY": "64",
        "UNSET": "0",
        "OTHER": "8",
    }


def test_bytes_of_a_secret_that_are_not_text_reach_the_environment_unchanged() -> None:
    objects: Objects = {("Secret", "s"): {"data": {"key": base64.b64encode(b"\xff\x00a").decode()}}}
    container = {"env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "key"}}}]}
    assert environment(container, objects)["A"].encode("utf-8", "surrogateescape") == b"\xff\x00a"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"secretKeyRef": {"name": "none", "key": "k"}}, 'secret "none" not found in namespace farm'),
        ({"configMapKeyRef": {"name": "none", "key": "k"}}, 'configmap "none" not found in namespace farm'),
        ({"secretKeyRef": {"name": "some", "key": "k"}}, "couldn't find key k in Secret farm/some"),
        ({"fieldRef": {"fieldPath": "spec.tolerations"}}, "unsupported fieldPath: spec.tolerations"),
        ({"resourceFieldRef": {"resource": "limits.gpu"}}, "unsupported container resource: limits.gpu"),
        ({"resourceFieldRef": {"resource": "limits.cpu", "containerName": "x"}}, "container x not found"),
        ({"fileKeyRef": {}}, "unsupported source of a variable: fileKeyRef"),
    ],
)
def test_what_is_missing_or_unknown_is_named(source: dict[str, Any], message: str) -> None:
    objects: Objects = {
        ("Secret", "none"): None,
        ("ConfigMap", "none"): None,
        ("Secret", "some"): {"data": encoded(other="secret-value")},
    }
    with pytest.raises(ConfigurationError) as caught:
        environment({"env": [{"name": "A", "valueFrom": source}]}, objects)
    assert str(caught.value) == message


def test_a_missing_object_of_env_from_is_named() -> None:
    with pytest.raises(ConfigurationError, match='secret "none" not found'):
        environment({"envFrom": [{"secretRef": {"name": "none"}}]}, {("Secret", "none"): None})


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("metadata.name", "render-1"),
        ("metadata.namespace", "farm"),
        ("metadata.uid", "u-1"),
        ("metadata.labels['app']", "b3lb"),
        ("metadata.labels['none']", ""),
        ("metadata.annotations['note']", 'a "b"'),
        ("metadata.annotations", 'note="a \\"b\\""'),
        ("metadata.labels", 'app="b3lb"\nbatch.kubernetes.io/job-completion-index="3"'),
        ("spec.serviceAccountName", "jobs"),
        ("status.hostIP", "127.77.0.1"),
    ],
)
def test_fields_of_the_downward_api(path: str, value: str) -> None:
    assert field_value(POD, path) == value


@pytest.mark.parametrize(
    ("container", "expected"),
    [
        ({}, ["b3lb-job", "--$(A)"]),
        ({"args": ["core", "$(A)"]}, ["b3lb-job", "--$(A)", "core", "one"]),
        ({"command": ["sh", "-c"], "args": ["echo $(A) $$(A)"]}, ["sh", "-c", "echo one $(A)"]),
    ],
)
def test_the_command_replaces_the_entry_point_and_arguments_follow(
    container: dict[str, Any], expected: list[str]
) -> None:
    assert command_line(container, entrypoint=["b3lb-job", "--$(A)"], variables={"A": "one"}) == expected


def test_a_container_without_any_command_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="no command specified"):
        command_line({}, entrypoint=[], variables={})


@pytest.mark.parametrize(
    ("text", "number"),
    [("1", 1), ("500m", "0.5"), ("1.5", "1.5"), ("10Gi", 10 * 1024**3), ("2e3", 2000), ("1k", 1000), ("3n", "3e-9")],
)
def test_quantities(text: str, number: object) -> None:
    assert parse_quantity(text) == parse_quantity(str(number))


@pytest.mark.parametrize("text", ["", "x", "1 Gi", "1gi", "--1", "1e99999"])
def test_what_is_no_quantity_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a quantity"):
        parse_quantity(text)


def test_quantities_are_rounded_up_to_whole_units() -> None:
    assert [in_units("1001m", divisor="1"), in_units("1001m", divisor="1m"), in_units("1Gi", divisor="0")] == [
        2,
        1001,
        1024**3,
    ]
