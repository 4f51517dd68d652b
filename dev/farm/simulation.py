"""A running farm: the world, a server for each node, and the passing of time."""

import asyncio
from collections.abc import Collection, Mapping
from contextlib import suppress
from random import Random
from string import ascii_letters, digits
from typing import Final

from dev.farm.counters import RequestCounter, farm_counts
from dev.farm.messages import (
    DEFAULT_ALGORITHMS,
    BehaviourChange,
    Clock,
    FarmCounts,
    FarmNode,
)
from dev.farm.server import NodeServer
from dev.farm.world import World

_SECRET_LENGTH: Final = 40
_SECRET_ALPHABET: Final = ascii_letters + digits


class Simulation:
    """A farm in this process.

    Args:
        world: the nodes and their meetings.
        seed: what the nodes' secrets follow from.
        step_seconds: seconds between two steps of their own accord.
        frozen: whether time stands still until :meth:`step` is called.
        algorithms: the checksum algorithms that the nodes accept.
    """

    def __init__(
        self,
        world: World,
        *,
        seed: int = 1,
        step_seconds: float = 5,
        frozen: bool = False,
        algorithms: Collection[str] = DEFAULT_ALGORITHMS,
    ) -> None:
        self.world = world
        self.frozen = frozen
        self._step_seconds = step_seconds
        self._lock = asyncio.Lock()
        self._clock_task: asyncio.Task[None] | None = None
        self._counter = RequestCounter()
        self.servers: dict[str, NodeServer] = {}
        for name, node in world.nodes.items():
            secret = "".join(Random(f"secret/{seed}/{name}").choices(_SECRET_ALPHABET, k=_SECRET_LENGTH))
            counter = RequestCounter(whole=self._counter)
            self.servers[name] = NodeServer(node, secret=secret, algorithms=algorithms, counter=counter)

    async def start(self) -> None:
        """Opens the nodes' ports and lets time pass."""
        for server in self.servers.values():
            await server.start()
        self._clock_task = asyncio.create_task(self._run_clock())

    async def close(self) -> None:
        """Stops time and closes the nodes' ports."""
        if self._clock_task is not None:
            self._clock_task.cancel()
            with suppress(asyncio.CancelledError):
                await self._clock_task
        for server in self.servers.values():
            await server.close()

    @property
    def farm_nodes(self) -> list[FarmNode]:
        """Where the nodes are, and their present secrets."""
        return [
            FarmNode(name=name, api_url=server.api_url, load_url=server.load_url, secret=server.secret)
            for name, server in self.servers.items()
        ]

    @property
    def clock(self) -> Clock:
        """The simulated time."""
        return Clock(steps=self.world.steps, now=self.world.now, frozen=self.frozen)

    async def step(self, count: int = 1, *, nodes: int | None = None) -> None:
        """Does so many steps, on the first nodes only if ``nodes`` says how many; requests are answered in between."""
        async with self._lock:
            for _ in range(count):
                self.world.step(nodes=nodes)
                await asyncio.sleep(0)

    async def set_behaviours(self, changes: Mapping[str, BehaviourChange]) -> None:
        """Changes how nodes answer; all names must be known."""
        async with self._lock:
            for name, change in changes.items():
                await self.servers[name].set_behaviour(change.behaviour, change.seconds)

    def counts(self) -> FarmCounts:
        """The request counters."""
        return farm_counts(self._counter, {name: server.counter for name, server in self.servers.items()})

    def reset_counts(self) -> None:
        """Sets the request counters to zero."""
        self._counter.reset()
        for server in self.servers.values():
            server.counter.reset()

    async def _run_clock(self) -> None:
        while True:
            await asyncio.sleep(self._step_seconds)
            if not self.frozen:
                await self.step()
