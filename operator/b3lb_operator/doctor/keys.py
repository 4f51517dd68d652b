"""Whether the configured keys open every stored secret, the operator's and those that the pods get: pure functions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from b3lb.crypto import CryptoError, KeyRing
from b3lb.db.sealed_rows import SealedRow
from b3lb.findings import Check, Finding, Group

_ENCRYPTION = Check(Group.KEYS, "EncryptionKeys")
_ROTATION = Check(Group.KEYS, "KeyRotation")
_JOBS = Check(Group.KEYS, "JobSecrets")
_SHOWN = 3
_GUIDE = 'docs/running.md, "Changing the encryption key"'


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSecret:
    """A core Secret that the pods read: its ``problem``, and the keys in it where it is that of the keys."""

    namespace: str
    name: str
    problem: str = ""
    keys: KeyRing | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyFacts:
    """The rows, None while they cannot be read; the operator's keys; the pods' Secrets, or why not (``error``)."""

    rows: Sequence[SealedRow] | None
    keys: KeyRing
    job_secrets: Sequence[JobSecret] = ()
    error: str = ""


def check_keys(facts: KeyFacts) -> Iterator[Finding]:
    """Yield what is wrong with keys; no message holds a key or a value."""
    if facts.rows is None:
        yield _ENCRYPTION.unknown("the stored secrets cannot be read without the database")
    else:
        yield _readable(facts.rows, facts.keys)
        yield _rotation(facts.rows, facts.keys)
    if facts.error:
        yield _JOBS.unknown(f"the pods' Secrets cannot be read: {facts.error}")
    for secret in facts.job_secrets:
        yield _job_secret(secret, facts)


def unreadable(rows: Sequence[SealedRow], keys: KeyRing) -> list[SealedRow]:
    """Return the rows that some keys do not open."""
    return [row for row in rows if not _opens(row, keys)]


def _opens(row: SealedRow, keys: KeyRing) -> bool:
    try:
        keys.decrypt(row.ciphertext, row.key_id, context=row.context)
    except CryptoError:
        return False
    return True


def _readable(rows: Sequence[SealedRow], keys: KeyRing) -> Finding:
    closed = unreadable(rows, keys)
    live = [row for row in closed if not row.deleted]
    if live:
        message = (
            f"{len(live)} of {len(rows)} stored secrets cannot be decrypted ({_named(live)}); {_keys_told(live, keys)}"
        )
        remedy = f"give the operator that key again, or let it read the Secrets anew: {_RESTART}"
        return _ENCRYPTION.failed(message, remedy=remedy)
    if closed:
        message = f"{len(closed)} secrets of deleted objects cannot be decrypted; {_keys_told(closed, keys)}"
        return _ENCRYPTION.warning(message, remedy="nothing, if those objects are not to come back")
    return _ENCRYPTION.ok(f"all {len(rows)} stored secrets can be decrypted")


_RESTART = "kubectl rollout restart deployment/b3lb-operator"


def _rotation(rows: Sequence[SealedRow], keys: KeyRing) -> Finding:
    old = Counter(row.key_id for row in rows if row.key_id != keys.primary)
    if old:
        told = ", ".join(f"{count} under {key_id}" for key_id, count in sorted(old.items()))
        message = f"the rotation is not finished: {told}, {len(rows) - old.total()} under {keys.primary}"
        remedy = f"{_RESTART}, which re-encrypts; drop the old key only afterwards: {_GUIDE}"
        return _ROTATION.warning(message, remedy=remedy)
    idle = [key_id for key_id in keys.key_ids if key_id != keys.primary]
    if idle and rows:
        return _ROTATION.ok(
            f"all are under {keys.primary}; {', '.join(idle)} may be dropped when no rotation is going on"
        )
    return _ROTATION.ok(f"all are under {keys.primary}")


def _job_secret(secret: JobSecret, facts: KeyFacts) -> Finding:
    about = {"namespace": secret.namespace, "object": f"secret/{secret.name}"}
    if secret.problem:
        remedy = f"kubectl describe -n {secret.namespace} secret {secret.name}; docs/running.md says what it holds"
        return _JOBS.failed(f"the pods cannot use it: {secret.problem}", remedy=remedy, **about)
    if secret.keys is None:
        return _JOBS.ok("the pods find in it what they need", **about)
    rows = [row for row in facts.rows or () if row.namespace == secret.namespace and not row.deleted]
    closed = unreadable(rows, secret.keys)
    remedy = f"write the operator's B3LB_ENCRYPTION_KEYS into it: {_GUIDE}"
    if closed:
        message = (
            f"the pods' keys do not open {len(closed)} of {len(rows)} stored secrets; {_keys_told(closed, secret.keys)}"
        )
        return _JOBS.failed(message, remedy=remedy, **about)
    if facts.keys.primary not in secret.keys.key_ids:
        message = f"the pods lack the key {facts.keys.primary}, with which the operator encrypts"
        return _JOBS.failed(message, remedy=remedy, **about)
    return _JOBS.ok("the pods' keys open all that is stored", **about)


def _keys_told(rows: Sequence[SealedRow], keys: KeyRing) -> str:
    needed = ", ".join(sorted({row.key_id for row in rows}))
    return f"needed: {needed}, configured: {', '.join(keys.key_ids)}"


def _named(rows: Sequence[SealedRow]) -> str:
    rest = len(rows) - _SHOWN
    names = ", ".join(f"{row.kind}/{row.name}" for row in rows[:_SHOWN])
    return names + (f" and {rest} more" if rest > 0 else "")
