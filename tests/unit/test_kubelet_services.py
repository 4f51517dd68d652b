"""Names of Services, claims and volumes on the process kubelet."""

import asyncio
import ipaddress
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from yarl import URL

from dev.kubelet import gateway as gateway_module
from dev.kubelet.addresses import AddressesInUseError, AddressPool, claimed
from dev.kubelet.api import Api, ApiError, Credentials, Manifest
from dev.kubelet.claims import claimed_directory, link_directory
from dev.kubelet.fields import ConfigurationError
from dev.kubelet.gateway import Gateway
from dev.kubelet.services import ServiceDirectory, hosts_lines, rewrite_file, service_endpoints
from dev.kubelet.storage import volume_manifests


def service(name: str = "db", namespace: str = "farm", **spec: Any) -> Manifest:
    return {"metadata": {"name": name, "namespace": namespace}, "spec": {"selector": {"app": "db"}, **spec}}


def pod(address: str, *, namespace: str = "farm", ready: str = "True", **changes: Any) -> Manifest:
    status = {"podIP": address, "conditions": [{"type": "Ready", "status": ready}]}
    metadata = {"namespace": namespace, "labels": {"app": "db", "more": "x"}, **changes.pop("metadata", {})}
    return {"metadata": metadata, "spec": changes, "status": status}


def endpoints(services: list[Manifest], pods: list[Manifest]) -> Mapping[tuple[str, str], Any]:
    return service_endpoints(services, pods)


def test_a_service_leads_to_the_ready_pods_of_its_selector() -> None:
    pods = [
        pod("127.77.0.3"),
        pod("127.77.0.2"),
        pod("127.77.0.4", ready="False"),
        pod("127.77.0.5", namespace="other"),
        pod("127.77.0.6", metadata={"labels": {"app": "web"}}),
        pod("127.77.0.7", metadata={"deletionTimestamp": "now"}),
        pod(""),
    ]
    assert endpoints([service()], pods) == {("farm", "db"): (("127.77.0.2", ""), ("127.77.0.3", ""))}
    assert len(endpoints([service(publishNotReadyAddresses=True)], pods)["farm", "db"]) == 3
    assert endpoints([service(selector=None)], pods) == {}
    assert endpoints([service()], []) == {("farm", "db"): ()}


def test_names_are_those_of_the_cluster_dns_and_short_only_at_home() -> None:
    found = endpoints([service()], [pod("127.77.0.2", hostname="db-0", subdomain="db")])
    assert hosts_lines(found, namespace="farm") == (
        "127.77.0.2\tdb db.farm db.farm.svc db.farm.svc.cluster.local"
        " db-0.db db-0.db.farm db-0.db.farm.svc db-0.db.farm.svc.cluster.local\n"
    )
    assert hosts_lines(found, namespace="other").split() == [
        "127.77.0.2",
        "db.farm",
        "db.farm.svc",
        "db.farm.svc.cluster.local",
        "db-0.db.farm",
        "db-0.db.farm.svc",
        "db-0.db.farm.svc.cluster.local",
    ]


class ListingApi(Api):
    """Answers lists once and says what happens later."""

    def __init__(self, events: list[tuple[str, str, Manifest]]) -> None:
        super().__init__(Credentials(URL("http://127.0.0.1:1"), "geheim"))
        self.events = events

    async def follow(self, path: str, *, field_selector: str, replace: Any, change: Any) -> None:
        assert field_selector == ("status.phase=Running" if path.endswith("pods") else "")
        replace([])
        for place, kind, item in self.events:
            if path.endswith(place):
                change(kind, item)


async def test_changes_are_told_once() -> None:
    told: list[str] = []
    running = pod("127.77.0.2", metadata={"uid": "p"})
    named = service()
    named["metadata"]["uid"] = "s"
    events = [
        ("services", "ADDED", named),
        ("pods", "ADDED", running),
        ("pods", "MODIFIED", running),
        ("pods", "DELETED", running),
    ]
    directory = ServiceDirectory({("default", "kubernetes"): (("127.77.0.1", ""),)})
    fixed = "127.77.0.1\tkubernetes.default kubernetes.default.svc kubernetes.default.svc.cluster.local\n"
    assert directory.lines("farm") == fixed
    await directory.run(ListingApi(events), changed=lambda: told.append(directory.lines("farm")))
    line = "127.77.0.2\tdb db.farm db.farm.svc db.farm.svc.cluster.local\n"
    # In the order of namespaces; the first is that of the list.
    assert told == [fixed, fixed + line, fixed]


def test_a_rewritten_file_stays_the_same_file(tmp_path: Path) -> None:
    path = tmp_path / "hosts"
    rewrite_file(path, "a long text\n")
    before = path.stat()
    rewrite_file(path, "short\n")
    assert (path.read_text(), path.stat().st_ino) == ("short\n", before.st_ino)
    modified = path.stat().st_mtime_ns
    rewrite_file(path, "short\n")
    assert path.stat().st_mtime_ns == modified


async def test_the_gateway_passes_both_directions_on(monkeypatch: pytest.MonkeyPatch) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"<" + await reader.read() + b">")
        writer.close()

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        monkeypatch.setattr(gateway_module, "PORT", probe.getsockname()[1])
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server, Gateway("127.0.0.1", server.sockets[0].getsockname()[1]).listen("127.0.0.1") as listens:
        assert listens
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway_module.PORT)
        writer.write(b"hello")
        writer.write_eof()
        assert await reader.read() == b"<hello>"
        writer.close()
        async with Gateway("127.0.0.1", 1).listen("127.0.0.1") as second:
            assert not second


async def test_the_gateway_closes_when_the_api_server_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        monkeypatch.setattr(gateway_module, "PORT", probe.getsockname()[1])
    async with Gateway("127.0.0.1", 1).listen("127.0.0.1"):
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway_module.PORT)
        assert await reader.read() == b""
        writer.close()


class ObjectsApi(Api):
    """Has a few objects."""

    def __init__(self, objects: dict[str, Manifest]) -> None:
        super().__init__(Credentials(URL("http://127.0.0.1:1"), "geheim"))
        self.objects = objects

    async def request(
        self, method: str, path: str, *, body: Manifest | None = None, parameters: Mapping[str, str] | None = None
    ) -> Manifest:
        assert (method, body, parameters) == ("GET", None, None)
        if path not in self.objects:
            raise ApiError("not found", status=404)
        return self.objects[path]


def claim_api(claim: Manifest | None, volume: Manifest | None = None) -> Api:
    objects = {
        "/api/v1/namespaces/farm/persistentvolumeclaims/data": claim,
        "/api/v1/persistentvolumes/pv": volume,
    }
    return ObjectsApi({path: item for path, item in objects.items() if item is not None})


BOUND = {"spec": {"volumeName": "pv"}, "status": {"phase": "Bound"}}


@pytest.mark.parametrize("kind", ["hostPath", "local"])
async def test_a_claim_leads_to_the_directory_of_its_volume(kind: str) -> None:
    volume = {"metadata": {"name": "pv"}, "spec": {kind: {"path": "/data/pv"}}}
    assert await claimed_directory(claim_api(BOUND, volume), "farm", "data") == Path("/data/pv")


@pytest.mark.parametrize(
    ("claim", "message"),
    [
        (None, 'persistentvolumeclaim "data" not found in namespace farm'),
        ({"spec": {}, "status": {"phase": "Pending"}}, 'persistentvolumeclaim "data" is not bound'),
        (BOUND, 'persistent volume "pv" is not supported by the process kubelet'),
    ],
)
async def test_a_claim_that_cannot_be_used_is_named(claim: Manifest | None, message: str) -> None:
    volume = {"metadata": {"name": "pv"}, "spec": {"csi": {}}}
    with pytest.raises(ConfigurationError, match=message):
        await claimed_directory(claim_api(claim, volume), "farm", "data")


def test_a_volume_is_created_once_and_open_to_every_user(tmp_path: Path) -> None:
    link, directory = tmp_path / "pod" / "data", tmp_path / "volumes" / "a"
    link_directory(link, directory)
    (link / "file").touch()
    assert directory.stat().st_mode & 0o777 == 0o777
    directory.chmod(0o700)
    link_directory(link, directory)
    assert [path.name for path in directory.iterdir()] == ["file"]
    assert directory.stat().st_mode & 0o777 == 0o700


def test_static_volumes_have_a_default_class_and_a_directory_each() -> None:
    storage_class, *volumes = volume_manifests(Path("/work/volumes"), count=2, size="5Gi")
    assert storage_class["metadata"]["annotations"] == {"storageclass.kubernetes.io/is-default-class": "true"}
    [first, second] = volumes
    name = first["metadata"]["name"]
    assert first["spec"] == {
        "capacity": {"storage": "5Gi"},
        "accessModes": ["ReadWriteOnce", "ReadWriteMany"],
        "persistentVolumeReclaimPolicy": "Retain",
        "storageClassName": "local",
        "hostPath": {"path": f"/work/volumes/{name}", "type": "DirectoryOrCreate"},
    }
    assert second["metadata"]["name"] != name


def network(pool: AddressPool) -> str:
    return str(ipaddress.IPv4Network(f"{pool.node}/24", strict=False))


def test_kubelets_of_one_machine_have_addresses_of_their_own() -> None:
    with claimed(None) as first, claimed(None) as second:
        assert first.node != second.node
        assert ipaddress.IPv4Address(first.take()).is_loopback
        with pytest.raises(AddressesInUseError, match=first.node), claimed(AddressPool(network(first))):
            pass
    pool = AddressPool(network(first))
    with claimed(pool) as again:
        assert again is pool
