"""Many renders at once: plays all of their pods, and tells from the rows how many were at work together."""

from __future__ import annotations

import time
from collections.abc import Sequence
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from tests.integration.render_player import RenderPlayer, run_of

_SPANS = sa.text("SELECT released_at, finished_at FROM task_runs WHERE id = ANY(:runs)").bindparams(
    sa.bindparam("runs", type_=postgresql.ARRAY(sa.Uuid))
)


def render_all(player: RenderPlayer, runs: Sequence[UUID], *, within: float) -> list[UUID]:
    """Let each pod that comes work and succeed until all runs are over; return the runs in the order of their ends.

    Raises:
        AssertionError: A pod of a run that was over worked once more, or it took longer than ``within`` seconds.
    """
    deadline = time.monotonic() + within
    done: list[UUID] = []
    wanted = set(runs)
    while wanted - set(done):
        assert time.monotonic() < deadline, f"{len(done)} of {len(wanted)} are rendered\n{player.cluster.tail()}"
        for pod in player.pods():
            run_id = run_of(pod)
            assert run_id not in done
            if player.begin(pod):
                assert player.succeed(pod)
                done.append(run_id)
        time.sleep(0.05)
    return done


def most_at_once(engine: sa.Engine, runs: Sequence[UUID]) -> int:
    """Return how many of runs that are over were in flight at the same time at most."""
    with engine.connect() as connection:
        spans = connection.execute(_SPANS, {"runs": list(runs)}).all()
    # At the same moment an end comes before a beginning: the place is free in the transaction that notes the end.
    changes = sorted([(span.released_at, 1) for span in spans] + [(span.finished_at, -1) for span in spans])
    at_work = most = 0
    for _, change in changes:
        at_work += change
        most = max(most, at_work)
    return most
