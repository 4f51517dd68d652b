"""The task update-secrets-lists: it writes lists that changed and nothing else."""

from datetime import UTC, datetime
from typing import Any

import pytest

from b3lb.crypto import KeyRing
from b3lb.meetings.model import SecretTotals
from b3lb.meetings.totals import ComparedList, ListState
from b3lb_jobs.core import update_secrets_lists
from b3lb_jobs.core.update_secrets_lists import UpdateSecretsLists
from b3lb_jobs.interface import Findings, TaskContext

NOW = datetime(2026, 11, 23, 10, 30, 15, tzinfo=UTC)
EMPTY = ListState(SecretTotals(), b"")
BUSY = ListState(SecretTotals(meetings=2, attendees=30, listeners=4, voices=20, videos=3, moderators=2), b"two")
DISABLED = ListState(SecretTotals(), b"", "Disabled")


def made() -> UpdateSecretsLists:
    return UpdateSecretsLists(TaskContext("default", KeyRing.generate(), tick_seconds=15, max_in_flight=100))


async def found(*lists: ComparedList) -> Findings:
    return await made().work(lists, at=NOW, seconds=0.0)


async def test_lists_that_did_not_change_are_not_written() -> None:
    findings = await found(ComparedList(1, "a-001", BUSY, BUSY), ComparedList(2, "a-002", DISABLED, DISABLED))
    assert (findings.write, findings.changes, findings.failure) == (None, (), None)
    assert findings.summary == {"secrets": 2, "closed": 1, "changed": 0}


async def test_changed_lists_are_written_and_told(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[Any] = []

    def write_totals(_connection: object, rows: list[ComparedList]) -> int:
        written.extend(rows)
        return len(rows)

    monkeypatch.setattr(update_secrets_lists, "write_totals", write_totals)
    lists = [
        ComparedList(1, "a-001", BUSY, EMPTY),
        ComparedList(2, "a-002", EMPTY, EMPTY),
        ComparedList(3, "a-003", DISABLED, BUSY),
        ComparedList(4, "a-004", ListState(BUSY.totals, b"other"), BUSY),
        ComparedList(5, "a-005", EMPTY, None),
    ]
    findings = await found(*lists)
    assert findings.write is not None
    connection: Any = None
    assert findings.write(connection) == 4
    assert [item.name for item in written] == ["a-001", "a-003", "a-004", "a-005"]
    assert [(row["object"], row["reason"], row["meetings"], row["voices"]) for row in findings.changes] == [
        ("secret/a-001", "-", "0 → 2", "0 → 20"),
        ("secret/a-003", "- → Disabled", "2 → 0", "20 → 0"),
        ("secret/a-004", "-", "2", "20"),
        ("secret/a-005", "-", "- → 0", "- → 0"),
    ]
    assert findings.summary == {"secrets": 5, "closed": 1, "changed": 4}


async def test_a_dry_run_counts_many_lists() -> None:
    findings = await found(*(ComparedList(number, f"a-{number:03}", BUSY, EMPTY) for number in range(51)))
    assert findings.changes == ({"object": "secrets", "message": "51 lists changed"},)


def test_the_task_needs_no_time_for_anything_remote() -> None:
    assert (made().least_seconds([]), made().seconds_needed([])) == (0.0, 0.0)
