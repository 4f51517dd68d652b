"""The task ``deliver-callbacks``: sends the callbacks whose turn it is, and notes how that went.

A callback is sent for the first time by whoever made true what it tells of, if that is possible; what is left is this
task's. One that was sent and whose note was lost is sent again: receivers have to expect that, as they have of BBB.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from functools import partial
from types import TracebackType
from typing import Any, Self

import sqlalchemy as sa

from b3lb.callbacks.delivery import SECONDS, CallbackClient, Message
from b3lb.callbacks.outbox import Attempt, CallbackReason, CallbackState, Delivery, after_attempt
from b3lb.callbacks.signing import SigningError, recording_ready_form
from b3lb.crypto import CryptoError, KeyRing
from b3lb.db.callbacks import DueCallback, load_due_callbacks, write_deliveries
from b3lb.db.planning import api_secret_context
from b3lb_jobs.interface import Event, Findings, TaskContext

MOST_CALLBACKS = 200
"""So many are looked at in a run; the rest follows with the next one."""

AT_ONCE = 50


class DeliverCallbacks:
    """Delivers a namespace's callbacks.

    Args:
        context: Of the run.
        client: Sends them.
        chance: Returns random numbers of [0, 1).
    """

    def __init__(
        self,
        context: TaskContext,
        *,
        client: CallbackClient | None = None,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._context = context
        self._client = client or CallbackClient()
        self._chance = chance

    async def __aenter__(self) -> Self:
        await self._client.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.__aexit__(kind, error, trace)

    def load(self, connection: sa.Connection, _at: datetime) -> Sequence[DueCallback]:
        """Read the callbacks whose turn it is: one statement."""
        return load_due_callbacks(connection, self._context.namespace, most=MOST_CALLBACKS)

    def least_seconds(self, _loaded: Sequence[DueCallback]) -> float:
        """Return zero: what is not sent now is sent by the next run."""
        return 0.0

    def seconds_needed(self, loaded: Sequence[DueCallback]) -> float:
        """Return how long it takes if every receiver hangs."""
        return -(-len(loaded) // AT_ONCE) * SECONDS

    async def work(self, loaded: Sequence[DueCallback], *, at: datetime, seconds: float) -> Findings:  # noqa: ARG002 - a task's signature
        """Send what can be sent in time; what cannot is not counted as an attempt."""
        if self._context.dry_run:
            return Findings(summary={"due": len(loaded)}, changes=[_row(item) for item in loaded])
        ends_at = time.monotonic() + seconds - SECONDS
        places = asyncio.Semaphore(AT_ONCE)

        async def deliver(item: DueCallback) -> Delivery | None:
            async with places:
                if time.monotonic() > ends_at:
                    return None
                attempt = await send(item, self._client, self._context.keys, self._context.namespace)
                return after_attempt(item.delivery, attempt, now=self._context.now(), chance=self._chance())

        outcomes = await asyncio.gather(*map(deliver, loaded))
        tried = {item.id: (item, new) for item, new in zip(loaded, outcomes, strict=True) if new is not None}
        states = {number: new for number, (_, new) in tried.items()}
        return Findings(
            summary={"due": len(loaded), **_numbers(states.values())},
            write=partial(write_deliveries, deliveries=states) if states else None,
            events=[_event(item, new) for item, new in tried.values()],
        )


async def send(item: DueCallback, client: CallbackClient, keys: KeyRing, namespace: str) -> Attempt:
    """Sign a callback with its API secret and send it once; whatever is in the way is in the result, not raised."""
    if item.secret_ciphertext is None or item.secret_key_id is None:
        return Attempt(None, CallbackReason.SECRET_NOT_FOUND, f"the API secret {item.secret_name} has no value")
    place = api_secret_context(namespace, item.secret_name)
    try:
        secret = keys.decrypt(item.secret_ciphertext, item.secret_key_id, context=place)
        form = recording_ready_form(meeting_id=item.meeting_id, record_id=item.record_id, secret=secret)
    except (CryptoError, SigningError) as error:
        return Attempt(None, CallbackReason.SECRET_NOT_FOUND, str(error))
    return await client.send(Message(item.url, form))


def _numbers(states: Iterable[Delivery]) -> dict[str, int]:
    found = [item.state for item in states]
    return {
        "delivered": found.count(CallbackState.DELIVERED),
        "given_up": found.count(CallbackState.FAILED),
        "to_be_repeated": found.count(CallbackState.PENDING),
    }


def _event(item: DueCallback, new: Delivery) -> Event:
    fields = {"kind": item.kind, "record_id": item.record_id, "secret": item.secret_name, "attempts": new.attempts}
    if new.state is CallbackState.DELIVERED:
        return Event("callback delivered", fields)
    message = "callback given up" if new.state is CallbackState.FAILED else "callback failed; it is sent again"
    return Event(message, {**fields, "reason": new.reason, "message": new.message}, warning=True)


def _row(item: DueCallback) -> Mapping[str, Any]:
    # The URL may hold a token of the front end's.
    return {
        "object": f"callback/{item.record_id}",
        "secret": item.secret_name,
        "attempts": item.delivery.attempts,
        "message": "would be sent",
    }
