"""Which Events the audit becomes: each deletion on its tenant, once, and never thousands at a time."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from b3lb.db.legal_hold import AuditLine, audit_position
from b3lb_operator import audit_events
from b3lb_operator.audit_events import MOST_EVENTS, AuditEvents
from b3lb_operator.database import DatabaseUnavailableError
from b3lb_operator.events import Happening
from b3lb_operator.kinds import QUEUE, TENANT, Kind, Manifest
from b3lb_operator.store import Store
from tests.unit.operator_fakes import queue_manifest, tenant_manifest
from tests.unit.recording_rows import NOW, RECORD_ID, audit_line


class Audit:
    """A database with an audit."""

    def __init__(self) -> None:
        self.lines: list[AuditLine] = []
        self.start = 0
        self.error = ""

    async def call(self, function: Any) -> Any:
        if self.error:
            raise DatabaseUnavailableError(self.error)
        if function.func is audit_position:
            return self.start
        wanted = function.keywords
        found = sorted((line for line in self.lines if line.id > wanted["after"]), key=lambda line: line.id)
        return found[: wanted["most"]]


class Told:
    """What was told."""

    def __init__(self) -> None:
        self.events: list[tuple[str, str, str, str]] = []

    def tell(self, happening: Happening, *, kind: Kind, manifest: Manifest, occasion: str = "") -> None:
        self.events.append((f"{kind.name}/{manifest['metadata']['name']}", occasion, happening.reason, happening.note))


class Stage:
    def __init__(self) -> None:
        self.audit, self.told = Audit(), Told()
        store = Store(lambda _change: None)
        store.observe(TENANT, None, tenant_manifest())
        queue = queue_manifest()
        queue["spec"]["tasks"] = ["finish-deletions"]
        store.observe(QUEUE, None, queue)
        self.events = AuditEvents(self.audit, store, self.told, namespaces=["farm"])  # type: ignore[arg-type]  # only what is here is used
        self.queue, self.tenant = queue["metadata"]["name"], tenant_manifest()["metadata"]["name"]

    def add(self, number: int, **fields: Any) -> None:
        at = NOW + timedelta(seconds=number)
        self.audit.lines.append(audit_line(**{"id": number, "at": at, **fields}))


@pytest.fixture
def stage() -> Stage:
    return Stage()


async def test_a_deletion_is_an_event_on_its_tenant_and_only_once(stage: Stage) -> None:
    stage.add(1)
    await stage.events.look("farm")
    await stage.events.look("farm")
    ((where, occasion, reason, note),) = stage.told.events
    assert (where, occasion, reason) == (f"BBBTenant/{stage.tenant}", "audit-1", "RecordingDeleted")
    assert note.startswith(f"recording {RECORD_ID} was deleted by housekeeping: PastHold (3 objects")


@pytest.mark.parametrize("slug", [None, "NOBODY"])
async def test_what_belongs_to_no_tenant_stands_on_the_queue_that_deletes(stage: Stage, slug: str | None) -> None:
    stage.add(1, tenant_slug=slug, kind="object", reason="Orphan", subject="recordsets/x")
    await stage.events.look("farm")
    ((where, _, reason, note),) = stage.told.events
    assert (where, reason) == (f"BBBQueue/{stage.queue}", "ObjectDeleted")
    assert "object recordsets/x was deleted" in note


async def test_holds_and_releases_are_told_too(stage: Stage) -> None:
    stage.add(1, action="hold", reason="court order 7", actor="b3lb of alice")
    stage.add(2, action="release", reason="closed")
    await stage.events.look("farm")
    assert [reason for _, _, reason, _ in stage.told.events] == ["LegalHold", "LegalHoldReleased"]
    assert "by b3lb of alice: court order 7" in stage.told.events[0][3]


async def test_a_line_that_is_seen_after_a_younger_one_is_told_all_the_same(stage: Stage) -> None:
    stage.add(2)
    await stage.events.look("farm")
    stage.add(1)
    await stage.events.look("farm")
    assert [occasion for _, occasion, _, _ in stage.told.events] == ["audit-2", "audit-1"]


async def test_old_lines_are_not_read_again_and_again(stage: Stage) -> None:
    for number in (1, 1000):
        stage.add(number)
    await stage.events.look("farm")
    assert stage.events._positions == {"farm": 1}
    assert stage.events._told["farm"] == {1000}


async def test_a_new_operator_begins_with_what_events_are_still_kept_of(stage: Stage) -> None:
    stage.add(1)
    stage.add(2)
    stage.audit.start = 1
    await stage.events.look("farm")
    assert [occasion for _, occasion, _, _ in stage.told.events] == ["audit-2"]


async def test_thousands_at_once_are_summed_up(stage: Stage) -> None:
    for number in range(1, 301):
        stage.add(number, bytes=10)
    await stage.events.look("farm")
    assert len(stage.told.events) == MOST_EVENTS
    assert stage.told.events[-1][3].startswith("251 more lines of the audit, 2510 bytes")


async def test_more_than_a_look_reads_is_told_with_the_next_one(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_events, "PAGE", 2)
    monkeypatch.setattr(audit_events, "MOST_PAGES", 2)
    for number in range(1, 7):
        stage.add(number)
    await stage.events.look("farm")
    assert len(stage.told.events) == 4
    await stage.events.look("farm")
    assert len(stage.told.events) == 6


async def test_without_a_tenant_and_a_queue_nothing_is_told(stage: Stage) -> None:
    stage.add(1)
    events = AuditEvents(stage.audit, Store(lambda _change: None), stage.told, namespaces=["farm"])  # type: ignore[arg-type]  # only what is here is used
    await events.look("farm")
    assert stage.told.events == []
