"""A release of the chart on a control plane, and its operator as a process with what the Deployment gives it."""

from __future__ import annotations

import http.client
import itertools
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dev.controlplane import ControlPlane
from dev.helm import CHART, HelmError
from dev.operators import container_variables, secret_values
from dev.processes import ManagedProcess, free_ports, http_answer, wait_until
from tests.integration.chart.charts import RELEASE, Helm, Manifest, documents

_NUMBERS = itertools.count(1)


class Release:
    """One release in a namespace of its own, which enforces the Pod Security Standard "restricted"."""

    def __init__(self, plane: ControlPlane, helm: Helm, directory: Path) -> None:
        """Make the namespace; nothing is installed yet."""
        self.plane = plane
        self.namespace = f"release-{next(_NUMBERS)}"
        self._helm = helm
        self._directory = directory
        labels = {"pod-security.kubernetes.io/enforce": "restricted"}
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.namespace, "labels": labels}}
        plane.kubectl("apply", "-f", "-", input=json.dumps(namespace))

    def helm(self, command: str, *arguments: str, release: str = RELEASE) -> None:
        """Install or upgrade with the arguments; the definitions belong to the release that ``crds`` names."""
        self._helm.run(command, release, str(CHART), f"--namespace={self.namespace}", *arguments)

    def rollback(self, *revision: str) -> None:
        """Go back to the release before, or to a revision."""
        self._helm.run("rollback", RELEASE, *revision, f"--namespace={self.namespace}")

    def uninstall(self) -> None:
        """Uninstall without the hook, for there is no node that would run its pod."""
        arguments = ("--no-hooks", "--wait", "--timeout=60s")
        self._helm.run("uninstall", RELEASE, f"--namespace={self.namespace}", *arguments)

    def uninstall_in_vain(self) -> str:
        """Uninstall with a hook whose pod never runs; return what Helm says of it.

        Raises:
            AssertionError: Helm found nothing wrong.
        """
        try:
            self._helm.run("uninstall", RELEASE, f"--namespace={self.namespace}", "--wait", "--timeout=5s")
        except HelmError as error:
            return str(error)
        raise AssertionError("the hook did not fail")

    def hooks(self) -> list[Manifest]:
        """Return the objects of the release's hooks."""
        text = self._helm.run("get", "hooks", RELEASE, f"--namespace={self.namespace}")
        return documents(text)

    def manifest(self) -> str:
        """Return what Helm keeps of the release, hooks left out."""
        return self._helm.run("get", "manifest", RELEASE, f"--namespace={self.namespace}")

    def rights(self, account: str, *, where: str = "") -> str:
        """Return what a service account may do in its namespace, or in the one named, as a table in a fixed order."""
        user = f"--as=system:serviceaccount:{self.namespace}:{account}"
        groups = ("system:serviceaccounts", f"system:serviceaccounts:{self.namespace}", "system:authenticated")
        namespace = f"--namespace={where or self.namespace}"
        options = (user, *(f"--as-group={group}" for group in groups), namespace)
        text = self.plane.kubectl("auth", "can-i", "--list", *options)
        header, *lines = text.splitlines()
        return "\n".join([header.rstrip(), *sorted(line.rstrip() for line in lines)]) + "\n"

    def kubectl(self, *arguments: str, input: str | None = None, check: bool = True) -> str:  # noqa: A002 - as in subprocess
        """Run kubectl as administrator in the namespace."""
        return self.plane.kubectl(f"--namespace={self.namespace}", *arguments, input=input, check=check)

    def get(self, kind: str, name: str) -> dict[str, Any]:
        """Return an object, {} when there is none; a kind as kubectl calls one object (`bbbnode`)."""
        return self.plane.find_object(kind, name, namespace=self.namespace) or {}

    def secret(self, name: str) -> dict[str, str]:
        """Return the values of a Secret."""
        return secret_values(self.get("secret", name))

    def expect(self, what: str, check: Callable[[], bool], *, within: float) -> float:
        """Wait for something; return how many seconds it took."""
        began = time.monotonic()
        assert wait_until(check, timeout=within, interval=0.1), f"{what}: not within {within:g} s"
        return time.monotonic() - began

    def operator(self, name: str = "operator") -> RunningOperator:
        """Return a process that stands for a pod of the Deployment; it is not started yet."""
        deployment = self.get("deployment", f"{RELEASE}-operator")
        pod = deployment["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        kubeconfig = self.plane.kubeconfig_for(self.namespace, pod["serviceAccountName"])
        environment = {
            "PATH": os.defpath,
            "HOME": str(self._directory),
            "KUBECONFIG": str(kubeconfig),
            **container_variables(container, self.secret, address="127.0.0.1"),
        }
        return RunningOperator(environment, self._directory, self._directory / f"{self.namespace}-{name}.log")


class RunningOperator:
    """An operator as a process."""

    def __init__(self, environment: dict[str, str], directory: Path, log: Path) -> None:
        """Describe it; nothing runs yet."""
        self._port = free_ports(1)[0]
        self.log = log
        environment = {**environment, "B3LB_HTTP_ADDRESS": "127.0.0.1", "B3LB_HTTP_PORT": str(self._port)}
        command = [sys.executable, "-m", "b3lb_operator.cli"]
        self.process = ManagedProcess("operator", command, log=log, environment=environment, directory=directory)

    def start(self) -> None:
        """Start it and wait until it is ready."""
        self.process.start()
        self.process.wait_ready(self.ready, timeout=60)

    def ready(self) -> bool:
        """Whether it does its work."""
        return self.probe("/readyz")[0] == http.client.OK

    def probe(self, path: str) -> tuple[int, str]:
        """Return status and text of an end point; status 0 when nobody answers."""
        return http_answer(self._port, path)

    def lines(self, *levels: str) -> list[tuple[str, str]]:
        """Return event and reason of the operator's own lines of these levels, in order."""
        entries = [json.loads(line) for line in self.log.read_text(errors="replace").splitlines()]
        return [
            (entry["event"], entry.get("error") or entry.get("problem") or "")
            for entry in entries
            if entry["level"] in levels and entry["logger"].startswith("b3lb")
        ]
