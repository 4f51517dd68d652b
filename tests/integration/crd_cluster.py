"""A control plane with the CRDs, for tests of what the API server takes, refuses and shows."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from dev.controlplane import ControlPlane, KubectlError

ROOT = Path(__file__).resolve().parents[2]
NAMESPACE = "restricted"
API_VERSION = "b3lb.io/v1alpha1"
CLUSTER: dict[str, Any] = {"apiVersion": API_VERSION, "kind": "BBBCluster", "metadata": {"name": "default"}}


class Cluster:
    """kubectl in one namespace that enforces the Pod Security Standard "restricted"."""

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane

    def __call__(self, *arguments: str, manifest: Any = None) -> str:
        content = None if manifest is None else json.dumps(manifest)
        return self._plane.kubectl(f"--namespace={NAMESPACE}", *arguments, input=content)

    def read(self, *arguments: str) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self("get", "-o", "json", *arguments))
        return answer

    def refusal(self, manifest: dict[str, Any]) -> str:
        """Return the words with which a manifest is refused."""
        with pytest.raises(KubectlError) as caught:
            self("apply", "--dry-run=server", "-f", "-", manifest=manifest)
        return str(caught.value)

    def dry_run(self, manifest: dict[str, Any]) -> dict[str, Any]:
        """Return what a manifest would become."""
        arguments = ("apply", "--server-side", "--dry-run=server", "-o", "json", "-f", "-")
        answer: dict[str, Any] = json.loads(self(*arguments, manifest=manifest))
        return answer


def crd_cluster(plane: ControlPlane) -> Cluster:
    """Install the CRDs, and a namespace that enforces restricted pods."""
    kubectl = Cluster(plane)
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": labels}}
    kubectl("apply", "-f", "-", manifest=namespace)
    kubectl("apply", "--server-side", "-f", str(ROOT / "crds"))
    kubectl("wait", "--for=condition=Established", "--timeout=30s", "-f", str(ROOT / "crds"))
    return kubectl


def changed(manifest: dict[str, Any], *, name: str | None = None, without: str = "", **spec: Any) -> dict[str, Any]:
    """Return a manifest with other fields in its spec, and one of them taken away."""
    result = copy.deepcopy(manifest)
    result["metadata"]["name"] = name or manifest["metadata"]["name"]
    result["spec"] = {**result.get("spec", {}), **spec}
    result["spec"].pop(without, None)
    return result
