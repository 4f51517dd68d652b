"""What to do about a node that is not Ready, by the reason: a command where there is one."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from b3lb.health import Reason
from b3lb.resources.conditions import NodeBlock, NodeReason

_CURL = "curl -sSi --max-time 5 {api}"
_SHARED = (
    "compare with bbb-conf --secret on the server, then: kubectl create secret generic -n {namespace} {secret} "
    "--from-literal={key}=… --dry-run=client -o yaml | kubectl apply -f -"
)
_CLUSTER = "kubectl get -n {namespace} bbbcluster {cluster} -o yaml, then correct spec.tls.caSecretRef or its Secret"

NODE_REMEDIES: Mapping[str, str] = {
    Reason.DNS: "getent hosts {host}; correct the name: kubectl edit -n {namespace} bbbnode {name}",
    Reason.REFUSED: "on the server: sudo bbb-conf --status; sudo systemctl restart nginx",
    Reason.UNREACHABLE: "look at routes and firewalls between the cluster and the server: " + _CURL,
    Reason.DISCONNECTED: "look at /var/log/nginx/error.log on the server: " + _CURL,
    Reason.TIMEOUT: "look at the server's load and at firewalls that drop packets: " + _CURL,
    Reason.TLS: (
        "openssl s_client -connect {address} -servername {host} </dev/null | openssl x509 -noout -dates -issuer "
        "-ext subjectAltName"
    ),
    Reason.HTTP_STATUS: _CURL + " (is it the URL of the API? redirects are not followed)",
    Reason.CHECKSUM_ERROR: _SHARED,
    Reason.API_ERROR: "on the server: sudo bbb-conf --check",
    Reason.INVALID_XML: _CURL + " (is it the URL of the API?)",
    Reason.TOO_LARGE: _CURL + " (is it a BigBlueButton server?)",
    NodeBlock.SECRET_NOT_FOUND: "kubectl create secret generic -n {namespace} {secret} --from-literal={key}=…",
    NodeBlock.SECRET_KEY_NOT_FOUND: _SHARED,
    NodeBlock.INVALID_SECRET: _SHARED,
    NodeBlock.CLUSTER_NOT_FOUND: "kubectl get -n {namespace} bbbclusters; correct spec.clusterRef of the node",
    NodeBlock.CA_SECRET_NOT_FOUND: _CLUSTER,
    NodeBlock.CA_SECRET_KEY_NOT_FOUND: _CLUSTER,
    NodeBlock.INVALID_CERTIFICATES: _CLUSTER,
    NodeBlock.DUPLICATE_URL: "delete one of the two: kubectl delete -n {namespace} bbbnode {name}",
    NodeBlock.INVALID_SPEC: "kubectl apply --server-side -f crds/ of the operator's version, then correct the node",
    NodeBlock.DATABASE_REFUSED: "report it as a fault of b3lb, with the message",
    NodeReason.DISABLED: (
        'kubectl patch -n {namespace} bbbnode {name} --type=merge -p \'{{"spec":{{"state":"Active"}}}}\''
    ),
    NodeReason.PENDING: "wait for the next tick; if it stays: kubectl get -n {namespace} bbbqueues",
    NodeReason.STALE: "kubectl get -n {namespace} bbbqueues,cronjobs,jobs",
    NodeReason.DATABASE_UNAVAILABLE: "kubectl logs deployment/b3lb-operator --tail=50",
    NodeReason.SECRET_UNREADABLE: (
        "write the operator's B3LB_ENCRYPTION_KEYS into the pods' Secret: docs/running.md, "
        '"Changing the encryption key"'
    ),
}
"""Reason of Ready=False or Unknown → what to do; filled in by `node_remedy`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodePlace:
    """What the commands name: the node, its cluster, where its API is, and where its secret is kept."""

    namespace: str
    name: str
    api_url: str = ""
    cluster: str = "default"
    secret: str = ""
    key: str = "secret"


def node_remedy(reason: str, place: NodePlace) -> str:
    """Return what to do about a node for a reason of its condition Ready."""
    template = NODE_REMEDIES.get(reason, "kubectl describe -n {namespace} bbbnode {name}")
    parts = urlsplit(place.api_url)
    host = parts.hostname or "HOST"
    # Whoever writes nodes writes paths of URLs, and somebody else copies these commands into a shell.
    api = shlex.quote(place.api_url or f"https://{host}/bigbluebutton/api")
    address = f"[{host}]" if ":" in host else host
    port = parts.port or {"http": 80}.get(parts.scheme, 443)
    return template.format(
        namespace=place.namespace,
        name=place.name,
        cluster=place.cluster,
        secret=place.secret or f"{place.name}-secret",
        key=place.key,
        api=api,
        host=host,
        address=shlex.quote(f"{address}:{port}"),
    )
