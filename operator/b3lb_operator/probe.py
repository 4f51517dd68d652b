"""Polls new and changed nodes at once, so that they have a true status before the next tick of the jobs.

Only the first state of a node's revision comes from here; a state that the jobs wrote is never replaced, and a
failure that may be our own (the guard of the node's cluster holds) is left to them.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Collection
from datetime import datetime, timedelta
from functools import partial

import sqlalchemy as sa
import structlog

from b3lb.bbb.client import NodeClient, NodeTarget
from b3lb.crypto import CryptoError, KeyRing
from b3lb.db.configuration import secret_context
from b3lb.db.engine import database_clock
from b3lb.db.node_states import NodePoll, StateRow, insert_first_states, load_polls
from b3lb.health import Observation, next_state
from b3lb.load import node_load
from b3lb_operator.database import Database, DatabaseUnavailableError

FLUSH_SECONDS = 0.1

_log = structlog.stdlib.get_logger(__name__)


class Prober:
    """Probes nodes by request; one round per request, several at a time."""

    def __init__(
        self, *, database: Database, client: NodeClient, keys: KeyRing, on_stored: Callable[[str], None]
    ) -> None:
        """Take the parts.

        Args:
            database: Where the nodes are read and their states written.
            client: What polls; it bounds the polls under way.
            keys: What decrypts the nodes' secrets.
            on_stored: Called with the namespace in which states were written.
        """
        self._database = database
        self._client = client
        self._keys = keys
        self._on_stored = on_stored
        self._requests: asyncio.Queue[tuple[str, frozenset[int]]] = asyncio.Queue()

    def request(self, namespace: str, node_ids: Collection[int]) -> None:
        """Probe nodes, by ID, as soon as possible."""
        if node_ids:
            self._requests.put_nowait((namespace, frozenset(node_ids)))

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as group:
            while True:
                namespace, node_ids = await self._requests.get()
                group.create_task(self._round(namespace, node_ids))

    async def _round(self, namespace: str, node_ids: frozenset[int]) -> None:
        """Probe some nodes; whatever fails here is left to the jobs' next tick."""
        try:
            polls, now = await self._database.call(lambda connection: _load(connection, namespace, node_ids))
            await self._probe(namespace, polls, now)
        except DatabaseUnavailableError as error:
            _log.warning("probe left to the next tick", namespace=namespace, error=str(error))
        except Exception as error:  # noqa: BLE001 - a bug here must not end the operator: the jobs poll anyway
            _log.error("probe failed", namespace=namespace, exc_info=error)

    async def _probe(self, namespace: str, polls: list[NodePoll], now: datetime) -> None:
        """Poll in parallel and store what came in every so often, so that nobody waits for the slowest."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        pending = {asyncio.create_task(self._observe(namespace, poll)) for poll in polls}
        try:
            while pending:
                await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
                await asyncio.sleep(FLUSH_SECONDS)
                done = {task for task in pending if task.done()}
                pending -= done
                moment = now + timedelta(seconds=loop.time() - began)
                seen = [result for task in done if (result := task.result()) is not None]
                rows = [first_state(poll, observation, now=moment) for poll, observation in seen]
                if await self._database.call(partial(insert_first_states, rows=rows)):
                    self._on_stored(namespace)
        finally:
            for task in pending:
                task.cancel()
            await asyncio.gather(*pending, return_exceptions=True)

    async def _observe(self, namespace: str, poll: NodePoll) -> tuple[NodePoll, Observation] | None:
        context = secret_context(namespace, poll.name)
        try:
            secret = self._keys.decrypt(poll.secret_ciphertext, poll.secret_key_id, context=context)
        except CryptoError as error:
            _log.error("secret not decrypted", namespace=namespace, node=poll.name, error=str(error))
            return None
        target = NodeTarget(
            name=poll.name,
            api_url=poll.api_url,
            load_url=poll.load_url,
            secret=secret,
            algorithm=poll.algorithm,
            ca_certificates=poll.ca_certificates,
            timeout_seconds=poll.timeout_seconds,
        )
        return poll, (await self._client.observe(target)).observation


def first_state(poll: NodePoll, observation: Observation, *, now: datetime) -> StateRow:
    """Return the row of what the first poll of a node's revision saw."""
    jitter = random.random()  # noqa: S311 - spreads polls, no cryptography
    state = next_state(poll.state, observation, revision=poll.revision, policy=poll.health, now=now, jitter=jitter)
    load = node_load(
        poll.formula,
        attendees=state.attendees,
        meetings=state.meetings,
        cpu=state.cpu,
        weight_percent=poll.weight_percent,
    )
    return poll.node_id, state, load, now if observation.succeeded else poll.seen_at


def _load(connection: sa.Connection, namespace: str, node_ids: Collection[int]) -> tuple[list[NodePoll], datetime]:
    """Return what it takes to poll the nodes whose present revision has no state yet, and the database's time."""
    polls = [poll for poll in load_polls(connection, namespace) if poll.node_id in node_ids]
    fresh = [poll for poll in polls if poll.state is None or poll.state.revision < poll.revision]
    return fresh, database_clock(connection)
