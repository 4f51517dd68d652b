"""What the operator says is printed as tables for people, and word by word as JSON and YAML for programs."""

import json
from pathlib import Path

import pytest
import yaml

from tests.unit.commands import b3lb
from tests.unit.control_documents import DOCUMENTS, FAILED_ID, NODES, PING, RUN_ID, listing, queue
from tests.unit.fake_plane import PROXY, TOKEN, FakePlane

TABLES = {
    "queues": """\
NAME         STATE       SCHEDULE      DEPTH   ACTIVE   CONCURRENCY   OLDEST   LAST SUCCESS   NEXT RUN   1H OK/FAILED
core         up          * * * * *         0        1             1        -            10s      in 1m          240/0
record       on demand   -                12        3       3 of 10      12m              -          -              -
statistics   suspended   */5 * * * *       0        0             1        -            10s      in 1m          240/0
""",
    "nodes": """\
NAME   STATE              LOAD   CPU   MEETINGS   ATTENDEES   POLLED   SINCE   CLUSTER
bbb1   ready              1250   35%          4          61     6.2s      1d   default
bbb2   Cordoned              -     -          4          61     6.2s      1d   default
bbb3   ChecksumRejected      -     -          0           0        -      1d   default
""",
    "clusters": """\
NAME      NODES   READY   SCHEDULABLE   MEETINGS   ATTENDEES   HEADROOM   RECOMMENDED   MASS FAILURE
default       3       2             1          8         122        400             2   no
""",
    "tenants": """\
NAME   SLUG   ENABLED   ACCEPTED   MEETINGS   ATTENDEES   LIMIT REACHED   SECRETS   LAST USED
uni    UNI    yes       yes               8     122/500   no                    3          1h
""",
    "runs": f"""\
ID                                     TASK     QUEUE    STATE     PRIORITY   ATTEMPTS   AGE   DURATION   ERROR
{RUN_ID}   render   record   SUCCESS          9          1   10m   1m30s
{FAILED_ID}   render   record   FAILURE                     1   10m   1m30s      the disk [31m is full
""",
    "inspect ping": """\
operator 0.1.0, live, ready, leads, database up, loop lag 0.002s

QUEUE    ANSWER          LAST SUCCESS
core     up       2026-11-02 11:59:50
record   -                          -
""",
    "inspect active": f"""\
ID                                     TASK     QUEUE    POD                         ATTEMPT   RUNNING   ENQUEUED
{RUN_ID}   render   record   b3lb-run-7b1c0a52-1-x2x4x         1        9m   yes
""",
    "inspect scheduled": f"""\
  WHEN   QUEUE    TASKS                              KIND    PRIORITY   ID
in 20s   record   render                             retry          9   {RUN_ID}
 in 1m   core     check-nodes,update-secrets-lists   slot           -   -
""",
    "inspect registered": """\
TASK          QUEUE   RUNS            DESCRIPTION
check-nodes   core    every tick      Polls every node.
render        -       when enqueued   Renders.
""",
    "inspect stats": """\
TASK          QUEUE   PENDING   STARTED   SUCCESS   FAILURE   RETRY   REVOKED   1H OK/FAILED   24H OK/FAILED      P50    P95   LAST
check-nodes   core          0         1      5760         2       0         0          240/0          5758/2   0.127s   2.5s    10s
""",  # noqa: E501 - as wide as the table
    "inspect active-queues": """\
QUEUE   TASKS                              CONSUMERS   CONCURRENCY   SUSPENDED
core    check-nodes,update-secrets-lists           1             1   no
""",
    "meetings --secret uni-001": """\
MEETING                    NAME                 ATTENDEES   VOICES   VIDEOS   MODERATORS   AGE   NODE
67oWUGXuBLoG6FkWIqYDqt40   Ελληνική Φιλοσοφία          12        9        4            1   1h    bbb1
""",
    "accounting": """\
MONTH     TENANT   PARTICIPANT MIN   MEETING MIN   PEAK ATTENDEES   PEAK MEETINGS   RECORDINGS   STATE
2026-11   UNI              60118.2        2410.7              290              17            -   running
""",
}
PATHS = {command: f"/{command.split()[-1]}" for command in TABLES} | {"meetings --secret uni-001": "/meetings"}


@pytest.fixture
def plane(named_plane: FakePlane) -> FakePlane:
    named_plane.documents = dict(DOCUMENTS)
    named_plane.asked.clear()
    return named_plane


@pytest.mark.usefixtures("plane")
@pytest.mark.parametrize("command", TABLES)
def test_a_table_is_as_people_read_it(command: str) -> None:
    code, out, _ = b3lb(*command.split())
    assert (code, out) == (0, TABLES[command])


@pytest.mark.parametrize("command", ["inspect ping", "nodes", "queues"])
def test_the_documentation_shows_what_is_printed(command: str) -> None:
    text = (Path(__file__).resolve().parents[2] / "docs" / "cli.md").read_text(encoding="utf-8")
    assert f"```console\n$ b3lb {command}\n{TABLES[command]}```" in text


@pytest.mark.usefixtures("plane")
@pytest.mark.parametrize("command", TABLES)
def test_json_and_yaml_are_what_the_operator_said(command: str) -> None:
    said = DOCUMENTS[PATHS[command]]
    code, out, err = b3lb(*command.split(), "-o", "json")
    assert (code, json.loads(out), err) == (0, said, "")
    code, out, err = b3lb(*command.split(), "-o", "yaml")
    assert (code, yaml.safe_load(out), err) == (0, said, "")


@pytest.mark.usefixtures("plane")
def test_wide_tables_say_more() -> None:
    _, out, _ = b3lb("nodes", "-o", "wide")
    lines = out.splitlines()
    assert lines[0].split("   ")[-1] == "MESSAGE"
    assert "the server refuses the checksum: is the secret right?" in lines[3]
    assert "check-nodes,update-secrets-lists" in b3lb("queues", "-o", "wide")[1]


def test_a_namespace_is_asked_for_where_one_is_named(plane: FakePlane, monkeypatch: pytest.MonkeyPatch) -> None:
    assert b3lb("nodes")[0] == 0
    assert b3lb("nodes", "-n", "b3lb")[0] == 0
    monkeypatch.setenv("B3LB_NAMESPACE", "b3lb")
    assert b3lb("queues")[0] == 0
    assert plane.asked == [("/nodes", {}), ("/nodes", {"namespace": "b3lb"}), ("/queues", {"namespace": "b3lb"})]


@pytest.mark.usefixtures("plane")
def test_a_run_is_shown_with_its_result() -> None:
    code, out, _ = b3lb("result", RUN_ID)
    assert code == 0
    assert 'result      {"videos": 2}\n' in out
    assert json.loads(b3lb("result", RUN_ID, "-o", "json")[1]) == DOCUMENTS[f"/runs/{RUN_ID}"]


@pytest.mark.usefixtures("plane")
def test_a_tenants_metrics_are_the_text_itself() -> None:
    assert b3lb("tenants", "metrics", "UNI") == (0, 'b3lb_attendees{secret="UNI"} 122.0\n', "")


def test_an_option_before_the_verb_holds(plane: FakePlane) -> None:
    assert b3lb("tenants", "-n", "b3lb", "metrics", "UNI")[0] == 0
    assert b3lb("tenants", "-n", "other", "metrics", "UNI", "-n", "b3lb")[0] == 0
    assert plane.asked == [("/tenants/uni/metrics", {"namespace": "b3lb"})] * 2


@pytest.mark.usefixtures("plane")
def test_accounting_is_written_for_spreadsheets() -> None:
    lines = b3lb("accounting", "-o", "csv")[1].splitlines()
    assert lines[0].startswith("month,tenant,timeZone,participantMinutes")
    assert lines[1].startswith("2026-11,UNI,Europe/Berlin,60118.2,2410.7,3607092000,144642000,290,17,,")


def test_filters_reach_the_operator(plane: FakePlane) -> None:
    assert b3lb("runs", "--queue", "record", "--task", "render", "--state", "failure", "--limit", "7")[0] == 0
    assert b3lb("accounting", "--tenant", "UNI", "--month", "2026-11")[0] == 0
    assert plane.asked == [
        ("/runs", {"queue": "record", "task": "render", "state": "FAILURE", "limit": "7"}),
        ("/accounting", {"tenant": "uni", "month": "2026-11"}),
    ]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"ready": False, "problems": ["queue reader: \x1bno answer"]}, "the operator is not ready, 1 problem"),
        ({"databaseUp": False}, "it does not reach the database"),
        ({"queues": [{**PING["queues"][0], "up": False}]}, "1 queue without a recent success"),  # type: ignore[index]  # a document
    ],
)
def test_a_ping_that_finds_something_wrong_ends_with_1(plane: FakePlane, change: dict[str, object], words: str) -> None:
    plane.documents["/ping"] = {**PING, **change}
    code, out, err = b3lb("inspect", "ping")
    assert (code, words in err, err.count("\n")) == (1, True, 1)
    assert out.startswith("operator 0.1.0, ")
    assert "\x1b" not in out


def test_an_empty_list_says_so_beside_standard_output(plane: FakePlane) -> None:
    plane.documents["/nodes"] = listing("NodeList")
    assert b3lb("nodes") == (0, "", "no nodes\n")
    assert json.loads(b3lb("nodes", "-o", "json")[1])["items"] == []


def test_what_is_cut_or_old_is_told_beside_standard_output(plane: FakePlane) -> None:
    plane.documents["/nodes"] = {**NODES, "truncated": True, "databaseUp": False}
    code, out, err = b3lb("nodes")
    assert (code, out) == (0, TABLES["nodes"])
    assert err == (
        "there are more; these are the first ones\n"
        "the operator does not reach the database: as of 2026-11-02T12:00:00+00:00\n"
    )


def test_a_document_whose_fields_are_missing_is_a_table_of_unknowns(plane: FakePlane) -> None:
    listings = ["nodes", "queues", "clusters", "tenants", "runs"]
    listings += [f"inspect {name}" for name in ("stats", "active", "scheduled", "registered", "active-queues")]
    for command in listings:
        plane.documents[PATHS[command]] = {"kind": "X", "asOf": None, "items": [{"name": "one"}]}
        code, out, _ = b3lb(*command.split(), "-o", "wide")
        assert (code, len(out.splitlines())) == (0, 2), command


@pytest.mark.parametrize("answer", [{"kind": "X"}, {"items": [1]}, {"items": "x"}])
def test_an_answer_that_is_no_list_is_no_table(plane: FakePlane, answer: object) -> None:
    plane.documents["/nodes"] = answer
    code, out, err = b3lb("nodes")
    assert (code, out) == (70, "")
    assert err == "b3lb: the answer is no list of nodes: is this an operator of b3lb?\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("runs", "--queue", "recrd"), "no BBBQueue recrd; the queues are core, record, statistics"),
        (("runs", "--task", "rendr"), "has the task rendr; the tasks are check-nodes, render, update-secrets-lists"),
        (("run", "rendr"), "has the task rendr; the tasks are check-nodes, render"),
        (("purge", "recrd"), "the queues are core, record, statistics"),
        (("runs", "--state", "DONE"), "state 'DONE' is not known: use one of PENDING, STARTED"),
    ],
)
def test_an_unknown_name_is_one_line_with_those_that_there_are(
    plane: FakePlane, arguments: tuple[str, ...], words: str
) -> None:
    plane.documents["/runs"] = listing("TaskRunList")
    if "--state" in arguments:
        message = "state 'DONE' is not known: use one of PENDING, STARTED"
        plane.answers = {f"{path}/control/v1/runs": (400, {"message": message}) for path in ("", PROXY)}
    code, out, err = b3lb(*arguments)
    plane.answers = {}
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert words in err


@pytest.mark.usefixtures("plane")
def test_a_run_or_tenant_that_is_not_there_is_1() -> None:
    unknown = "00000000-0000-0000-0000-000000000001"
    assert b3lb("result", unknown) == (1, "", f"b3lb: no run {unknown}; b3lb runs lists them\n")
    code, _, err = b3lb("tenants", "metrics", "OTHER")
    assert (code, err) == (1, "b3lb: there is no /tenants/other/metrics\n")


@pytest.mark.usefixtures("plane")
def test_passwords_of_meetings_are_had_from_the_database_only() -> None:
    code, _, err = b3lb("meetings", "--secret", "uni-001", "-o", "xml")
    assert (code, "needs B3LB_DATABASE_URL" in err) == (78, True)


def test_a_task_in_several_namespaces_has_to_be_chosen(plane: FakePlane) -> None:
    queues = [queue("core", "check-nodes"), queue("core", "check-nodes", namespace="other")]
    plane.documents["/queues"] = listing("QueueList", *queues)
    code, _, err = b3lb("run", "check-nodes")
    assert (code, "choose one with -n: b3lb, other" in err) == (2, True)


@pytest.mark.usefixtures("plane")
def test_a_report_holds_everything_but_secrets_and_says_what_is_missing() -> None:
    code, out, err = b3lb("report")
    assert (code, err) == (0, "")
    for part in ("ping", "queues", "nodes", "clusters", "stats", "active", "failedRuns", "doctor"):
        assert f"\n== {part}\n" in out
    assert "not known: there is no /doctor" in out
    bundle = json.loads(b3lb("report", "-o", "json")[1])
    assert bundle["nodes"] == NODES
    assert bundle["errors"] == {"doctor": "there is no /doctor"}
    for text in (out, json.dumps(bundle)):
        assert not any(secret in text for secret in ("private words", TOKEN, "videos"))


def test_a_report_says_of_each_table_that_it_is_cut_or_old(plane: FakePlane) -> None:
    plane.documents["/nodes"] = {**NODES, "truncated": True, "databaseUp": False}
    part = b3lb("report")[1].split("\n== nodes\n")[1].split("\n== ")[0]
    assert part.endswith(
        "there are more; these are the first ones\n"
        "the operator does not reach the database: as of 2026-11-02T12:00:00+00:00\n"
    )
