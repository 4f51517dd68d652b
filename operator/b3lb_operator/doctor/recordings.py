"""Whether recordings can be taken, stored and rendered: pure functions, and one request to the front end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import aiohttp

from b3lb.findings import Check, Finding, Group
from b3lb.resources import BBBQueueSpec
from b3lb.resources.conditions import ClusterCondition, ClusterReason, ConditionStatus, find_condition
from b3lb.tasks import RENDER_RECORD
from b3lb_operator.doctor.queues import QueueState
from b3lb_operator.kinds import Manifest

ASK_SECONDS = 3.0
_MOST_BYTES = 2_048
_MOST_CHARACTERS = 300
_OK = 200

_UPLOADS = Check(Group.RECORDINGS, "RecordingUploads")
_STORAGE = Check(Group.RECORDINGS, "RecordingStorage")
_QUEUE = Check(Group.RECORDINGS, "RecordingQueue")
_PROFILES = Check(Group.RECORDINGS, "RecordingProfiles")
_FRONT_END = Check(Group.RECORDINGS, "RecordingFrontEnd")

_GUIDE = 'docs/recordings.md, "Installation"'
_SECRET_REASONS = frozenset(
    {
        ClusterReason.UPLOAD_SECRET_NOT_FOUND,
        ClusterReason.UPLOAD_SECRET_KEY_NOT_FOUND,
        ClusterReason.INVALID_UPLOAD_SECRET,
    }
)


@dataclass(frozen=True, slots=True)
class FrontEnd:
    """What the front end's ``/readyz`` said: nothing (``problem`` is empty), or why it cannot take uploads."""

    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordingFacts:
    """A farm's parts that recordings need.

    ``known`` are the record sets that it has. ``storage``: whether the pods get one. ``front_end`` is None when its
    address is not known.
    """

    namespace: str
    clusters: Sequence[Manifest] = field(default_factory=tuple)
    queues: Sequence[QueueState] = field(default_factory=tuple)
    profiles: Sequence[Manifest] = field(default_factory=tuple)
    known: int = 0
    storage: bool = False
    front_end: FrontEnd | None = None


def takes_recordings(facts: RecordingFacts) -> bool:
    """Whether the farm takes recordings, or has some: else nothing that they need is missing."""
    return facts.known > 0 or bool(_taking(facts))


def check_recordings(facts: RecordingFacts) -> Iterator[Finding]:
    """Yield what keeps recordings from being taken, stored or rendered; one line where nobody wants any."""
    if not takes_recordings(facts):
        yield _UPLOADS.ok("recordings are not taken: no BBBCluster has an uploadSecretRef", namespace=facts.namespace)
        return
    yield from (_upload(facts, cluster) for cluster in _taking(facts))
    yield _front_end(facts)
    yield _storage(facts)
    yield _queue(facts)
    yield _profiles(facts)


def _taking(facts: RecordingFacts) -> list[Manifest]:
    return [cluster for cluster in facts.clusters if cluster["spec"].get("uploadSecretRef")]


def _upload(facts: RecordingFacts, cluster: Manifest) -> Finding:
    about = {"namespace": facts.namespace, "object": f"bbbcluster/{cluster['metadata']['name']}"}
    conditions = (cluster.get("status") or {}).get("conditions", ())
    ready = find_condition(conditions, ClusterCondition.READY) or {}
    if ready.get("status") != ConditionStatus.TRUE and ready.get("reason") in _SECRET_REASONS:
        name = cluster["spec"]["uploadSecretRef"].get("name", "")
        remedy = f"kubectl create secret generic -n {facts.namespace} {name} --from-literal=nonce=…; {_GUIDE}"
        return _UPLOADS.failed(f"{ready['reason']}: {ready.get('message', '')}", remedy=remedy, **about)
    return _UPLOADS.ok("its servers may push recordings", **about)


def _front_end(facts: RecordingFacts) -> Finding:
    if facts.front_end is None:
        message = "the front end's address is not known (B3LB_API_READY_URL)"
        return _FRONT_END.unknown(message, remedy=f"set api.enabled of the chart: {_GUIDE}", namespace=facts.namespace)
    if facts.front_end.problem:
        remedy = f"kubectl logs -n {facts.namespace} -l app.kubernetes.io/component=api --tail=20"
        message = f"servers cannot push recordings: {facts.front_end.problem}"
        return _FRONT_END.failed(message, remedy=remedy, namespace=facts.namespace)
    return _FRONT_END.ok("it takes uploads into the storage of this installation", namespace=facts.namespace)


def _storage(facts: RecordingFacts) -> Finding:
    if facts.storage:
        return _STORAGE.ok("the pods of the queues get a storage", namespace=facts.namespace)
    message = "the pods of the queues have no storage: nothing is rendered or deleted"
    return _STORAGE.failed(message, remedy=f"set storage.type of the chart: {_GUIDE}", namespace=facts.namespace)


def _queue(facts: RecordingFacts) -> Finding:
    found = [
        (queue.name, queue.spec)
        for queue in facts.queues
        if isinstance(queue.spec, BBBQueueSpec) and RENDER_RECORD in queue.spec.tasks
    ]
    if not found:
        message = f"no BBBQueue has the task {RENDER_RECORD}: nothing is rendered"
        remedy = f"set queues.record.enabled of the chart, or write a BBBQueue: {_GUIDE}"
        return _QUEUE.failed(message, remedy=remedy, namespace=facts.namespace)
    name, spec = found[0]
    about = {"namespace": facts.namespace, "object": f"bbbqueue/{name}"}
    if spec.suspend:
        patch = '\'{"spec":{"suspend":false}}\''
        remedy = f"kubectl patch -n {facts.namespace} bbbqueue {name} --type=merge -p {patch}"
        return _QUEUE.warning("it is suspended: nothing is rendered", remedy=remedy, **about)
    return _QUEUE.ok(f"it renders {spec.concurrency} at the same time", **about)


def _profiles(facts: RecordingFacts) -> Finding:
    if not facts.profiles:
        message = "there is no BBBRecordProfile: every recording fails with NoProfile"
        remedy = f"kubectl apply -n {facts.namespace} -f a BBBRecordProfile with spec.default: true; {_GUIDE}"
        return _PROFILES.failed(message, remedy=remedy, namespace=facts.namespace)
    names = sorted(str(profile["metadata"]["name"]) for profile in facts.profiles if profile["spec"].get("default"))
    if names:
        message = f"recordings are rendered with {', '.join(names)}, where their secret names no others"
    else:
        message = f"none of {len(facts.profiles)} profiles is a default: recordings are rendered with all of them"
    return _PROFILES.ok(message, namespace=facts.namespace)


async def ask_front_end(url: str) -> FrontEnd:
    """Return what the front end's ``/readyz`` says; bounded in time and size, and no redirect is followed."""
    timeout = aiohttp.ClientTimeout(total=ASK_SECONDS)
    try:
        async with aiohttp.ClientSession(timeout=timeout) as session, session.get(url, allow_redirects=False) as answer:
            if answer.status == _OK:
                return FrontEnd()
            said = (await answer.content.read(_MOST_BYTES)).decode(errors="replace")
            return FrontEnd(_line(said) or f"it answers {answer.status}")
    except TimeoutError:
        return FrontEnd(f"it does not answer within {ASK_SECONDS:g} s")
    except (aiohttp.ClientError, ValueError) as error:
        return FrontEnd(f"it cannot be reached: {_line(str(error)) or type(error).__name__}")


def _line(text: str) -> str:
    clean = "".join(character if character.isprintable() else " " for character in text)
    return " ".join(clean.split())[:_MOST_CHARACTERS]
