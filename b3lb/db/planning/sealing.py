"""Whether the secret of a row has to be encrypted, and for which place."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from b3lb.crypto import CryptoError, Encrypted, KeyRing, UnknownKeyError
from b3lb.db.rows import Existing


@dataclass(frozen=True, slots=True)
class SecretDifference:
    """How the secret of a wanted row differs from the existing one's; ``stale_key``: encrypted with an older key."""

    new: bool
    stale_key: bool
    dropped: bool

    @property
    def seal(self) -> bool:
        """Whether it has to be encrypted (again)."""
        return self.new or self.stale_key

    def __bool__(self) -> bool:
        return self.new or self.stale_key or self.dropped


def compare_secret(secret: str | None, sealed: Encrypted | None, keys: KeyRing, *, context: str) -> SecretDifference:
    """Compare a wanted secret with the stored one, without decrypting it."""
    if secret is None:
        return SecretDifference(new=False, stale_key=False, dropped=sealed is not None)
    return SecretDifference(
        new=not _same(secret, sealed, keys, context),
        stale_key=sealed is not None and sealed.key_id != keys.primary,
        dropped=False,
    )


def _same(secret: str, sealed: Encrypted | None, keys: KeyRing, context: str) -> bool:
    if sealed is None:
        return False
    try:
        return keys.matches(secret, sealed.hash, sealed.key_id, context=context)
    except UnknownKeyError:
        # The key was dropped too early: nobody can read the row any more, so it is written anew.
        return False


def reseal(existing: Iterable[Existing[Any]], keys: KeyRing, *, context: Callable[[str], str]) -> dict[int, Encrypted]:
    """Return, by ID, the secrets of deleted rows brought under the primary key, so that an older one can be dropped.

    No custom resource has these secrets any more, so they are decrypted. What no configured key decrypts is left out.

    Args:
        existing: Deleted rows.
        keys: The configured keys.
        context: Returns the place of a row's secret by the row's name.
    """
    resealed: dict[int, Encrypted] = {}
    for item in existing:
        sealed = item.secret
        if sealed is None or sealed.key_id == keys.primary:
            continue
        place = context(item.row.name)
        try:
            secret = keys.decrypt(sealed.ciphertext, sealed.key_id, context=place)
        except CryptoError:
            continue
        resealed[item.id] = keys.encrypt(secret, context=place)
    return resealed


def secret_context(namespace: str, name: str) -> str:
    """Return the place of a node's API secret, which its encryption authenticates."""
    return f"nodes/{namespace}/{name}"


def api_secret_context(namespace: str, name: str) -> str:
    """Return the place of a tenant's API secret, a BBBSecret, which its encryption authenticates."""
    return f"secrets/{namespace}/{name}"


def upload_secret_context(namespace: str, name: str) -> str:
    """Return the place of a cluster's upload secret, a BBBCluster's, which its encryption authenticates."""
    return f"clusters/{namespace}/{name}"
