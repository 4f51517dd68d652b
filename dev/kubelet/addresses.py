"""Loopback addresses: every pod gets its own, so that two pods can listen on the same port."""

import ipaddress


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
