"""What the service accounts of a release that serves several namespaces may do, and where."""

from __future__ import annotations

import pytest

from dev.controlplane import ControlPlane
from tests.integration.chart.charts import Helm, assert_rights
from tests.integration.chart.releases import Release

# The first use of the control plane's programs builds them.
pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1200)]


@pytest.fixture(scope="module")
def farms(plane: ControlPlane, cluster_helm: Helm, tmp_path_factory: pytest.TempPathFactory) -> Release:
    """A release whose farm is another namespace than its own."""
    release = Release(plane, cluster_helm, tmp_path_factory.mktemp("farms"))
    release.kubectl("create", "namespace", "farm-a")
    release.helm("install", "--set", "namespaces={farm-a}")
    return release


@pytest.mark.parametrize("where", ["farm-a", "kube-system"])
def test_an_operator_of_several_namespaces_may_do_there_and_elsewhere_what_was_looked_at(
    farms: Release, where: str
) -> None:
    """Elsewhere that is what a namespace's deletion takes: BBBNodes of the whole cluster, which security.md says."""
    golden = "namespaces-farm" if where == "farm-a" else "namespaces-elsewhere"
    assert_rights(f"b3lb-operator-{golden}", farms.rights("b3lb-operator", where=where))


def test_an_operator_of_several_namespaces_reads_no_secret_outside_of_them(farms: Release) -> None:
    assert "secrets" not in farms.rights("b3lb-operator", where="kube-system")
    assert "secrets" in farms.rights("b3lb-operator", where="farm-a")
