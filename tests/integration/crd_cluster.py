"""A control plane with the CRDs, for tests of what the API server takes, refuses and shows."""

from __future__ import annotations

import copy
import http.client
import json
from pathlib import Path
from typing import Any

from dev.controlplane import ControlPlane
from dev.controlplane.paths import collection_path, object_path

ROOT = Path(__file__).resolve().parents[2]
API_VERSION = "b3lb.io/v1alpha1"
# As kubectl asks, which takes a third of a second for each.
_DRY_RUN = "dryRun=All&fieldManager=kubectl&fieldValidation=Strict"
CLUSTER: dict[str, Any] = {"apiVersion": API_VERSION, "kind": "BBBCluster", "metadata": {"name": "default"}}


class RefusedError(RuntimeError):
    """The API server refused a manifest; the message is its own."""


class Cluster:
    """kubectl in one namespace that enforces the Pod Security Standard "restricted"."""

    def __init__(self, plane: ControlPlane, namespace: str) -> None:
        self._plane = plane
        self.namespace = namespace

    def __call__(self, *arguments: str, manifest: Any = None) -> str:
        content = None if manifest is None else json.dumps(manifest)
        return self._plane.kubectl(f"--namespace={self.namespace}", *arguments, input=content)

    def read(self, *arguments: str) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self("get", "-o", "json", *arguments))
        return answer

    def refusal(self, manifest: dict[str, Any]) -> str:
        """Return the words with which a manifest is refused."""
        path = collection_path(manifest["kind"].lower(), namespace=self.namespace)
        status, answer = self._plane.send("POST", f"{path}?{_DRY_RUN}", manifest)
        assert status >= http.client.BAD_REQUEST
        return str(answer["message"])

    def dry_run(self, manifest: dict[str, Any]) -> dict[str, Any]:
        """Return what a manifest would become.

        Raises:
            RefusedError: It is refused.
        """
        kind, name = manifest["kind"].lower(), manifest["metadata"]["name"]
        path = f"{object_path(kind, name, namespace=self.namespace)}?{_DRY_RUN}"
        status, answer = self._plane.send("PATCH", path, manifest, content_type="application/apply-patch+yaml")
        if status >= http.client.BAD_REQUEST:
            raise RefusedError(answer["message"])
        return answer


def crd_cluster(plane: ControlPlane, namespace: str) -> Cluster:
    """Make a namespace that enforces restricted pods."""
    kubectl = Cluster(plane, namespace)
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    metadata = {"name": namespace, "labels": labels}
    kubectl("apply", "-f", "-", manifest={"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
    return kubectl


def changed(manifest: dict[str, Any], *, name: str | None = None, without: str = "", **spec: Any) -> dict[str, Any]:
    """Return a manifest with other fields in its spec, and one of them taken away."""
    result = copy.deepcopy(manifest)
    result["metadata"]["name"] = name or manifest["metadata"]["name"]
    result["spec"] = {**result.get("spec", {}), **spec}
    result["spec"].pop(without, None)
    return result
