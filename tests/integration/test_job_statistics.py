"""The queue statistics from job to command: what a user gets is what the core queue counted."""

import csv
import io
import json
import sys
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from b3lb.db.accounting import begin_months, load_due_months, raise_peaks
from b3lb.db.engine import count_statements, transaction
from b3lb.db.leases import Lease
from b3lb.db.meetings import open_meetings
from b3lb.db.node_states import write_states
from b3lb.db.secret_metrics import load_secret_metrics
from b3lb.db.secret_states import load_totals, write_totals
from b3lb.db.ticks import heartbeat
from b3lb.meetings.model import MeetingChanges
from b3lb.meetings.totals import changed_lists
from b3lb.metrics.tenants import tenant_text
from b3lb_cli import cli
from b3lb_jobs.task_table import route
from tests.integration.database_farm import Farm
from tests.integration.database_meetings import Meetings
from tests.integration.job_runs import changed_tables, environment, job, log_lines, runner, versions

pytestmark = pytest.mark.integration

STATISTICS = route(["update-statistics"])
BEGIN = datetime(2026, 11, 10, 8, tzinfo=UTC)
END = BEGIN + timedelta(minutes=10)


@pytest.fixture
def meetings(farm: Farm) -> Meetings:
    """Two meetings of two front ends and one of another secret, that were seen for ten minutes."""
    made = Meetings(farm)
    times: dict[str, Any] = {"created_at": BEGIN, "first_seen_at": BEGIN}
    writes = (
        made.meeting("m-1", "anna", "ben", **times),
        made.meeting("m-2", "cleo", origin="another", **times),
        made.meeting("m-3", "dora", owner="uni-002", **times),
    )
    with transaction(farm.engine, timeout_seconds=10) as connection:
        write_states(connection, [(node_id, farm.state(), 1.0, None) for node_id in made.nodes.values()])
        begin_months(connection, load_due_months(connection, "default", BEGIN), listed=(), at=BEGIN)
        open_meetings(connection, MeetingChanges(writes=writes), at=BEGIN)
        raise_peaks(connection, "default")
        write_totals(connection, changed_lists(load_totals(connection, "default")))
        lease = Lease(name="l", holder="pod", token=1)
        heartbeat(connection, "default", "check-nodes", tick_at=END, started_at=END, lease=lease, summary={})
    return made


def b3lb(url: str, arguments: Sequence[str], monkeypatch: pytest.MonkeyPatch) -> tuple[int, str, str]:
    """Run the command within this process; return its exit code and what it printed."""
    for name, value in environment(url, B3LB_NAMESPACE="default").items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "argv", ["b3lb"])
    with redirect_stdout(io.StringIO()) as out, redirect_stderr(io.StringIO()) as err:
        try:
            code = cli.main(arguments)
        except SystemExit as error:
            code = int(error.code or 0)
    return code, out.getvalue(), err.getvalue()


def test_one_run_notes_statistics_texts_and_accounts_and_the_commands_print_them(
    meetings: Meetings, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = job(database_url, "update-statistics", "--once", B3LB_NAMESPACE="default")
    assert result.returncode == 0, result.stderr
    (task,) = log_lines(result.stderr)[-1]["tasks"]
    assert (task["task"], task["state"], task["done"]) == ("update-statistics", "SUCCESS", 1)
    assert meetings.farm.rows(
        "SELECT secrets.name, origin, tenant_stats.meetings, attendees, listeners, voices, videos, moderators"
        " FROM tenant_stats JOIN secrets ON secrets.id = secret_id ORDER BY 1, 2"
    ) == [
        ("uni-001", "a front end", 1, 2, 1, 2, 3, 4),
        ("uni-001", "another", 1, 1, 1, 2, 3, 4),
        ("uni-002", "a front end", 1, 1, 1, 2, 3, 4),
    ]
    with transaction(meetings.farm.engine, timeout_seconds=10) as connection:
        text = tenant_text(load_secret_metrics(connection, "default"), "UNI")
    assert 'b3lb_attendees{secret="UNI-001"} 3.0' in text
    assert b3lb(database_url, ["tenants", "metrics", "UNI"], monkeypatch) == (0, text, "")
    code, out, _ = b3lb(database_url, ["accounting", "--tenant", "UNI", "-o", "json"], monkeypatch)
    (month,) = json.loads(out)["items"]
    assert (code, month["month"], month["tenant"], month["recordingBytes"]) == (0, "2026-11", "UNI", None)
    assert (month["participantMinutes"], month["meetingMinutes"]) == (40.0, 30.0)
    assert (month["peakAttendees"], month["peakMeetings"], month["closedAt"]) == (4, 3, None)
    code, out, _ = b3lb(database_url, ["accounting", "--month", "2026-11", "-o", "csv"], monkeypatch)
    (row,) = csv.DictReader(io.StringIO(out))
    assert (row["participantMilliseconds"], row["recordingBytes"]) == ("2400000", "")
    code, out, _ = b3lb(database_url, ["accounting"], monkeypatch)
    assert out.splitlines()[1].split() == ["2026-11", "UNI", "40.0", "30.0", "4", "3", "-", "running"]


async def test_a_run_in_which_nothing_changed_writes_only_its_own_traces_and_old_rows_go(
    meetings: Meetings, database_url: str
) -> None:
    async with runner(database_url, entries=STATISTICS) as run:
        await run.tick()
        before = versions(meetings.farm.engine)
        await run.tick()
        changed = changed_tables(before, versions(meetings.farm.engine))
        assert changed == {"heartbeats", "leases", "task_runs"}
        meetings.end(meetings.id("m-2"), at=END)
        await run.tick()
    assert meetings.farm.rows("SELECT count(*) FROM tenant_stats WHERE origin = 'another'") == [(0,)]
    assert meetings.farm.rows("SELECT text FROM tenant_metrics")[0][0].count('b3lb_meetings_total{secret="UNI"} 1.0')


async def test_a_deleted_tenants_text_goes(meetings: Meetings, database_url: str) -> None:
    async with runner(database_url, entries=STATISTICS) as run:
        await run.tick()
        meetings.farm.run("UPDATE tenants SET deleted_at = now()")
        await run.tick()
    assert meetings.farm.rows("SELECT * FROM tenant_metrics") == []


@pytest.mark.parametrize("number", [1, 40])
async def test_the_number_of_statements_does_not_grow_with_meetings_and_tenants(
    farm: Farm, database_url: str, number: int
) -> None:
    made = Meetings(farm)
    names = [f"t{chr(97 + n // 26)}{chr(97 + n % 26)}" for n in range(number)]
    ids = farm.fill_tenants([farm.tenant(name) for name in names], [farm.api_secret(name, 1) for name in names])
    writes = [made.meeting(f"m-{name}-{n}", "a", owner=None) for name in names for n in range(number)]
    made.secrets |= ids
    made.write(
        *[made.meeting(w.internal_id, "a", owner=f"{w.internal_id[2:5]}-001", origin=w.internal_id) for w in writes]
    )
    async with runner(database_url, entries=STATISTICS) as run:
        with count_statements(run.database.engine) as counter:
            await run.tick()
    assert counter.count <= 20


@pytest.mark.usefixtures("meetings")
@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["tenants", "metrics", "NONE"], 1, "no BBBTenant none in namespace default; there are: uni"),
        (["tenants", "metrics", "UNI"], 1, "no metrics of BBBTenant uni were written yet"),
        (["accounting", "--tenant", "NONE"], 1, "no BBBTenant none in namespace default; there are: uni"),
        (["accounting", "--month", "2026-13"], 2, "'2026-13' is not a month: write YYYY-MM, such as 2026-11"),
        (["accounting", "--month", "nov"], 2, "'nov' is not a month"),
        (["accounting", "-o", "xml"], 2, "invalid choice: 'xml'"),
        (["tenants", "pay"], 2, "COMMAND"),
        (["tenants", "metrics", "a/b"], 2, "an object's name has"),
    ],
)
def test_what_cannot_be_answered_is_one_line(
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    code: int,
    message: str,
) -> None:
    found, out, err = b3lb(database_url, arguments, monkeypatch)
    assert (found, out) == (code, "")
    assert message in err
    assert len(err.splitlines()) == 1


def test_a_dry_run_says_what_would_be_written_and_writes_nothing(meetings: Meetings, database_url: str) -> None:
    before = versions(meetings.farm.engine)
    result = job(database_url, "update-statistics", "--dry-run", B3LB_NAMESPACE="default")
    assert result.returncode == 0, result.stderr
    objects = [line["change"]["object"] for line in log_lines(result.stdout) if "change" in line]
    assert objects == ["stats/uni-001", "stats/uni-001", "stats/uni-002", "accounting/uni", "metrics/uni"]
    assert versions(meetings.farm.engine) == before


def test_a_month_and_the_metrics_of_a_tenant_have_what_its_recordings_take(
    meetings: Meetings, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    farm = meetings.farm
    for number, slug in enumerate(("UNI", "UNI", "FH")):
        farm.run(
            "INSERT INTO record_sets (namespace, record_id, meeting_id, tenant_slug, sub_id, ended_at, install_id,"
            " archive_key, archive_bytes) VALUES ('default', :id, 'm', :slug, 1, now(), gen_random_uuid(), 'a', 1000)",
            id=f"r-{number}",
            slug=slug,
        )
    farm.run(
        "INSERT INTO records (record_set_id, profile, file_bytes) SELECT id, 'hd', 500 FROM record_sets"
        " WHERE record_id = 'r-0'"
    )

    def month() -> Any:
        assert job(database_url, "update-statistics", "--once", B3LB_NAMESPACE="default").returncode == 0
        _, out, _ = b3lb(database_url, ["accounting", "--tenant", "UNI", "-o", "json"], monkeypatch)
        return json.loads(out)["items"][0]["recordingBytes"]

    assert month() == 2500
    text = b3lb(database_url, ["tenants", "metrics", "UNI"], monkeypatch)[1]
    assert 'b3lb_record_bytes{kind="archive",tenant="UNI"} 2000.0' in text
    assert 'b3lb_record_bytes{kind="video",tenant="UNI"} 500.0' in text
    assert b3lb(database_url, ["accounting"], monkeypatch)[1].splitlines()[1].split()[-3:] == ["2.44", "KiB", "running"]
    farm.run("DELETE FROM records")
    farm.run("DELETE FROM record_sets")
    assert month() == 0, "what was deleted takes nothing any more"
