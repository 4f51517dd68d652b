"""What an API server says of an installation, judged: works also while the operator does not; pure functions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any

from b3lb.findings import Check, Finding, Group

Item = Mapping[str, Any]

API_PATH = "/apis/b3lb.io/v1alpha1"
KINDS = ("bbbclusters", "bbbnodes", "bbbqueues", "bbbrecordings", "bbbrecordprofiles", "bbbsecrets", "bbbtenants")
RECENT = timedelta(hours=1)
MANY_RESTARTS = 3
_SHOWN = 5

_SERVER = Check(Group.CLUSTER, "ApiServer")
_DEFINITIONS = Check(Group.CLUSTER, "DefinitionServed")
_RIGHTS = Check(Group.CLUSTER, "YourRights")
_EVENTS = Check(Group.CLUSTER, "WarningEvents")
_DEPLOYMENT = Check(Group.OPERATOR, "OperatorDeployment")
_PODS = Check(Group.OPERATOR, "OperatorPods")
_SERVICE = Check(Group.OPERATOR, "OperatorService")
_TOKEN = Check(Group.OPERATOR, "OperatorToken")
_ANSWERS = Check(Group.OPERATOR, "OperatorAnswers")


@dataclass(frozen=True, slots=True)
class Reply:
    """What one question was answered with: an HTTP status, and the body as JSON; ``problem`` is why there is none."""

    status: int = 0
    content: Any = None
    problem: str = ""

    @property
    def items(self) -> Sequence[Item] | None:
        """The objects of a list, None where there is no list."""
        if self.status != HTTPStatus.OK or not isinstance(self.content, Mapping):
            return None
        return self.content.get("items") or ()

    @property
    def forbidden(self) -> bool:
        """Whether whoever asks may not know."""
        return self.status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterLook:
    """The answers of an API server about one namespace, by what was asked for; ``token`` is None without a Service.

    ``problem`` is why there is no API server to ask.
    """

    namespace: str = ""
    problem: str = ""
    version: Reply = field(default_factory=Reply)
    kinds: Reply = field(default_factory=Reply)
    services: Reply = field(default_factory=Reply)
    deployments: Reply = field(default_factory=Reply)
    pods: Reply = field(default_factory=Reply)
    events: Reply = field(default_factory=Reply)
    token: Reply | None = None


def check_cluster(look: ClusterLook, *, now: datetime, answered: bool) -> Iterator[Finding]:
    """Yield what is wrong with the installation.

    Args:
        look: What was answered.
        now: The present time.
        answered: Whether the operator answered: then it has judged the definitions, and how it was reached is no
            failure.
    """
    if look.problem:
        yield _SERVER.unknown(f"no API server was asked: {look.problem}", remedy="kubectl cluster-info")
        return
    if look.version.status != HTTPStatus.OK:
        reason = look.version.problem or f"it answers {look.version.status}"
        yield _SERVER.failed(f"the API server cannot be used: {reason}", remedy="kubectl cluster-info")
        return
    yield _SERVER.ok(f"Kubernetes {look.version.content.get('gitVersion', 'of an unknown version')}")
    if not answered:
        yield from _definitions(look)
    yield from _rights(look)
    yield from _service(look, answered=answered)
    yield from _deployment(look)
    yield from _pods(look)
    yield from _events(look, now)


def operator_does_not_answer(reason: str, *, namespace: str) -> Finding:
    """Return that the operator was asked in vain, so that nothing is known of queues, database, keys and nodes."""
    where = f" -n {namespace}" if namespace else ""
    remedy = f"kubectl get pods{where} -l app.kubernetes.io/component=operator"
    message = f"{reason}; so nothing is known of its database, keys, queues and nodes"
    return _ANSWERS.failed(message, remedy=remedy, namespace=namespace)


def _definitions(look: ClusterLook) -> Iterator[Finding]:
    remedy = "kubectl apply --server-side -f crds/"
    if look.kinds.status == HTTPStatus.NOT_FOUND:
        yield _DEFINITIONS.failed(f"the API server does not serve {API_PATH[6:]}", remedy=remedy)
        return
    if look.kinds.status != HTTPStatus.OK:
        yield _DEFINITIONS.unknown(f"the API server answers {look.kinds.status or look.kinds.problem}")
        return
    served = {resource["name"] for resource in look.kinds.content.get("resources", ())}
    missing = [kind for kind in KINDS if kind not in served]
    if missing:
        yield _DEFINITIONS.failed(f"the API server does not serve {', '.join(missing)}", remedy=remedy)
    else:
        yield _DEFINITIONS.ok(f"all {len(KINDS)} kinds are served")


def _rights(look: ClusterLook) -> Iterator[Finding]:
    asked = {"services": look.services, "deployments": look.deployments, "pods": look.pods, "events": look.events}
    forbidden = [name for name, reply in asked.items() if reply.forbidden]
    about = {"namespace": look.namespace, "object": f"namespace/{look.namespace}"}
    if forbidden:
        message = f"you may not list {', '.join(forbidden)}, so these were not looked at"
        yield _RIGHTS.unknown(message, remedy=f"kubectl auth can-i --list -n {look.namespace}", **about)
    else:
        yield _RIGHTS.ok("you may read what was looked at", **about)


def _service(look: ClusterLook, *, answered: bool) -> Iterator[Finding]:
    items = look.services.items
    if items is None:
        return
    about = {"namespace": look.namespace}
    if not items:
        remedy = "install the chart with metrics.enabled and control.enabled, or name its namespace with -n"
        make = _SERVICE.warning if answered else _SERVICE.failed
        yield make("there is no Service of an operator here", remedy=remedy, **about)
        return
    name = items[0]["metadata"]["name"]
    about["object"] = f"service/{name}"
    yield _SERVICE.ok("it leads to the operator", **about)
    make = _TOKEN.warning if answered else _TOKEN.failed
    if look.token is None:
        remedy = "helm upgrade --reset-then-reuse-values --set control.enabled=true"
        yield make("the Service names no Secret with a token", remedy=remedy, **about)
    elif look.token.status == HTTPStatus.OK:
        yield _TOKEN.ok("the Secret with the operator's token is there", **about)
    elif look.token.forbidden:
        remedy = "ask your administrator to bind the Role b3lb-control to you"
        yield make("you may not read the Secret with the operator's token", remedy=remedy, **about)
    elif look.token.problem:
        yield _TOKEN.unknown(f"the Secret with the operator's token was not read: {look.token.problem}", **about)
    else:
        remedy = "helm upgrade --reset-then-reuse-values makes it again; then restart the operator"
        yield make("the Secret with the operator's token is not there", remedy=remedy, **about)


def _deployment(look: ClusterLook) -> Iterator[Finding]:
    for item in look.deployments.items or ():
        name, spec, status = item["metadata"]["name"], item.get("spec", {}), item.get("status", {})
        about = {"namespace": look.namespace, "object": f"deployment/{name}"}
        wanted, available = spec.get("replicas", 1), status.get("availableReplicas", 0)
        if wanted == 0:
            remedy = f"kubectl scale -n {look.namespace} deployment/{name} --replicas=1"
            yield _DEPLOYMENT.failed("it is scaled to 0", remedy=remedy, **about)
        elif available == 0:
            remedy = f"kubectl describe -n {look.namespace} deployment/{name}"
            yield _DEPLOYMENT.failed("none of its pods is available", remedy=remedy, **about)
        elif available < wanted:
            remedy = f"kubectl describe -n {look.namespace} deployment/{name}"
            yield _DEPLOYMENT.warning(f"{available} of {wanted} pods are available", remedy=remedy, **about)
        else:
            yield _DEPLOYMENT.ok(f"{available} of {wanted} pods are available", **about)
    if look.deployments.items == ():
        remedy = "helm list -A; or name its namespace with -n"
        yield _DEPLOYMENT.unknown("there is no Deployment of an operator here", remedy=remedy, namespace=look.namespace)


def _pods(look: ClusterLook) -> Iterator[Finding]:
    for item in look.pods.items or ():
        name = item["metadata"]["name"]
        about = {"namespace": look.namespace, "object": f"pod/{name}"}
        containers = item.get("status", {}).get("containerStatuses", ())
        waiting = [state["reason"] for state in _states(containers, "waiting") if state.get("reason")]
        restarts = sum(container.get("restartCount", 0) for container in containers)
        if waiting:
            remedy = (
                f"kubectl describe -n {look.namespace} pod/{name}; kubectl logs -n {look.namespace} {name} --previous"
            )
            yield _PODS.failed(f"its container waits: {', '.join(waiting)}", remedy=remedy, **about)
        elif restarts >= MANY_RESTARTS:
            remedy = f"kubectl logs -n {look.namespace} {name} --previous --tail=50"
            yield _PODS.warning(f"it was restarted {restarts} times{_why(containers)}", remedy=remedy, **about)
        elif not containers:
            phase = item.get("status", {}).get("phase", "Unknown")
            remedy = f"kubectl describe -n {look.namespace} pod/{name}"
            yield _PODS.failed(f"it has not started: {phase}", remedy=remedy, **about)
        else:
            yield _PODS.ok("it runs", **about)


def _states(containers: Sequence[Item], state: str) -> Iterator[Item]:
    for container in containers:
        found = (container.get("state") or {}).get(state)
        if found:
            yield found


def _why(containers: Sequence[Item]) -> str:
    ends = [(container.get("lastState") or {}).get("terminated") or {} for container in containers]
    reasons = sorted({str(end["reason"]) for end in ends if end.get("reason")})
    return f", last by {', '.join(reasons)}" if reasons else ""


def _events(look: ClusterLook, now: datetime) -> Iterator[Finding]:
    items = look.events.items
    if items is None:
        return
    counts: Counter[tuple[str, str]] = Counter()
    for item in items:
        moment = _moment(item)
        if moment is not None and now - moment < RECENT:
            regarded = item.get("involvedObject") or {}
            name = f"{str(regarded.get('kind', '')).lower()}/{regarded.get('name', '')}"
            counts[str(item.get("reason", "")), name] += int(item.get("count") or 1)
    if not counts:
        yield _EVENTS.ok("there were none in the last hour", namespace=look.namespace)
        return
    told = [
        f"{reason} at {name}" + (f", {number} times" if number > 1 else "")
        for (reason, name), number in counts.most_common(_SHOWN)
    ]
    more = f" and {len(counts) - _SHOWN} more" if len(counts) > _SHOWN else ""
    remedy = f"kubectl events -n {look.namespace} --types=Warning"
    yield _EVENTS.warning(f"in the last hour: {'; '.join(told)}{more}", remedy=remedy, namespace=look.namespace)


def _moment(event: Item) -> datetime | None:
    """Return when an event was last seen; who writes it chooses among four fields."""
    series = event.get("series") or {}
    texts = (series.get("lastObservedTime"), event.get("lastTimestamp"), event.get("eventTime"))
    text = next((text for text in (*texts, event["metadata"].get("creationTimestamp")) if text), None)
    try:
        return None if text is None else datetime.fromisoformat(str(text))
    except ValueError:
        return None
