"""For tests of tasks: what a task is given, without a cluster and, unless one is named, without a database."""

from __future__ import annotations

import time
from collections.abc import Callable
from uuid import uuid4

from b3lb.crypto import KeyRing
from b3lb_jobs.database import Database
from b3lb_jobs.on_demand import RunContext

# Nobody listens on the discard service's port; nothing is connected before a transaction begins.
_NOWHERE = "postgresql://nobody@127.0.0.1:9/nothing"


def trial_context(
    *,
    database_url: str = _NOWHERE,
    attempt: int = 1,
    seconds: float = 240.0,
    on_progress: Callable[[float, str], None] = lambda _percent, _message: None,
) -> RunContext:
    """Return a context to call a task with.

    Args:
        database_url: Of a database with b3lb's tables, for a task that uses it.
        attempt: Which attempt it is.
        seconds: Time until the soft time limit as the task reads it; nothing interrupts it here.
        on_progress: Told everything that the task says of its progress.
    """
    ends_at = time.monotonic() + seconds
    return RunContext(
        run_id=uuid4(),
        namespace="default",
        queue="trial",
        attempt=attempt,
        keys=KeyRing.generate(),
        database=Database(database_url, application_name="b3lb-trial", monotonic=time.monotonic),
        seconds_left=lambda: ends_at - time.monotonic(),
        on_progress=on_progress,
    )
