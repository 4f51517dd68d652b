"""BBBQueue: its CronJob is kept as the queue says, whoever changes it, and its status follows from CronJob and Jobs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import structlog

from b3lb.release import RunCounts
from b3lb.resources import BBBQueueSpec
from b3lb.resources.conditions import QueueCondition, QueueReason, find_condition
from b3lb.tasks import TASKS, unknown_tasks
from b3lb_operator.covers import covers, replacement
from b3lb_operator.kinds import CRON_JOB, FIELD_MANAGER, JOB, QUEUE, SECRET, Key, Manifest, is_deleting, key_of
from b3lb_operator.kube import ForbiddenError, Kube, NotFoundError, RefusedError
from b3lb_operator.manifests.cronjob import JobDefaults, QueueIdentity, build_cronjob, cron_job_name
from b3lb_operator.manifests.facts import Block
from b3lb_operator.manifests.queue_status import QueueFacts, build_queue_status, failing_at
from b3lb_operator.manifests.slots import LATE, next_slot
from b3lb_operator.manifests.unreadable import build_unreadable_status
from b3lb_operator.resolve import parse_spec
from b3lb_operator.status import StatusWriter
from b3lb_operator.store import Store

REFUSED_SECONDS = 30.0
"""When to try again what the API server refused, for quotas and rights change without an event here."""

FAILING_SECONDS = 30.0
"""How often to look at a queue whose Jobs do not succeed."""

_MANAGED_BY = "app.kubernetes.io/managed-by"

_log = structlog.stdlib.get_logger(__name__)


def task_block(manifest: Manifest, spec: BBBQueueSpec, queues: Iterable[Manifest]) -> Block | None:
    """Return why a queue must not run its tasks: one is unknown, or an older queue of the namespace runs it."""
    unknown = unknown_tasks(spec.tasks)
    if unknown:
        message = f"there is no task {', '.join(unknown)}; the tasks are {', '.join(TASKS)}"
        return Block(QueueReason.UNKNOWN_TASK, message)
    for other in sorted(queues, key=_age):
        if _age(other) >= _age(manifest):
            return None
        theirs = _spec_of(other)
        shared = [task for task in spec.tasks if theirs is not None and task in theirs.tasks]
        if theirs is not None and shared:
            return Block(QueueReason.TASK_IN_OTHER_QUEUE, _taken(other["metadata"]["name"], theirs, shared))
    return None


def _taken(name: str, spec: BBBQueueSpec, shared: Sequence[str]) -> str:
    """Return what to say of tasks that the older queue ``name`` has; it keeps them also while it runs nothing."""
    tasks = ", ".join(shared)
    advice = f"delete it or take {tasks} out of it to run {tasks} here"
    if spec.suspend:
        return f"BBBQueue {name} is older and has {tasks} already, but is suspended: resume it, or {advice}"
    if unknown := unknown_tasks(spec.tasks):
        problem = f"but runs nothing, for there is no task {', '.join(unknown)}"
        return f"BBBQueue {name} is older and has {tasks} already, {problem}: correct it, or {advice}"
    return f"BBBQueue {name} is older and runs {tasks} already: {advice}"


def identity_of(manifest: Manifest) -> QueueIdentity:
    """Return what a BBBQueue owns its CronJob and Jobs as."""
    metadata = manifest["metadata"]
    return QueueIdentity(namespace=metadata["namespace"], name=metadata["name"], uid=metadata["uid"])


def owned_jobs(jobs: Iterable[Manifest], owner: Manifest | None) -> list[Manifest]:
    """Return the Jobs that a CronJob owns, or a BBBQueue: those of its enqueued runs."""
    uid = None if owner is None else owner["metadata"]["uid"]
    return [job for job in jobs if any(entry.get("uid") == uid for entry in _owners(job))]


def is_leftover(cron_job: Manifest, identity: QueueIdentity) -> bool:
    """Whether a CronJob belongs to a deleted queue of the same name."""
    return any(
        (owner.get("kind"), owner.get("name")) == (QUEUE.name, identity.name) and owner.get("uid") != identity.uid
        for owner in _owners(cron_job)
    )


def may_take(cron_job: Manifest, identity: QueueIdentity) -> bool:
    """Whether a CronJob is a queue's own, or one of ours that lost its owner (``kubectl delete --cascade=orphan``).

    Any other is neither changed nor counted.
    """
    owners = list(_owners(cron_job))
    if any(owner.get("uid") == identity.uid for owner in owners):
        return True
    ours = cron_job["metadata"].get("labels", {}).get(_MANAGED_BY) == FIELD_MANAGER
    return ours and not is_leftover(cron_job, identity) and not any(owner.get("controller") for owner in owners)


def _in_the_way(cron_job: Manifest, identity: QueueIdentity) -> Block | None:
    """Return what to do about a CronJob that has the name of a queue's and is not its own."""
    if is_leftover(cron_job, identity):
        # The garbage collector is about to delete it, and its end wakes this queue again.
        return None
    message = f"there is a CronJob {cron_job['metadata']['name']} already that is not this queue's: delete it"
    return Block(QueueReason.REFUSED, message)


class QueueReconciler:
    """Makes CronJobs equal to their queues; pods that run already are never touched."""

    def __init__(
        self,
        *,
        kube: Kube,
        store: Store,
        writer: StatusWriter,
        defaults: JobDefaults,
        row_block: Callable[[Key], Block | None],
        run_counts: Callable[[Key], RunCounts | None] = lambda _: None,
    ) -> None:
        """Take the parts.

        Args:
            kube: Where CronJobs are written.
            store: The live objects.
            writer: Writes a status when it is due.
            defaults: What goes into every CronJob.
            row_block: Says why a queue's row cannot be stored, None if it can.
            run_counts: Says how many enqueued runs a queue has, None while that is not known.
        """
        self._kube = kube
        self._store = store
        self._writer = writer
        self._defaults = defaults
        self._row_block = row_block
        self._run_counts = run_counts
        self._written: dict[Key, tuple[str, int]] = {}

    async def reconcile(self, key: Key) -> float | None:
        """Bring one queue's CronJob and status to where they should be; return after how many seconds to look again."""
        manifest = self._store.get(QUEUE, key)
        if manifest is None or is_deleting(manifest):
            self._written.pop(key, None)
            return None
        spec = parse_spec(BBBQueueSpec, manifest)
        if isinstance(spec, Block):
            return await self._writer.write(QUEUE, key, _unreadable_status(manifest, spec))
        queues = (queue for other, queue in self._store.in_namespace(QUEUE, key.namespace) if other != key)
        block = task_block(manifest, spec, queues)
        live = await self._live(key)
        cron_job = live if live is not None and may_take(live, identity_of(manifest)) else None
        if block is None and live is not None and cron_job is None:
            block = _in_the_way(live, identity_of(manifest))
        elif block is None and spec.schedule is not None:
            cron_job, block = await self._ensure(manifest, spec, cron_job)
        elif cron_job is not None:
            await self._suspend(cron_job)
        delay = await self._write_status(manifest, spec, cron_job, block or self._row_block(key))
        if block is not None and block.reason == QueueReason.REFUSED:
            return REFUSED_SECONDS if delay is None else min(delay, REFUSED_SECONDS)
        return delay

    async def _live(self, key: Key) -> Manifest | None:
        """Return the CronJob of a queue, also one whose label was taken away, so that no watch shows it."""
        name = Key(key.namespace, cron_job_name(key.name))
        known = self._store.get(CRON_JOB, name)
        if known is not None:
            return known
        try:
            return await self._kube.get(CRON_JOB, name)
        except NotFoundError:
            return None

    async def _ensure(
        self, manifest: Manifest, spec: BBBQueueSpec, live: Manifest | None
    ) -> tuple[Manifest | None, Block | None]:
        """Return the CronJob as it is afterwards, and why it is not as it should be; ``live`` is the queue's own.

        What others add cannot be told from the API server's defaults, so whatever is not of our own writing is written
        anew; where that changes nothing, it makes no new generation either.
        """
        identity = identity_of(manifest)
        try:
            desired = build_cronjob(spec, identity=identity, defaults=self._defaults)
        except ValueError as error:
            return live, Block(QueueReason.IMAGE_MISSING, str(error))
        key = Key(identity.namespace, identity.name)
        if live is not None and self._written.get(key) == _edition(live) and covers(desired, live):
            return live, None
        try:
            answer = await self._kube.apply(CRON_JOB, desired)
            # Apply leaves in place what other managers added.
            if live is not None or not covers(desired, answer):
                answer = await self._kube.replace(CRON_JOB, replacement(desired, answer))
        except (RefusedError, ForbiddenError) as error:
            return live, Block(QueueReason.REFUSED, f"the API server refuses the CronJob: {error}")
        if live is None or _edition(live) != _edition(answer):
            _log.info("CronJob written", namespace=identity.namespace, queue=identity.name)
        self._written[key] = _edition(answer)
        self._store.accept(CRON_JOB, answer)
        return answer, None

    async def _suspend(self, cron_job: Manifest) -> None:
        """Let a CronJob start nothing more; deleting it would kill a pod that runs."""
        if not cron_job["spec"].get("suspend"):
            # With the uid, another one that took its name meanwhile is not touched.
            patch = {"metadata": {"uid": cron_job["metadata"]["uid"]}, "spec": {"suspend": True}}
            answer = await self._kube.patch(CRON_JOB, key_of(cron_job), patch)
            self._store.accept(CRON_JOB, answer)

    async def _write_status(
        self, manifest: Manifest, spec: BBBQueueSpec, cron_job: Manifest | None, block: Block | None
    ) -> float | None:
        key = key_of(manifest)
        jobs = [job for _, job in self._store.in_namespace(JOB, key.namespace)]
        facts = QueueFacts(
            spec=spec,
            generation=manifest["metadata"]["generation"],
            block=block,
            cron_job=cron_job,
            jobs=owned_jobs(jobs, cron_job),
            run_jobs=owned_jobs(jobs, manifest),
            runs=self._run_counts(key),
            missing_secrets=self._missing_secrets(key.namespace),
        )
        old, now = manifest.get("status") or {}, datetime.now(UTC)
        status = build_queue_status(facts, queue=key.name, old=old, now=now)
        delays = [
            await self._writer.write(QUEUE, key, status),
            _seconds_until_failing(facts, status, now),
            _seconds_until_missed(facts, now),
            _seconds_until_window(spec, now),
        ]
        return min((delay for delay in delays if delay is not None), default=None)

    def _missing_secrets(self, namespace: str) -> list[str]:
        """Return the core Secrets that the pods read and that no watch shows."""
        names = (self._defaults.database_secret, self._defaults.encryption_secret)
        return [name for name in names if self._store.get(SECRET, Key(namespace, name)) is None]


def _seconds_until_failing(facts: QueueFacts, status: Mapping[str, Any], now: datetime) -> float | None:
    """Return when to look again for a Job that succeeded; None when only an event can change what is said."""
    ready = find_condition(status["conditions"], QueueCondition.READY)
    if ready is not None and ready["reason"] == QueueReason.JOBS_FAILING:
        # The Secrets that its message names may come without an event here.
        return FAILING_SECONDS
    due = failing_at(facts, old=status, now=now)
    return None if due is None else (due - now).total_seconds()


def _seconds_until_missed(facts: QueueFacts, now: datetime) -> float | None:
    """Return after how many seconds a slot is missed if it gets no Job, for that comes without an event."""
    due = next_slot(facts.spec, facts.cron_job, now - LATE)
    return None if due is None else (due + LATE - now).total_seconds()


def _seconds_until_window(spec: BBBQueueSpec, now: datetime) -> float | None:
    """Return after how many seconds the queue's window opens or closes, None for never."""
    return None if spec.opening is None else (spec.opening.next_change(now) - now).total_seconds()


def _age(manifest: Manifest) -> tuple[str, str]:
    """Return what sorts queues from the oldest on; all times have the same form."""
    metadata = manifest["metadata"]
    return metadata["creationTimestamp"], metadata["name"]


def _spec_of(manifest: Manifest) -> BBBQueueSpec | None:
    """Return the spec of a queue that is to stay and can be read."""
    spec = parse_spec(BBBQueueSpec, manifest)
    return None if isinstance(spec, Block) or is_deleting(manifest) else spec


def _edition(cron_job: Manifest) -> tuple[str, int]:
    """Return what changes with each change of a CronJob's spec, whoever makes it."""
    metadata = cron_job["metadata"]
    return metadata["uid"], metadata["generation"]


def _owners(manifest: Manifest) -> Iterable[Mapping[str, Any]]:
    owners: Iterable[Mapping[str, Any]] = manifest["metadata"].get("ownerReferences", ())
    return owners


def _unreadable_status(manifest: Manifest, block: Block) -> dict[str, Any]:
    """Return the status of a queue whose spec this program cannot read; its CronJob and what is said of it stay."""
    old = manifest.get("status") or {}
    generation = manifest["metadata"]["generation"]
    types = (QueueCondition.READY,)
    return {**old, **build_unreadable_status(block, types=types, old=old, generation=generation, now=datetime.now(UTC))}
