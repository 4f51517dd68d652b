"""The operator as a process, under its own service account, on a real control plane and a real database."""

from __future__ import annotations

import base64
import dataclasses
import http.client
import itertools
import json
import os
import re
import secrets
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import sqlalchemy as sa

from b3lb.db.engine import create_engine, database_clock, transaction
from b3lb.db.leases import Lease
from b3lb.db.node_states import load_polls, notify, write_states
from b3lb.db.ticks import heartbeat
from dev.controlplane import ControlPlane
from dev.controlplane.paths import object_path
from dev.farm.messages import FarmNode
from dev.postgres import Postgres
from dev.processes import ManagedProcess, free_ports, http_answer, wait_until
from tests.migrated import create_migrated_database
from tests.states import healthy

ROOT = Path(__file__).resolve().parents[2]
API_VERSION = "b3lb.io/v1alpha1"
_NAMESPACES = itertools.count(1)
_UNEXPECTED = re.compile(r'Traceback|"level": ?"(error|critical)"|unclosed|was never (awaited|retrieved)')


class OperatorCluster:
    """A namespace with the operator's rights, a database, and the operator; a context manager that ends it."""

    def __init__(
        self,
        plane: ControlPlane,
        postgres: Postgres,
        directory: Path,
        *,
        home: str | None = None,
        environment: Mapping[str, str] | None = None,
        others: Sequence[str] = (),
        create_database: Callable[[Postgres, str], str] = create_migrated_database,
    ) -> None:
        """Prepare everything; the operator is not started yet.

        Args:
            plane: The control plane, with the custom resource definitions.
            postgres: Where the database is created.
            directory: Where the log goes.
            home: Another namespace in which the operator lives, with rights that outlive the one that it watches.
            environment: Further settings of the operator.
            others: Further namespaces that the operator watches.
            create_database: Creates the database of a name and returns its URL.
        """
        self.plane = plane
        self.namespace = f"farm-{next(_NAMESPACES)}"
        self.log = directory / f"{self.namespace}.log"
        self.port = free_ports(1)[0]
        create_namespace(plane, self.namespace)
        self._home = home or self.namespace
        self.kubectl("apply", "-f", "-", input=self._rights("rbac.yaml"))
        for other in others:
            create_namespace(plane, other)
            plane.kubectl(f"--namespace={other}", "apply", "-f", "-", input=self._rights("rbac.yaml"))
        if home is not None:
            create_namespace(plane, home)
            plane.kubectl("create", "serviceaccount", "b3lb-operator", f"--namespace={home}")
            self.kubectl("apply", "-f", "-", input=self._rights("rbac-namespace-deletion.yaml"))
        url = create_database(postgres, self.namespace.replace("-", "_"))
        self.engine: sa.Engine = create_engine(url, application_name="tests")
        self._directory = directory
        self._environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(directory),
            "KUBECONFIG": str(self._own_kubeconfig()),
            "B3LB_DATABASE_URL": url,
            "B3LB_ENCRYPTION_KEYS": f"k1:{base64.b64encode(secrets.token_bytes(32)).decode()}",
            "B3LB_NAMESPACES": ",".join([self.namespace, *others]),
            "B3LB_JOB_IMAGE": "b3lb:test",
            "B3LB_HTTP_ADDRESS": "127.0.0.1",
            "B3LB_HTTP_PORT": str(self.port),
            **(environment or {}),
        }
        self.process = self.new_process(self.log)

    def setting(self, name: str) -> str:
        """Return a variable of the operator's environment."""
        return self._environment[name]

    def _rights(self, name: str) -> str:
        return (ROOT / "deploy" / name).read_text().replace("namespace: b3lb", f"namespace: {self._home}")

    def new_process(self, log: Path, *, port: int | None = None) -> ManagedProcess:
        """Return an operator that is not started yet; with port 0 it listens anywhere."""
        command = [sys.executable, "-m", "b3lb_operator.cli"]
        environment = {**self._environment, "B3LB_HTTP_PORT": str(self.port if port is None else port)}
        return ManagedProcess("operator", command, log=log, environment=environment, directory=self._directory)

    def _own_kubeconfig(self) -> Path:
        return self.plane.kubeconfig_for(self._home, "b3lb-operator")

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.process.stop()
        self.engine.dispose()

    def start(self) -> None:
        """Start the operator and wait until it is ready."""
        self.process.start()
        self.process.wait_ready(lambda: self.probe("/readyz")[0] == http.client.OK, timeout=60)

    def probe(self, path: str) -> tuple[int, str]:
        """Return status and text of an end point; status 0 when nobody answers."""
        return http_answer(self.port, path)

    def kubectl(self, *arguments: str, input: str | None = None, check: bool = True) -> str:  # noqa: A002 - as in subprocess
        """Run kubectl as administrator in the namespace."""
        return self.plane.kubectl(f"--namespace={self.namespace}", *arguments, input=input, check=check)

    def apply(self, *objects: Mapping[str, Any]) -> None:
        """Apply objects."""
        self.kubectl("apply", "-f", "-", input=json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)}))

    def patch(self, kind: str, name: str, patch: Mapping[str, Any]) -> None:
        """Merge a patch into an object (RFC 7386)."""
        path = object_path(kind, name, namespace=self.namespace)
        status, answer = self.plane.send("PATCH", path, patch, content_type="application/merge-patch+json")
        assert status == http.client.OK, answer

    def get(self, kind: str, name: str) -> dict[str, Any]:
        """Return an object, {} when there is none; a kind as kubectl calls one object (`bbbnode`)."""
        return self.plane.find_object(kind, name, namespace=self.namespace) or {}

    def condition(self, kind: str, name: str, type_: str = "Ready") -> str:
        """Return a condition as `Status/Reason`; empty when there is none."""
        conditions = self.get(kind, name).get("status", {}).get("conditions", [])
        return next((f"{item['status']}/{item['reason']}" for item in conditions if item["type"] == type_), "")

    def expect(self, what: str, check: Callable[[], bool], *, within: float) -> float:
        """Wait for something and return how many seconds it took."""
        began = time.monotonic()
        assert wait_until(check, timeout=within, interval=0.1), f"{what}: not within {within:g} s\n{self.tail()}"
        return time.monotonic() - began

    def expect_condition(self, kind: str, name: str, value: str, *, within: float, type_: str = "Ready") -> float:
        """Wait until a condition is `Status/Reason`."""
        what = f"{type_} of {kind} {name} is {value}"
        return self.expect(what, lambda: self.condition(kind, name, type_) == value, within=within)

    def versions(self) -> dict[str, str]:
        """Return the resource versions of everything that the operator could write to."""
        kinds = "bbbclusters,bbbnodes,bbbqueues,bbbtenants,bbbsecrets,bbbrecordprofiles,cronjobs,secrets"
        items = json.loads(self.kubectl("get", kinds, "-o", "json"))["items"]
        return {f"{item['kind']}/{item['metadata']['name']}": item["metadata"]["resourceVersion"] for item in items}

    def events(self) -> list[tuple[str, str]]:
        """Return regarded object and reason of all Events."""
        items = json.loads(self.kubectl("get", "events.events.k8s.io", "-o", "json"))["items"]
        ours = [item for item in items if item.get("reportingController") == "b3lb-operator"]
        return sorted((item["regarding"]["name"], item["reason"]) for item in ours)

    def tick(self, **changes: Any) -> None:
        """Do what a tick of the node checks does to the database, for all nodes that can be polled."""
        with transaction(self.engine, timeout_seconds=10) as connection:
            now = database_clock(connection)
            fresh = healthy(ready_changed_at=now)
            polls = load_polls(connection, self.namespace)
            rows = [
                (poll.node_id, dataclasses.replace(poll.state or fresh, revision=poll.revision, **changes), 1.0, now)
                for poll in polls
            ]
            write_states(connection, rows)
            lease = Lease(name="test", holder="test", token=1)
            heartbeat(connection, self.namespace, "check-nodes", tick_at=now, started_at=now, lease=lease, summary={})
            notify(connection, self.namespace)

    def tail(self) -> str:
        """Return the end of the operator's log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-15:])

    def problems(self, *expected: str) -> list[str]:
        """Return the lines of the operator's log that speak of errors, without those that are expected."""
        lines = self.log.read_text(errors="replace").splitlines()
        return [
            line
            for line in lines
            if _UNEXPECTED.search(line) and not any(re.search(pattern, line) for pattern in expected)
        ]


def create_namespace(plane: ControlPlane, name: str) -> None:
    """Make a namespace; it is an error that it is there."""
    manifest = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    status, answer = plane.send("POST", "/api/v1/namespaces", manifest)
    assert status == http.client.CREATED, answer


def install_definitions(plane: ControlPlane) -> None:
    """Apply the custom resource definitions and wait until they are served."""
    plane.kubectl("apply", "--server-side", "-f", str(ROOT / "crds"))
    plane.kubectl("wait", "--for=condition=Established", "--timeout=30s", "-f", str(ROOT / "crds"))


def bbb_cluster(name: str = "default", **spec: Any) -> dict[str, Any]:
    """Return a BBBCluster."""
    return {"apiVersion": API_VERSION, "kind": "BBBCluster", "metadata": {"name": name}, "spec": spec}


def bbb_node(node: FarmNode, **spec: Any) -> dict[str, Any]:
    """Return the BBBNode of a simulated node."""
    fields = {"apiUrl": node.api_url, "secretRef": {"name": node.name}, **spec}
    return {"apiVersion": API_VERSION, "kind": "BBBNode", "metadata": {"name": node.name}, "spec": fields}


def bbb_tenant(name: str = "uni", **spec: Any) -> dict[str, Any]:
    """Return a BBBTenant."""
    fields = {"slug": name.upper(), **spec}
    return {"apiVersion": API_VERSION, "kind": "BBBTenant", "metadata": {"name": name}, "spec": fields}


def bbb_secret(name: str = "uni-001", **spec: Any) -> dict[str, Any]:
    """Return a BBBSecret whose API secret is generated, unless the spec says otherwise."""
    tenant, _, sub_id = name.partition("-")
    fields = {"tenantRef": {"name": tenant}, "subId": int(sub_id), **spec}
    return {"apiVersion": API_VERSION, "kind": "BBBSecret", "metadata": {"name": name}, "spec": fields}


def bbb_record_profile(name: str = "hd", **spec: Any) -> dict[str, Any]:
    """Return a BBBRecordProfile."""
    return {"apiVersion": API_VERSION, "kind": "BBBRecordProfile", "metadata": {"name": name}, "spec": spec}


def bbb_queue(name: str = "core", **spec: Any) -> dict[str, Any]:
    """Return a BBBQueue that starts nothing by itself."""
    fields = {"tasks": ["check-nodes"], "schedule": "* * * * *", "suspend": True, **spec}
    return {"apiVersion": API_VERSION, "kind": "BBBQueue", "metadata": {"name": name}, "spec": fields}


def api_secret(node: FarmNode) -> dict[str, Any]:
    """Return the core Secret with the API secret of a simulated node."""
    metadata = {"name": node.name}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {"secret": node.secret}}


@contextmanager
def closed_database(cluster: OperatorCluster, postgres: Postgres) -> Iterator[None]:
    """Keep everybody out of the cluster's database, those who are connected included."""
    name = cluster.namespace.replace("-", "_")
    server = create_engine(postgres.url, application_name="tests")
    execute(
        server,
        f"ALTER DATABASE {name} WITH ALLOW_CONNECTIONS false",
        f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'",  # noqa: S608 - our own name
    )
    try:
        yield
    finally:
        execute(server, f"ALTER DATABASE {name} WITH ALLOW_CONNECTIONS true")
        server.dispose()


def execute(engine: sa.Engine, *statements: str) -> None:
    """Run statements, each in a transaction of its own."""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)
