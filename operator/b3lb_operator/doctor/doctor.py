"""Gathers the facts within ten seconds, however ill a part is, and lets the checks judge them; nothing is written."""

from __future__ import annotations

import asyncio
import base64
import binascii
import dataclasses
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import TypeVar

import sqlalchemy as sa
import structlog

from b3lb.bbb.client import NodeClient, NodeTarget
from b3lb.crypto import CryptoError, KeyRing
from b3lb.db.node_states import NodePoll, load_polls
from b3lb.db.planning.sealing import secret_context
from b3lb.db.sealed_rows import SealedRow, read_sealed_rows
from b3lb.db.vital_signs import VitalSigns, read_vital_signs
from b3lb.findings import Finding, sorted_findings
from b3lb.resources import API_VERSION, BBBNodeSpec, BBBQueueSpec
from b3lb_operator.database import Database, DatabaseUnavailableError
from b3lb_operator.doctor.database import DatabaseFacts, check_database
from b3lb_operator.doctor.definitions import OPENAPI_PATH, DefinitionFacts, check_definitions, schemas_of
from b3lb_operator.doctor.keys import JobSecret, KeyFacts, check_keys
from b3lb_operator.doctor.nodes import NodeEntry, check_nodes
from b3lb_operator.doctor.operator import OperatorFacts, check_operator
from b3lb_operator.doctor.probes import NodeProbe, probe_nodes
from b3lb_operator.doctor.queues import QueueState, check_queues
from b3lb_operator.doctor.recordings import (
    RecordingFacts,
    ask_front_end,
    check_recordings,
    takes_recordings,
)
from b3lb_operator.doctor.rights import RightsFacts, check_rights
from b3lb_operator.kinds import CLUSTER, CRON_JOB, NODE, QUEUE, RECORD_PROFILE, SECRET, Key, Kind, Manifest
from b3lb_operator.kube import Kube, KubeError, NotFoundError
from b3lb_operator.manifests.cronjob import cron_job_name
from b3lb_operator.metrics import Look
from b3lb_operator.resolve import parse_spec
from b3lb_operator.samples import queue_samples
from b3lb_operator.settings import OperatorSettings
from b3lb_operator.sight import Sight
from b3lb_operator.store import Store

T = TypeVar("T")

FRESH_SECONDS = 2.0
"""An examination is given to whoever else asks within this."""

FACTS_SECONDS = 3.0
"""How long API server and database have to answer; then the servers are asked."""

PROBES_SECONDS = 5.0
LOOK_SECONDS, LOOK_WAIT_SECONDS = 15.0, 1.0
MOST_FINDINGS = 2000

_log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What is examined: the farms' namespaces, the operator's keys, and what the pods read.

    That are their Secrets, and whether they get a storage. ``api_ready_url`` is where the front end of a farm says
    whether it takes uploads, with ``{namespace}`` in it; empty while that is not known.
    """

    namespaces: tuple[str, ...]
    keys: KeyRing
    database_secret: str
    encryption_secret: str
    storage: bool = False
    api_ready_url: str = ""

    @classmethod
    def of(cls, settings: OperatorSettings) -> Subject:
        """Return what an operator with these settings examines."""
        return cls(
            namespaces=settings.namespaces,
            keys=settings.key_ring,
            database_secret=settings.job_database_secret,
            encryption_secret=settings.job_encryption_secret,
            storage=settings.job_storage is not None,
            api_ready_url=settings.api_ready_url,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Examination:
    """What was found, the worst of each group first, when, and how long it took."""

    findings: tuple[Finding, ...]
    at: datetime
    seconds: float


@dataclass(frozen=True, slots=True)
class _Rows:
    """What is read of the database besides its own condition."""

    sealed: list[SealedRow]
    polls: list[tuple[str, NodePoll]]

    @classmethod
    def read(cls, connection: sa.Connection, namespaces: Sequence[str]) -> _Rows:
        polls = [(namespace, poll) for namespace in namespaces for poll in load_polls(connection, namespace)]
        return cls(read_sealed_rows(connection, namespaces), polls)


class Doctor:
    """Examines; all methods belong to the event loop's thread."""

    def __init__(
        self,
        subject: Subject,
        *,
        kube: Kube,
        store: Store,
        database: Database,
        client: NodeClient,
        sight: Sight[Look],
        itself: Callable[[], OperatorFacts],
    ) -> None:
        """Take what is looked at.

        Args:
            subject: What is examined.
            kube: The API server.
            store: The live objects.
            database: What is read.
            client: What polls.
            sight: The last look at the database, shared with ``/metrics``.
            itself: Says how the operator is.
        """
        self._subject = subject
        self._kube = kube
        self._store = store
        self._database = database
        self._client = client
        self._sight = sight
        self._itself = itself
        self._running: asyncio.Task[Examination] | None = None
        self._last: Examination | None = None
        self._ended_at = 0.0

    async def examine(self) -> Examination:
        """Return what is wrong; who asks meanwhile, or shortly afterwards, gets the same examination."""
        now = asyncio.get_running_loop().time
        if self._last is not None and now() - self._ended_at < FRESH_SECONDS:
            return self._last
        if self._running is None or self._running.done():
            self._running = asyncio.create_task(self._examine(), name="doctor")
        # Who hangs up does not end it for the others.
        examination = await asyncio.shield(self._running)
        if examination is not self._last:
            self._last, self._ended_at = examination, now()
        return examination

    async def close(self) -> None:
        """End what is under way."""
        if self._running is not None:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)

    async def _examine(self) -> Examination:
        clock = asyncio.get_running_loop().time
        began = clock()
        (signs, database_error), (rows, _), definitions, rights, (secrets, secrets_error) = await asyncio.gather(
            _known(self._signs()), _known(self._rows()), self._definitions(), self._rights(), _known(self._secrets())
        )
        await self._sight.refresh(older_than=LOOK_SECONDS, wait=LOOK_WAIT_SECONDS)
        entries, recordings = await asyncio.gather(self._entries(rows), self._recordings())
        now = datetime.now(UTC)
        subject = self._subject
        nodes = {namespace: self._count(namespace) for namespace in subject.namespaces}
        database = DatabaseFacts(
            signs=signs, error=database_error, namespace=subject.namespaces[0], secret=subject.database_secret
        )
        key_facts = KeyFacts(
            rows=None if rows is None else rows.sealed,
            keys=subject.keys,
            job_secrets=secrets or (),
            error=secrets_error,
        )
        findings = [
            *check_definitions(definitions),
            *(check_rights(facts) for facts in rights),
            *check_operator(self._itself()),
            *check_database(database),
            *await asyncio.to_thread(lambda: list(check_keys(key_facts))),
            *check_queues(self._queues(now), nodes=nodes, now=now),
            *(finding for facts in recordings for finding in check_recordings(facts)),
            *check_nodes(entries, now=now, database_error="" if rows is not None else database_error or "not read"),
        ]
        seconds = clock() - began
        _log.info("examined", seconds=round(seconds, 2), findings=len(findings))
        return Examination(findings=tuple(sorted_findings(findings)[:MOST_FINDINGS]), at=now, seconds=seconds)

    def _count(self, namespace: str) -> int:
        return sum(1 for _ in self._store.in_namespace(NODE, namespace))

    def _queues(self, now: datetime) -> list[QueueState]:
        look, namespaces = self._sight.last, self._subject.namespaces
        sampled = queue_samples(self._store, namespaces, None if look is None else look.farms, now=now)
        samples = {queue.key: queue.sample for queue in sampled}
        return [
            QueueState(
                manifest=manifest,
                spec=parse_spec(BBBQueueSpec, manifest),
                cron_job=self._store.get(CRON_JOB, Key(namespace, cron_job_name(key.name))),
                sample=samples.get(key),
            )
            for namespace in namespaces
            for key, manifest in self._store.in_namespace(QUEUE, namespace)
        ]

    async def _recordings(self) -> list[RecordingFacts]:
        """Return what recordings need in each farm; a front end is asked only where it is needed."""
        look, subject = self._sight.last, self._subject
        sets = () if look is None else look.recordings.sets
        queues = self._queues(datetime.now(UTC))
        found = [
            RecordingFacts(
                namespace=namespace,
                clusters=self._objects(CLUSTER, namespace),
                queues=[queue for queue in queues if queue.namespace == namespace],
                profiles=self._objects(RECORD_PROFILE, namespace),
                known=int(sum(item.number for item in sets if item.namespace == namespace)),
                storage=subject.storage,
            )
            for namespace in subject.namespaces
        ]
        return list(await asyncio.gather(*(self._with_front_end(facts) for facts in found)))

    async def _with_front_end(self, facts: RecordingFacts) -> RecordingFacts:
        url = self._subject.api_ready_url
        if not url or not takes_recordings(facts):
            return facts
        return dataclasses.replace(facts, front_end=await ask_front_end(url.replace("{namespace}", facts.namespace)))

    def _objects(self, kind: Kind, namespace: str) -> list[Manifest]:
        return [manifest for _, manifest in self._store.in_namespace(kind, namespace)]

    async def _signs(self) -> VitalSigns:
        return await self._database.call(read_vital_signs)

    async def _rows(self) -> _Rows:
        return await self._database.call(partial(_Rows.read, namespaces=self._subject.namespaces))

    async def _definitions(self) -> DefinitionFacts:
        (served, error), (document, _) = await asyncio.gather(
            _known(self._kube.served(API_VERSION)), _known(self._kube.read(OPENAPI_PATH))
        )
        if served is None:
            return DefinitionFacts(error=error)
        return DefinitionFacts(served=served, schemas=None if document is None else schemas_of(document))

    async def _rights(self) -> list[RightsFacts]:
        return list(await asyncio.gather(*(self._rights_in(namespace) for namespace in self._subject.namespaces)))

    async def _rights_in(self, namespace: str) -> RightsFacts:
        status, error = await _known(self._kube.review_own_rules(namespace))
        if status is None:
            return RightsFacts(namespace=namespace, error=error)
        incomplete = (status.get("evaluationError") or "it says no more") if status.get("incomplete") else ""
        return RightsFacts(namespace=namespace, rules=status.get("resourceRules") or (), incomplete=incomplete)

    async def _secrets(self) -> list[JobSecret]:
        wanted = ((self._subject.database_secret, "url"), (self._subject.encryption_secret, "keys"))
        found = [self._secret(namespace, name, key) for namespace in self._subject.namespaces for name, key in wanted]
        return list(await asyncio.gather(*found))

    async def _secret(self, namespace: str, name: str, key: str) -> JobSecret:
        try:
            data = (await self._kube.get(SECRET, Key(namespace, name))).get("data") or {}
        except NotFoundError:
            return JobSecret(namespace=namespace, name=name, problem="it does not exist")
        return read_job_secret(data, namespace=namespace, name=name, key=key)

    async def _entries(self, rows: _Rows | None) -> list[NodeEntry]:
        """Return all nodes with what their servers answer."""
        targets: list[tuple[str, NodeTarget]] = []
        for namespace, poll in () if rows is None else rows.polls:
            target = target_of(namespace, poll, self._subject.keys)
            if target is not None:
                targets.append((namespace, target))
        probes: dict[Key, NodeProbe] = {
            Key(probe.namespace, probe.name): probe
            for probe in await probe_nodes(self._client, targets, seconds=PROBES_SECONDS)
        }
        return [
            NodeEntry(manifest=manifest, spec=parse_spec(BBBNodeSpec, manifest), probe=probes.get(key))
            for namespace in self._subject.namespaces
            for key, manifest in self._store.in_namespace(NODE, namespace)
        ]


def target_of(namespace: str, poll: NodePoll, keys: KeyRing) -> NodeTarget | None:
    """Return how to poll a node, None where its secret cannot be decrypted."""
    try:
        secret = keys.decrypt(poll.secret_ciphertext, poll.secret_key_id, context=secret_context(namespace, poll.name))
    except CryptoError:
        return None
    return NodeTarget(
        name=poll.name,
        api_url=poll.api_url,
        load_url=poll.load_url,
        secret=secret,
        algorithm=poll.algorithm,
        ca_certificates=poll.ca_certificates,
        timeout_seconds=poll.timeout_seconds,
    )


def read_job_secret(data: Mapping[str, str], *, namespace: str, name: str, key: str) -> JobSecret:
    """Return what a core Secret of the pods holds; of its values only the keys are kept.

    Args:
        data: The Secret's data, base64 by key.
        namespace: Where it is.
        name: Its name.
        key: What it has to hold: ``url``, or ``keys``, which are read.
    """
    if not data.get(key):
        return JobSecret(namespace=namespace, name=name, problem=f"it has no key {key}")
    if key != "keys":
        return JobSecret(namespace=namespace, name=name)
    try:
        keys = KeyRing.parse(base64.b64decode(data[key]).decode())
    except CryptoError as error:
        return JobSecret(namespace=namespace, name=name, problem=str(error))
    except (binascii.Error, UnicodeDecodeError):
        return JobSecret(namespace=namespace, name=name, problem=f"the value of {key} is no text")
    return JobSecret(namespace=namespace, name=name, keys=keys)


async def _known(question: Awaitable[T]) -> tuple[T | None, str]:
    """Return the answer to a question, or None and why there is none in time."""
    try:
        async with asyncio.timeout(FACTS_SECONDS):
            return await question, ""
    except TimeoutError:
        return None, f"no answer within {FACTS_SECONDS:g} s"
    except (KubeError, DatabaseUnavailableError) as error:
        return None, str(error)
