"""kind-config.yaml has only what kind's configuration v1alpha4 knows; kind itself needs Docker.

The fields are those of https://github.com/kubernetes-sigs/kind/blob/main/pkg/apis/config/v1alpha4/types.go.
"""

from pathlib import Path
from typing import Any, Literal

import pytest
import yaml
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError
from pydantic.alias_generators import to_camel

CONFIG = Path(__file__).resolve().parents[2] / "kind-config.yaml"


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, alias_generator=to_camel)


class PatchJSON6902(Strict):
    group: str
    version: str
    kind: str
    patch: str


class Mount(Strict):
    container_path: str = ""
    host_path: str = ""
    read_only: bool = False
    selinux_relabel: bool = False
    propagation: Literal["None", "HostToContainer", "Bidirectional"] = "None"


class PortMapping(Strict):
    container_port: int = 0
    host_port: int = 0
    listen_address: str = ""
    protocol: Literal["TCP", "UDP", "SCTP"] = "TCP"


class Node(Strict):
    role: Literal["control-plane", "worker"] = "control-plane"
    image: str = ""
    labels: dict[str, str] = {}
    extra_mounts: list[Mount] = []
    extra_port_mappings: list[PortMapping] = []
    gpus: str = ""
    kubeadm_config_patches: list[str] = []


class Networking(Strict):
    ip_family: Literal["ipv4", "ipv6", "dual"] = "ipv4"
    api_server_port: int = 0
    api_server_address: str = ""
    pod_subnet: str = ""
    service_subnet: str = ""
    disable_default_cni: bool = False
    kube_proxy_mode: Literal["iptables", "ipvs", "nftables", "none"] = "iptables"
    dns_search: list[str] | None = None


class Cluster(Strict):
    kind: Literal["Cluster"]
    api_version: Literal["kind.x-k8s.io/v1alpha4"]
    name: str = ""
    nodes: list[Node] = []
    networking: Networking = Networking()
    feature_gates: dict[str, bool] = {}
    runtime_config: dict[str, str] = {}
    kubeadm_config_patches: list[str] = []
    containerd_config_patches: list[str] = []


def read(data: Any) -> Cluster:
    return TypeAdapter(Cluster).validate_python(data)


def test_the_configuration_has_fields_and_values_of_v1alpha4_only() -> None:
    cluster = read(yaml.safe_load(CONFIG.read_text()))
    assert [node.role for node in cluster.nodes] == ["control-plane", "worker", "worker"]
    assert cluster.name == "b3lb"


@pytest.mark.parametrize(
    "wrong", [{"nodes": [{"rolle": "worker"}]}, {"nodes": [{"role": "server"}]}, {"node": []}, {"kind": "kind"}]
)
def test_a_wrong_configuration_would_be_noticed(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        read({**yaml.safe_load(CONFIG.read_text()), **wrong})
