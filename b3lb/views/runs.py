"""Task runs as people and programs are shown them: pure functions."""

from __future__ import annotations

from b3lb.db.run_history import TaskRun
from b3lb.release import is_held
from b3lb.views.values import Document, timestamp


def run_document(run: TaskRun) -> Document:
    """Return a run."""
    return {
        "id": str(run.id),
        "namespace": run.namespace,
        "queue": run.queue,
        "task": run.task,
        "state": run.state,
        "enqueued": run.enqueued,
        "priority": run.priority,
        "attempts": run.attempts,
        "pod": run.pod or None,
        "arguments": dict(run.arguments),
        "result": run.result,
        "error": run.error,
        "traceback": run.traceback,
        "createdAt": timestamp(run.created_at),
        "notBefore": None if is_held(run.not_before) else timestamp(run.not_before),
        "paused": is_held(run.not_before) and run.finished_at is None,
        "startedAt": timestamp(run.started_at),
        "finishedAt": timestamp(run.finished_at),
        "progress": _progress(run),
        "workflow": run.workflow,
        "steps": run.steps,
        "parent": None if run.parent is None else str(run.parent),
        "step": None if run.place is None else run.place + 1,
    }


def _progress(run: TaskRun) -> Document | None:
    if run.progress_percent is None:
        return None
    return {"percent": run.progress_percent, "message": run.progress_message or ""}
