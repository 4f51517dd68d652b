"""Enqueued runs: released as their BBBQueues say, each attempt in a Job of its own, and ended when their pods cannot.

Everything follows from rows and Jobs: an attempt is written into its row before its Job is made, and the Job's name
follows from run and attempt, so that an operator that died in between is carried on by the next one.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial

import sqlalchemy as sa
import structlog

from b3lb.db.chunks import end_chunked_run
from b3lb.db.render_needs import read_render_needs
from b3lb.db.run_history import forget_old_runs
from b3lb.db.task_attempts import AttemptEnd, end_attempt
from b3lb.db.task_queue import EnqueuedRun, QueueContent, forget_job, read_content, record_job, revoke_steps
from b3lb.db.task_runs import TaskState, fail_silent_runs
from b3lb.db.workflows import carry_on_workflows
from b3lb.recordings.render_needs import RenderNeeds
from b3lb.release import RetryPolicy, RunCounts, retry_after
from b3lb.resources import BBBQueueSpec
from b3lb.retention import HistoryPolicy
from b3lb_operator.database import Database, DatabaseUnavailableError
from b3lb_operator.kinds import JOB, POD, QUEUE, Key, Manifest, is_deleting, is_owned_by
from b3lb_operator.kube import ConflictError, ForbiddenError, Kube, KubeError, NotFoundError, RefusedError
from b3lb_operator.manifests.cronjob import RUN_LABEL, JobDefaults, QueueIdentity, build_run_job
from b3lb_operator.manifests.facts import Block
from b3lb_operator.manifests.render_job import build_render_job
from b3lb_operator.manifests.run_end import JobEnd, has_ended, has_failed, job_end
from b3lb_operator.reconcilers.queue import identity_of
from b3lb_operator.reconcilers.releases import (
    IDLE_SECONDS,
    RECHECK_SECONDS,
    Releases,
    is_render,
    job_name,
    release_batches,
    run_identity,
    shares_job,
)
from b3lb_operator.reconcilers.renders import end_render
from b3lb_operator.resolve import parse_spec
from b3lb_operator.store import Store

RETRY_SECONDS = 2.0
LEAST_SECONDS = 0.05
FORGET_SECONDS = 3600.0

_log = structlog.stdlib.get_logger(__name__)


class RunReconciler:
    """Looks at all enqueued runs of a namespace: those in flight, then those that wait."""

    def __init__(
        self,
        *,
        kube: Kube,
        store: Store,
        database: Database,
        defaults: JobDefaults,
        history: HistoryPolicy | None = None,
        chance: Callable[[], float] = random.random,
        on_counts: Callable[[Key], None] = lambda _: None,
    ) -> None:
        """Take the parts.

        Args:
            kube: Where the Jobs are made.
            store: The live objects.
            database: Where the runs are.
            defaults: What goes into every Job.
            history: How long finished runs are kept.
            chance: Random numbers from 0 to 1, for pauses.
            on_counts: Called with every queue whose `counts` changed.
        """
        self._kube = kube
        self._store = store
        self._database = database
        self._defaults = defaults
        self._history = history or HistoryPolicy()
        self._chance = chance
        self._on_counts = on_counts
        self._releases = Releases(store=store, database=database, defaults=defaults)
        self._counts: dict[str, Mapping[str, RunCounts]] = {}
        self._forget_at: dict[str, float] = {}
        self._silent: dict[str, frozenset[str]] = {}
        self._needed: dict[str, set[str | None]] = {}

    def counts(self, key: Key) -> RunCounts | None:
        """Return the numbers of a queue's runs as last seen, None before the first look."""
        known = self._counts.get(key.namespace)
        return None if known is None else known.get(key.name, RunCounts())

    async def reconcile(self, namespace: str) -> float:
        """Bring the runs of a namespace on; return after how many seconds to look again at the latest."""
        try:
            await self._forget(namespace)
            await self._note_silent_pods(namespace)
            content = await self._content(namespace)
            self._needed[namespace] = {
                run.job_name for run in content.runs if run.in_flight and run.state is not TaskState.REVOKED
            }
            delays = [await self._tend(namespace, run) for run in content.runs if run.in_flight]
            released: Counter[str] = Counter()
            delays += [await self._release(key, content, released) for key in self._waiting_queues(namespace, content)]
        except DatabaseUnavailableError:
            return RETRY_SECONDS
        self._note_counts(namespace, content.counts, released)
        return max(LEAST_SECONDS, min(delays, default=IDLE_SECONDS))

    def _note_counts(self, namespace: str, read: Mapping[str, RunCounts], released: Mapping[str, int]) -> None:
        """Keep the numbers as they are after the release, and tell of those that changed."""
        before, known = self._counts.get(namespace, {}), namespace in self._counts
        now = {
            queue: replace(
                counts,
                waiting=counts.waiting - released.get(queue, 0),
                in_flight=counts.in_flight + released.get(queue, 0),
            )
            for queue, counts in read.items()
        }
        self._counts[namespace] = now
        for key, _ in self._store.in_namespace(QUEUE, namespace):
            if not known or before.get(key.name, RunCounts()) != now.get(key.name, RunCounts()):
                self._on_counts(key)

    async def _content(self, namespace: str) -> QueueContent:
        """Carry chains and groups on, if there are any, and return what waits and what is in flight."""
        content = await self._database.call(lambda connection: read_content(connection, namespace))
        if not content.has_workflows:
            return content
        moved = await self._database.call(lambda connection: carry_on_workflows(connection, namespace))
        if moved:
            content = await self._database.call(lambda connection: read_content(connection, namespace))
        return content

    async def _forget(self, namespace: str) -> None:
        """Delete old history, every so often."""
        if time.monotonic() < self._forget_at.get(namespace, 0.0):
            return
        count = await self._database.call(lambda connection: forget_old_runs(connection, namespace, self._history))
        self._forget_at[namespace] = time.monotonic() + (RETRY_SECONDS if count else FORGET_SECONDS)
        if count:
            _log.info("old task runs deleted", namespace=namespace, runs=count)

    async def _note_silent_pods(self, namespace: str) -> None:
        """Note the ends of a schedule's runs whose pods died without a word; each failed Job is looked at once."""
        failed = {
            job["metadata"]["uid"]: key.name
            for key, job in self._store.in_namespace(JOB, namespace)
            if RUN_LABEL not in job["metadata"].get("labels", {}) and has_failed(job)
        }
        known = self._silent.get(namespace, frozenset())
        new = [name for uid, name in failed.items() if uid not in known]
        if new:
            error = "the pod died without a word: its Job failed"
            await self._database.call(lambda connection: fail_silent_runs(connection, namespace, new, error=error))
        self._silent[namespace] = frozenset(failed)

    async def _tend(self, namespace: str, run: EnqueuedRun) -> float:
        """Bring one run in flight on; one's trouble does not keep the others waiting."""
        try:
            await self._follow(namespace, run)
        except KubeError as error:
            _log.warning("an enqueued run waits", namespace=namespace, run=str(run.id), error=str(error))
            return RETRY_SECONDS
        return RECHECK_SECONDS

    async def _follow(self, namespace: str, run: EnqueuedRun) -> None:
        key = Key(namespace, job_name(run))
        job = await self._job(key)
        if run.state is TaskState.REVOKED:
            await self._revoke(run, key, job)
        elif job is not None and run.job_uid in {None, job["metadata"]["uid"]}:
            await self._observe(namespace, run, job)
        elif run.job_uid is not None:
            await self._lose(namespace, run, run.job_uid)
        else:
            await self._create(namespace, run)

    async def _lose(self, namespace: str, run: EnqueuedRun, job_uid: str) -> None:
        """Note that somebody deleted the Job of an attempt, perhaps the garbage collector together with its BBBQueue.

        That revokes a run, but not a render: a recording is given up by its BBBRecording only.
        """
        error = "its Job was deleted"
        if not is_render(run):
            await self._end(run, AttemptEnd(state=TaskState.REVOKED, error=error))
        elif all(has_ended(pod) for pod in await self._pods(namespace, job_uid)):
            await self._end_render(namespace, run, JobEnd(passing=True, error=error))

    async def _job(self, key: Key) -> Manifest | None:
        """Return a Job; that it is not there is asked of the API server itself, for a watch may be late."""
        known = self._store.get(JOB, key)
        if known is not None:
            return known
        try:
            return await self._kube.get(JOB, key)
        except NotFoundError:
            return None

    async def _revoke(self, run: EnqueuedRun, key: Key, job: Manifest | None) -> None:
        """Take the Job of a revoked run away; when it and its pods are gone, its place in the queue is free."""
        if job is None or run.job_uid not in {None, job["metadata"]["uid"]}:
            await self._database.call(
                lambda connection: forget_job(connection, run.id, attempt=run.attempt),
            )
        elif run.job_name is not None and run.job_name in self._needed.get(key.namespace, ()):
            # The pod itself stops this one; the Job's other runs go on.
            return
        elif not is_deleting(job):
            try:
                await self._kube.delete_with_dependents(JOB, key, uid=job["metadata"]["uid"])
            except (NotFoundError, ConflictError):
                return
            _log.info("Job of a revoked run deleted", namespace=key.namespace, run=str(run.id))

    async def _observe(self, namespace: str, run: EnqueuedRun, job: Manifest) -> None:
        """Take the run's own Job over if that is not noted yet, and note its end if its pod did not."""
        uid = job["metadata"]["uid"]
        if run.job_uid is None:
            queue = self._store.get(QUEUE, Key(namespace, run.queue))
            if queue is not None and not is_owned_by(job, queue["metadata"]["uid"]):
                error = f"there is a Job {job['metadata']['name']} already that is not this queue's"
                await self._end(run, AttemptEnd(state=TaskState.FAILURE, error=error))
                return
            await self._note_job(run, uid)
        pods = await self._pods(namespace, uid) if has_failed(job) else []
        end = job_end(job, pods)
        if end is None:
            return
        if is_render(run):
            await self._end_render(namespace, run, end)
            return
        if run.chunks is None:
            await self._end(run, self._attempt_end(namespace, run, end))
            return
        state = await self._database.call(
            lambda connection: end_chunked_run(connection, run.id, attempt=run.attempt, why=end.error)
        )
        if state is not None:
            _log.info("enqueued run ended", run=str(run.id), task=run.task, state=str(state), chunks=run.chunks)

    async def _pods(self, namespace: str, job_uid: str) -> list[Manifest]:
        selector = f"batch.kubernetes.io/controller-uid={job_uid}"
        return await self._kube.list_all(POD, namespace, label_selector=selector)

    def _attempt_end(self, namespace: str, run: EnqueuedRun, end: JobEnd) -> AttemptEnd:
        """Return what becomes of a run whose pod ended without noting that."""
        # Of several runs in a pod, one that had not begun is not what the pod died of.
        innocent = shares_job(run) and run.state is not TaskState.STARTED
        if not end.passing and not innocent:
            return AttemptEnd(state=TaskState.FAILURE, error=end.error)
        manifest = self._store.get(QUEUE, Key(namespace, run.queue))
        if is_render(run) and (manifest is None or is_deleting(manifest)):
            # It waits for the queue, or moves to the next one.
            return AttemptEnd(state=TaskState.RETRY, retry_seconds=0.0, error=end.error)
        spec = None if manifest is None else parse_spec(BBBQueueSpec, manifest)
        policy = RetryPolicy() if spec is None or isinstance(spec, Block) else _retry_policy(spec)
        pause = retry_after(run.attempt, policy, chance=self._chance())
        if pause is None:
            error = f"{end.error} (attempt {run.attempt}, the last one)"
            return AttemptEnd(state=TaskState.FAILURE, error=error)
        return AttemptEnd(state=TaskState.RETRY, retry_seconds=pause, error=end.error)

    async def _end_render(self, namespace: str, run: EnqueuedRun, end: JobEnd) -> None:
        planned = self._attempt_end(namespace, run, end)
        noted = await self._database.call(partial(end_render, run=run, end=end, planned=planned))
        if noted is not None:
            _log.info("render ended", run=str(run.id), state=str(noted.state), cause=str(end.cause), reason=noted.error)

    async def _end(self, run: EnqueuedRun, end: AttemptEnd) -> None:
        def write(connection: sa.Connection) -> bool:
            done = end_attempt(connection, run.id, attempt=run.attempt, end=end)
            if done and run.chunks is not None:
                revoke_steps(connection, run.id, why=f"the run has ended: {end.error}")
            return done

        written = await self._database.call(write)
        if written:
            _log.info("enqueued run ended", run=str(run.id), task=run.task, state=str(end.state), reason=end.error)

    async def _note_job(self, run: EnqueuedRun, uid: str) -> None:
        await self._database.call(
            lambda connection: record_job(connection, run.id, attempt=run.attempt, job_uid=uid),
        )

    async def _create(self, namespace: str, run: EnqueuedRun) -> None:
        """Make the Job of an attempt, or take over the one that is there already."""
        manifest = self._store.get(QUEUE, Key(namespace, run.queue))
        spec = None if manifest is None or is_deleting(manifest) else parse_spec(BBBQueueSpec, manifest)
        if manifest is None or spec is None:
            await self._miss(namespace, run)
            return
        if isinstance(spec, Block):
            return
        needs = await self._database.call(partial(read_render_needs, run_id=run.id)) if is_render(run) else None
        if is_render(run) and (needs is None or run.job_name is None):
            await self._end(run, AttemptEnd(state=TaskState.REVOKED, error="there is no video that this run renders"))
            return
        try:
            job = await self._kube.create(JOB, self._job_of(run, identity_of(manifest), spec, needs))
        except ConflictError:
            key = Key(namespace, job_name(run))
            await self._observe(namespace, run, await self._kube.get(JOB, key))
            return
        except (ValueError, RefusedError) as error:
            await self._end(run, AttemptEnd(state=TaskState.FAILURE, error=f"its Job cannot be made: {error}"))
            return
        except ForbiddenError as error:
            # A quota that is used up, mostly: that passes, and the attempt goes on waiting for its Job.
            _log.warning("a Job is not admitted", namespace=namespace, run=str(run.id), error=str(error))
            return
        await self._note_job(run, job["metadata"]["uid"])

    async def _miss(self, namespace: str, run: EnqueuedRun) -> None:
        """Note that the BBBQueue of an attempt without a Job is gone."""
        error = f"there is no BBBQueue {run.queue}"
        if is_render(run):
            await self._end_render(namespace, run, JobEnd(passing=True, error=error))
        else:
            await self._end(run, AttemptEnd(state=TaskState.REVOKED, error=error))

    def _job_of(
        self, run: EnqueuedRun, queue: QueueIdentity, spec: BBBQueueSpec, needs: RenderNeeds | None
    ) -> Manifest:
        identity = run_identity(run, spec)
        if needs is None:
            return build_run_job(spec, identity=queue, defaults=self._defaults, run=identity)
        return build_render_job(spec, identity=queue, defaults=self._defaults, run=identity, needs=needs)

    def _waiting_queues(self, namespace: str, content: QueueContent) -> Iterable[Key]:
        names = {run.queue for run in content.runs if not run.in_flight}
        return (key for key, _ in self._store.in_namespace(QUEUE, namespace) if key.name in names)

    async def _release(self, key: Key, content: QueueContent, counter: Counter[str]) -> float:
        """Release what a queue allows now, count that, and return after how many seconds it allows more."""
        decision, delay = await self._releases.decide(key, content)
        if not decision.runs:
            return delay
        released = await self._database.call(partial(release_batches, key=key, decision=decision))
        counter[key.name] += len(released)
        return min([delay, *[await self._tend(key.namespace, run) for run in released]])


def _retry_policy(spec: BBBQueueSpec) -> RetryPolicy:
    return RetryPolicy(
        max_retries=spec.retry.max_retries,
        backoff_seconds=spec.retry.backoff_seconds,
        maximum_seconds=spec.retry.maximum_seconds,
    )
