"""A release that goes leaves nothing that hangs, with or without its definitions, whether its operator runs or not.

No node runs the hooks' pods here: what they run is run beside the cluster, with the rights that it has there.
"""

from __future__ import annotations

import functools
import json
import sys
from pathlib import Path

import pytest
import yaml

from dev.controlplane import ControlPlane
from dev.processes import ManagedProcess, ProcessError
from tests.integration.chart.charts import Helm, Manifest, assert_rights
from tests.integration.chart.releases import Release

# The first use of the control plane's programs builds them.
pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1200)]

NODE = {
    "apiVersion": "b3lb.io/v1alpha1",
    "kind": "BBBNode",
    "metadata": {"name": "bbb1", "finalizers": ["b3lb.io/drain"]},
    "spec": {"host": "bbb1.example.org", "secretRef": {"name": "bbb1"}},
}


DELETION_SECONDS = 30


def listed(plane: ControlPlane, path: str) -> bool:
    """Return whether a list could be read."""
    try:
        return plane.find(path) is not None
    except ProcessError:
        return False


def install(release: Release, *arguments: str) -> None:
    """Install, and declare a node as an operator leaves it."""
    release.helm("install", *arguments)
    wait = ("wait", "--for=condition=Established", "--timeout=30s", "crd", "-l", "app.kubernetes.io/part-of=b3lb")
    release.plane.kubectl(*wait)
    # As an operator does that watches them: a kind that nobody has listed yet answers its deletion with "storage is
    # (re)initializing", and Kubernetes' own finalizer then loses a race with itself and rests for five minutes.
    names = release.kubectl("get", "crds", "-o", "name").split()
    kinds = [name.split("/")[1].removesuffix(".b3lb.io") for name in names if name.endswith(".b3lb.io")]
    for kind in kinds:
        path = f"/apis/b3lb.io/v1alpha1/{kind}"
        release.expect(f"a list of {kind}", functools.partial(listed, release.plane, path), within=10)
    release.kubectl("apply", "-f", "-", input=json.dumps(NODE))


def run_hook(release: Release, directory: Path, *, command: str, account: str) -> None:
    """Run what the pod of a hook runs, under its service account."""
    environment = {
        "HOME": str(directory),
        "KUBECONFIG": str(release.plane.kubeconfig_for(release.namespace, account)),
        "B3LB_NAMESPACES": release.namespace,
    }
    program = [sys.executable, "-m", "b3lb_operator.cli", command]
    log = directory / "hook.log"
    hook = ManagedProcess("hook", program, log=log, environment=environment, directory=directory)
    hook.start()
    assert hook.wait(60)
    assert hook.exit_code == 0, log.read_text()


def apply_needed(release: Release, hooks: list[Manifest], *, when: str) -> Manifest:
    """Apply what a hook's pod needs, as Helm does before it, and return the pod's spec."""
    mine = [item for item in hooks if item["metadata"]["annotations"]["helm.sh/hook"] == when]
    (job,) = (item for item in mine if item["kind"] == "Job")
    needed = [item for item in mine if item["kind"] != "Job"]
    assert all("hook-failed" in item["metadata"]["annotations"]["helm.sh/hook-delete-policy"] for item in needed)
    release.kubectl("apply", "-f", "-", input=yaml.safe_dump_all(needed))
    pod: Manifest = job["spec"]["template"]["spec"]
    return pod


def delete_namespace(release: Release) -> None:
    """Delete the namespace with everything in it."""
    release.plane.kubectl("delete", "namespace", release.namespace, "--wait=false")
    release.expect(
        "the namespace is gone",
        lambda: not release.plane.kubectl("get", "namespace", release.namespace, "--ignore-not-found", "-o", "name"),
        within=DELETION_SECONDS,
    )


def test_nodes_that_no_operator_lets_go_are_let_go_by_the_hook(
    plane: ControlPlane, cluster_helm: Helm, tmp_path: Path
) -> None:
    release = Release(plane, cluster_helm, tmp_path)
    install(release, "--set", "crds.keep=false")
    assert "uninstall" not in release.kubectl("get", "roles,rolebindings,serviceaccounts", "-o", "name")
    assert_rights("b3lb-operator", release.rights("b3lb-operator"))
    pod = apply_needed(release, release.hooks(), when="pre-delete")
    assert (pod["containers"][0]["args"], pod["serviceAccountName"]) == (["delete-nodes"], "b3lb-uninstall")
    assert_rights("b3lb-uninstall-with-definitions", release.rights("b3lb-uninstall"))
    run_hook(release, tmp_path, command="delete-nodes", account="b3lb-uninstall")
    assert release.kubectl("get", "bbbnodes", "-o", "name") == ""
    release.uninstall()
    release.expect("no definitions", lambda: "b3lb.io" not in release.kubectl("get", "crds", "-o", "name"), within=30)


def test_after_an_uninstallation_that_keeps_the_nodes_their_namespace_can_be_deleted(
    plane: ControlPlane, cluster_helm: Helm, tmp_path: Path
) -> None:
    release = Release(plane, cluster_helm, tmp_path)
    install(release)
    hooks = release.hooks()
    release.uninstall()
    assert release.get("bbbnode", "bbb1")["metadata"]["finalizers"] == ["b3lb.io/drain"]
    pod = apply_needed(release, hooks, when="post-delete")
    assert (pod["containers"][0]["args"], pod["serviceAccountName"]) == (["release-nodes"], "b3lb-uninstall")
    assert_rights("b3lb-uninstall", release.rights("b3lb-uninstall"))
    run_hook(release, tmp_path, command="release-nodes", account="b3lb-uninstall")
    assert "finalizers" not in release.get("bbbnode", "bbb1")["metadata"]
    delete_namespace(release)


def test_a_hook_that_fails_keeps_nobody_from_uninstalling_and_leaves_nothing(
    plane: ControlPlane, cluster_helm: Helm, tmp_path: Path
) -> None:
    """As with an image that cannot be pulled: the pod never runs."""
    release = Release(plane, cluster_helm, tmp_path)
    release.helm("install", "--set", "crds.enabled=false")
    assert "b3lb-uninstall" in release.uninstall_in_vain()
    kinds = "deployments,statefulsets,services,jobs,pods,roles,rolebindings,networkpolicies,serviceaccounts"
    release.expect("all is gone", lambda: "b3lb" not in release.kubectl("get", kinds, "-o", "name"), within=30)
    release.helm("install", "--set", "crds.enabled=false")
    release.uninstall()
