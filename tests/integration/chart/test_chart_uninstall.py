"""A release that takes its definitions along leaves nothing that hangs, whether its operator runs or not."""

from __future__ import annotations

import functools
import json
import sys
from pathlib import Path

import pytest

from dev.controlplane import ControlPlane
from dev.processes import ManagedProcess, ProcessError
from tests.integration.chart.charts import Helm
from tests.integration.chart.releases import Release

# The first use of the control plane's programs builds them.
pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1200)]

NODE = {
    "apiVersion": "b3lb.io/v1alpha1",
    "kind": "BBBNode",
    "metadata": {"name": "bbb1", "finalizers": ["b3lb.io/drain"]},
    "spec": {"host": "bbb1.example.org", "secretRef": {"name": "bbb1"}},
}


def listed(plane: ControlPlane, path: str) -> bool:
    """Return whether a list could be read."""
    try:
        return plane.find(path) is not None
    except ProcessError:
        return False


def test_nodes_that_no_operator_lets_go_are_let_go_by_the_hook(
    plane: ControlPlane, cluster_helm: Helm, tmp_path: Path
) -> None:
    release = Release(plane, cluster_helm, tmp_path)
    release.helm("install", "--set", "crds.keep=false")
    plane.kubectl("wait", "--for=condition=Established", "--timeout=30s", "crd", "-l", "app.kubernetes.io/part-of=b3lb")
    # As an operator does that watches them: a kind that nobody has listed yet answers its deletion with "storage is
    # (re)initializing", and Kubernetes' own finalizer then loses a race with itself and rests for five minutes.
    names = release.kubectl("get", "crds", "-o", "name").split()
    kinds = [name.split("/")[1].removesuffix(".b3lb.io") for name in names if name.endswith(".b3lb.io")]
    for kind in kinds:
        path = f"/apis/b3lb.io/v1alpha1/{kind}"
        release.expect(f"a list of {kind}", functools.partial(listed, plane, path), within=10)
    release.kubectl("apply", "-f", "-", input=json.dumps(NODE))
    # What the hook's pod runs, with the rights that it has there.
    environment = {
        "HOME": str(tmp_path),
        "KUBECONFIG": str(plane.kubeconfig_for(release.namespace, "b3lb-operator")),
        "B3LB_NAMESPACES": release.namespace,
    }
    command = [sys.executable, "-m", "b3lb_operator.cli", "delete-nodes"]
    log = tmp_path / "hook.log"
    hook = ManagedProcess("hook", command, log=log, environment=environment, directory=tmp_path)
    hook.start()
    assert hook.wait(60)
    assert hook.exit_code == 0, log.read_text()
    assert release.kubectl("get", "bbbnodes", "-o", "name") == ""
    release.uninstall("--no-hooks")
    release.expect("no definitions", lambda: "b3lb.io" not in release.kubectl("get", "crds", "-o", "name"), within=30)
