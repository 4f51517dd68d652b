"""The nodes' API secrets in clear text, for as long as a run lives."""

from __future__ import annotations

from collections.abc import Iterable

from b3lb.crypto import CryptoError, KeyRing
from b3lb.db.node_states import NodePoll
from b3lb.db.planning import secret_context


class SecretCache:
    """Decrypts secrets when they are first needed and keeps them until the node's revision changes.

    A revision grows with every change of the secret, so re-encryption under another key does not invalidate it.
    """

    def __init__(self, keys: KeyRing, namespace: str) -> None:
        self._keys = keys
        self._namespace = namespace
        self._values: dict[tuple[int, int], str] = {}

    def __repr__(self) -> str:
        return f"SecretCache({len(self._values)} nodes)"

    def read(self, polls: Iterable[NodePoll]) -> tuple[dict[int, str], dict[int, str]]:
        """Return the secrets, and the IDs of the keys of those that cannot be decrypted, both by the node's ID."""
        secrets: dict[int, str] = {}
        unreadable: dict[int, str] = {}
        for poll in polls:
            place = (poll.node_id, poll.revision)
            try:
                if place not in self._values:
                    self._values[place] = self._keys.decrypt(
                        poll.secret_ciphertext, poll.secret_key_id, context=secret_context(self._namespace, poll.name)
                    )
            except CryptoError:
                unreadable[poll.node_id] = poll.secret_key_id
            else:
                secrets[poll.node_id] = self._values[place]
        return secrets, unreadable

    def keep_only(self, polls: Iterable[NodePoll]) -> None:
        """Forget the secrets of nodes and revisions that are gone."""
        present = {(poll.node_id, poll.revision) for poll in polls}
        self._values = {place: value for place, value in self._values.items() if place in present}
