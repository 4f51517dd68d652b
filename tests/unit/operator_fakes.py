"""An API server in memory behind the operator's real client, a database that only counts, and objects to put in."""

from __future__ import annotations

import asyncio
import base64
import copy
import itertools
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from urllib.parse import parse_qs, urlsplit

import sqlalchemy as sa

from b3lb.db.mirror import ClusterMirror, Heartbeat, NodeMirror, Snapshot
from b3lb.health import GuardState, LoadReason, NodeState, Reason
from b3lb_operator.database import Database, DatabaseUnavailableError
from b3lb_operator.kinds import API_SECRET, CLUSTER, NODE, QUEUE, SECRET, TENANT, Key, Kind, Manifest
from b3lb_operator.kube import ConflictError, Kube, NotFoundError
from b3lb_operator.manifests.facts import Freshness
from b3lb_operator.view import View

T = TypeVar("T")

NAMESPACE = "farm"
NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
_UIDS = itertools.count(1)


def merge(target: Any, patch: Any) -> Any:
    """Apply a JSON merge patch (RFC 7396)."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merge(result.get(name), value)
    return result


class FakeKube(Kube):
    """The operator's client whose requests end in memory; ``writes`` are those that were no GET."""

    def __init__(self) -> None:
        self.objects: dict[str, Manifest] = {}
        self.requests: list[tuple[str, str, Any]] = []
        self.failure: Callable[[str, str], Exception | None] = lambda _method, _path: None
        self.after_apply: Callable[[Manifest], Manifest] = lambda manifest: manifest
        self._version = 0

    @property
    def writes(self) -> list[tuple[str, str, Any]]:
        """Method, path and body of every request that changes something."""
        return [request for request in self.requests if request[0] != "GET"]

    def put(self, kind: Kind, manifest: Manifest) -> Manifest:
        """Put an object in, as if somebody else had written it."""
        metadata = manifest["metadata"]
        return self._store(kind.path(metadata["namespace"], metadata["name"]), copy.deepcopy(manifest))

    def object(self, kind: Kind, name: str) -> Manifest:
        """Return an object as it is now."""
        return self.objects[kind.path(NAMESPACE, name)]

    async def _attempt(self, method: str, path: str, body: Manifest | None, content_type: str) -> Manifest:
        await asyncio.sleep(0)
        url = urlsplit(path)
        self.requests.append((method, url.path, copy.deepcopy(body)))
        failure = self.failure(method, url.path)
        if failure is not None:
            raise failure
        if method == "GET":
            return self._read(url.path, parse_qs(url.query))
        if method == "POST":
            assert body is not None
            return self._create(f"{url.path}/{body['metadata']['name']}", body)
        return self._change(method, url.path, body, content_type)

    def _read(self, path: str, query: dict[str, list[str]]) -> Manifest:
        if path in self.objects:
            return copy.deepcopy(self.objects[path])
        depth = path.count("/")
        if path.startswith(("/api/v1/namespaces/", "/apis/")) and depth in {5, 6} and "limit" in query:
            found = [item for where, item in self.objects.items() if where.rpartition("/")[0] == path]
            # As the real one does: entries of a list lack what its kind says of them.
            items = [
                {name: value for name, value in item.items() if name not in {"kind", "apiVersion"}} for item in found
            ]
            return {"metadata": {}, "items": copy.deepcopy(items)}
        raise NotFoundError(f"{path} not found")

    def _create(self, path: str, body: Manifest) -> Manifest:
        if path in self.objects:
            raise ConflictError(f"{path} already exists")
        return self._store(path, body)

    def _change(self, method: str, path: str, body: Manifest | None, content_type: str) -> Manifest:
        if method == "DELETE":
            return self._delete(path, body or {})
        assert body is not None
        path = path.removesuffix("/status")
        live = self.objects.get(path)
        if "apply" in content_type:
            merged = merge(live or {}, {name: value for name, value in body.items() if name != "status"})
            return self._store(path, self.after_apply(merged))
        if live is None:
            raise NotFoundError(f"{path} not found")
        wanted = body.get("metadata", {})
        for field in ("uid", "resourceVersion"):
            if field in wanted and wanted[field] != live["metadata"][field]:
                raise ConflictError(f"{field} differs")
        if method == "PUT":
            return self._store(path, body)
        return self._store(path, merge(live, body))

    def _delete(self, path: str, options: Manifest) -> Manifest:
        """Let an object without finalizers go at once; one that others depend on goes later, as it does really."""
        live = self.objects.get(path)
        if live is None:
            raise NotFoundError(f"{path} not found")
        if options.get("preconditions", {}).get("uid", live["metadata"]["uid"]) != live["metadata"]["uid"]:
            raise ConflictError("uid differs")
        if options.get("propagationPolicy") == "Foreground":
            return self._store(path, live)
        return self.objects.pop(path)

    def _store(self, path: str, manifest: Manifest) -> Manifest:
        self._version += 1
        metadata = dict(manifest["metadata"])
        old = self.objects.get(path)
        if old is not None:
            generation = old["metadata"]["generation"]
            changed = manifest.get("spec") != old.get("spec") and metadata.get("generation", generation) == generation
            metadata["generation"] = generation + 1 if changed else metadata.get("generation", generation)
        metadata.setdefault("generation", 1)
        metadata.setdefault("uid", f"uid-{next(_UIDS)}")
        metadata["resourceVersion"] = str(self._version)
        self.objects[path] = {**manifest, "metadata": metadata}
        return copy.deepcopy(self.objects[path])


class FakeDatabase(Database):
    """Calls what it is given with no connection; ``fail`` makes it unavailable."""

    def __init__(self) -> None:
        self.connected = asyncio.Event()
        self.connected.set()
        self.fail = ""
        self.calls = 0
        self.answer: Callable[[], Any] = lambda: None

    async def call(self, function: Callable[[sa.Connection], T]) -> T:  # noqa: ARG002 - as in the real one
        """Return what ``answer`` makes."""
        await asyncio.sleep(0)
        self.calls += 1
        if self.fail:
            raise DatabaseUnavailableError(self.fail)
        result: T = self.answer()
        return result


def manifest_of(kind: Kind, name: str, spec: dict[str, Any] | None = None, **metadata: Any) -> Manifest:
    """Return an object; its version is that of its creation unless the fake API server gives another."""
    return {
        "apiVersion": kind.api_version,
        "kind": kind.name,
        "metadata": {
            "namespace": NAMESPACE,
            "name": name,
            "uid": f"{kind.plural}-{name}",
            "generation": 1,
            "resourceVersion": "1",
            "creationTimestamp": "2026-03-01T10:00:00Z",
            **metadata,
        },
        "spec": spec or {},
    }


def node_manifest(
    name: str = "one", *, status: dict[str, Any] | None = None, metadata: Any = None, **spec: Any
) -> Manifest:
    """Return a BBBNode."""
    fields = {"host": f"{name}.example.org", "secretRef": {"name": f"{name}-api"}, **spec}
    manifest = manifest_of(NODE, name, fields, **(metadata or {}))
    return manifest if status is None else {**manifest, "status": status}


def cluster_manifest(name: str = "default", **spec: Any) -> Manifest:
    """Return a BBBCluster."""
    return manifest_of(CLUSTER, name, spec)


def queue_manifest(name: str = "core", **spec: Any) -> Manifest:
    """Return a BBBQueue."""
    return manifest_of(QUEUE, name, {"tasks": ["check-nodes"], "schedule": "* * * * *", **spec})


def tenant_manifest(name: str = "uni", *, metadata: Any = None, **spec: Any) -> Manifest:
    """Return a BBBTenant."""
    return manifest_of(TENANT, name, {"slug": name.upper(), **spec}, **(metadata or {}))


def api_secret_manifest(name: str = "uni-001", *, metadata: Any = None, **spec: Any) -> Manifest:
    """Return a BBBSecret whose API secret is generated, unless the spec says otherwise."""
    tenant, _, sub_id = name.partition("-")
    fields = {"tenantRef": {"name": tenant}, "subId": int(sub_id), **spec}
    return manifest_of(API_SECRET, name, fields, **(metadata or {}))


def generated_secret(owner: Manifest, value: str = "generated") -> Manifest:
    """Return the core Secret of a BBBSecret as it is after it was generated."""
    secret = secret_manifest(f"{owner['metadata']['name']}-api-secret", secret=value)
    owners = [{"kind": "BBBSecret", "name": owner["metadata"]["name"], "uid": owner["metadata"]["uid"]}]
    return {**secret, "metadata": {**secret["metadata"], "ownerReferences": owners}}


def secret_manifest(name: str, **data: str) -> Manifest:
    """Return a core Secret."""
    encoded = {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}
    return {**manifest_of(SECRET, name), "data": encoded}


def key(name: str) -> Key:
    """Return the key of an object of the test's namespace."""
    return Key(NAMESPACE, name)


def node_state(**fields: Any) -> NodeState:
    """Return the state of a Ready node."""
    values: dict[str, Any] = {
        "revision": 1,
        "ready": True,
        "proven": True,
        "reason": Reason.RESPONDING,
        "message": "",
        "failures": 0,
        "successes": 2,
        "next_poll_at": None,
        "ready_changed_at": NOW - timedelta(hours=1),
        "meetings": 0,
        "attendees": 0,
        "cpu": 1000,
        "load_reason": LoadReason.REPORTED,
        "load_message": "",
        "load_missed": 0,
    }
    return NodeState(**{**values, **fields})


def node_row(manifest: Manifest, **fields: Any) -> NodeMirror:
    """Return the row of a BBBNode that is in step with the object."""
    metadata = manifest["metadata"]
    values: dict[str, Any] = {
        "id": 1,
        "name": metadata["name"],
        "uid": metadata["uid"],
        "generation": metadata["generation"],
        "revision": 1,
        "cluster": "default",
        "desired_state": "Active",
        "max_meetings": None,
        "max_attendees": None,
        "blocked_reason": None,
        "blocked_message": None,
        "state": node_state(),
        "load": 10.0,
        "written_at": NOW - timedelta(minutes=1),
    }
    return NodeMirror(**{**values, **fields})


def snapshot_of(*rows: NodeMirror, now: datetime = NOW, tick_at: datetime | None = None) -> Snapshot:
    """Return a look at the database with a recent tick."""
    moment = tick_at or now - timedelta(seconds=5)
    beat = Heartbeat("check-nodes", moment, moment, moment + timedelta(seconds=1), "pod", 1, {})
    cluster = ClusterMirror(1, "default", "bbbclusters-default", 1, GuardState())
    return Snapshot(now, {"check-nodes": beat}, {"default": cluster}, {row.name: row for row in rows})


def view_of(*rows: NodeMirror, tick_at: datetime | None = None, error: str = "") -> View:
    """Return a view that was read just now."""
    snapshot = snapshot_of(*rows, tick_at=tick_at)
    return View.of(snapshot, age=timedelta(0), error=error, now=NOW)


FRESH = Freshness(tick_started_at=NOW, tick_finished_at=NOW, read_at=NOW)
