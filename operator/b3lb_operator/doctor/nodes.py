"""What is wrong with servers: conditions of the BBBNodes and what each server answered just now; pure functions."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from b3lb.findings import Check, Finding, Group
from b3lb.health import LoadReason, Reason
from b3lb.resources import BBBNodeSpec
from b3lb.resources.conditions import ConditionStatus, NodeCondition, NodeReason, find_condition
from b3lb_operator.doctor.certificates import SOON
from b3lb_operator.doctor.probes import WEAK, NodeProbe
from b3lb_operator.doctor.remedies import NodePlace, node_remedy
from b3lb_operator.kinds import Key, Manifest, key_of
from b3lb_operator.manifests.facts import Block

CLOCK_WARNING, CLOCK_FAILED = timedelta(seconds=5), timedelta(minutes=5)

_ANSWERS = Check(Group.NODES, "NodeAnswers")
_CERTIFICATE = Check(Group.NODES, "NodeCertificate")
_CLOCK = Check(Group.NODES, "NodeClock")
_ALGORITHM = Check(Group.NODES, "NodeChecksum")
_LOAD = Check(Group.NODES, "NodeLoad")
_IDENTITY = Check(Group.NODES, "NodeIdentity")


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeEntry:
    """A BBBNode: its object, its spec as far as it can be read, and what its server answered, None if not asked."""

    manifest: Manifest
    spec: BBBNodeSpec | Block
    probe: NodeProbe | None

    @property
    def key(self) -> Key:
        """Where it is."""
        return key_of(self.manifest)

    @property
    def about(self) -> dict[str, str]:
        """What a finding of it is about."""
        return {"namespace": self.key.namespace, "object": f"bbbnode/{self.key.name}"}

    @property
    def place(self) -> NodePlace:
        """What the commands of a remedy name."""
        namespace, name = self.key
        if isinstance(self.spec, Block):
            return NodePlace(namespace=namespace, name=name)
        return NodePlace(
            namespace=namespace,
            name=name,
            api_url=self.spec.api_url,
            cluster=self.spec.cluster_ref.name,
            secret=self.spec.secret_ref.name,
            key=self.spec.secret_ref.key,
        )

    def condition(self, type_: NodeCondition) -> tuple[str, str, str]:
        """Return status, reason and message of a condition, each empty for none."""
        conditions = (self.manifest.get("status") or {}).get("conditions", ())
        found = find_condition(conditions, type_) or {}
        return found.get("status", ""), found.get("reason", ""), found.get("message", "")


def check_nodes(entries: Sequence[NodeEntry], *, now: datetime, database_error: str = "") -> Iterator[Finding]:
    """Yield what is wrong, and one finding for each check of all nodes that pass it.

    Args:
        entries: All nodes.
        now: The present time, for certificates.
        database_error: Why no server could be asked, empty where they were.
    """
    if not entries:
        yield _ANSWERS.ok("there are no BBBNodes yet")
        return
    if database_error:
        yield _ANSWERS.unknown("no server was asked: what that takes is in the database")
        return
    good = [entry for entry in entries if entry.probe and entry.probe.observation and entry.probe.observation.succeeded]
    yield from _summed(_ANSWERS, [_answer(entry) for entry in entries], "answer getMeetings")
    asked = [entry for entry in entries if entry.probe is not None and entry.probe.observation is not None]
    probed = [entry for entry in asked if entry.probe and entry.probe.target.api_url.startswith("https")]
    if probed:
        yield from _summed(_CERTIFICATE, [_certificate(entry, now) for entry in probed], "have a good certificate")
    if good:
        yield from _summed(_CLOCK, [_clock(entry) for entry in good], "have the right time")
        yield from _summed(_ALGORITHM, [_algorithm(entry) for entry in good], "take a strong checksum algorithm")
        yield from _summed(_LOAD, [_load(entry) for entry in good], "report their load")
    yield from _identities(entries)


def _summed(check: Check, findings: Iterable[Finding | None], well: str) -> Iterator[Finding]:
    """Yield the findings that are not None, and one that counts the others."""
    passed = 0
    total = 0
    for finding in findings:
        total += 1
        if finding is None:
            passed += 1
        else:
            yield finding
    if passed:
        yield check.ok(f"{passed} of {total} nodes {well}")


def _answer(entry: NodeEntry) -> Finding | None:
    if entry.probe is None:
        return _not_asked(entry)
    observation = entry.probe.observation
    if observation is None:
        return _ANSWERS.unknown("it was not asked to the end in time", **entry.about)
    if not observation.succeeded:
        message = f"{observation.reason}: {observation.message}"
        failed = _ANSWERS.failed(message, remedy=node_remedy(observation.reason, entry.place), **entry.about)
        return _accepted_instead(entry) or failed
    _, reason, message = entry.condition(NodeCondition.READY)
    if reason in {NodeReason.STALE, NodeReason.SECRET_UNREADABLE}:
        message = f"the server answers, but its BBBNode says {reason}: {message}"
        return _ANSWERS.failed(message, remedy=node_remedy(reason, entry.place), **entry.about)
    return None


def _not_asked(entry: NodeEntry) -> Finding:
    """Return why nobody polls a node."""
    status, reason, message = entry.condition(NodeCondition.READY)
    if reason == NodeReason.DISABLED:
        remedy = node_remedy(reason, entry.place)
        return _ANSWERS.warning("it is Disabled, so that nobody asks it", remedy=remedy, **entry.about)
    if status == ConditionStatus.FALSE:
        return _ANSWERS.failed(f"{reason}: {message}", remedy=node_remedy(reason, entry.place), **entry.about)
    return _ANSWERS.unknown(f"it is not polled: {reason or 'nothing is said of it yet'}", **entry.about)


def _accepted_instead(entry: NodeEntry) -> Finding | None:
    """Return that the algorithm is at fault and not the secret, where the server takes another one."""
    probe = entry.probe
    if probe is None or not probe.others:
        return None
    better = max(probe.others)
    message = f"the server refuses checksums by {probe.target.algorithm} and takes {', '.join(probe.others)}"
    patch = f'\'{{"spec":{{"checksumAlgorithm":"{better}"}}}}\''
    namespace, cluster = entry.key.namespace, entry.place.cluster
    remedy = f"kubectl patch -n {namespace} bbbcluster {cluster} --type=merge -p {patch}"
    return _ALGORITHM.failed(message, remedy=remedy, **entry.about)


def _certificate(entry: NodeEntry, now: datetime) -> Finding | None:
    probe = entry.probe
    if probe is None or probe.observation is None:
        return None
    certificate = probe.certificate
    told = "" if certificate is None else f"; {certificate.described()}"
    if probe.observation.reason is Reason.TLS:
        remedy = node_remedy(Reason.TLS, entry.place)
        return _CERTIFICATE.failed(f"{probe.observation.message}{told}", remedy=remedy, **entry.about)
    if certificate is None:
        return _CERTIFICATE.unknown("the server showed no certificate", **entry.about)
    left = certificate.not_after - now
    if left < SOON:
        days = max(0, left.days)
        remedy = "renew it on the server, e.g. sudo certbot renew, and reload nginx"
        return _CERTIFICATE.warning(f"it ends in {days} days{told}", remedy=remedy, **entry.about)
    return None


def _clock(entry: NodeEntry) -> Finding | None:
    offset = timedelta() if entry.probe is None else entry.probe.clock_offset
    if abs(offset) < CLOCK_WARNING:
        return None
    seconds = offset.total_seconds()
    message = f"its clock is {abs(seconds):.0f} s {'ahead of' if seconds > 0 else 'behind'} the operator's"
    make = _CLOCK.failed if abs(offset) >= CLOCK_FAILED else _CLOCK.warning
    return make(message, remedy="on the server: timedatectl status; chronyc tracking", **entry.about)


def _algorithm(entry: NodeEntry) -> Finding | None:
    probe = entry.probe
    if probe is None or probe.target.algorithm != WEAK:
        return None
    if not probe.others:
        remedy = "on the server: supportedChecksumAlgorithms in /etc/bigbluebutton/bbb-web.properties, or upgrade it"
        return _ALGORITHM.warning(f"the server takes checksums by {WEAK} only", remedy=remedy, **entry.about)
    patch = '\'{"spec":{"checksumAlgorithm":"sha256"}}\''
    namespace, cluster = entry.key.namespace, entry.place.cluster
    remedy = f"kubectl patch -n {namespace} bbbcluster {cluster} --type=merge -p {patch}"
    message = f"its cluster signs by {WEAK}, though the server takes {', '.join(probe.others)}"
    return _ALGORITHM.warning(message, remedy=remedy, **entry.about)


def _load(entry: NodeEntry) -> Finding | None:
    observation = None if entry.probe is None else entry.probe.observation
    if observation is None or observation.load.reason is LoadReason.REPORTED:
        return None
    remedy = "install b3lb-load on the server, or accept that its load counts meetings and attendees only"
    message = f"{observation.load.reason}: {observation.load.message or 'its load end point gives no value'}"
    return _LOAD.warning(message, remedy=remedy, **entry.about)


def _identities(entries: Sequence[NodeEntry]) -> Iterator[Finding]:
    """Yield the nodes that lead to the server of another one."""
    shared = _shared_meetings(entries)
    passed = 0
    for entry in entries:
        _, reason, message = entry.condition(NodeCondition.SCHEDULABLE)
        other = shared.get(entry.key)
        edit = f"kubectl edit -n {entry.key.namespace} bbbnode {entry.key.name}"
        remedy = f"delete one of the two, or correct its address: {edit}"
        if reason == NodeReason.DUPLICATE_SERVER:
            yield _IDENTITY.failed(message, remedy=remedy, **entry.about)
        elif other is not None:
            yield _IDENTITY.failed(f"it lists the same meetings as bbbnode/{other}", remedy=remedy, **entry.about)
        else:
            passed += 1
    if passed:
        yield _IDENTITY.ok(f"{passed} of {len(entries)} nodes are servers of their own")


def _shared_meetings(entries: Iterable[NodeEntry]) -> dict[Key, str]:
    """Return the younger nodes of those of a namespace that list a meeting in common → the oldest one's name.

    An internal meeting ID holds the time of creation, so that two servers never have the same one.
    """
    listing = [entry for entry in entries if entry.probe is not None and entry.probe.meetings]
    listing.sort(key=lambda entry: (entry.manifest["metadata"].get("creationTimestamp", ""), entry.key))
    owners: dict[tuple[str, str], NodeEntry] = {}
    found: dict[Key, str] = {}
    for entry in listing:
        assert entry.probe is not None  # noqa: S101 - filtered above
        counts: dict[str, int] = defaultdict(int)
        for meeting in entry.probe.meetings:
            owner = owners.setdefault((entry.key.namespace, meeting), entry)
            if owner is not entry:
                counts[owner.key.name] += 1
        most = max(counts, key=lambda name: counts[name], default=None)
        if most is not None:
            found[entry.key] = most
    return found
