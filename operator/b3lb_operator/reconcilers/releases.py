"""Between the rows of enqueued runs and what the release and the Jobs need of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

import sqlalchemy as sa

from b3lb.db.task_queue import EnqueuedRun, mark_released, share_job
from b3lb.release import Release, ReleasePolicy, WaitingRun, pods_of
from b3lb.resources import BBBQueueSpec
from b3lb_operator.kinds import Key
from b3lb_operator.manifests.cronjob import RunIdentity, first_of_job, run_job_name


def release_batches(connection: sa.Connection, key: Key, decision: Release) -> list[EnqueuedRun]:
    """Release the runs of a decision, and note which of them share a Job: it is called after the first of them."""
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
    return list(released.values())


def job_name(run: EnqueuedRun) -> str:
    """Return the name of the Job of a run's attempt."""
    return run.job_name or run_job_name(RunIdentity(run.id, run.attempt))


def run_identity(run: EnqueuedRun, spec: BBBQueueSpec) -> RunIdentity:
    """Return what the Job of a run's attempt is made of; for all that share it the same."""
    if run.job_name is not None:
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
