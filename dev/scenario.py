"""A farm declared in an installation, and what the demo and the end-to-end tests ask of it."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable, Sequence
from typing import Any

import yaml

from b3lb.tasks import QUEUES
from dev.environment import REPOSITORY, Installation
from dev.farm.messages import FarmNode
from dev.farm.process import Farm

API_VERSION = "b3lb.io/v1alpha1"
TICK_SECONDS = 5
# From the last tick of a pod to the first one of the next minute's: 15 s between them and the pod's start.
SEAM_SECONDS = 20
# Values of a release whose BBBCluster and BBBQueue are declared by the scenario.
NOTHING_DECLARED = {"cluster": {"enabled": False}, "queues": {name: {"enabled": False} for name in QUEUES}}


class NotSeenError(AssertionError):
    """A state did not come in time."""


class Scenario:
    """Applies custom resources for simulated nodes and waits for states."""

    def __init__(self, installation: Installation, farm: Farm) -> None:
        """Describe the scenario; nothing is applied yet."""
        self.installation = installation
        self.farm = farm
        self._jobs = itertools.count(1)

    def apply(self, *objects: dict[str, Any]) -> None:
        """Apply objects in one go."""
        content = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
        self.installation.kubectl("apply", "-f", "-", input=json.dumps(content))

    def declare(self, nodes: Sequence[FarmNode] | None = None, **queue: Any) -> None:
        """Apply a cluster `default`, a node with its Secret for each simulated node, and the queue `core`.

        Args:
            nodes: Simulated nodes; None declares the whole farm.
            **queue: Further fields of the queue's specification.
        """
        objects = [cluster()]
        for node in self.farm.nodes if nodes is None else nodes:
            objects += [secret(node.name, node.secret), bbb_node(node)]
        self.apply(*objects, core_queue(**queue))

    def start_job(self, queue: str = "core") -> str:
        """Make a Job from a queue's CronJob and return its name."""
        name = f"now-{next(self._jobs)}"
        self.expect("the CronJob exists", lambda: self.exists("cronjob", f"b3lb-{queue}"), within=10)
        self.installation.kubectl("create", "job", name, f"--from=cronjob/b3lb-{queue}")
        return name

    def meetings(self, secret: str) -> list[dict[str, Any]]:
        """Return the meetings that `b3lb meetings` lists for a BBBSecret."""
        found: list[dict[str, Any]] = json.loads(self.installation.b3lb("meetings", "--secret", secret, "-o", "json"))[
            "meetings"
        ]
        return found

    def find(self, kind: str, name: str) -> dict[str, Any] | None:
        """Return an object, None if there is none; a kind as kubectl calls one object (`bbbnode`)."""
        return self.installation.environment.control_plane.find_object(
            kind, name, namespace=self.installation.namespace
        )

    def exists(self, kind: str, name: str) -> bool:
        """Whether an object exists."""
        return self.find(kind, name) is not None

    def get(self, kind: str, name: str) -> dict[str, Any]:
        """Return an object.

        Raises:
            NotSeenError: There is none.
        """
        found = self.find(kind, name)
        if found is None:
            raise NotSeenError(f"there is no {kind} {name}")
        return found

    def patch(self, kind: str, name: str, spec: dict[str, Any]) -> None:
        """Merge fields into an object's specification."""
        patch = json.dumps({"spec": spec})
        self.installation.kubectl("patch", kind, name, "--type=merge", "-p", patch)

    def requests(self, node: str) -> int:
        """Return how many requests a simulated node has had since the counters were reset; a poll makes two."""
        return sum(self.farm.control.counters().nodes[node].requests.values())

    def condition(self, name: str, kind: str, *, of: str = "bbbnode") -> str:
        """Return a condition as `Status/Reason`; empty when there is none."""
        status = (self.find(of, name) or {}).get("status", {})
        found = (item for item in status.get("conditions", ()) if item["type"] == kind)
        return next((f"{item['status']}/{item['reason']}" for item in found), "")

    def expect(self, what: str, check: Callable[[], bool], *, within: float) -> float:
        """Wait for a state and return the seconds that it took.

        Raises:
            NotSeenError: It did not come within so many seconds.
        """
        began = time.monotonic()
        if not self.installation.wait_until(check, timeout=within):
            raise NotSeenError(f"{what}: did not come within {within:g} s")
        return time.monotonic() - began

    def expect_condition(self, name: str, kind: str, value: str, *, within: float, of: str = "bbbnode") -> float:
        """Wait until a condition is `Status/Reason`, or starts with `Status/`, and return the seconds it took.

        Raises:
            NotSeenError: It did not come in time; the message has what was there instead.
        """
        try:
            return self.expect(
                f"{name} {kind}={value}",
                lambda: self.condition(name, kind, of=of).startswith(value),
                within=within,
            )
        except NotSeenError as error:
            raise NotSeenError(f"{error}; it is {self.condition(name, kind, of=of) or 'absent'}") from None


def example_objects(nodes: Sequence[FarmNode]) -> list[dict[str, Any]]:
    """Return the objects of examples/minimal.yaml, its server once for each simulated node, as bbb1, bbb2 and so on."""
    text = (REPOSITORY / "examples" / "minimal.yaml").read_text(encoding="utf-8")
    objects: list[dict[str, Any]] = list(yaml.safe_load_all(text))
    (server,) = (item for item in objects if item["kind"] == "BBBNode")
    rest = [item for item in objects if item["kind"] not in {"BBBNode", "Secret"}]
    servers = []
    for number, node in enumerate(nodes, start=1):
        servers += [secret(f"bbb{number}-secret", node.secret), _at(server, f"bbb{number}", node)]
    return servers + rest


def _at(server: dict[str, Any], name: str, node: FarmNode) -> dict[str, Any]:
    spec = {key: value for key, value in server["spec"].items() if key != "host"}
    spec |= {"apiUrl": node.api_url, "secretRef": {"name": f"{name}-secret"}}
    return {**server, "metadata": {"name": name}, "spec": spec}


def cluster(name: str = "default", **spec: Any) -> dict[str, Any]:
    """Return a BBBCluster."""
    return {"apiVersion": API_VERSION, "kind": "BBBCluster", "metadata": {"name": name}, "spec": spec}


def secret(name: str, value: str) -> dict[str, Any]:
    """Return a core Secret with a node's API secret."""
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": {"secret": value}}


def bbb_node(node: FarmNode, **spec: Any) -> dict[str, Any]:
    """Return a BBBNode for a simulated node."""
    fields = {"apiUrl": node.api_url, "secretRef": {"name": node.name}, **spec}
    return {"apiVersion": API_VERSION, "kind": "BBBNode", "metadata": {"name": node.name}, "spec": fields}


def core_queue(tasks: Sequence[str] = ("check-nodes", "update-secrets-lists"), **spec: Any) -> dict[str, Any]:
    """Return the BBBQueue `core` with short ticks."""
    return queue("core", tasks, **spec)


def queue(name: str, tasks: Sequence[str], **spec: Any) -> dict[str, Any]:
    """Return a BBBQueue with short ticks."""
    fields = {"tasks": list(tasks), "schedule": "* * * * *", "tickSeconds": TICK_SECONDS, **spec}
    return {"apiVersion": API_VERSION, "kind": "BBBQueue", "metadata": {"name": name}, "spec": fields}


def bbb_tenant(slug: str, **spec: Any) -> dict[str, Any]:
    """Return a BBBTenant."""
    metadata = {"name": slug.lower()}
    return {"apiVersion": API_VERSION, "kind": "BBBTenant", "metadata": metadata, "spec": {"slug": slug, **spec}}


def bbb_secret(slug: str, sub_id: int, **spec: Any) -> dict[str, Any]:
    """Return a BBBSecret; without a reference its API secret is generated."""
    fields = {"tenantRef": {"name": slug.lower()}, "subId": sub_id, **spec}
    metadata = {"name": f"{slug.lower()}-{sub_id:03d}"}
    return {"apiVersion": API_VERSION, "kind": "BBBSecret", "metadata": metadata, "spec": fields}
