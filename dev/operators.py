"""The operator of a release: in the Deployment's pod, or beside it where pods cannot have a token.

Both are started, stopped, killed and measured in the same way.
"""

from __future__ import annotations

import base64
import contextlib
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

import psutil

from dev.controlplane.plane import ControlPlane
from dev.processes import ManagedProcess, ProcessError, free_ports, tree_cpu_seconds, wait_until

DEPLOYMENT = "b3lb-operator"
PROGRAM = "b3lb-operator"
_LABELS = "app.kubernetes.io/name=b3lb-operator"
_PORT = 8080
_STOP_SECONDS = 40.0


class Operator(Protocol):
    """What is done to the operator of a release."""

    @property
    def running(self) -> bool:
        """Whether its process is alive."""

    @property
    def address(self) -> tuple[str, int] | None:
        """Where its HTTP server listens; None while it has no pod."""

    def start(self) -> None:
        """Start it, and do not wait until it is ready."""

    def stop(self) -> None:
        """Stop it (SIGTERM) and wait for its end."""

    def kill(self) -> None:
        """Kill it (SIGKILL); it is started anew at once, as the kubelet does."""

    def cpu_seconds(self) -> float:
        """User and system time of what runs now."""

    def resident_bytes(self) -> int:
        """Resident memory of what runs now."""


class PodOperator:
    """The operator as the Deployment's pod, under the service account of the release."""

    def __init__(self, plane: ControlPlane, namespace: str) -> None:
        """Describe it; the release need not be there yet."""
        self._plane = plane
        self._namespace = namespace
        self._address = ""

    @property
    def running(self) -> bool:
        """Whether its process is alive, also while the API server is away."""
        return bool(self._processes())

    @property
    def address(self) -> tuple[str, int] | None:
        """The address of the pod that is not being deleted."""
        for pod in self._pods():
            if "deletionTimestamp" not in pod["metadata"] and pod.get("status", {}).get("podIP"):
                self._address = pod["status"]["podIP"]
                return self._address, _PORT
        return None

    def start(self) -> None:
        """Scale the Deployment to one."""
        self._scale(1)

    def stop(self) -> None:
        """Scale the Deployment to none and wait until the pod is gone.

        Raises:
            ProcessError: The pod did not end in time.
        """
        self._scale(0)
        if not wait_until(lambda: not self._pods(), timeout=_STOP_SECONDS, interval=0.1):
            raise ProcessError(f"the operator's pod in {self._namespace} did not end within {_STOP_SECONDS:g} s")

    def kill(self) -> None:
        """Kill the pod's processes (SIGKILL).

        Raises:
            ProcessError: There is none.
        """
        processes = self._processes()
        if not processes:
            raise ProcessError(f"there is no process of the operator in {self._namespace}")
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(processes, timeout=_STOP_SECONDS)

    def cpu_seconds(self) -> float:
        """User and system time of the pod's processes."""
        return sum(tree_cpu_seconds(process.pid) for process in self._processes())

    def resident_bytes(self) -> int:
        """Resident memory of the pod's processes."""
        return sum(int(process.memory_info().rss) for process in self._processes())

    def _scale(self, replicas: int) -> None:
        arguments = ("scale", "deployment", DEPLOYMENT, f"--replicas={replicas}")
        self._plane.kubectl(f"--namespace={self._namespace}", *arguments)

    def _pods(self) -> list[dict[str, Any]]:
        path = f"/api/v1/namespaces/{self._namespace}/pods?labelSelector={quote(_LABELS)}"
        found: list[dict[str, Any]] = (self._plane.find(path) or {}).get("items", [])
        return found

    def _processes(self) -> list[psutil.Process]:
        """The processes that have the pod's address; no other pod of this machine has it."""
        with contextlib.suppress(ProcessError):
            _ = self.address
        found = []
        for process in psutil.process_iter(["cmdline", "environ"]):
            line, variables = process.info["cmdline"] or [], process.info["environ"] or {}
            if self._address and variables.get("POD_IP") == self._address and any(PROGRAM in word for word in line):
                found.append(process)
        return found


class LocalOperator:
    """The operator as a process beside the cluster, with what the Deployment gives its pod."""

    def __init__(self, plane: ControlPlane, namespace: str, *, directory: Path, log: Path) -> None:
        """Describe it; the release need not be there yet."""
        self._plane = plane
        self._namespace = namespace
        self._directory = directory
        self._log = log
        self._port = free_ports(1)[0]
        self._process: ManagedProcess | None = None

    @property
    def running(self) -> bool:
        """Whether its process is alive."""
        return self._process is not None and self._process.running

    @property
    def address(self) -> tuple[str, int] | None:
        """An address of this machine."""
        return "127.0.0.1", self._port

    def start(self) -> None:
        """Start it with the Deployment's settings and a token of its service account."""
        if self._process is None:
            self._process = self._describe()
        if not self._process.running:
            self._process.start()

    def stop(self) -> None:
        """Stop it (SIGTERM)."""
        if self._process is not None:
            self._process.stop(timeout=_STOP_SECONDS)

    def kill(self) -> None:
        """Kill it (SIGKILL) and start it anew."""
        if self._process is not None:
            self._process.kill()
        self.start()

    def cpu_seconds(self) -> float:
        """User and system time, those of earlier starts included."""
        return 0.0 if self._process is None else self._process.cpu_seconds()

    def resident_bytes(self) -> int:
        """Resident memory."""
        return 0 if self._process is None else self._process.resident_bytes()

    def _describe(self) -> ManagedProcess:
        path = f"/apis/apps/v1/namespaces/{self._namespace}/deployments/{DEPLOYMENT}"
        deployment = self._plane.find(path)
        if deployment is None:
            raise ProcessError(f"there is no Deployment {DEPLOYMENT} in {self._namespace}")
        pod = deployment["spec"]["template"]["spec"]
        programs = Path(sys.executable).parent
        environment = {
            "PATH": f"{programs}:{os.environ.get('PATH', os.defpath)}",
            "HOME": str(self._directory),
            "KUBECONFIG": str(self._plane.kubeconfig_for(self._namespace, pod["serviceAccountName"])),
            **container_variables(pod["containers"][0], self._secret, address="127.0.0.1"),
            "B3LB_HTTP_ADDRESS": "127.0.0.1",
            "B3LB_HTTP_PORT": str(self._port),
        }
        return ManagedProcess(
            f"operator of {self._namespace}",
            [str(programs / PROGRAM)],
            log=self._log,
            environment=environment,
            directory=self._directory,
        )

    def _secret(self, name: str) -> Mapping[str, str]:
        return secret_values(self._plane.find(f"/api/v1/namespaces/{self._namespace}/secrets/{name}"))


def secret_values(secret: Mapping[str, Any] | None) -> dict[str, str]:
    """Return the values of a core Secret as text; {} when there is none."""
    data = (secret or {}).get("data") or {}
    return {key: base64.b64decode(value).decode() for key, value in data.items()}


def container_variables(
    container: Mapping[str, Any], secret: Callable[[str], Mapping[str, str]], *, address: str
) -> dict[str, str]:
    """Return a container's environment as the kubelet would make it.

    Args:
        container: Of a pod's specification; values come from it, from Secrets, and the pod's address.
        secret: Returns the values of a core Secret by its name.
        address: The pod's address.

    Raises:
        KeyError: A Secret lacks a key that is not optional.
    """
    variables: dict[str, str] = {}
    for entry in container["env"]:
        source = entry.get("valueFrom", {})
        if "fieldRef" in source:
            variables[entry["name"]] = address
        elif "secretKeyRef" in source:
            reference = source["secretKeyRef"]
            values = secret(reference["name"])
            if reference["key"] in values or not reference.get("optional"):
                variables[entry["name"]] = values[reference["key"]]
        else:
            variables[entry["name"]] = entry["value"]
    return variables
