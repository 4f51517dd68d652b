"""Helm, and a control plane on which the chart is installed."""

from __future__ import annotations

from pathlib import Path

import pytest

from dev.controlplane import ControlPlane
from tests.integration.chart.charts import Helm


@pytest.fixture(scope="module")
def helm(helm_program: Path, tmp_path_factory: pytest.TempPathFactory) -> Helm:
    """Helm without a cluster."""
    return Helm(helm_program, tmp_path_factory.mktemp("helm"))


@pytest.fixture(scope="module")
def shared_helm(
    helm_program: Path, plane_with_definitions: ControlPlane, tmp_path_factory: pytest.TempPathFactory
) -> Helm:
    """Helm as the administrator of the control plane that files share."""
    return Helm(helm_program, tmp_path_factory.mktemp("helm"), plane_with_definitions.kubeconfig)


@pytest.fixture(scope="module")
def cluster_helm(helm_program: Path, plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Helm:
    """Helm as the control plane's administrator."""
    return Helm(helm_program, tmp_path_factory.mktemp("helm"), plane.kubeconfig)
