"""Loopback addresses: every pod gets its own, so that two pods can listen on the same port."""

import contextlib
import ipaddress
import random
import socket
from collections.abc import Iterator

# Where a real kubelet listens; nobody else on this machine has to do with it on such an address.
_CLAIM_PORT = 10250
_NETWORKS = ipaddress.IPv4Network("127.64.0.0/10")
_PREFIX_LENGTH = 24
_TRIES = 50


class AddressPool:
    """The addresses of a loopback network.

    The first one is the node's. An address that was given back is used again as late as possible.
    """

    def __init__(self, network: str) -> None:
        """Takes the network in CIDR notation.

        Raises:
            ValueError: it is not an IPv4 loopback network with at least two addresses.
        """
        self._network = ipaddress.IPv4Network(network)
        if not self._network.is_loopback or self._network.num_addresses < 4:  # noqa: PLR2004  # two hosts and the ends
            raise ValueError(f"{network} is not a loopback network with room for a node and a pod")
        self._count = self._network.num_addresses - 2
        self._next = 1
        self._used: set[str] = set()
        self.node = str(self._network[1])

    def take(self) -> str:
        """An unused address.

        Raises:
            LookupError: all addresses are in use.
        """
        for _ in range(self._count - 1):
            # Offset 1 is the node's.
            self._next = self._next + 1 if self._next < self._count else 2
            address = str(self._network[self._next])
            if address not in self._used:
                self._used.add(address)
                return address
        raise LookupError(f"all addresses of {self._network} are in use")

    def give_back(self, address: str) -> None:
        """Frees an address; unknown ones are ignored."""
        self._used.discard(address)


class AddressesInUseError(RuntimeError):
    """Another kubelet of this machine uses the addresses."""


@contextlib.contextmanager
def claimed(pool: AddressPool | None) -> Iterator[AddressPool]:
    """Holds a pool's addresses against other kubelets of this machine; one that is killed lets go of them.

    Args:
        pool: The addresses; None: any that are free.

    Raises:
        AddressesInUseError: another kubelet has them.
    """
    with socket.socket() as claim:
        for candidate in [pool] if pool is not None else _random_pools():
            try:
                claim.bind((candidate.node, _CLAIM_PORT))
            except OSError:
                continue
            yield candidate
            return
    raise AddressesInUseError(f"another kubelet uses {pool.node if pool is not None else _NETWORKS}")


def _random_pools() -> Iterator[AddressPool]:
    step = 2 ** (32 - _PREFIX_LENGTH)
    for _ in range(_TRIES):
        first = _NETWORKS[random.randrange(0, _NETWORKS.num_addresses, step)]
        yield AddressPool(f"{first}/{_PREFIX_LENGTH}")
