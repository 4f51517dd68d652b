"""``b3lb meetings`` prints what the farm truly holds, and independent clients read it so."""

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from lxml import etree

from b3lb.db.configuration import apply_secrets, apply_tenants
from b3lb.db.engine import transaction
from b3lb.db.rows import ApiSecretRow, TenantRow
from b3lb.meetings.answer import meetings_answer
from b3lb_cli import cli
from dev.farm.messages import PlacedMeeting, SecretDetail
from dev.farm.process import Farm
from dev.postgres import Postgres
from tests.integration.answer_server import serving
from tests.integration.bbb_clients import (
    by_bbbctl,
    by_bigbluebutton_api_python,
    seen_by_bbbctl,
    seen_by_bigbluebutton_api_python,
    shown,
)
from tests.integration.job_runs import (
    KEYS,
    NAMESPACE,
    all_healthy,
    changed_tables,
    configure,
    environment,
    job,
    node_rows,
    versions,
)

pytestmark = pytest.mark.integration

CREATED = datetime(2026, 1, 1, tzinfo=UTC)
SECRETS = (("UNIA", 0), ("UNIA", 1), ("UNIA", 2), ("UNIB", 7))
TENANTS = [TenantRow(slug.lower(), f"uid-{slug}", 1, CREATED, slug) for slug in ("UNIA", "UNIB")]
API_SECRETS = [
    ApiSecretRow(
        name=f"{slug.lower()}-{sub_id:03d}",
        uid=f"uid-{slug}-{sub_id}",
        generation=1,
        created_at=CREATED,
        tenant=slug.lower(),
        sub_id=sub_id,
        secret=f"known-{slug}-{sub_id}",
    )
    for slug, sub_id in SECRETS
]


@pytest.fixture(scope="module")
def module_farm() -> Iterator[Farm]:
    # It steps faster than time passes, and no meeting may begin in the future.
    started = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    with Farm(nodes=3, seed=4, meetings=10, attendees=4, frozen=True, tenants=SECRETS, start_time=started) as farm:
        yield farm


@pytest.fixture
def farm(module_farm: Farm, engine: sa.Engine) -> Farm:
    """Three healthy servers, whose tenants and secrets the database knows."""
    configure(engine, node_rows(module_farm.nodes))
    configure_tenants(engine)
    return all_healthy(module_farm)


def configure_tenants(
    engine: sa.Engine, tenants: Sequence[TenantRow] = TENANTS, secrets: Sequence[ApiSecretRow] = API_SECRETS
) -> None:
    with transaction(engine, timeout_seconds=10) as connection:
        apply_tenants(connection, NAMESPACE, tenants, complete=True)
        apply_secrets(connection, NAMESPACE, secrets, complete=True, keys=KEYS)


def poll(url: str) -> None:
    """Poll every node once; a run within the same second would find its tick done."""
    before = last_tick(url)
    while last_tick(url) == before:
        run = job(url, "check-nodes", "--once")
        assert run.returncode == 0, run.stderr


def last_tick(url: str) -> datetime | None:
    with psycopg.connect(url) as connection:
        row = connection.execute("select max(tick_at) from heartbeats where task = 'check-nodes'").fetchone()
    return None if row is None else row[0]


def b3lb(url: str, *arguments: str, **more: str) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "b3lb_cli", "meetings", *arguments]
    variables = environment(url, **more)
    del variables["B3LB_ENCRYPTION_KEYS"]
    return subprocess.run(command, env=variables, capture_output=True, timeout=60, check=False)


def printed(url: str, secret: str, output: str) -> bytes:
    """Return the command's standard output; within this process, for the sake of time."""
    out, error = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2))
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(error):
        patch.setenv("B3LB_DATABASE_URL", url)
        code = cli.main(["meetings", "--secret", secret, "--namespace", NAMESPACE, "--output", output])
    content, complaint = (stream.buffer.getvalue() for stream in (out, error))
    assert (code, b"known-UNI" in content + complaint) == (0, False), complaint
    return content


def as_json(url: str, secret: str) -> Any:
    return json.loads(printed(url, secret, "json"))


def truth(farm: Farm, slug: str, sub_id: int) -> SecretDetail:
    return farm.control.tenant(slug) if sub_id == 0 else farm.control.secret(slug, sub_id)


def name_of(slug: str, sub_id: int) -> str:
    return f"{slug.lower()}-{sub_id:03d}"


def in_client_words(meeting: PlacedMeeting) -> tuple[object, ...]:
    return shown(meeting, meeting_id=meeting.client_id)


def test_independent_clients_read_the_printed_answer_as_the_farm_means_it(farm: Farm, database_url: str) -> None:
    """Over hundreds of steps; sub-id 0 sees the whole tenant."""
    for _ in range(4):
        farm.control.step(60)
        poll(database_url)
        for slug, sub_id in SECRETS:
            meetings = truth(farm, slug, sub_id).meeting_list
            answer = printed(database_url, name_of(slug, sub_id), "xml")
            with serving(answer) as api_url:
                first = [seen_by_bbbctl(meeting) for meeting in by_bbbctl(api_url, "any")]
                second = [
                    seen_by_bigbluebutton_api_python(meeting) for meeting in by_bigbluebutton_api_python(api_url, "any")
                ]
            assert first == [in_client_words(meeting) for meeting in meetings]
            assert second == [in_client_words(meeting)[:8] for meeting in meetings]


def test_everything_of_a_meeting_passes_through_but_prefix_and_own_metadata(farm: Farm, database_url: str) -> None:
    poll(database_url)
    originals = {}
    for node in farm.nodes:
        for meeting in by_bbbctl(node.api_url, node.secret):
            metadata = meeting.get("metadata") or {}
            kept = {key: value for key, value in metadata.items() if not key.startswith("b3lb-")}
            originals[meeting["internalMeetingID"]] = {**meeting, "metadata": kept}
    seen = 0
    for slug, sub_id in SECRETS:
        clients = {meeting.internal_meeting_id: meeting.client_id for meeting in truth(farm, slug, sub_id).meeting_list}
        answer = printed(database_url, name_of(slug, sub_id), "xml")
        assert b"b3lb-" not in answer
        with serving(answer) as api_url:
            for meeting in by_bbbctl(api_url, "any"):
                internal_id = meeting["internalMeetingID"]
                expected = {**originals[internal_id], "meetingID": clients[internal_id]}
                assert {**meeting, "metadata": meeting.get("metadata") or {}} == expected
                seen += 1
    assert seen > 15


def test_json_and_table_say_the_same_with_the_node(farm: Farm, database_url: str) -> None:
    poll(database_url)
    meetings = farm.control.tenant("UNIA").meeting_list
    nodes = {node.name: row.name for node, row in zip(farm.nodes, node_rows(farm.nodes), strict=True)}
    content = as_json(database_url, "unia-000")
    assert [(entry["meetingID"], entry["node"]) for entry in content["meetings"]] == [
        (meeting.client_id, nodes[meeting.node]) for meeting in meetings
    ]
    for name in ("name", "attendees", "listeners", "voices", "videos", "moderators"):
        assert [entry[name] for entry in content["meetings"]] == [getattr(meeting, name) for meeting in meetings]
    assert [entry["isBreakout"] for entry in content["meetings"]] == [meeting.is_breakout for meeting in meetings]
    assert content["totals"]["meetings"] == len(meetings)
    assert content["totals"]["attendees"] == sum(meeting.attendees for meeting in meetings)
    assert 0 <= content["ageSeconds"] < 60
    result = b3lb(database_url, "--secret", "unia-000")
    lines = result.stdout.decode().splitlines()
    assert [line.split()[-1] for line in lines] == ["NODE", *(nodes[meeting.node] for meeting in meetings)]
    assert result.stderr.decode().startswith(
        f"{len(meetings)} meetings, {content['totals']['attendees']} attending; as of "
    )


def test_the_age_of_a_meeting_does_not_depend_on_its_nodes_clock(database_url: str, engine: sa.Engine) -> None:
    with Farm(nodes=1, meetings=0, frozen=True, start_time="2026-03-01T00:00:00+00:00", tenants=SECRETS) as farm:
        configure(engine, node_rows(farm.nodes))
        configure_tenants(engine)
        farm.control.set_clock_offset("node-001", 7200)
        made = farm.control.create_meeting("node-001", meeting_id="UNIB-007-room")
        poll(database_url)
        (entry,) = as_json(database_url, "unib-007")["meetings"]
    assert made.create_time - made.begun_at == 7_200_000
    assert abs(datetime.fromisoformat(entry["createdAt"]).timestamp() - made.begun_at / 1000) < 3


def test_a_disabled_secret_has_an_empty_list(farm: Farm, database_url: str, engine: sa.Engine) -> None:
    poll(database_url)
    assert as_json(database_url, "unia-001")["totals"]["meetings"] > 0
    configure_tenants(engine, secrets=[replace(row, enabled=row.sub_id != 1) for row in API_SECRETS])
    poll(database_url)
    answer = printed(database_url, "unia-001", "xml")
    assert answer == meetings_answer([])
    assert etree.fromstring(answer).findtext("messageKey") == "noMeetings"
    with serving(answer) as api_url:
        assert by_bbbctl(api_url, "any") == by_bigbluebutton_api_python(api_url, "any") == []
    content = as_json(database_url, "unia-001")
    assert (content["totals"]["meetings"], content["meetings"], content["reason"]) == (0, [], "Disabled")
    result = b3lb(database_url, "--secret", "unia-001")
    assert (result.returncode, result.stdout) == (0, b"")
    assert b"empty: Disabled" in result.stderr
    assert as_json(database_url, "unia-000")["totals"]["meetings"] == farm.control.tenant("UNIA").meetings
    configure_tenants(engine, tenants=[replace(row, enabled=False) for row in TENANTS])
    assert {as_json(database_url, name_of(*secret))["reason"] for secret in SECRETS} == {"TenantDisabled"}


def test_meetings_of_a_node_that_is_not_healthy_are_hidden_until_it_returns(farm: Farm, database_url: str) -> None:
    poll(database_url)
    everything = as_json(database_url, "unia-000")["totals"]["meetings"]
    farm.control.set_behaviour("node-002", "refused")
    for _ in range(3):
        poll(database_url)
    content = as_json(database_url, "unia-000")
    assert 0 < content["totals"]["meetings"] < everything
    assert {entry["node"] for entry in content["meetings"]} == {"node-000", "node-002"}
    all_healthy(farm)


def test_who_misspells_a_secret_is_told_which_there_are(farm: Farm, database_url: str, engine: sa.Engine) -> None:
    result = b3lb(database_url, "--secret", "unia-1", "-o", "xml")
    assert (result.returncode, result.stdout) == (1, b"")
    assert result.stderr == (
        b"b3lb: no BBBSecret unia-1 in namespace default; there are: unia-000, unia-001, unia-002, unib-007\n"
    )
    result = b3lb(database_url, "--secret", "unia-001", "-n", "elsewhere")
    assert (result.returncode, b"namespaces with some: default" in result.stderr) == (1, True)
    configure_tenants(engine, secrets=[row for row in API_SECRETS if row.name != "unia-001"])
    assert b3lb(database_url, "--secret", "unia-001").returncode == 1
    assert farm.nodes


@pytest.mark.usefixtures("farm")
def test_before_the_first_poll_the_list_is_empty_and_says_so(database_url: str) -> None:
    content = as_json(database_url, "unia-001")
    assert (content["totals"]["meetings"], content["asOf"], content["ageSeconds"]) == (0, None, None)
    assert b"no node has been polled yet" in b3lb(database_url, "--secret", "unia-001").stderr


@pytest.mark.usefixtures("farm")
def test_the_namespace_can_come_from_the_environment(database_url: str) -> None:
    for variable in ("B3LB_NAMESPACE", "B3LB_NAMESPACES"):
        assert b3lb(database_url, "--secret", "unia-001", **{variable: "elsewhere"}).returncode == 1
        assert b3lb(database_url, "--secret", "unia-001", "-n", "default", **{variable: "elsewhere"}).returncode == 0


def test_a_reader_that_goes_away_does_no_harm(farm: Farm, database_url: str) -> None:
    poll(database_url)
    assert farm.control.tenant("UNIA").meetings > 5
    for output in ("table", "json", "xml"):
        read_end, write_end = os.pipe()
        os.close(read_end)
        command = [sys.executable, "-m", "b3lb_cli", "meetings", "--secret", "unia-000", "-o", output]
        result = subprocess.run(
            command, env=environment(database_url), stdout=write_end, stderr=subprocess.PIPE, timeout=60, check=False
        )
        os.close(write_end)
        assert (result.returncode, result.stderr) == (0, b"")


def test_a_database_without_tables_or_a_database_is_75(empty_database_url: str) -> None:
    for url in (empty_database_url, f"{empty_database_url}_gone"):
        result = b3lb(url, "--secret", "unia-001")
        assert (result.returncode, result.stderr.count(b"\n"), result.stdout) == (75, 1, b"")
        assert result.stderr.startswith(b"b3lb: ")


def test_a_server_that_never_answers_is_given_up(tmp_path: Any) -> None:
    with Postgres(tmp_path / "frozen") as server:
        url = server.database_url("postgres")
        script = (
            "import sys; from b3lb_cli import cli, database; database.ANSWER_SECONDS = 1.5;"
            "sys.exit(cli.main(['meetings', '--secret', 'unia-001']))"
        )
        server.pause()
        try:
            result = subprocess.run(
                [sys.executable, "-c", script], env=environment(url), capture_output=True, timeout=30, check=False
            )
        finally:
            server.resume()
    assert (result.returncode, result.stderr) == (75, b"b3lb: database: no answer within 1.5 s\n")


@pytest.mark.usefixtures("farm")
def test_nothing_is_written(database_url: str, engine: sa.Engine) -> None:
    before = versions(engine)
    for output in ("table", "json", "xml"):
        printed(database_url, "unia-001", output)
    assert changed_tables(before, versions(engine)) == set()
