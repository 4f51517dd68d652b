"""Command lines of the four programs of the control plane; nothing here does I/O."""

from dataclasses import dataclass
from pathlib import Path

ETCD = "etcd"
API_SERVER = "kube-apiserver"
CONTROLLER_MANAGER = "kube-controller-manager"
SCHEDULER = "kube-scheduler"
PARTS = (ETCD, API_SERVER, CONTROLLER_MANAGER, SCHEDULER)

# Without the node life cycle controller a node needs neither lease nor heartbeat.
CONTROLLERS = (
    "serviceaccount-token-controller",
    "serviceaccount-controller",
    "root-ca-certificate-publisher-controller",
    "namespace-controller",
    "garbage-collector-controller",
    "job-controller",
    "horizontal-pod-autoscaler-controller",
    "cronjob-controller",
    "ttl-after-finished-controller",
    "deployment-controller",
    "replicaset-controller",
    "statefulset-controller",
    "persistentvolume-binder-controller",
    # Without these two, no claim and no volume that was ever used could be removed.
    "persistentvolumeclaim-protection-controller",
    "persistentvolume-protection-controller",
    "disruption-controller",
    "pod-garbage-collector-controller",
    "clusterrole-aggregation-controller",
)


@dataclass(frozen=True)
class Ports:
    """TCP ports on 127.0.0.1."""

    etcd: int
    etcd_peer: int
    api_server: int
    controller_manager: int
    scheduler: int


@dataclass(frozen=True)
class Layout:
    """Where everything lies in the work directory."""

    directory: Path

    @property
    def ca_file(self) -> Path:
        """The certificate authority that signed the serving certificate."""
        return self.directory / "pki" / "ca.crt"

    @property
    def service_account_key(self) -> Path:
        """The key that signs and verifies service account tokens."""
        return self.directory / "pki" / "service-account.key"

    @property
    def token_file(self) -> Path:
        """The static tokens of the fixed users."""
        return self.directory / "pki" / "tokens.csv"

    def kubeconfig(self, user: str) -> Path:
        """The kubeconfig file of a user."""
        return self.directory / "kubeconfig" / f"{user}.yaml"

    def log(self, part: str) -> Path:
        """The log file of a part."""
        return self.directory / "log" / f"{part}.log"

    @property
    def serving(self) -> list[str]:
        """Options for the serving certificate, the same in the three Kubernetes programs."""
        pki = self.directory / "pki"
        return [
            "--bind-address=127.0.0.1",
            f"--tls-cert-file={pki / 'serving.crt'}",
            f"--tls-private-key-file={pki / 'serving.key'}",
        ]


def etcd_command(assets: Path, layout: Layout, ports: Ports) -> list[str]:
    """An etcd without fsync: data survive the death of the process, not that of the machine."""
    client, peer = f"http://127.0.0.1:{ports.etcd}", f"http://127.0.0.1:{ports.etcd_peer}"
    return [
        str(assets / ETCD),
        "--name=default",
        f"--data-dir={layout.directory / 'etcd'}",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=default={peer}",
        "--unsafe-no-fsync",
        "--log-level=warn",
    ]


def api_server_command(assets: Path, layout: Layout, ports: Ports) -> list[str]:
    """The API server with RBAC and every default admission plugin but one."""
    return [
        str(assets / API_SERVER),
        *layout.serving,
        f"--secure-port={ports.api_server}",
        f"--etcd-servers=http://127.0.0.1:{ports.etcd}",
        "--authorization-mode=RBAC",
        f"--token-auth-file={layout.token_file}",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={layout.service_account_key}",
        f"--service-account-signing-key-file={layout.service_account_key}",
        # Nobody would ever remove the taint of a new node: that is the node life cycle controller's work.
        "--disable-admission-plugins=TaintNodesByCondition",
        "--allow-privileged=true",
        "--service-cluster-ip-range=10.0.0.0/24",
        # Endpoints may not lie on the loopback interface, and nothing reaches the Service "kubernetes" here anyway.
        "--advertise-address=127.0.0.1",
        "--endpoint-reconciler-type=none",
        # With 0, the default, open watches hold up the end of the program for a minute.
        "--shutdown-watch-termination-grace-period=1s",
        "--profiling=false",
    ]


def controller_manager_command(assets: Path, layout: Layout, ports: Ports) -> list[str]:
    """The controllers that workloads, volumes and namespaces need, each with its own service account."""
    return [
        str(assets / CONTROLLER_MANAGER),
        *layout.serving,
        f"--secure-port={ports.controller_manager}",
        f"--kubeconfig={layout.kubeconfig(CONTROLLER_MANAGER)}",
        f"--controllers={','.join(CONTROLLERS)}",
        "--leader-elect=false",
        f"--root-ca-file={layout.ca_file}",
        f"--service-account-private-key-file={layout.service_account_key}",
        "--use-service-account-credentials=true",
        "--kube-api-qps=100",
        "--kube-api-burst=200",
        "--profiling=false",
    ]


def scheduler_command(assets: Path, layout: Layout, ports: Ports) -> list[str]:
    """The scheduler with its default profile."""
    return [
        str(assets / SCHEDULER),
        *layout.serving,
        f"--secure-port={ports.scheduler}",
        f"--kubeconfig={layout.kubeconfig(SCHEDULER)}",
        "--leader-elect=false",
        "--profiling=false",
    ]
