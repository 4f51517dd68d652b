"""Volumes, mounts and start plans of the process kubelet."""

import base64
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dev.kubelet.containers import Plan
from dev.kubelet.environment import Objects
from dev.kubelet.fields import ConfigurationError
from dev.kubelet.images import Image
from dev.kubelet.mounts import Mount, container_mounts, rewrite, with_kept
from dev.kubelet.plans import NodeFacts, build_plan, hostname_of, hosts_file, memory_limit, service_variables
from dev.kubelet.volumes import VolumeFile, volume_files, volume_references, volume_tokens, write_files

ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
POD: dict[str, Any] = {
    "metadata": {"name": "p", "namespace": "farm", "uid": "u", "labels": {"a": "1"}},
    "spec": {"containers": [{"name": "main", "resources": {"limits": {"memory": "1Mi"}}}]},
    "status": {"podIP": "127.77.0.2", "hostIP": "127.77.0.1"},
}
OBJECTS: Objects = {
    ("Secret", "s"): {"data": {"url": base64.b64encode(b"postgresql://x").decode(), "key": "AAE="}},
    ("ConfigMap", "c"): {"data": {"text": "hello"}, "binaryData": {"raw": "/w=="}},
    ("Secret", "none"): None,
    ("ConfigMap", "none"): None,
}


def files(volume: dict[str, Any], **tokens: str) -> dict[str, VolumeFile]:
    keys = {("", 3607): tokens.get("token", "t"), ("vault", 600): "v"}
    return volume_files({"name": "v", **volume}, pod=POD, objects=OBJECTS, tokens=keys, allocatable={})


@pytest.mark.parametrize(
    ("volume", "expected"),
    [
        ({"emptyDir": {}}, {}),
        ({}, {}),
        (
            {"secret": {"secretName": "s", "defaultMode": 0o400}},
            {"url": VolumeFile(b"postgresql://x", 0o400), "key": VolumeFile(b"\x00\x01", 0o400)},
        ),
        ({"secret": {"secretName": "none", "optional": True}}, {}),
        (
            {"configMap": {"name": "c"}},
            {"text": VolumeFile(b"hello", 0o644), "raw": VolumeFile(b"\xff", 0o644)},
        ),
        (
            {"configMap": {"name": "c", "items": [{"key": "text", "path": "d/t", "mode": 0o600}]}},
            {"d/t": VolumeFile(b"hello", 0o600)},
        ),
        ({"configMap": {"name": "c", "optional": True, "items": [{"key": "no", "path": "x"}]}}, {}),
        (
            {
                "downwardAPI": {
                    "items": [
                        {"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}},
                        {
                            "path": "limit",
                            "resourceFieldRef": {"containerName": "main", "resource": "limits.memory", "divisor": "0"},
                        },
                    ]
                }
            },
            {"labels": VolumeFile(b'a="1"', 0o644), "limit": VolumeFile(b"1048576", 0o644)},
        ),
    ],
)
def test_files_of_each_kind_of_volume(volume: dict[str, Any], expected: dict[str, VolumeFile]) -> None:
    assert files(volume) == expected


def test_a_service_account_volume_has_token_authority_and_namespace() -> None:
    volume = {
        "name": "kube-api-access",
        "projected": {
            "defaultMode": 0o644,
            "sources": [
                {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
                {"serviceAccountToken": {"audience": "vault", "expirationSeconds": 600, "path": "vault"}},
                {"configMap": {"name": "c", "items": [{"key": "text", "path": "ca.crt"}]}},
                {"secret": {"name": "s", "items": [{"key": "url", "path": "url"}]}},
                {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": {"fieldPath": "metadata.namespace"}}]}},
            ],
        },
    }
    assert volume_tokens(volume) == {("", 3607), ("vault", 600)}
    assert volume_references(volume) == {("ConfigMap", "c"), ("Secret", "s")}
    assert {path: file.content for path, file in files(volume, token="jwt").items()} == {
        "token": b"jwt",
        "vault": b"v",
        "ca.crt": b"hello",
        "url": b"postgresql://x",
        "namespace": b"farm",
    }


@pytest.mark.parametrize(
    ("volume", "message"),
    [
        ({"secret": {"secretName": "none"}}, 'secret "none" not found in namespace farm'),
        ({"configMap": {"name": "none"}}, 'configmap "none" not found in namespace farm'),
        (
            {"configMap": {"name": "c", "items": [{"key": "no", "path": "x"}]}},
            "references non-existent configMap key: no",
        ),
        ({"hostPath": {"path": "/"}}, 'volume "v": hostPath is not supported by the process kubelet'),
        (
            {"projected": {"sources": [{"clusterTrustBundle": {}}]}},
            'volume "v": clusterTrustBundle is not supported by the process kubelet',
        ),
    ],
)
def test_what_a_volume_lacks_is_named(volume: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        files(volume)
    assert str(caught.value) == message


def test_files_are_written_with_their_modes_and_replaced_later(tmp_path: Path) -> None:
    directory = tmp_path / "volumes" / "v"
    write_files(directory, {"a": VolumeFile(b"1", 0o400), "d/b": VolumeFile(b"2", 0o644)})
    write_files(directory, {"a": VolumeFile(b"3", 0o400)})
    assert {str(path.relative_to(directory)) for path in directory.rglob("*")} == {"a", "d", "d/b"}
    assert (directory / "a").read_bytes() == b"3"
    assert stat.S_IMODE((directory / "a").stat().st_mode) == 0o400


def test_mounts_are_sorted_outer_first_and_read_only_where_kubernetes_makes_them() -> None:
    pod = {
        "spec": {
            "volumes": [{"name": "work", "emptyDir": {}}, {"name": "secret", "secret": {"secretName": "s"}}],
        }
    }
    container = {
        "volumeMounts": [
            {"name": "secret", "mountPath": "/data/keys/"},
            {"name": "work", "mountPath": "/data", "subPathExpr": "$(POD)/x"},
            {"name": "work", "mountPath": "/cache", "subPath": "c", "readOnly": True},
        ]
    }
    assert container_mounts(pod, container, volumes=Path("/v"), variables={"POD": "p-1"}) == [
        Mount("/v/work/c", "/cache", read_only=True),
        Mount("/v/work/p-1/x", "/data"),
        Mount("/v/secret", "/data/keys", read_only=True),
    ]


def test_paths_that_a_mount_would_hide_stay_visible() -> None:
    mounts = [Mount("/v/scratch", "/scratch")]
    assert with_kept(mounts, ["/usr/bin", "/scratch/venv/bin", "/scratch", "/scratch/venv/bin"]) == [
        Mount("/v/scratch", "/scratch"),
        Mount("/scratch/venv/bin", "/scratch/venv/bin"),
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/data", "/v/work"),
        ("/data/x y", "/v/work/x y"),
        ("/data/keys/id", "/v/secret/id"),
        ("/database", "/database"),
        ("see /data", "see /data"),
        ("", ""),
    ],
)
def test_only_whole_segments_at_the_beginning_are_rewritten(text: str, expected: str) -> None:
    assert rewrite(text, [Mount("/v/work", "/data"), Mount("/v/secret", "/data/keys")]) == expected


def plan_of(container: dict[str, Any], *, private: bool, **spec: Any) -> Plan:
    pod = {**POD, "spec": {"containers": [container], **spec}}
    node = NodeFacts(allocatable={}, services=service_variables("127.0.0.1", 6443), private_mounts=private)
    image = Image(path=("/scratch/venv/bin",), entrypoint=("b3lb-job",), environment={"LEVEL": "info", "A": "image"})
    return build_plan(pod, container, image=image, objects={}, root=Path("/k/pods/p"), node=node)


CONTAINER = {
    "name": "main",
    "args": ["--work", "/scratch/work"],
    "env": [{"name": "A", "value": "/scratch/a"}],
    "volumeMounts": [{"name": "t", "mountPath": "/scratch"}, {"name": "token", "mountPath": ACCOUNT, "readOnly": True}],
    "terminationMessagePolicy": "FallbackToLogsOnError",
}
VOLUMES = [{"name": "t", "emptyDir": {}}, {"name": "token", "projected": {"sources": []}}]
PRIVATE_PLAN = Plan(
    name="main",
    command=["b3lb-job", "--work", "/scratch/work"],
    environment={
        "PATH": "/scratch/venv/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": "/k/pods/p",
        "LANG": "C.UTF-8",
        "HOSTNAME": "p",
        "POD_IP": "127.77.0.2",
        "LEVEL": "info",
        "A": "/scratch/a",
        "KUBERNETES_SERVICE_HOST": "127.0.0.1",
        "KUBERNETES_SERVICE_PORT": "6443",
        "KUBERNETES_SERVICE_PORT_HTTPS": "6443",
        "B3LB_POD_ROOT": "/k/pods/p",
    },
    working_directory="/k/pods/p",
    pod_root=Path("/k/pods/p"),
    mounts=[
        Mount("/k/pods/p/internal/main.termination-log", "/dev/termination-log"),
        Mount("/k/pods/p/internal/hosts", "/etc/hosts"),
        Mount("/k/pods/p/volumes/t", "/scratch"),
        # The programs lie below /scratch, which the volume hides.
        Mount("/scratch/venv", "/scratch/venv"),
        Mount("/scratch/venv/bin", "/scratch/venv/bin"),
        Mount("/k/pods/p/volumes/token", ACCOUNT, read_only=True),
    ],
    hostname="p",
    private_mounts=True,
    termination_log=Path("/k/pods/p/internal/main.termination-log"),
    log_fallback=True,
)


def test_the_whole_plan_with_private_mounts() -> None:
    assert plan_of(CONTAINER, private=True, volumes=VOLUMES) == PRIVATE_PLAN


def test_the_whole_plan_without_private_mounts() -> None:
    assert plan_of(CONTAINER, private=False, volumes=VOLUMES) == replace(
        PRIVATE_PLAN,
        private_mounts=False,
        command=["b3lb-job", "--work", "/k/pods/p/volumes/t/work"],
        environment={
            **PRIVATE_PLAN.environment,
            "A": "/k/pods/p/volumes/t/a",
            "B3LB_TERMINATION_LOG": "/k/pods/p/internal/main.termination-log",
            "B3LB_SERVICE_ACCOUNT_DIRECTORY": "/k/pods/p/volumes/token",
        },
        mounts=[Mount("/k/pods/p/volumes/t", "/scratch"), Mount("/k/pods/p/volumes/token", ACCOUNT, read_only=True)],
    )


def test_the_pod_decides_about_working_directory_and_termination_log() -> None:
    container = {"name": "main", "workingDir": "/srv", "terminationMessagePath": "/scratch/end"}
    plan = plan_of(container, private=True, hostNetwork=True)
    assert plan.working_directory == "/srv"
    assert plan.mounts == [Mount("/k/pods/p/internal/main.termination-log", "/scratch/end")]
    assert plan.log_fallback is False


def test_secrets_in_the_environment_are_not_in_the_repr_of_a_plan() -> None:
    assert "A=" not in repr(PRIVATE_PLAN)
    assert "LEVEL" not in repr(PRIVATE_PLAN)


def test_the_memory_limit_in_bytes() -> None:
    assert memory_limit({"resources": {"limits": {"memory": "64Mi"}}}) == 64 * 1024**2
    assert memory_limit({"resources": {}}) is None
    assert memory_limit({}) is None


def test_host_names_and_hosts_files() -> None:
    pod = {**POD, "spec": {"hostAliases": [{"ip": "127.0.0.9", "hostnames": ["db", "db.local"]}]}}
    assert hosts_file(pod) == "127.0.0.1\tlocalhost\n::1\tlocalhost\n127.77.0.2\tp\n127.0.0.9\tdb db.local\n"
    assert hostname_of({"metadata": {"name": "x" * 62 + "-y"}, "spec": {}}) == "x" * 62
    assert hostname_of({"metadata": {"name": "p"}, "spec": {"hostname": "h"}}) == "h"
