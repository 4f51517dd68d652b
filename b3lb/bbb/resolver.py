"""Name lookups by c-ares: no threads, so names that hang do not keep others from being looked up."""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Sequence
from typing import Any

from aiohttp import AsyncResolver
from aiohttp.abc import AbstractResolver, ResolveResult

# Two tries of a name server take 1 s + 2 s: within the default budget of a node, so that a lost packet is repeated
# and a lookup that nobody awaits any more ends by itself.
TRY_SECONDS = 1.0
TRIES = 2


class LookupResolver(AbstractResolver):
    """A resolver that knows which names are being looked up, to tell in which phase a request ran out of time.

    Args:
        nameservers: Addresses (``IP`` or ``IP:port``) of name servers; None: those of the system.
    """

    def __init__(self, nameservers: Sequence[str] | None = None) -> None:
        options: dict[str, Any] = {"timeout": TRY_SECONDS, "tries": TRIES}
        if nameservers is not None:
            options["nameservers"] = list(nameservers)
        self._resolver = AsyncResolver(**options)
        self._pending: Counter[str] = Counter()

    def is_pending(self, host: str) -> bool:
        """Whether ``host`` is being looked up."""
        return self._pending[host] > 0

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Return the addresses of ``host`` (see ``aiohttp.abc.AbstractResolver``).

        Raises:
            OSError: The lookup failed; its cause is the ``aiodns.error.DNSError``.
        """
        self._pending[host] += 1
        try:
            return await self._resolver.resolve(host, port, family)
        finally:
            self._pending[host] -= 1

    async def close(self) -> None:
        """Cancel the lookups under way."""
        await self._resolver.close()
