"""The task ``check-nodes``: one poll per node and tick feeds its health and load."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import Any, Self

import sqlalchemy as sa

from b3lb.bbb.client import SLOT_SECONDS, NodeClient, NodeTarget
from b3lb.db.node_states import NodePoll, load_polls
from b3lb.db.unpolled import Unpolled
from b3lb.health import GuardState, Observation, is_due
from b3lb.logs import get_logger
from b3lb_jobs.core.api_secrets import SecretCache
from b3lb_jobs.core.decision import Decision, GuardChange, NodeChange, decide
from b3lb_jobs.errors import PermanentError
from b3lb_jobs.exit_codes import ExitCode
from b3lb_jobs.interface import Event, Findings, TaskContext

SPARE_SECONDS = 1.0
MOST_KEY_IDS = 10

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class LoadedPolls:
    """All nodes that can be polled, and those whose turn it is: healthy ones first, none of them waits for the dead."""

    polls: Sequence[NodePoll]
    due: Sequence[NodePoll]


class CheckNodes:
    """Polls the nodes of a namespace."""

    def __init__(self, context: TaskContext, *, jitter_source: Callable[[], float] = random.random) -> None:
        self._context = context
        self._jitter_source = jitter_source
        self._client = NodeClient(context.max_in_flight)
        self._secrets = SecretCache(context.keys, context.namespace)
        self._reported_keys: set[str] = set()

    async def __aenter__(self) -> Self:
        await self._client.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.__aexit__(kind, error, trace)

    def load(self, connection: sa.Connection, at: datetime) -> LoadedPolls:
        """Read the nodes, their policies and their last states: one statement."""
        polls = load_polls(connection, self._context.namespace, tick_seconds=self._context.tick_seconds)
        due = [poll for poll in polls if is_due(poll.state, poll.revision, at)]
        return LoadedPolls(polls, sorted(due, key=lambda poll: 0 if poll.state is None else poll.state.failures))

    def least_seconds(self, loaded: LoadedPolls) -> float:
        """Return the longest time-out and a spare: with less, a hanging node would be cut off and never counted."""
        return max(poll.timeout_seconds for poll in loaded.due) + SPARE_SECONDS if loaded.due else 0.0

    def seconds_needed(self, loaded: LoadedPolls) -> float:
        """Return how long the polls take if every node hangs: the longest time-out and the waiting for a slot."""
        waiting = max(0, len(loaded.due) - 1) // self._context.max_in_flight * SLOT_SECONDS
        return self.least_seconds(loaded) + waiting

    async def work(self, loaded: LoadedPolls, *, at: datetime, seconds: float) -> Findings:
        """Poll the nodes whose turn it is and decide; a poll that has not ended after ``seconds`` changes nothing."""
        secrets, unreadable = self._secrets.read(loaded.due)
        self._secrets.keep_only(loaded.polls)
        counts = Counter(unreadable.values())
        self._report(counts)
        targets = [
            (poll.node_id, _target(poll, secrets[poll.node_id])) for poll in loaded.due if poll.node_id in secrets
        ]
        observations = await self._observe(targets, seconds)
        decision = decide(loaded.polls, observations, now=at, jitter_source=self._jitter_source)
        summary = {
            **decision.round.as_json(),
            "nodes": len(loaded.polls),
            "unfinished": len(targets) - len(observations),
            "undecryptable": dict(counts.most_common(MOST_KEY_IDS)),
            "changed": len(decision.rows),
        }
        return Findings(
            summary=summary,
            states=decision.rows,
            guards=decision.guards,
            events=tuple(_events(decision)),
            changes=tuple(_rows_for_people(decision)),
            unpolled=Unpolled.of(
                undecryptable=unreadable.keys(),
                unfinished=[node_id for node_id, _ in targets if node_id not in observations],
            ),
            failure=self._no_secret_at_all(loaded) if unreadable and not secrets else None,
        )

    def _no_secret_at_all(self, loaded: LoadedPolls) -> PermanentError | None:
        """Return the end of the run if the nodes that are not due cannot be read either: another tick helps nobody."""
        secrets, unreadable = self._secrets.read(loaded.polls)
        if secrets:
            return None
        used = ", ".join(sorted(set(unreadable.values()))[:MOST_KEY_IDS])
        message = (
            f"none of the API secrets of {len(unreadable)} nodes can be decrypted: they are encrypted with {used}, "
            f"B3LB_ENCRYPTION_KEYS of this pod has {', '.join(self._context.keys.key_ids)}, or another key of that name"
        )
        return PermanentError(message, exit_code=ExitCode.CONFIGURATION)

    async def _observe(self, targets: Iterable[tuple[int, NodeTarget]], seconds: float) -> dict[int, Observation]:
        observations: dict[int, Observation] = {}

        async def observe(node_id: int, target: NodeTarget) -> None:
            observations[node_id] = await self._client.observe(target)

        with suppress(TimeoutError):
            async with asyncio.timeout(seconds), asyncio.TaskGroup() as group:
                for node_id, target in targets:
                    group.create_task(observe(node_id, target))
        return observations

    def _report(self, unreadable: Mapping[str, int]) -> None:
        """Say once per run and key that secrets cannot be read."""
        for key_id, count in unreadable.items():
            if key_id not in self._reported_keys:
                self._reported_keys.add(key_id)
                _log.warning(
                    "API secrets cannot be decrypted; their nodes keep their state and are not polled",
                    key_id=key_id,
                    nodes=count,
                    configured=", ".join(self._context.keys.key_ids),
                )


def _target(poll: NodePoll, secret: str) -> NodeTarget:
    return NodeTarget(
        name=poll.name,
        api_url=poll.api_url,
        load_url=poll.load_url,
        secret=secret,
        algorithm=poll.algorithm,
        ca_certificates=poll.ca_certificates,
        timeout_seconds=poll.timeout_seconds,
    )


def _events(decision: Decision) -> Iterable[Event]:
    """Yield a line for every node whose Ready changed and every guard that rose or fell."""
    for change in decision.node_changes:
        if change.is_transition:
            message = "node is ready" if change.new.ready else "node is not ready"
            reason, detail = str(change.new.reason), change.new.message
            yield Event(message, {"node": change.name, "reason": reason, "detail": detail})
    for guard in decision.guard_changes:
        if (guard.old.holds, guard.old.exhausted) != (guard.new.holds, guard.new.exhausted):
            numbers = {"cluster_id": guard.cluster_id, "failed": guard.new.failed, "polled": guard.new.polled}
            yield Event(_guard_message(guard.new), numbers, warning=guard.new.holds)


def _guard_message(guard: GuardState) -> str:
    if guard.holds:
        return "mass failure: the nodes of the cluster keep their states"
    return "mass failure lasts too long: failures count again" if guard.exhausted else "mass failure is over"


def _rows_for_people(decision: Decision) -> Iterable[dict[str, Any]]:
    yield from map(_node_row, decision.node_changes)
    yield from map(_guard_row, decision.guard_changes)


def _node_row(change: NodeChange) -> dict[str, Any]:
    old, new = change.old, change.new
    return {
        "object": f"node/{change.name}",
        "ready": _arrow(None if old is None else old.ready, new.ready),
        "reason": _arrow(None if old is None else str(old.reason), str(new.reason)),
        "failures": _arrow(None if old is None else old.failures, new.failures),
        "meetings": _arrow(None if old is None else old.meetings, new.meetings),
        "attendees": _arrow(None if old is None else old.attendees, new.attendees),
        "load": _arrow(None if change.old_load is None else round(change.old_load, 1), round(change.new_load, 1)),
        "message": new.message,
    }


def _guard_row(change: GuardChange) -> dict[str, Any]:
    return {
        "object": f"cluster/{change.cluster_id}",
        "ready": "",
        "reason": _arrow(_guard_word(change.old), _guard_word(change.new)),
        "message": f"{change.new.failed} of {change.new.polled} nodes failed",
    }


def _guard_word(guard: GuardState) -> str:
    return "MassFailure" if guard.holds else "Exhausted" if guard.exhausted else "AtRest"


def _arrow(old: object, new: object) -> str:
    """Return ``old → new``, or the value alone if it stays."""
    if old == new:
        return str(new)
    return f"{'-' if old is None else old} → {new}"
