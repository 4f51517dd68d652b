"""The process kubelet's Node, its images, addresses and memory arithmetic."""

import json
import logging
import platform
from datetime import UTC, datetime
from pathlib import Path

import pytest

from dev.kubelet.addresses import AddressPool
from dev.kubelet.images import Image, ImageFile, ImageFileError, parse_images
from dev.kubelet.kubelet import DirectoryInUseError, exclusive
from dev.kubelet.memory import Sample, tree_bytes
from dev.kubelet.node import NodeOptions, lease_manifest, node_manifest, node_status

OPTIONS = NodeOptions(name="n1", address="127.77.0.1", cpu="4", memory="16Gi", pods=20, lease_seconds=2.5)
NOW = datetime(2026, 1, 2, 3, 4, 5, 678900, tzinfo=UTC)


def test_the_whole_status_of_the_node() -> None:
    resources = {"cpu": "4", "memory": "16Gi", "pods": "20", "ephemeral-storage": "100Gi"}
    times = {"lastHeartbeatTime": "2026-01-02T03:04:05Z", "lastTransitionTime": "2026-01-01T00:00:00Z"}
    status = node_status(OPTIONS, ready=True, version="v1.36.3", since="2026-01-01T00:00:00Z", now=NOW)
    architecture = status["nodeInfo"].pop("architecture")
    assert architecture in {"amd64", "arm64"} or architecture == platform.machine()
    assert status == {
        "capacity": resources,
        "allocatable": resources,
        "conditions": [
            {
                "type": "MemoryPressure",
                "status": "False",
                "reason": "KubeletHasSufficientMemory",
                "message": "kubelet has sufficient memory available",
                **times,
            },
            {
                "type": "DiskPressure",
                "status": "False",
                "reason": "KubeletHasNoDiskPressure",
                "message": "kubelet has no disk pressure",
                **times,
            },
            {
                "type": "PIDPressure",
                "status": "False",
                "reason": "KubeletHasSufficientPID",
                "message": "kubelet has sufficient PID available",
                **times,
            },
            {"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "runs pods as processes", **times},
        ],
        "addresses": [{"type": "InternalIP", "address": "127.77.0.1"}, {"type": "Hostname", "address": "n1"}],
        "nodeInfo": {
            "machineID": "n1",
            "systemUUID": "n1",
            "bootID": "n1",
            "kernelVersion": platform.release(),
            "osImage": "processes of this machine",
            "containerRuntimeVersion": "process://1",
            "kubeletVersion": "v1.36.3",
            "kubeProxyVersion": "",
            "operatingSystem": "linux",
        },
    }


def test_a_node_that_was_stopped_is_not_ready() -> None:
    status = node_status(OPTIONS, ready=False, version="v1.36.3", since="2026-01-01T00:00:00Z", now=NOW)
    assert {item["type"]: item["status"] for item in status["conditions"]}["Ready"] == "False"


def test_the_lease_lasts_four_renewals_and_belongs_to_the_node() -> None:
    assert lease_manifest(OPTIONS, "uid-1", now=NOW) == {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {
            "name": "n1",
            "namespace": "kube-node-lease",
            "ownerReferences": [{"apiVersion": "v1", "kind": "Node", "name": "n1", "uid": "uid-1"}],
        },
        "spec": {
            "holderIdentity": "n1",
            "leaseDurationSeconds": 10,
            "renewTime": "2026-01-02T03:04:05.678900Z",
        },
    }


def test_the_node_has_the_labels_selectors_ask_for() -> None:
    labels = node_manifest(OPTIONS)["metadata"]["labels"]
    assert labels.keys() == {"kubernetes.io/hostname", "kubernetes.io/os", "kubernetes.io/arch"}


def test_images_are_parsed() -> None:
    entry = {"path": ["/opt/x/bin"], "entrypoint": ["b3lb-job"], "env": {"A": "1"}, "workingDir": "/w", "keep": ["/k"]}
    images = parse_images(json.dumps({"full": entry, "empty": {}}))
    assert images == {
        "full": Image(("/opt/x/bin",), ("b3lb-job",), {"A": "1"}, "/w", ("/k",)),
        "empty": Image(),
    }
    assert images["full"].visible == ["/opt/x", "/opt/x/bin", "/w", "/k"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "it is not JSON"),
        ("[]", "it is not an object of images"),
        ('{"a": 1}', "a: not an object"),
        ('{"a": {"entryPoint": []}}', "a: unknown keys entryPoint"),
        ('{"a": {"entrypoint": "sh"}}', "a: entrypoint is not a list of strings"),
        ('{"a": {"path": [1]}}', "a: path is not a list of strings"),
        ('{"a": {"env": {"A": 1}}}', "a: env is not an object of strings"),
        ('{"a": {"workingDir": 1}}', "a: workingDir is not a string"),
        ('{"a": {"stopSignal": "TERM"}}', "a: stopSignal is not the name of a signal"),
    ],
)
def test_a_wrong_image_file_is_refused_with_the_place(text: str, message: str) -> None:
    with pytest.raises(ImageFileError, match=message):
        parse_images(text)


def test_an_image_file_is_read_again_when_it_changes_and_kept_while_it_is_wrong(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "images.json"
    file = ImageFile(path)
    with caplog.at_level(logging.WARNING):
        assert file.find("a") is None
        assert file.find("a") is None
        path.write_text('{"a": {}}')
        assert file.find("a") == Image()
        assert file.find("b") is None
        path.write_text('{"a": {}, "b": ')
        assert file.find("a") == Image()
        path.write_text('{"b": {"entrypoint": ["sh"]}}')
        assert file.find("a") is None
        assert file.find("b") == Image(entrypoint=("sh",))
    assert len(caplog.records) == 2


def test_addresses_are_unique_and_reused_as_late_as_possible() -> None:
    pool = AddressPool("127.77.0.0/29")
    assert pool.node == "127.77.0.1"
    taken = [pool.take() for _ in range(5)]
    assert taken == ["127.77.0.2", "127.77.0.3", "127.77.0.4", "127.77.0.5", "127.77.0.6"]
    with pytest.raises(LookupError, match="all addresses"):
        pool.take()
    for address in ("127.77.0.5", "127.77.0.2", "10.0.0.1"):
        pool.give_back(address)
    assert pool.take() == "127.77.0.2"


@pytest.mark.parametrize("network", ["10.0.0.0/16", "127.0.0.1/32", "::1/128", "x"])
def test_a_network_that_is_not_loopback_or_too_small_is_refused(network: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        AddressPool(network)


def test_memory_of_a_tree_counts_all_descendants_and_nobody_else() -> None:
    samples = [Sample(4, 3, 1000), Sample(1, 0, 1), Sample(2, 1, 10), Sample(3, 2, 100), Sample(5, 1, 9)]
    assert tree_bytes(samples, 2) == 1110
    assert tree_bytes(samples, 5) == 9
    assert tree_bytes(samples, 77) == 0


def test_a_directory_is_used_by_one_kubelet_at_a_time(tmp_path: Path) -> None:
    with (
        exclusive(tmp_path / "k"),
        pytest.raises(DirectoryInUseError, match="another kubelet uses"),
        exclusive(tmp_path / "k"),
    ):
        pass
    with exclusive(tmp_path / "k"):
        assert [path.name for path in (tmp_path / "k").iterdir()] == ["lock"]
