"""Between the rows of enqueued runs and what the release and the Jobs need of them; what a queue releases now."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

import sqlalchemy as sa

from b3lb.db.release_rates import read_spent_until
from b3lb.db.render_needs import read_render_keys
from b3lb.db.task_queue import EnqueuedRun, QueueContent, mark_released, share_job
from b3lb.release import Release, ReleasePolicy, RunCounts, WaitingRun, parse_rate, pods_of, release
from b3lb.resources import BBBQueueSpec
from b3lb.tasks import RENDER_RECORD
from b3lb_operator.database import Database
from b3lb_operator.kinds import JOB, QUEUE, Key, Manifest, is_deleting
from b3lb_operator.manifests.cronjob import JobDefaults, RunIdentity, first_of_job, run_job_name
from b3lb_operator.manifests.facts import Block
from b3lb_operator.manifests.render_job import is_render_job, render_job_name
from b3lb_operator.reconcilers.queue import task_block
from b3lb_operator.resolve import parse_spec
from b3lb_operator.store import Store

IDLE_SECONDS = 60.0
"""How often to look where nothing waits and nothing is at work: whatever changes that is told, this is for the rest."""

RECHECK_SECONDS = 10.0


class Releases:
    """What the queues of enqueued runs release, by their specs and by what is at work."""

    def __init__(self, *, store: Store, database: Database, defaults: JobDefaults) -> None:
        """Take the live objects, where the runs are, and what goes into every Job."""
        self._store = store
        self._database = database
        self._defaults = defaults

    async def decide(self, key: Key, content: QueueContent) -> tuple[Release, float]:
        """Return what a queue releases now, and after how many seconds to look again at the latest."""
        manifest = self._store.get(QUEUE, key)
        spec = None if manifest is None or is_deleting(manifest) else parse_spec(BBBQueueSpec, manifest)
        if manifest is None or spec is None or isinstance(spec, Block) or not self._may_start(key, manifest, spec):
            # What it lacks comes with an event.
            return Release(), IDLE_SECONDS
        opens_at = None if spec.opening is None else spec.opening.opens_at(content.now)
        if opens_at is not None:
            return Release(), min(IDLE_SECONDS, (opens_at - content.now).total_seconds())
        decision = await self._release(key, spec, content)
        if decision.look_again_at is None:
            return decision, RECHECK_SECONDS
        return decision, min(RECHECK_SECONDS, (decision.look_again_at - content.now).total_seconds())

    def _may_start(self, key: Key, manifest: Manifest, spec: BBBQueueSpec) -> bool:
        others = (queue for other, queue in self._store.in_namespace(QUEUE, key.namespace) if other != key)
        has_image = bool(spec.image or self._defaults.image)
        return has_image and not spec.suspend and task_block(manifest, spec, others) is None

    async def _release(self, key: Key, spec: BBBQueueSpec, content: QueueContent) -> Release:
        runs = [run for run in content.runs if run.queue == key.name]
        demand = content.counts.get(key.name, RunCounts()).demand
        rate = None if spec.rate_limit is None else parse_rate(spec.rate_limit)
        spent_until = None
        if rate is not None:
            spent_until = await self._database.call(
                lambda connection: read_spent_until(connection, key.namespace, key.name)
            )
        # A render fills its pod.
        batch_size = 1 if RENDER_RECORD in spec.tasks else spec.batch_size
        return release(
            [waiting(run, spec) for run in runs if not run.in_flight],
            tenants_of_pods(runs, spec, lambda name: self._parallelism(key.namespace, name)),
            ReleasePolicy(concurrency=spec.replicas(demand), rate=rate, batch_size=batch_size),
            spent_until=spent_until,
            now=content.now,
        )

    def _parallelism(self, namespace: str, name: str) -> int | None:
        job = self._store.get(JOB, Key(namespace, name))
        return None if job is None else job["spec"].get("parallelism")


def release_batches(connection: sa.Connection, key: Key, decision: Release) -> list[EnqueuedRun]:
    """Release the runs of a decision, and note the names of Jobs that do not follow from run and attempt alone.

    A Job that several runs share is called after the first of them, that of a render after its video.
    """
    released = {
        run.id: run
        for run in mark_released(
            connection, key.namespace, key.name, runs=decision.runs, spent_until=decision.spent_until
        )
    }
    for batch in decision.batches:
        members = [released[run_id] for run_id in batch if run_id in released]
        if len(members) > 1:
            name = job_name(members[0])
            share_job(connection, [run.id for run in members], job_name=name)
            released |= {run.id: replace(run, job_name=name) for run in members}
    for run_id, video in read_render_keys(connection, [run.id for run in released.values() if is_render(run)]).items():
        name = render_job_name(video, RunIdentity(run_id, released[run_id].attempt))
        share_job(connection, [run_id], job_name=name)
        released[run_id] = replace(released[run_id], job_name=name)
    return list(released.values())


def is_render(run: EnqueuedRun) -> bool:
    """Whether a run renders a recording."""
    return run.task == RENDER_RECORD and run.chunks is None


def shares_job(run: EnqueuedRun) -> bool:
    """Whether other runs are worked on by the Job of a run."""
    return run.job_name is not None and not is_render_job(run.job_name)


def job_name(run: EnqueuedRun) -> str:
    """Return the name of the Job of a run's attempt."""
    return run.job_name or run_job_name(RunIdentity(run.id, run.attempt))


def run_identity(run: EnqueuedRun, spec: BBBQueueSpec) -> RunIdentity:
    """Return what the Job of a run's attempt is made of; for all that share it the same."""
    if run.job_name is not None and shares_job(run):
        return first_of_job(run.job_name)
    return RunIdentity(run.id, run.attempt, chunks=run.chunks, pods=_pods(run, spec))


def _pods(run: EnqueuedRun, spec: BBBQueueSpec) -> int:
    """Return how many pods work on a run side by side."""
    chunks = run.chunks or 1
    return pods_of(chunks, ReleasePolicy(concurrency=spec.replicas(chunks)))


def tenants_of_pods(
    runs: Iterable[EnqueuedRun], spec: BBBQueueSpec, parallelism: Callable[[str], int | None]
) -> list[str | None]:
    """Return the tenant for each pod at work; runs that share a Job have one pod.

    ``parallelism`` returns by a Job's name how many pods it was given, None if that is not known: the queue may have
    allowed other numbers then.
    """
    jobs = {job_name(run): run for run in runs if run.in_flight}
    return [run.tenant for name, run in jobs.items() for _ in range(parallelism(name) or _pods(run, spec))]


def waiting(run: EnqueuedRun, spec: BBBQueueSpec) -> WaitingRun:
    """Return a run that waits as the release sees it."""
    return WaitingRun(
        id=run.id,
        enqueued_at=run.enqueued_at,
        priority=spec.priority if run.priority is None else run.priority,
        tenant=run.tenant,
        not_before=run.not_before,
        pods=run.chunks or 1,
    )
