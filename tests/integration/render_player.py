"""Plays the pods of renders on a control plane that has no node: what they would do to the rows, and how they end."""

from __future__ import annotations

import http.client
from collections.abc import Mapping
from typing import Any
from uuid import UUID, uuid4

from b3lb.db.engine import transaction
from b3lb.db.renders import RenderedFile, begin_render, finish_render
from b3lb.db.task_attempts import AttemptEnd, begin_attempt, end_attempt
from b3lb.db.task_runs import TaskState
from tests.integration.operator_cluster import OperatorCluster

Manifest = dict[str, Any]


class RenderPlayer:
    """The pods of an operator's renders."""

    def __init__(self, cluster: OperatorCluster) -> None:
        self.cluster = cluster
        self._path = f"/api/v1/namespaces/{cluster.namespace}/pods"

    def pods(self, run_id: UUID | None = None) -> list[Manifest]:
        """Return the pods that have not ended, of one run or of all, the oldest first."""
        selector = "b3lb.io/run" if run_id is None else f"b3lb.io/run%3D{run_id}"
        unfinished = "status.phase%21%3DSucceeded,status.phase%21%3DFailed"
        path = f"{self._path}?labelSelector={selector}&fieldSelector={unfinished}"
        items = (self.cluster.plane.find(path) or {})["items"]
        return sorted(items, key=lambda item: (item["metadata"]["creationTimestamp"], item["metadata"]["name"]))

    def next_pod(self, run_id: UUID, *, after: Manifest | None = None, within: float = 30) -> Manifest:
        """Wait for the pod of a run, for another one than ``after``, and return it; there is never a second one."""
        found: list[Manifest] = []

        def is_there() -> bool:
            found[:] = self.pods(run_id)
            return bool(found) and (after is None or found[0]["metadata"]["uid"] != after["metadata"]["uid"])

        self.cluster.expect(f"a pod works on {run_id}", is_there, within=within)
        (pod,) = found
        return pod

    def begin(self, pod: Manifest) -> bool:
        """Let a pod claim its run and video; return whether it may work."""
        attempt = int(environment(pod)["B3LB_ATTEMPT"])
        with transaction(self.cluster.engine, timeout_seconds=30) as connection:
            claimed = begin_attempt(connection, run_of(pod), attempt=attempt, pod=pod["metadata"]["name"])
            if claimed is None:
                return False
            record_set, profile = UUID(claimed.arguments["record_set"]), claimed.arguments["profile"]
            work = begin_render(connection, run_id=claimed.id, attempt=attempt, record_set=record_set, profile=profile)
        return work is not None

    def succeed(self, pod: Manifest) -> bool:
        """Let a pod publish its video and end; return whether it was the one that published it."""
        attempt, name = int(environment(pod)["B3LB_ATTEMPT"]), pod["metadata"]["name"]
        with transaction(self.cluster.engine, timeout_seconds=30) as connection:
            published = finish_render(connection, run_id=run_of(pod), file=_video())
            end_attempt(connection, run_of(pod), attempt=attempt, end=AttemptEnd(state=TaskState.SUCCESS), pod=name)
        self._end(pod, {"phase": "Succeeded", "containerStatuses": [_terminated(0, "Completed")]})
        return published

    def die(self, pod: Manifest, code: int, reason: str = "Error", *, disrupted: bool = False) -> None:
        """Let a pod end without a word; ``disrupted`` as by a drain."""
        status: dict[str, Any] = {"phase": "Failed", "containerStatuses": [_terminated(code, reason)]}
        if disrupted:
            condition = {"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI"}
            status["conditions"] = [*pod["status"].get("conditions", []), condition]
        self._end(pod, status)

    def _end(self, pod: Manifest, status: Mapping[str, Any]) -> None:
        path = f"{self._path}/{pod['metadata']['name']}/status"
        patch = {"status": status}
        code, answer = self.cluster.plane.send("PATCH", path, patch, content_type="application/merge-patch+json")
        assert code == http.client.OK, answer


def run_of(pod: Manifest) -> UUID:
    """Return the run that a pod works on."""
    return UUID(pod["metadata"]["labels"]["b3lb.io/run"])


def environment(pod: Manifest) -> dict[str, str]:
    """Return the variables of a pod's container that stand there as text."""
    (container,) = pod["spec"]["containers"]
    return {entry["name"]: entry.get("value", "") for entry in container["env"]}


def memory_limit(pod: Manifest) -> str:
    """Return the memory limit of a pod as the API server writes it."""
    (container,) = pod["spec"]["containers"]
    return str(container["resources"]["limits"]["memory"])


def _terminated(code: int, reason: str) -> dict[str, Any]:
    state = {"terminated": {"exitCode": code, "reason": reason}}
    return {"name": "job", "image": "b3lb:test", "imageID": "", "ready": False, "restartCount": 0, "state": state}


def _video() -> RenderedFile:
    return RenderedFile(
        key="video",
        poster_key=None,
        size=1,
        sha256="0" * 64,
        content_type="video/mp4",
        nonce=uuid4().hex,
        duration_milliseconds=1,
        width=1920,
        height=1080,
    )
