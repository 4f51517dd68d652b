"""A whole b3lb on this machine: what the demo shows and the end-to-end tests disturb.

`Environment` is what a cluster's administrator provides: a control plane, a node that runs pods as processes, and
PostgreSQL. `Installation` is b3lb in one namespace of it: custom resource definitions, rights, Secrets, a database of
its own, and the operator running under its own service account.
"""

from __future__ import annotations

import base64
import http.client
import json
import os
import secrets
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Self

import yaml

from dev.controlplane.plane import ControlPlane
from dev.postgres import Postgres
from dev.processes import ManagedProcess, free_ports, wait_until

REPOSITORY = Path(__file__).resolve().parent.parent
IMAGE = "b3lb:dev"
SERVICE_ACCOUNT = "b3lb-operator"
_PROGRAMS = Path(sys.executable).parent
_READY_SECONDS = 60.0


class Environment:
    """Control plane, process kubelet and PostgreSQL, in one work directory; a context manager."""

    def __init__(self, directory: Path, *, start_delay_seconds: float = 0.0, assets: Path | None = None) -> None:
        """Describe the environment; nothing is started yet.

        Args:
            directory: Work directory, created if needed.
            start_delay_seconds: How long a pod takes to start, as on a real node.
            assets: Directory of the control plane's binaries; None builds or finds them.
        """
        self.directory = directory.resolve()
        self.control_plane = ControlPlane(self.directory / "control-plane", assets=assets)
        self.postgres = Postgres(self.directory / "postgres", preload=("pg_stat_statements",))
        self._start_delay_seconds = start_delay_seconds
        self.kubelet: ManagedProcess | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start everything, in parallel where it can be, and wait until the node is ready.

        Raises:
            ProcessError: A part ended or was not ready in time.
        """
        try:
            with ThreadPoolExecutor() as pool:
                for started in [pool.submit(self.control_plane.start), pool.submit(self.postgres.start)]:
                    started.result()
            self.kubelet = self._kubelet()
            self.kubelet.start()
            self.kubelet.wait_ready(self._node_ready, timeout=_READY_SECONDS, interval=0.3)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop everything, pods first."""
        if self.kubelet is not None:
            self.kubelet.stop()
        self.control_plane.stop()
        self.postgres.remove()

    @property
    def pod_logs(self) -> Path:
        """Directory with the output of all pods: NAMESPACE_POD_UID/CONTAINER.log."""
        return self.directory / "kubelet" / "pods"

    def _kubelet(self) -> ManagedProcess:
        images = self.directory / "images.json"
        # A checkout below /tmp would vanish behind the pods' own /tmp.
        keep = [str(REPOSITORY), sys.prefix, sys.base_prefix]
        images.write_text(json.dumps({IMAGE: {"path": [str(_PROGRAMS)], "entrypoint": ["b3lb-job"], "keep": keep}}))
        command = [sys.executable, "-m", "dev.kubelet", "--kubeconfig", str(self.control_plane.kubeconfig)]
        command += ["--node", "local", "--directory", str(self.directory / "kubelet"), "--images", str(images)]
        command += ["--start-delay", str(self._start_delay_seconds)]
        return ManagedProcess("kubelet", command, log=self.directory / "log" / "kubelet.log", directory=REPOSITORY)

    def _node_ready(self) -> bool:
        path = 'jsonpath={.items[*].status.conditions[?(@.type=="Ready")].status}'
        return self.control_plane.kubectl("get", "nodes", "-o", path, check=False) == "True"


class Installation:
    """b3lb in one namespace of an environment; a context manager that starts and stops its operator."""

    def __init__(self, environment: Environment, namespace: str) -> None:
        """Describe the installation; nothing is applied yet."""
        self.environment = environment
        self.namespace = namespace
        self.database_url = ""
        self.encryption_keys = f"dev:{base64.b64encode(secrets.token_bytes(32)).decode()}"
        self.port = free_ports(1)[0]
        self.log = environment.directory / "log" / f"operator-{namespace}.log"
        self.operator: ManagedProcess | None = None

    def __enter__(self) -> Self:
        self.install()
        self.start_operator()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop_operator()

    def kubectl(self, *arguments: str, input: str | None = None, check: bool = True) -> str:  # noqa: A002 - as in subprocess
        """Run kubectl in the installation's namespace and return its standard output."""
        return self.environment.control_plane.kubectl(
            f"--namespace={self.namespace}", *arguments, input=input, check=check
        )

    def install(self) -> None:
        """Apply definitions, namespace, rights and Secrets, and create an empty database."""
        plane = self.environment.control_plane
        plane.kubectl("apply", "--server-side", "-f", str(REPOSITORY / "crds"))
        plane.kubectl("wait", "--for=condition=Established", "--timeout=30s", "-f", str(REPOSITORY / "crds"))
        plane.kubectl("apply", "-f", "-", input=json.dumps(self._namespace()))
        self.kubectl("apply", "-f", "-", input=self._rights())
        self.database_url = self.environment.postgres.create_database(self.namespace.replace("-", "_"))
        for name, key, value in (
            ("b3lb-database", "url", self.database_url),
            ("b3lb-encryption", "keys", self.encryption_keys),
        ):
            secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": {key: value}}
            self.kubectl("apply", "-f", "-", input=json.dumps(secret))

    def b3lb(self, *arguments: str) -> str:
        """Run the command `b3lb` as somebody who may read the database, and return its standard output."""
        environment = {"B3LB_DATABASE_URL": self.database_url, "B3LB_NAMESPACE": self.namespace}
        command = [str(_PROGRAMS / "b3lb"), *arguments]
        return subprocess.run(
            command, env={**os.environ, **environment}, check=True, capture_output=True, text=True, timeout=30
        ).stdout

    def start_operator(self) -> None:
        """Start the operator under its service account and wait until it is ready.

        Raises:
            ProcessError: It ended or was not ready after a minute; the message has the end of its log.
        """
        if self.operator is None:
            self.operator = ManagedProcess(
                f"operator of {self.namespace}",
                [str(_PROGRAMS / "b3lb-operator")],
                log=self.log,
                environment=self._operator_environment(),
                directory=self.environment.directory,
            )
        self.operator.start()
        self.operator.wait_ready(lambda: self.answers("/readyz"), timeout=_READY_SECONDS, interval=0.1)

    def stop_operator(self) -> None:
        """Stop the operator (SIGTERM)."""
        if self.operator is not None:
            self.operator.stop()

    def answers(self, path: str) -> bool:
        """Whether the operator's HTTP server answers 200 to a path."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=2)
        try:
            connection.request("GET", path)
            return connection.getresponse().status == http.client.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def wait_until(self, check: Callable[[], bool], *, timeout: float) -> bool:
        """Ask every 0.2 s until the check holds; False when ``timeout`` seconds have passed."""
        return wait_until(check, timeout=timeout, interval=0.2)

    def _namespace(self) -> dict[str, object]:
        labels = {"pod-security.kubernetes.io/enforce": "restricted"}
        return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.namespace, "labels": labels}}

    def _rights(self) -> str:
        """Return the operator's rights for this namespace: a RoleBinding has to name its service account's."""
        documents = list(yaml.safe_load_all((REPOSITORY / "deploy" / "rbac.yaml").read_text(encoding="utf-8")))
        for document in documents:
            for subject in document.get("subjects", ()):
                subject["namespace"] = self.namespace
        return yaml.safe_dump_all(documents)

    def _operator_environment(self) -> dict[str, str]:
        kubeconfig = self.environment.control_plane.kubeconfig_for(self.namespace, SERVICE_ACCOUNT)
        return {
            "PATH": f"{_PROGRAMS}:{os.environ.get('PATH', os.defpath)}",
            "HOME": str(self.environment.directory),
            "KUBECONFIG": str(kubeconfig),
            "B3LB_DATABASE_URL": self.database_url,
            "B3LB_ENCRYPTION_KEYS": self.encryption_keys,
            "B3LB_NAMESPACES": self.namespace,
            "B3LB_JOB_IMAGE": IMAGE,
            "B3LB_JOB_DATABASE_SECRET": "b3lb-database",
            "B3LB_JOB_ENCRYPTION_SECRET": "b3lb-encryption",
            "B3LB_HTTP_ADDRESS": "127.0.0.1",
            "B3LB_HTTP_PORT": str(self.port),
        }
