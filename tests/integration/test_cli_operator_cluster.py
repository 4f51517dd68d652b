"""``b3lb`` and the real operator: by its address, and by a kubeconfig of somebody with the chart's two Roles only."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dev.controlplane import ControlPlane
from dev.postgres import Postgres
from tests.integration.operator_cluster import OperatorCluster, bbb_cluster, bbb_queue, bbb_secret, bbb_tenant
from tests.unit.commands import b3lb

# The first use of the control plane's programs builds them.
pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1200)]

TOKEN = "for-this-test-only-and-long-enough"
LABELS = {"app.kubernetes.io/part-of": "b3lb", "app.kubernetes.io/component": "operator"}
LISTINGS = ["queues", "nodes", "clusters", "tenants", "runs", "accounting"]
LISTINGS += [f"inspect {name}" for name in ("active", "scheduled", "registered", "stats", "active-queues")]
LISTINGS += [f"recordings {name}" for name in ("list", "callbacks", "audit")]
READER = [
    {"apiGroups": [""], "resources": ["services"], "verbs": ["get", "list"]},
    {
        "apiGroups": [""],
        "resources": ["services/proxy"],
        "resourceNames": ["b3lb-operator", "http:b3lb-operator:metrics"],
        "verbs": ["get"],
    },
    {"apiGroups": [""], "resources": ["secrets"], "resourceNames": ["b3lb-control"], "verbs": ["get"]},
]
RUNNER = [{"apiGroups": ["b3lb.io"], "resources": ["bbbqueues"], "verbs": ["get", "list", "patch"]}]


def address() -> str:
    """Return an address of this machine that is no loopback, which the API server refuses to proxy to."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            # Nothing is sent: it only chooses the address that packets would leave by.
            probe.connect(("192.0.2.1", 9))
            found = str(probe.getsockname()[0])
        except OSError:
            found = "127.0.0.1"
    if found.startswith("127."):
        pytest.skip("needs an address of this machine beside the loopback")
    return found


@pytest.fixture(scope="module")
def cluster(
    plane_with_definitions: ControlPlane, postgres_server: Postgres, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[OperatorCluster]:
    directory = tmp_path_factory.mktemp("operator")
    settings = {"B3LB_CONTROL_TOKEN": TOKEN, "B3LB_HTTP_ADDRESS": "0.0.0.0"}  # noqa: S104 - the API server comes from outside
    with OperatorCluster(plane_with_definitions, postgres_server, directory, environment=settings) as running:
        running.apply(bbb_cluster(), bbb_tenant(), bbb_secret(), bbb_queue(tasks=["check-nodes"]))
        publish(running)
        running.expect_condition("bbbtenant", "uni", "True/Accepted", type_="Accepted", within=30)
        yield running
    assert running.problems() == []


def publish(cluster: OperatorCluster) -> None:
    """Create Service and Secret as the chart does, and a pod at the operator's address: nothing else is proxied to."""
    metadata = {"name": "b3lb-operator", "labels": LABELS}
    marked = {**metadata, "annotations": {"b3lb.io/control-secret": "b3lb-control/token"}}
    port = {"name": "metrics", "port": cluster.port}
    container = {"name": "operator", "image": "b3lb:test"}
    target = {"kind": "Pod", "name": "b3lb-operator", "namespace": cluster.namespace}
    ip = address()
    cluster.apply(
        {"apiVersion": "v1", "kind": "Service", "metadata": marked, "spec": {"clusterIP": "None", "ports": [port]}},
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "b3lb-control"}, "stringData": {"token": TOKEN}},
        {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": [container]}},
        {
            "apiVersion": "v1",
            "kind": "Endpoints",
            "metadata": {"name": "b3lb-operator"},
            "subsets": [{"addresses": [{"ip": ip, "targetRef": target}], "ports": [port]}],
        },
    )
    status = json.dumps({"status": {"podIP": ip, "podIPs": [{"ip": ip}]}})
    cluster.kubectl("patch", "pod", "b3lb-operator", "--subresource=status", "--type=merge", "-p", status)


def person(cluster: OperatorCluster, name: str, rules: list[dict[str, Any]]) -> Path:
    """Return the kubeconfig of somebody with these rights only."""
    cluster.kubectl("create", "serviceaccount", name)
    metadata = {"name": name}
    group = "rbac.authorization.k8s.io"
    role = {"apiVersion": f"{group}/v1", "kind": "Role", "metadata": metadata, "rules": rules}
    subject = {"kind": "ServiceAccount", "name": name, "namespace": cluster.namespace}
    reference = {"apiGroup": group, "kind": "Role", "name": name}
    binding = {"apiVersion": f"{group}/v1", "kind": "RoleBinding", "metadata": metadata}
    cluster.apply(role, {**binding, "subjects": [subject], "roleRef": reference})
    return cluster.plane.kubeconfig_for(cluster.namespace, name)


@pytest.fixture
def by_address(cluster: OperatorCluster, monkeypatch: pytest.MonkeyPatch) -> OperatorCluster:
    for name in ("B3LB_DATABASE_URL", "B3LB_NAMESPACE", "KUBECONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("B3LB_SERVER", f"http://127.0.0.1:{cluster.port}")
    monkeypatch.setenv("B3LB_TOKEN", TOKEN)
    return cluster


@pytest.mark.usefixtures("by_address")
@pytest.mark.parametrize("command", LISTINGS)
def test_every_list_is_a_table_and_json_of_what_the_operator_knows(command: str) -> None:
    code, _, err = b3lb(*command.split(), "-o", "wide") if command != "accounting" else b3lb(command)
    assert (code, "Traceback" in err) == (0, False), err
    code, out, err = b3lb(*command.split(), "-o", "json")
    assert (code, err) == (0, ""), err
    assert json.loads(out)["kind"].endswith("List")


@pytest.mark.usefixtures("by_address")
def test_names_are_those_of_the_farm() -> None:
    assert "check-nodes" in b3lb("queues", "-o", "wide")[1]
    assert "core" in b3lb("inspect", "registered")[1]
    assert b3lb("tenants")[1].splitlines()[1].split()[:3] == ["uni", "UNI", "yes"]
    code, out, err = b3lb("meetings", "--secret", "uni-001")
    assert (code, out) == (0, "")
    assert err.startswith("0 meetings, 0 attending")
    report = b3lb("report")[1]
    assert "== queues" in report
    assert TOKEN not in report


@pytest.mark.usefixtures("by_address")
@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("runs", "--state", "DONE"), 2, "PENDING, STARTED, SUCCESS, FAILURE, RETRY, REVOKED"),
        (("runs", "--queue", "cor"), 2, "no BBBQueue cor; the queues are core"),
        (("runs", "--task", "chek"), 2, "the tasks are check-nodes"),
        (("meetings", "--secret", "uni-009"), 1, "there are uni-001"),
        (("nodes", "-n", "elsewhere"), 1, "does not watch the namespace"),
        (("inspect", "ping", "--server", "http://127.0.0.1:1"), 75, "cannot be reached"),
    ],
)
def test_what_is_wrong_is_one_line_with_what_is_allowed(arguments: tuple[str, ...], code: int, words: str) -> None:
    found, out, err = b3lb(*arguments)
    assert (found, out, err.count("\n")) == (code, "", 1)
    assert words in err


def test_a_reader_asks_through_the_api_server_and_may_not_run(
    cluster: OperatorCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("B3LB_DATABASE_URL", "B3LB_SERVER", "B3LB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("KUBECONFIG", str(person(cluster, "reader", READER)))
    code, out, err = b3lb("queues", "--operator-namespace", cluster.namespace)
    assert (code, err) == (0, ""), err
    assert out.splitlines()[1].split()[0] == "core"
    code, _, err = b3lb("run", "check-nodes", "-n", cluster.namespace)
    assert (code, "bind the Role b3lb-control-tasks to you" in err) == (77, True), err


def test_who_may_patch_queues_runs_revokes_and_purges_without_the_database(
    cluster: OperatorCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("B3LB_DATABASE_URL", "B3LB_SERVER", "B3LB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("KUBECONFIG", str(person(cluster, "runner", [*READER, *RUNNER])))
    monkeypatch.setenv("B3LB_NAMESPACE", cluster.namespace)
    code, out, err = b3lb("run", "check-nodes", "--priority", "9", "-o", "json")
    assert (code, err) == (0, ""), err
    run = json.loads(out)
    assert (run["queue"], run["task"], run["priority"], run["enqueued"]) == ("core", "check-nodes", 9, True)
    assert run["id"] in b3lb("runs")[1]
    code, out, err = b3lb("revoke", run["id"], "-o", "json")
    assert (code, err) == (0, ""), err
    code, _, err = b3lb("revoke", run["id"])
    assert (code, err.count("\n")) == (1, 1)
    assert b3lb("purge", "core")[0] == 0
    annotations = cluster.get("bbbqueue", "core")["metadata"].get("annotations") or {}
    assert not [name for name in annotations if name.startswith("request.b3lb.io/")]


def test_without_rights_the_missing_role_is_named(cluster: OperatorCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", str(person(cluster, "nobody-special", [])))
    monkeypatch.setenv("B3LB_NAMESPACE", cluster.namespace)
    code, out, err = b3lb("nodes")
    assert (code, out) == (77, "")
    assert "ask your administrator to bind the Role b3lb-control to you" in err
