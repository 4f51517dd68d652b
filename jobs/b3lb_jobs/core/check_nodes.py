"""The task ``check-nodes``: one poll per node and tick feeds its health and load, and its meetings."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime
from types import TracebackType
from typing import Any, Self

import sqlalchemy as sa

from b3lb.bbb.client import SLOT_SECONDS, NodeClient, NodeTarget, Poll, polls_at_once
from b3lb.db.accounting import load_due_months
from b3lb.db.meetings import load_absent_nodes, load_attribution, load_meetings
from b3lb.db.node_states import NodePoll, load_polls
from b3lb.db.unpolled import Unpolled
from b3lb.health import is_due
from b3lb.logs import get_logger
from b3lb.meetings.life import known_digests
from b3lb_jobs.core.api_secrets import SecretCache
from b3lb_jobs.core.node_report import events_of, rows_of
from b3lb_jobs.core.poll_round import Judged, Loaded, judge
from b3lb_jobs.errors import PermanentError
from b3lb_jobs.exit_codes import ExitCode
from b3lb_jobs.interface import Findings, TaskContext

SPARE_SECONDS = 1.0
MOST_KEY_IDS = 10

_log = get_logger(__name__)


class CheckNodes:
    """Polls the nodes of a namespace."""

    def __init__(self, context: TaskContext, *, jitter_source: Callable[[], float] = random.random) -> None:
        self._context = context
        self._jitter_source = jitter_source
        self._client = NodeClient(context.max_in_flight, now=context.now)
        self._secrets = SecretCache(context.keys, context.namespace)
        self._reported_keys: set[str] = set()
        self._reported_pairs: set[tuple[int, int]] = set()

    async def __aenter__(self) -> Self:
        await self._client.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.__aexit__(kind, error, trace)

    def load(self, connection: sa.Connection, at: datetime) -> Loaded:
        """Read the nodes with their policies and last states, and their meetings: five statements."""
        namespace = self._context.namespace
        polls = load_polls(connection, namespace, tick_seconds=self._context.tick_seconds)
        due = [poll for poll in polls if is_due(poll.state, poll.revision, at)]
        return Loaded(
            polls=polls,
            due=sorted(due, key=lambda poll: 0 if poll.state is None else poll.state.failures),
            absent=load_absent_nodes(connection, namespace),
            meetings=load_meetings(connection, namespace),
            attribution=load_attribution(connection, namespace),
            months=load_due_months(connection, namespace, at),
            namespace=namespace,
        )

    def least_seconds(self, loaded: Loaded) -> float:
        """Return the longest time-out and a spare: with less, a hanging node would be cut off and never counted."""
        return max(poll.timeout_seconds for poll in loaded.due) + SPARE_SECONDS if loaded.due else 0.0

    def seconds_needed(self, loaded: Loaded) -> float:
        """Return how long the polls take if every node hangs: the longest time-out and the waiting for a slot."""
        waiting = max(0, len(loaded.due) - 1) // polls_at_once(self._context.max_in_flight) * SLOT_SECONDS
        return self.least_seconds(loaded) + waiting

    async def work(self, loaded: Loaded, *, at: datetime, seconds: float) -> Findings:
        """Poll the nodes whose turn it is and decide; a poll that has not ended after ``seconds`` changes nothing."""
        secrets, unreadable = self._secrets.read(loaded.due)
        self._secrets.keep_only(loaded.polls)
        self._report(Counter(unreadable.values()))
        targets = {poll.node_id: _target(poll, secrets[poll.node_id]) for poll in loaded.due if poll.node_id in secrets}
        answers = await self._observe(targets, known_digests(loaded.meetings, loaded.attribution), seconds)
        judged = judge(loaded, answers, at=at, jitter_source=self._jitter_source)
        names = loaded.names()
        self._report_duplicates(judged.duplicates, names)
        failure = self._no_secret_at_all(loaded) if unreadable and not secrets else None
        unpolled = Unpolled.of(
            undecryptable=unreadable.keys() if failure is None else [poll.node_id for poll in loaded.polls],
            unfinished=[node_id for node_id in targets if node_id not in answers],
        )
        return Findings(
            summary=_summary(loaded, judged, unfinished=len(targets) - len(answers), unreadable=unreadable),
            write=judged.write if judged else None,
            events=(*events_of(judged.decision), *judged.report.events(names)),
            changes=(*rows_of(judged.decision), *judged.report.rows(names)),
            unpolled=unpolled,
            failure=failure,
            poll_seconds=[answer.observation.seconds for answer in answers.values()],
        )

    def _no_secret_at_all(self, loaded: Loaded) -> PermanentError | None:
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

    async def _observe(
        self, targets: Mapping[int, NodeTarget], digests: Mapping[int, Mapping[str, bytes]], seconds: float
    ) -> dict[int, Poll]:
        answers: dict[int, Poll] = {}

        async def observe(node_id: int, target: NodeTarget) -> None:
            answers[node_id] = await self._client.observe(target, digests.get(node_id, {}))

        with suppress(TimeoutError):
            async with asyncio.timeout(seconds), asyncio.TaskGroup() as group:
                for node_id, target in targets.items():
                    group.create_task(observe(node_id, target))
        return answers

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

    def _report_duplicates(self, duplicates: Mapping[int, NodePoll], names: Mapping[int, str]) -> None:
        """Say once per run which nodes are the server of an older one."""
        for node_id, older in duplicates.items():
            pair = older.node_id, node_id
            if pair not in self._reported_pairs:
                self._reported_pairs.add(pair)
                _log.warning(
                    "two nodes are one server: its meetings are those of the older one",
                    node=older.name,
                    duplicate=names[node_id],
                )


def _summary(loaded: Loaded, judged: Judged, *, unfinished: int, unreadable: Mapping[int, str]) -> dict[str, Any]:
    return {
        **judged.decision.round.as_json(),
        "nodes": len(loaded.polls),
        "unfinished": unfinished,
        "undecryptable": dict(Counter(unreadable.values()).most_common(MOST_KEY_IDS)),
        "changed": len(judged.decision.rows),
        **judged.report.summary(),
    }


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
