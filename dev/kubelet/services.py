"""Names of Services without DNS and without kube-proxy: lines of a pod's ``/etc/hosts``.

A name stands for the addresses of the pods behind the Service, so a program has to use the port on which the pod
listens (``targetPort``); the Service's cluster IP leads nowhere. A Service without a ready pod has no name. The API
server would refuse EndpointSlices with the loopback addresses that pods have here, so the pods are found by the
Service's selector.
"""

import asyncio
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from dev.kubelet.api import Api, Manifest

CLUSTER_DOMAIN = "cluster.local"

Endpoints = Mapping[tuple[str, str], tuple[tuple[str, str], ...]]
"""Namespace and name of a Service: address and own name (empty if it has none) of each pod."""


def service_endpoints(services: Iterable[Manifest], pods: Iterable[Manifest]) -> Endpoints:
    """The pods behind each Service that has a selector, in the order of their addresses.

    Source: https://kubernetes.io/docs/concepts/services-networking/service/ and
    https://kubernetes.io/docs/concepts/services-networking/dns-pod-service/#pod-s-hostname-and-subdomain-fields
    """
    known = list(pods)
    found = {}
    for service in services:
        metadata, spec = service["metadata"], service["spec"]
        if not spec.get("selector"):
            continue
        chosen = [
            (pod["status"]["podIP"], _own_name(pod, metadata["name"]))
            for pod in known
            if pod["metadata"]["namespace"] == metadata["namespace"]
            and spec["selector"].items() <= (pod["metadata"].get("labels") or {}).items()
            and _serves(pod, not_ready=bool(spec.get("publishNotReadyAddresses")))
        ]
        found[metadata["namespace"], metadata["name"]] = tuple(sorted(chosen))
    return found


def _serves(pod: Manifest, *, not_ready: bool) -> bool:
    status = pod.get("status") or {}
    if not status.get("podIP") or "deletionTimestamp" in pod["metadata"]:
        return False
    conditions = {item["type"]: item["status"] for item in status.get("conditions") or []}
    return not_ready or conditions.get("Ready") == "True"


def _own_name(pod: Manifest, service: str) -> str:
    spec = pod["spec"]
    return str(spec.get("hostname") or "") if spec.get("subdomain") == service else ""


def hosts_lines(endpoints: Endpoints, *, namespace: str) -> str:
    """Lines of ``/etc/hosts`` as a pod of a namespace sees the Services."""
    lines = []
    for (home, service), pods in sorted(endpoints.items()):
        for address, own in pods:
            names = _names(service, home, short=home == namespace)
            if own:
                names += _names(f"{own}.{service}", home, short=home == namespace)
            lines.append(f"{address}\t{' '.join(names)}\n")
    return "".join(lines)


def _names(name: str, namespace: str, *, short: bool) -> list[str]:
    full = f"{name}.{namespace}.svc.{CLUSTER_DOMAIN}"
    return [*([name] if short else []), f"{name}.{namespace}", f"{name}.{namespace}.svc", full]


class ServiceDirectory:
    """The Services of the cluster and the pods behind them, as they are now."""

    def __init__(self, fixed: Endpoints | None = None) -> None:
        """Takes the Services that are there whatever the API server says."""
        self._fixed = dict(fixed or {})
        self._services: dict[str, Manifest] = {}
        self._pods: dict[str, Manifest] = {}
        self._endpoints: Endpoints = self._fixed
        self._changed: Callable[[], None] = lambda: None

    def lines(self, namespace: str) -> str:
        """Lines of ``/etc/hosts`` for the pods of a namespace."""
        return hosts_lines(self._endpoints, namespace=namespace)

    async def run(self, api: Api, *, changed: Callable[[], None]) -> None:
        """Follows Services and pods until it is cancelled.

        Args:
            api: The API server.
            changed: Called whenever :meth:`lines` says something new.
        """
        self._changed = changed
        await asyncio.gather(
            self._follow(api, "/api/v1/services", self._services, selector=""),
            self._follow(api, "/api/v1/pods", self._pods, selector="status.phase=Running"),
        )

    async def _follow(self, api: Api, path: str, known: dict[str, Manifest], *, selector: str) -> None:
        def replace(items: list[Manifest]) -> None:
            known.clear()
            known.update({item["metadata"]["uid"]: item for item in items})
            self._update()

        def change(kind: str, item: Manifest) -> None:
            if kind == "DELETED":
                known.pop(item["metadata"]["uid"], None)
            else:
                known[item["metadata"]["uid"]] = item
            self._update()

        await api.follow(path, field_selector=selector, replace=replace, change=change)

    def _update(self) -> None:
        endpoints = {**service_endpoints(self._services.values(), self._pods.values()), **self._fixed}
        if endpoints != self._endpoints:
            self._endpoints = endpoints
            self._changed()


def rewrite_file(path: Path, text: str) -> None:
    """Gives a file a new content, but not a new inode: containers have mounted it.

    A reader never sees it empty, at worst the new content with the end of the old one.
    """
    content = text.encode()
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        if os.pread(descriptor, len(content) + 1, 0) != content:
            os.pwrite(descriptor, content, 0)
            os.ftruncate(descriptor, len(content))
    finally:
        os.close(descriptor)
