"""Releases on a real API server: install, upgrade, uninstall, side by side, and with their operator."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from dev.controlplane import ControlPlane
from dev.helm import HelmError
from dev.operators import secret_values
from dev.postgres import Postgres
from dev.processes import ManagedProcess
from tests.integration.chart.charts import Helm, assert_rights
from tests.integration.chart.releases import Release, RunningOperator
from tests.migrated import create_migrated_database

# The first use of the control plane's programs builds them.
pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1200)]

CORE = "b3lb-queue-core"


@pytest.fixture(scope="module")
def first(plane: ControlPlane, cluster_helm: Helm, tmp_path_factory: pytest.TempPathFactory) -> Release:
    """The release that brings the definitions to an empty cluster."""
    release = Release(plane, cluster_helm, tmp_path_factory.mktemp("first"))
    release.helm("install")
    return release


@pytest.fixture
def new_release(first: Release, cluster_helm: Helm, tmp_path: Path) -> Callable[..., Release]:
    """Return a function that installs a further release, in a namespace of its own."""

    def install(*arguments: str) -> Release:
        release = Release(first.plane, cluster_helm, tmp_path)
        release.helm("install", "--set", "crds.enabled=false", *arguments)
        return release

    return install


@pytest.fixture
def with_database(new_release: Callable[..., Release], postgres_server: Postgres) -> Callable[..., Release]:
    """Return a function that installs a release whose database is there."""

    def install(*arguments: str) -> Release:
        release = new_release("--set", "database.existingSecret.name=postgresql", *arguments)
        url = create_migrated_database(postgres_server, release.namespace.replace("-", "_"))
        release.kubectl("create", "secret", "generic", "postgresql", f"--from-literal=url={url}")
        return release

    return install


@pytest.fixture
def run() -> Iterator[Callable[[Release], RunningOperator]]:
    """Return a function that runs the operator of a release until the end of the test."""
    started: list[ManagedProcess] = []

    def start(release: Release) -> RunningOperator:
        operator = release.operator()
        started.append(operator.process)
        operator.start()
        return operator

    yield start
    for process in started:
        process.stop()


def test_the_definitions_come_with_the_first_release_and_stay(first: Release) -> None:
    definitions = json.loads(first.kubectl("get", "crds", "-o", "json"))["items"]
    assert {item["spec"]["group"] for item in definitions} == {"b3lb.io"}
    assert all(item["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep" for item in definitions)


def test_an_upgrade_keeps_what_was_generated(new_release: Callable[..., Release]) -> None:
    release = new_release()
    before = release.secret("b3lb-database"), release.secret("b3lb-encryption")
    release.helm("upgrade", "--set", "crds.enabled=false", "--set", "log.level=debug")
    assert (release.secret("b3lb-database"), release.secret("b3lb-encryption")) == before


def test_an_upgrade_can_be_rolled_back(new_release: Callable[..., Release]) -> None:
    release = new_release()
    before = release.secret("b3lb-encryption"), release.get("deployment", "b3lb-operator")["spec"]
    release.helm("upgrade", "--set", "crds.enabled=false", "--set", "log.level=debug")
    assert release.get("deployment", "b3lb-operator")["spec"] != before[1]
    release.rollback()
    assert (release.secret("b3lb-encryption"), release.get("deployment", "b3lb-operator")["spec"]) == before


def test_leader_election_is_turned_on_and_off_again(new_release: Callable[..., Release]) -> None:
    release = new_release()

    def operator() -> tuple[int, str]:
        spec = release.get("deployment", "b3lb-operator")["spec"]
        return spec["replicas"], spec["strategy"]["type"]

    assert operator() == (1, "Recreate")
    release.helm("upgrade", "--set", "crds.enabled=false", "--set", "leaderElection.enabled=true")
    assert operator() == (2, "RollingUpdate")
    assert release.get("poddisruptionbudget", "b3lb-operator")["spec"]["maxUnavailable"] == 1
    release.helm("upgrade", "--set", "crds.enabled=false")
    assert operator() == (1, "Recreate")
    assert not release.get("poddisruptionbudget", "b3lb-operator")


def test_a_key_that_was_added_by_hand_survives_an_upgrade(new_release: Callable[..., Release]) -> None:
    release = new_release()
    keys = f"{release.secret('b3lb-encryption')['keys']},k2:{'A' * 43}="
    release.kubectl("patch", "secret", "b3lb-encryption", "-p", json.dumps({"stringData": {"keys": keys}}))
    release.helm("upgrade", "--set", "crds.enabled=false")
    assert release.secret("b3lb-encryption")["keys"] == keys


def test_an_upgrade_copies_a_key_that_was_added_by_hand_to_the_other_farms(new_release: Callable[..., Release]) -> None:
    release = new_release()
    farm = f"{release.namespace}-farm"
    release.kubectl("create", "namespace", farm)
    values = ("--set", "crds.enabled=false", "--set", f"namespaces={{{release.namespace},{farm}}}")
    release.helm("upgrade", *values)
    keys = f"{release.secret('b3lb-encryption')['keys']},k2:{'A' * 43}="
    release.kubectl("patch", "secret", "b3lb-encryption", "-p", json.dumps({"stringData": {"keys": keys}}))
    release.helm("upgrade", *values)
    copied = json.loads(release.plane.kubectl("get", "secret", "b3lb-encryption", f"--namespace={farm}", "-o", "json"))
    assert secret_values(copied)["keys"] == release.secret("b3lb-encryption")["keys"] == keys


def test_a_scaled_operator_stays_scaled_over_an_upgrade(new_release: Callable[..., Release]) -> None:
    release = new_release()
    release.kubectl("scale", "deployment", "b3lb-operator", "--replicas=0")
    release.helm("upgrade", "--set", "crds.enabled=false", "--set", "log.level=debug")
    assert release.get("deployment", "b3lb-operator")["spec"]["replicas"] == 0


def test_scaled_operators_of_which_one_leads_stay_scaled_over_an_upgrade(new_release: Callable[..., Release]) -> None:
    values = ("--set", "crds.enabled=false", "--set", "leaderElection.enabled=true")
    release = new_release(*values)
    for replicas in (0, 3):
        release.kubectl("scale", "deployment", "b3lb-operator", f"--replicas={replicas}")
        release.helm("upgrade", *values, "--set", f"log.level={'debug' if replicas else 'warning'}")
        assert release.get("deployment", "b3lb-operator")["spec"]["replicas"] == replicas


def test_another_volume_of_the_database_is_refused_by_its_value_before_anything_changes(
    new_release: Callable[..., Release],
) -> None:
    release = new_release()
    before = release.get("deployment", "b3lb-operator")["metadata"]["generation"]
    refused = {
        "size=9Gi": "size cannot be changed from 8Gi to 9Gi",
        "className=a": 'className cannot be changed from ""',
    }
    for value, message in refused.items():
        with pytest.raises(HelmError, match=rf"database\.bundled\.storage\.{message}"):
            release.helm("upgrade", "--set", f"crds.enabled=false,log.level=debug,database.bundled.storage.{value}")
    assert release.get("deployment", "b3lb-operator")["metadata"]["generation"] == before


def test_the_same_size_in_other_units_is_no_other_volume(new_release: Callable[..., Release]) -> None:
    release = new_release("--set", "database.bundled.storage.size=0.5Gi")
    for size in ("512Mi", "536870912", "5368709120e-1"):
        release.helm("upgrade", "--set", f"crds.enabled=false,database.bundled.storage.size={size}")
    assert release.get("statefulset", "b3lb-database")["metadata"]["generation"] == 1


def test_a_database_whose_volume_has_grown_takes_the_new_size(new_release: Callable[..., Release]) -> None:
    release = new_release()
    release.kubectl("delete", "statefulset", "b3lb-database", "--cascade=orphan")
    release.helm("upgrade", "--set", "crds.enabled=false,database.bundled.storage.size=16Gi")
    (claim,) = release.get("statefulset", "b3lb-database")["spec"]["volumeClaimTemplates"]
    assert claim["spec"]["resources"]["requests"]["storage"] == "16Gi"


def test_a_second_release_in_the_same_farm_is_told_whose_it_is(
    first: Release, new_release: Callable[..., Release]
) -> None:
    owner = f"the farm of namespace {first.namespace} belongs to the release b3lb in namespace {first.namespace}"
    with pytest.raises(HelmError, match=owner):
        first.helm("install", "--set", "crds.enabled=false", release="other")
    with pytest.raises(HelmError, match=owner):
        new_release("--set", f"namespaces={{{first.namespace}}}")


def test_uninstalling_keeps_secrets_and_definitions_and_installing_again_takes_them(
    new_release: Callable[..., Release],
) -> None:
    release = new_release()
    before = release.secret("b3lb-database"), release.secret("b3lb-encryption")
    release.uninstall()
    kinds = "deployments,statefulsets,services,roles,rolebindings,networkpolicies"
    assert "b3lb" not in release.kubectl("get", kinds, "-o", "name")
    assert "bbbnodes.b3lb.io" in release.kubectl("get", "crds", "-o", "name")
    release.helm("install", "--set", "crds.enabled=false")
    assert (release.secret("b3lb-database"), release.secret("b3lb-encryption")) == before


def test_the_operator_declares_cluster_and_queue_and_they_go_with_the_release(
    with_database: Callable[..., Release], run: Callable[[Release], RunningOperator]
) -> None:
    release = with_database("--set", "queues.core.spec.suspend=true")
    run(release)
    release.expect("the queue", lambda: bool(release.get("bbbqueue", "core")), within=10)
    release.expect("the cluster", lambda: bool(release.get("bbbcluster", "default")), within=10)
    release.expect("the CronJob", lambda: bool(release.get("cronjob", "b3lb-core")), within=10)
    pod = release.get("cronjob", "b3lb-core")["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    assert pod["serviceAccountName"] == "b3lb-jobs"
    assert pod["automountServiceAccountToken"] is False
    assert pod["priorityClassName"] == f"{release.namespace}.b3lb-core"
    release.uninstall()
    everything = "bbbqueues,bbbclusters,cronjobs"
    release.expect("they go", lambda: not release.kubectl("get", everything, "-o", "name").strip(), within=30)


def test_an_edited_queue_stays_edited_over_an_upgrade_that_says_nothing_of_the_field(
    with_database: Callable[..., Release], run: Callable[[Release], RunningOperator]
) -> None:
    release = with_database("--set", "queues.core.spec.suspend=true")
    operator = run(release)
    release.expect("the queue", lambda: bool(release.get("bbbqueue", "core")), within=10)
    release.kubectl("patch", "bbbqueue", "core", "--type=merge", "-p", '{"spec":{"tickSeconds":30}}')
    operator.process.stop()
    values = ("crds.enabled=false", "database.existingSecret.name=postgresql", "queues.core.spec.maxInFlight=7")
    release.helm("upgrade", *(part for value in values for part in ("--set", value)))
    run(release)
    release.expect("followed", lambda: release.get("bbbqueue", "core")["spec"]["maxInFlight"] == 7, within=10)
    spec = release.get("bbbqueue", "core")["spec"]
    assert (spec["tickSeconds"], spec["suspend"]) == (30, False)


@pytest.mark.parametrize("account", ["b3lb-operator", "b3lb-jobs"])
def test_a_service_account_may_do_what_was_looked_at_and_nothing_else(first: Release, account: str) -> None:
    assert_rights(account, first.rights(account))


def test_two_releases_see_nothing_of_each_other(first: Release, new_release: Callable[..., Release]) -> None:
    second = new_release()
    for mine, other in ((first, second), (second, first)):
        user = f"--as=system:serviceaccount:{mine.namespace}:b3lb-operator"
        for right in (("list", "secrets"), ("watch", "bbbnodes.b3lb.io"), ("get", "namespaces")):
            assert other.kubectl("auth", "can-i", *right, user, check=False).strip() == "no"
            assert mine.kubectl("auth", "can-i", *right, user, check=False).strip() == "yes"


def test_the_operator_of_a_second_release_leaves_the_nodes_of_the_first_alone(
    first: Release, with_database: Callable[..., Release], run: Callable[[Release], RunningOperator]
) -> None:
    second = with_database()
    node = {
        "apiVersion": "b3lb.io/v1alpha1",
        "kind": "BBBNode",
        "metadata": {"name": "bbb1"},
        "spec": {"host": "bbb1.example.org", "secretRef": {"name": "bbb1"}},
    }
    for release in (first, second):
        release.kubectl("apply", "-f", "-", input=json.dumps(node))
    operator = run(second)
    second.expect("its own has a status", lambda: "status" in second.get("bbbnode", "bbb1"), within=10)
    other = first.get("bbbnode", "bbb1")
    assert "status" not in other
    assert "finalizers" not in other["metadata"]
    with psycopg.connect(second.secret("postgresql")["url"]) as connection:
        assert connection.execute("SELECT namespace FROM nodes").fetchall() == [(second.namespace,)]
    assert f'"{first.namespace}"' not in operator.log.read_text()
    first.kubectl("delete", "bbbnode", "bbb1")


def test_events_say_which_declared_objects_are_left_alone(
    with_database: Callable[..., Release], run: Callable[[Release], RunningOperator]
) -> None:
    release = with_database("--set", "queues.core.spec.suspend=true", "--set", "queues.core.spec.tickSeconds=15")
    mine = {"apiVersion": "b3lb.io/v1alpha1", "kind": "BBBCluster", "metadata": {"name": "default"}, "spec": {}}
    release.kubectl("apply", "-f", "-", input=json.dumps(mine))
    operator = run(release)
    release.expect("the queue", lambda: bool(release.get("bbbqueue", "core")), within=10)
    release.kubectl("patch", "bbbqueue", "core", "--type=merge", "-p", '{"spec":{"tickSeconds":30}}')
    operator.process.stop()
    run(release)

    def notes(reason: str) -> list[str]:
        items = json.loads(release.kubectl("get", "events.events.k8s.io", "-o", "json"))["items"]
        return [item["note"] for item in items if item["reason"] == reason]

    release.expect("both are told", lambda: bool(notes("ForeignObject") and notes("FieldConflict")), within=10)
    (foreign,) = notes("ForeignObject")
    (conflict,) = notes("FieldConflict")
    assert "ConfigMap b3lb-cluster-default" in foreign
    assert conflict.endswith(".spec.tickSeconds")
    assert "FieldConflict" in release.kubectl("describe", "bbbqueue", "core")
    assert release.get("bbbqueue", "core")["spec"]["tickSeconds"] == 30
