"""Events of the audit: every deletion of a recording, and every legal hold, on the BBBTenant whose it was.

What belongs to no tenant stands on the BBBQueue with the task that deletes. An Event's name follows from its line, so
whoever begins anew tells of the last hour once more without a second Event.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, timedelta
from functools import partial

import structlog

from b3lb.db.legal_hold import HOLD, RELEASE, AuditLine, audit_position, read_audit
from b3lb.db.record_deletion import DELETE, RECORD_SET
from b3lb.tasks import FINISH_DELETIONS
from b3lb_operator.database import Database, DatabaseUnavailableError
from b3lb_operator.events import NORMAL, Happening, Teller
from b3lb_operator.kinds import QUEUE, TENANT, Key, Kind
from b3lb_operator.store import Store

LOOK_SECONDS = 30.0
PAGE, MOST_PAGES = 200, 10
LATEST = timedelta(hours=1)
"""The API server keeps Events for an hour by default: older lines are none any more."""

OVERLAP = timedelta(minutes=1)
"""So long after a younger line another one may be seen: it is numbered when written, and seen when committed."""

MOST_EVENTS = 50
"""So many Events a look makes of one object; the last one sums up the rest."""

REASONS = {DELETE: "RecordingDeleted", HOLD: "LegalHold", RELEASE: "LegalHoldReleased"}
_OBJECT_DELETED = "ObjectDeleted"
_CONDITION = "Recording"

_log = structlog.stdlib.get_logger(__name__)


class AuditEvents:
    """Follows the audit of some namespaces."""

    def __init__(self, database: Database, store: Store, events: Teller, *, namespaces: Sequence[str]) -> None:
        """Take the parts; nothing is read yet."""
        self._database = database
        self._store = store
        self._events = events
        self._namespaces = namespaces
        self._positions: dict[str, int] = {}
        self._told: dict[str, set[int]] = defaultdict(set)

    async def run(self) -> None:
        """Tell until cancelled; a database that is away costs nothing but time."""
        while True:
            for namespace in self._namespaces:
                try:
                    await self.look(namespace)
                except DatabaseUnavailableError as error:
                    _log.debug("audit not read", namespace=namespace, error=str(error))
            await asyncio.sleep(LOOK_SECONDS)

    async def look(self, namespace: str) -> None:
        """Tell of what is new.

        Raises:
            DatabaseUnavailableError: The database does not say.
        """
        if namespace not in self._positions:
            start = partial(audit_position, namespace=namespace, age=LATEST)
            self._positions[namespace] = await self._database.call(start)
        lines: list[AuditLine] = []
        for _ in range(MOST_PAGES):
            after = lines[-1].id if lines else self._positions[namespace]
            page = await self._database.call(partial(read_audit, namespace=namespace, after=after, most=PAGE))
            lines += page
            if len(page) < PAGE:
                break
        self._tell(namespace, [line for line in lines if line.id not in self._told[namespace]])
        self._move(namespace, lines, whole=len(lines) == PAGE * MOST_PAGES)

    def _move(self, namespace: str, lines: Sequence[AuditLine], *, whole: bool) -> None:
        """Go on behind the last line that nothing older can follow any more."""
        if not lines:
            return
        settled = lines[-1].at - OVERLAP
        done = [line.id for line in lines if whole or line.at < settled]
        self._positions[namespace] = max([self._positions[namespace], *done])
        self._told[namespace] = {line.id for line in lines if line.id > self._positions[namespace]}

    def _tell(self, namespace: str, lines: Iterable[AuditLine]) -> None:
        by_object: dict[tuple[Kind, Key], list[AuditLine]] = defaultdict(list)
        for line in lines:
            found = self._object_of(namespace, line)
            if found is not None:
                by_object[found].append(line)
        for (kind, key), concerned in by_object.items():
            manifest = self._store.get(kind, key)
            if manifest is None:
                continue
            for line, happening in happenings_of(concerned):
                self._events.tell(happening, kind=kind, manifest=manifest, occasion=f"audit-{line.id}")

    def _object_of(self, namespace: str, line: AuditLine) -> tuple[Kind, Key] | None:
        if line.tenant_slug is not None:
            key = Key(namespace, line.tenant_slug.lower())
            if self._store.get(TENANT, key) is not None:
                return TENANT, key
        queues = self._store.in_namespace(QUEUE, namespace)
        return next(((QUEUE, key) for key, queue in queues if FINISH_DELETIONS in queue["spec"].get("tasks", ())), None)


def happenings_of(lines: Sequence[AuditLine]) -> Iterator[tuple[AuditLine, Happening]]:
    """Iterate over what is told of lines about one object: each by itself, of very many the last ones as a sum."""
    alone = lines if len(lines) <= MOST_EVENTS else lines[: MOST_EVENTS - 1]
    for line in alone:
        yield line, Happening(_CONDITION, NORMAL, _reason(line), _note(line))
    rest = lines[len(alone) :]
    if rest:
        size, last = sum(line.bytes for line in rest), rest[-1]
        note = f"{len(rest)} more lines of the audit, {size} bytes: b3lb recordings audit lists them"
        yield last, Happening(_CONDITION, NORMAL, _reason(last), note)


def _reason(line: AuditLine) -> str:
    if line.action == DELETE and line.kind != RECORD_SET:
        return _OBJECT_DELETED
    return REASONS.get(line.action, "Audited")


def _note(line: AuditLine) -> str:
    what = "recording" if line.kind == RECORD_SET else line.kind
    done = {DELETE: "deleted", HOLD: "taken under a legal hold", RELEASE: "released from its legal hold"}
    told = f"{what} {line.subject} was {done.get(line.action, line.action)} by {line.actor}: {line.reason}"
    at = f"{line.at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
    if line.action != DELETE:
        return f"{told} ({at})"
    return f"{told} ({line.objects} objects, {line.bytes} bytes, {at})"
