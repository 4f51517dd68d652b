"""A whole b3lb on this machine: what the demo shows and the end-to-end tests disturb.

`Environment` is what a cluster's administrator provides: a control plane, a node that runs pods as processes, and
PostgreSQL. `Installation` is a release of the chart in one namespace of it, with a database of its own; its operator
runs in the Deployment's pod, under the release's service account.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from dev import postgres_image
from dev.controlplane.plane import ControlPlane
from dev.helm import CHART, Helm
from dev.kubelet.kubelet import private_mounts_work
from dev.kubelet.storage import volume_manifests
from dev.operators import LocalOperator, Operator, PodOperator, secret_values
from dev.postgres import Postgres
from dev.processes import ManagedProcess, ProcessError, last_lines, wait_until
from dev.toolchain import helm_path

REPOSITORY = Path(__file__).resolve().parent.parent
IMAGE = "b3lb:dev"
PYPY_IMAGE = "b3lb-pypy:dev"
RELEASE = "b3lb"
_DATABASE_SECRET = "postgresql"
_PROGRAMS = Path(sys.executable).parent
_READY_SECONDS = 60.0
_VOLUMES = 8


class Environment:
    """Control plane, process kubelet and PostgreSQL, in one work directory; a context manager."""

    def __init__(
        self,
        directory: Path,
        *,
        start_delay_seconds: float = 0.0,
        assets: Path | None = None,
        own_postgres: bool = True,
    ) -> None:
        """Describe the environment; nothing is started yet.

        Args:
            directory: Work directory, created if needed.
            start_delay_seconds: How long a pod takes to start, as on a real node.
            assets: Directory of the control plane's binaries; None builds or finds them.
            own_postgres: Whether there is a PostgreSQL beside the cluster; where pods cannot be isolated there is.
        """
        self.directory = directory.resolve()
        self.control_plane = ControlPlane(self.directory / "control-plane", assets=assets)
        self.postgres = Postgres(self.directory / "postgres", preload=("pg_stat_statements",))
        self.isolated = False
        """Whether pods see volumes, tokens and Services where they expect them: this takes root."""
        self.has_definitions = False
        """Whether a release has brought the custom resource definitions; they stay when it goes."""
        self._images = self.directory / "images.json"
        self._start_delay_seconds = start_delay_seconds
        self._own_postgres = own_postgres
        self._helm: Helm | None = None
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
            self._helm = Helm(helm_path(), self.directory / "helm", self.control_plane.kubeconfig)
            self.isolated = asyncio.run(private_mounts_work(self.directory))
            parts = [self.control_plane.start]
            if self._own_postgres or not self.isolated:
                parts.append(self.postgres.start)
            with ThreadPoolExecutor() as pool:
                for started in [pool.submit(part) for part in parts]:
                    started.result()
            self.kubelet = self._kubelet()
            self.kubelet.start()
            self.add_volumes(_VOLUMES)
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

    def helm(self, *arguments: str) -> str:
        """Run Helm as administrator and return its standard output.

        Raises:
            HelmError: It failed.
            ProcessError: The environment was not started.
        """
        if self._helm is None:
            raise ProcessError("the environment was not started")
        return self._helm.run(*arguments)

    def add_volumes(self, count: int) -> None:
        """Add empty volumes for claims; each can be claimed once."""
        manifests = volume_manifests(self.directory / "volumes", count=count)
        documents = {"apiVersion": "v1", "kind": "List", "items": manifests}
        self.control_plane.kubectl("apply", "-f", "-", input=json.dumps(documents))

    def name_image(self, *names: str) -> None:
        """Give the image of b3lb further names, e.g. those that it has in a registry."""
        entries = image_entries()
        self._images.write_text(json.dumps({**entries, **dict.fromkeys(names, entries[IMAGE])}), encoding="utf-8")

    @property
    def pod_logs(self) -> Path:
        """Directory with the output of all pods: NAMESPACE_POD_UID/CONTAINER.log."""
        return self.directory / "kubelet" / "pods"

    def _kubelet(self) -> ManagedProcess:
        self.name_image()
        command = [sys.executable, "-m", "dev.kubelet", "--kubeconfig", str(self.control_plane.kubeconfig)]
        command += ["--node", "local", "--directory", str(self.directory / "kubelet"), "--images", str(self._images)]
        command += ["--start-delay", str(self._start_delay_seconds)]
        return ManagedProcess("kubelet", command, log=self.directory / "log" / "kubelet.log", directory=REPOSITORY)

    def _node_ready(self) -> bool:
        path = 'jsonpath={.items[*].status.conditions[?(@.type=="Ready")].status}'
        return self.control_plane.kubectl("get", "nodes", "-o", path, check=False) == "True"


def image_entries() -> dict[str, object]:
    """Return the content of the kubelet's image file: b3lb from this checkout, and PostgreSQL."""
    # A checkout below /tmp would vanish behind the pods' own /tmp.
    keep = [str(REPOSITORY), sys.prefix, sys.base_prefix]
    # The front end listens everywhere in its image, and here on its pod's address like the operator.
    entry = {"path": [str(_PROGRAMS)], "keep": keep, "env": {"B3LB_HTTP_ADDRESS": "$(POD_IP)"}}
    return {
        IMAGE: entry,
        # A name only: it is CPython here, too.
        PYPY_IMAGE: entry,
        postgres_image.IMAGE: postgres_image.image_entry(),
    }


class Installation:
    """A release of the chart in one namespace of an environment; a context manager that installs and uninstalls it."""

    def __init__(
        self,
        environment: Environment,
        namespace: str,
        *,
        bundled_database: bool = False,
        values: Mapping[str, Any] | None = None,
        create_database: Callable[[Postgres, str], str] = Postgres.create_database,
    ) -> None:
        """Describe the installation; nothing is applied yet.

        Args:
            environment: Where it is installed; it has been started.
            namespace: Its namespace.
            bundled_database: Whether the chart brings the database, where pods are isolated; otherwise it is one of
                the environment's PostgreSQL.
            values: Values of the chart beside image, database and definitions.
            create_database: Creates the database of a name in the environment's PostgreSQL and returns its URL.
        """
        self.environment = environment
        self.namespace = namespace
        self._bundled_database = bundled_database and environment.isolated
        self._values = values or {}
        self._create_database = create_database
        self._brings_definitions = not environment.has_definitions
        self._local_log = environment.directory / "log" / f"operator-{namespace}.log"
        plane = environment.control_plane
        self.operator: Operator = (
            PodOperator(plane, namespace)
            if environment.isolated
            else LocalOperator(plane, namespace, directory=environment.directory, log=self._local_log)
        )

    def __enter__(self) -> Self:
        self.install()
        self.wait_ready()
        return self

    def __exit__(self, *_: object) -> None:
        self.operator.stop()
        # Nobody deletes the namespace, so nobody waits for what the hook would do.
        self.helm("uninstall", "--no-hooks")

    def kubectl(self, *arguments: str, input: str | None = None, check: bool = True) -> str:  # noqa: A002 - as in subprocess
        """Run kubectl in the installation's namespace and return its standard output."""
        return self.environment.control_plane.kubectl(
            f"--namespace={self.namespace}", *arguments, input=input, check=check
        )

    def helm(self, command: str, *arguments: str) -> str:
        """Run a command of Helm on the release and return its standard output."""
        return self.environment.helm(command, RELEASE, *arguments, f"--namespace={self.namespace}")

    def install(self) -> None:
        """Make the namespace and, outside of the release, an empty database; install; do not wait for the operator."""
        labels = {"pod-security.kubernetes.io/enforce": "restricted"}
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.namespace, "labels": labels}}
        self.kubectl("apply", "-f", "-", input=json.dumps(namespace))
        if not self._bundled_database:
            url = self._create_database(self.environment.postgres, self.namespace.replace("-", "_"))
            metadata = {"name": _DATABASE_SECRET}
            secret = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {"url": url}}
            self.kubectl("apply", "-f", "-", input=json.dumps(secret))
        self.helm("install", str(CHART), *self.value_arguments())
        self.environment.has_definitions = True
        if not self.environment.isolated:
            # Its pod, which no node takes, is replaced by the process beside the cluster.
            self.kubectl("scale", "deployment", "b3lb-operator", "--replicas=0")
            self.operator.start()

    def value_arguments(self) -> list[str]:
        """Return the arguments by which Helm is told the values, for an upgrade, too."""
        repository, tag = IMAGE.split(":")
        base: dict[str, Any] = {
            "image": {"repository": repository, "tag": tag},
            "crds": {"enabled": self._brings_definitions},
        }
        if not self._bundled_database:
            base["database"] = {"existingSecret": {"name": _DATABASE_SECRET}}
        if not self.environment.isolated:
            base["operator"] = {"nodeSelector": {"b3lb.io/node": "none"}}
        arguments = []
        for name, content in (("base", base), ("own", self._values)):
            path = self.environment.directory / f"values-{self.namespace}-{name}.json"
            path.write_text(json.dumps(content), encoding="utf-8")
            arguments.append(f"--values={path}")
        return arguments

    def wait_ready(self) -> None:
        """Wait until the operator is ready.

        Raises:
            ProcessError: It was not ready after a minute; the message has the end of its log.
        """
        if not self.wait_until(lambda: self.answers("/readyz"), timeout=_READY_SECONDS):
            logs = "\n".join(last_lines(log) for log in self.logs() if "operator" in str(log))
            raise ProcessError(f"the operator of {self.namespace} is not ready; its log ends with:\n{logs}")

    def start_operator(self) -> None:
        """Start the operator after a stop and wait until it is ready.

        Raises:
            ProcessError: It was not ready after a minute.
        """
        self.operator.start()
        self.wait_ready()

    @property
    def database_url(self) -> str:
        """The database, from outside of the cluster; has the password in it."""
        if not self._bundled_database:
            return self._secret(_DATABASE_SECRET)["url"]
        url = self._secret(f"{RELEASE}-database")["url"]
        pod = self._find(f"pods/{RELEASE}-database-0") or {}
        return url.replace(urlsplit(url).hostname or "", pod.get("status", {}).get("podIP", ""))

    @property
    def encryption_keys(self) -> str:
        """The keys that the chart has made."""
        return self._secret(f"{RELEASE}-encryption")["keys"]

    def logs(self) -> list[Path]:
        """Return the files with the output of operator, database and jobs, of pods that are gone, too."""
        pods = sorted(self.environment.pod_logs.glob(f"{self.namespace}_*/*.log"))
        return [*pods, *([self._local_log] if self._local_log.exists() else [])]

    def b3lb(self, *arguments: str) -> str:
        """Run the command `b3lb` as somebody who may read the database, and return its standard output."""
        environment = {"B3LB_DATABASE_URL": self.database_url, "B3LB_NAMESPACE": self.namespace}
        command = [str(_PROGRAMS / "b3lb"), *arguments]
        return subprocess.run(
            command, env={**os.environ, **environment}, check=True, capture_output=True, text=True, timeout=30
        ).stdout

    def answers(self, path: str) -> bool:
        """Whether the operator's HTTP server answers 200 to a path; False, too, while it has no pod."""
        try:
            address = self.operator.address
        except ProcessError:
            return False
        if address is None:
            return False
        connection = http.client.HTTPConnection(*address, timeout=2)
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

    def _secret(self, name: str) -> dict[str, str]:
        return secret_values(self._find(f"secrets/{name}"))

    def _find(self, path: str) -> dict[str, Any] | None:
        return self.environment.control_plane.find(f"/api/v1/namespaces/{self.namespace}/{path}")
