"""What becomes of generated Secrets: Helm keeps them, and the bundled database keeps its password in its data.

A lost Secret may therefore not be replaced by a new password.
"""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from dev.controlplane import ControlPlane
from dev.helm import HelmError
from tests.integration.chart.charts import Helm
from tests.integration.chart.releases import Release

# The first use of the control plane's programs builds them.
pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1200)]

LOST = "the Secret b3lb-database has no password any more"


@pytest.fixture
def release(plane_with_definitions: ControlPlane, shared_helm: Helm, tmp_path: Path) -> Release:
    """A release whose database has claimed its volume."""
    release = Release(plane_with_definitions, shared_helm, tmp_path)
    release.helm("install", "--set", "crds.enabled=false")
    release.expect("the claim", lambda: bool(release.get("persistentvolumeclaim", "data-b3lb-database-0")), within=10)
    return release


def test_an_upgrade_makes_no_new_password_for_data_that_have_one_and_a_rollback_brings_the_secret_back(
    release: Release,
) -> None:
    before = release.secret("b3lb-database")
    release.helm("upgrade", "--set", "crds.enabled=false")
    assert release.secret("b3lb-database") == before
    release.kubectl("delete", "secret", "b3lb-database")
    with pytest.raises(HelmError, match=LOST):
        release.helm("upgrade", "--set", "crds.enabled=false")
    release.rollback("2")
    assert release.secret("b3lb-database") == before


def test_a_new_installation_over_such_data_takes_a_password_that_is_given(release: Release) -> None:
    release.uninstall()
    release.kubectl("delete", "secret", "b3lb-database")
    with pytest.raises(HelmError, match=LOST):
        release.helm("install", "--set", "crds.enabled=false")
    release.kubectl("create", "secret", "generic", "b3lb-database", "--from-literal=password=given")
    release.helm("install", "--set", "crds.enabled=false", "--take-ownership")
    found = release.secret("b3lb-database")
    assert found["password"] == "given"
    assert found["url"].startswith("postgresql://b3lb:given@b3lb-database.")


def test_helm_keeps_what_the_chart_generates_and_nothing_of_secrets_of_ones_own(release: Release, helm: Helm) -> None:
    """As docs/security.md says."""
    assert release.manifest().count(base64.b64encode(release.secret("b3lb-encryption")["keys"].encode()).decode()) == 1
    names = ("database.existingSecret.name=postgresql", "encryption.existingSecret.name=keys")
    own = [word for name in (*names, "control.existingSecret.name=token") for word in ("--set", name)]
    assert "Secret" not in {item["kind"] for item in helm.render(*own)}
