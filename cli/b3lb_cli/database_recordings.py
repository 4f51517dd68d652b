"""Recordings by the database itself: read, held, released, and the links to their videos."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

import sqlalchemy as sa

from b3lb.callbacks.outbox import CallbackState
from b3lb.crypto import KeyRing
from b3lb.db.callbacks import latest_callbacks
from b3lb.db.engine import database_clock
from b3lb.db.legal_hold import AlreadyDeletingError, latest_audit, set_legal_hold
from b3lb.db.record_deletion import RecordSetNotFoundError
from b3lb.db.recordings import find_recordings
from b3lb.db.tables import record_sets, records
from b3lb.recordings.hold import RecordSetState
from b3lb.recordings.links import link_query
from b3lb.views.recordings import audit_document, callback_document, recording_document
from b3lb.views.values import Document, listing, timestamp
from b3lb_cli.database import ask
from b3lb_cli.outcome import CommandError, ExitCode
from b3lb_cli.output import Item
from b3lb_cli.table import shown

_NAME_COLUMNS = 64


class DatabaseRecordings:
    """The recordings of a namespace; every call raises CommandError with what is allowed."""

    def __init__(self, url: str, namespace: str) -> None:
        self._url = url
        self._namespace = namespace

    def list(self, *, tenant: str | None, state: str | None, limit: int) -> Item:
        """Return the recordings that were uploaded last."""
        wanted = _choice(state, list(RecordSetState))
        return self._listing(
            "RecordingList",
            lambda connection: [
                recording_document(found)
                for found in find_recordings(
                    connection,
                    [self._namespace],
                    tenant=None if tenant is None else tenant.upper(),
                    state=wanted,
                    most=limit + 1,
                )
            ],
            limit,
        )

    def find(self, record_id: str) -> Item | None:
        """Return a recording with all that is known of it, None if there is none."""

        def read(connection: sa.Connection) -> Document | None:
            found = find_recordings(connection, [self._namespace], record_id=record_id, most=1, details=True)
            return recording_document(found[0]) if found else None

        return ask(self._url, read)

    def callbacks(self, *, record_id: str | None, state: str | None, limit: int) -> Item:
        """Return the newest callbacks."""
        wanted, names = _choice(state, list(CallbackState)), None if record_id is None else [record_id]
        return self._listing(
            "CallbackList",
            lambda connection: [
                callback_document(found)
                for found in latest_callbacks(
                    connection, [self._namespace], record_ids=names, state=wanted, most=limit + 1
                )
            ],
            limit,
        )

    def audit(self, *, record_id: str | None, action: str | None, limit: int) -> Item:
        """Return the newest lines of the audit."""
        return self._listing(
            "AuditList",
            lambda connection: [
                audit_document(found)
                for found in latest_audit(
                    connection, [self._namespace], subject=record_id, action=action, most=limit + 1
                )
            ],
            limit,
        )

    def hold(self, record_id: str, *, held: bool, reason: str, actor: str) -> bool:
        """Take a recording under a legal hold, or release it; return whether that changed anything."""

        def change(connection: sa.Connection) -> bool:
            try:
                return set_legal_hold(connection, self._namespace, record_id, held=held, reason=reason, actor=actor)
            except RecordSetNotFoundError:
                raise _unknown(record_id, self._namespace) from None
            except AlreadyDeletingError as error:
                raise CommandError(ExitCode.NOT_FOUND, f"{error}: it cannot be held any more") from None

        return ask(self._url, change, write=True)

    def links(self, record_id: str, *, base_url: str, keys: KeyRing | None, expires: timedelta | None) -> Item:
        """Return the addresses of a recording's videos, signed with ``keys`` if they are to expire."""

        def read(connection: sa.Connection) -> Document:
            if not find_recordings(connection, [self._namespace], record_id=record_id, most=1):
                raise _unknown(record_id, self._namespace)
            now = database_clock(connection)
            ends = None if expires is None else now + expires
            rows = connection.execute(_NONCES, {"namespace": self._namespace, "record_id": record_id})
            items = [
                {
                    "profile": row.profile,
                    "url": _address(base_url, row.nonce, keys, ends),
                    "expiresAt": timestamp(ends),
                    "bytes": row.file_bytes,
                }
                for row in rows
            ]
            return listing("LinkList", items, as_of=now)

        return ask(self._url, read)

    def _listing(self, kind: str, read: Callable[[sa.Connection], Sequence[Document]], limit: int) -> Item:
        def question(connection: sa.Connection) -> tuple[Sequence[Document], datetime]:
            return read(connection), database_clock(connection)

        found, now = ask(self._url, question)
        return listing(kind, found, as_of=now, most=limit)


_NONCES = (
    sa.select(records.c.profile, records.c.nonce, records.c.file_bytes)
    .join(record_sets, record_sets.c.id == records.c.record_set_id)
    .where(
        record_sets.c.namespace == sa.bindparam("namespace"),
        record_sets.c.record_id == sa.bindparam("record_id"),
        record_sets.c.state != RecordSetState.DELETING.value,
        records.c.state == "RENDERED",
        records.c.nonce.is_not(None),
    )
    .order_by(records.c.profile)
)


def _address(base_url: str, nonce: str, keys: KeyRing | None, ends: datetime | None) -> str:
    query = "" if keys is None or ends is None else f"?{link_query(nonce, ends, keys)}"
    return f"{base_url}/b3lb/r/{nonce}{query}"


def _choice(value: str | None, allowed: Sequence[str]) -> str | None:
    if value is None or value.upper() in allowed:
        return None if value is None else value.upper()
    message = f"there is no state {shown(value, _NAME_COLUMNS)}; the states are {', '.join(allowed)}"
    raise CommandError(ExitCode.USAGE, message)


def _unknown(record_id: str, namespace: str) -> CommandError:
    message = f"no recording {shown(record_id, _NAME_COLUMNS)} in namespace {namespace}"
    return CommandError(ExitCode.NOT_FOUND, f"{message}; b3lb recordings list shows the newest")
