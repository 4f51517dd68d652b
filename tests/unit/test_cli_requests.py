"""Without a database runs are enqueued and taken back by annotations of a BBBQueue, and the outcome is waited for."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from b3lb_cli import operator_runs, runs
from tests.unit.commands import b3lb
from tests.unit.control_documents import DOCUMENTS, RUN_ID, listing, queue, run
from tests.unit.fake_plane import PROXY, TOKEN, Answer, FakePlane, status

QUEUE = "/apis/b3lb.io/v1alpha1/namespaces/b3lb/bbbqueues"


@pytest.fixture
def plane(named_plane: FakePlane, monkeypatch: pytest.MonkeyPatch) -> FakePlane:
    monkeypatch.setattr(operator_runs, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(runs, "POLL_SECONDS", 0.01)
    named_plane.documents = dict(DOCUMENTS)
    named_plane.answers = {}
    named_plane.patches.clear()
    named_plane.outcome = lambda _id, _request: None
    return named_plane


def done(plane: FakePlane, **state: Any) -> None:
    """Let the operator do what it is asked for, with a run of this state."""

    def outcome(request_id: str, request: Mapping[str, Any]) -> Mapping[str, Any]:
        run_id = request.get("revoke", request_id)
        plane.documents[f"/runs/{run_id}"] = run(run_id, **state)
        return {"state": "done", "message": "", "revoked": 3 if "purge" in request else None}

    plane.outcome = outcome


def requests(plane: FakePlane) -> list[tuple[str, Any]]:
    """Return path and request of every annotation that was set."""
    return [
        (path, None if text is None else json.loads(text))
        for path, patch in plane.patches
        for text in patch["metadata"]["annotations"].values()
    ]


def test_a_run_is_asked_for_on_the_queue_that_has_its_task(plane: FakePlane) -> None:
    done(plane, state="PENDING", finishedAt=None, startedAt=None)
    code, out, err = b3lb("run", "render", "--priority", "9", "--arguments", '{"set": "é"}', "-o", "json")
    assert (code, err) == (0, "")
    assert requests(plane) == [
        (f"{QUEUE}/record", {"run": {"task": "render", "arguments": {"set": "é"}, "priority": 9}})
    ]
    (name,) = plane.patches[0][1]["metadata"]["annotations"]
    assert name == f"request.b3lb.io/{json.loads(out)['id']}"


def test_waiting_ends_with_the_run_and_says_by_its_exit_code_how(plane: FakePlane) -> None:
    done(plane)
    code, out, _ = b3lb("run", "render", "--wait", "--timeout", "5s")
    assert (code, 'result      {"videos": 2}' in out) == (0, True)
    done(plane, state="FAILURE", error="no\x1b disk")
    code, _, err = b3lb("run", "render", "--wait", "--timeout", "1m")
    assert (code, err.endswith(": FAILURE: no  disk\n")) == (3, True)
    done(plane, state="STARTED", finishedAt=None)
    code, _, err = b3lb("run", "render", "--wait", "--timeout", "0")
    assert (code, err.endswith(": STARTED\n")) == (3, True)


def test_a_run_is_revoked_on_its_own_queue(plane: FakePlane) -> None:
    plane.documents[f"/runs/{RUN_ID}"] = run(state="STARTED", finishedAt=None)
    done(plane, state="REVOKED")
    code, out, _ = b3lb("revoke", RUN_ID)
    assert (code, "state       REVOKED" in out) == (0, True)
    assert requests(plane) == [(f"{QUEUE}/record", {"revoke": RUN_ID})]
    assert b3lb("revoke", RUN_ID) == (1, "", f"b3lb: run {RUN_ID} cannot be revoked: it is over: REVOKED\n")


def test_purging_says_how_many_there_were(plane: FakePlane) -> None:
    done(plane)
    assert b3lb("purge", "record") == (0, "3 waiting runs revoked\n", "")
    assert requests(plane) == [(f"{QUEUE}/record", {"purge": True})]
    assert json.loads(b3lb("purge", "record", "-o", "json")[1]) == {"queue": "record", "revoked": 3}


@pytest.mark.parametrize(("command", "code"), [(("run", "render"), 2), (("revoke", RUN_ID), 1), (("purge", "core"), 1)])
def test_a_refusal_is_the_operators_own_line(plane: FakePlane, command: tuple[str, ...], code: int) -> None:
    plane.documents[f"/runs/{RUN_ID}"] = run(state="STARTED", finishedAt=None)
    plane.outcome = lambda _id, _request: {"state": "refused", "message": "it is\nover"}
    assert b3lb(*command) == (code, "", "b3lb: it is over\n")


def test_what_is_not_done_in_time_is_withdrawn(plane: FakePlane, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operator_runs, "OUTCOME_SECONDS", 0.1)
    plane.outcome = lambda _id, _request: {"state": "pending", "message": ""}
    code, out, err = b3lb("purge", "record")
    assert (code, out) == (75, "")
    assert "the request was withdrawn" in err
    assert requests(plane) == [(f"{QUEUE}/record", {"purge": True}), (f"{QUEUE}/record", None)]
    assert (
        plane.patches[0][1]["metadata"]["annotations"].keys() == plane.patches[1][1]["metadata"]["annotations"].keys()
    )


def answering(plane: FakePlane, *answers: Answer) -> None:
    """Let the operator answer these when it is asked for the outcome."""
    following = iter(answers)

    def outcome(request_id: str, _request: Mapping[str, Any]) -> None:
        plane.answers[f"{PROXY}/control/v1/requests/{request_id}"] = lambda: next(following)

    plane.outcome = outcome


def test_an_operator_that_begins_anew_meanwhile_is_asked_again(plane: FakePlane) -> None:
    away = status(503, "no endpoints available"), (503, {"message": "this operator does not work yet"})
    answering(plane, *away, (200, {"state": "done", "message": "", "revoked": 2}))
    assert b3lb("purge", "record") == (0, "2 waiting runs revoked\n", "")
    assert len(plane.patches) == 1


def test_a_request_whose_outcome_cannot_be_learned_does_not_stay_behind(plane: FakePlane) -> None:
    answering(plane, (401, {"message": "no"}))
    code, out, err = b3lb("purge", "record")
    assert (code, out, "refuses the token" in err) == (78, "", True)
    assert requests(plane) == [(f"{QUEUE}/record", {"purge": True}), (f"{QUEUE}/record", None)]


def test_a_request_that_cannot_be_withdrawn_is_not_said_to_be(
    plane: FakePlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operator_runs, "OUTCOME_SECONDS", 0.1)

    def outcome(_id: str, _request: Mapping[str, Any]) -> None:
        plane.answers[f"{QUEUE}/record"] = status(503, "etcd")

    plane.outcome = outcome
    code, _, err = b3lb("purge", "record")
    assert (code, "and the request stays, so that it may do it yet" in err) == (75, True)


@pytest.mark.parametrize("name", ["../../../secrets/x", "a/b", ".."])
def test_a_queue_whose_name_would_lead_elsewhere_is_not_written_to(plane: FakePlane, name: str) -> None:
    plane.documents["/queues"] = listing("QueueList", queue(name, "render"))
    code, _, err = b3lb("run", "render")
    assert (code, "names a queue that no queue can be called" in err, plane.patches) == (70, True, [])


@pytest.mark.parametrize(
    ("answer", "code", "words"),
    [
        (
            status(403, "may not patch"),
            77,
            "forbidden: may not patch; ask your administrator to bind the Role b3lb-con",
        ),
        (status(404, "gone"), 1, "no BBBQueue record in namespace b3lb any more"),
        (status(422, "invalid"), 2, "the API server does not take the request: invalid"),
        (status(503, "etcd"), 75, "the API server does not take the request: etcd"),
    ],
)
def test_a_queue_that_cannot_be_patched_is_one_line(
    plane: FakePlane, answer: tuple[int, Any], code: int, words: str
) -> None:
    plane.answers[f"{QUEUE}/record"] = answer
    found, out, err = b3lb("purge", "record")
    assert (found, out, err.count("\n")) == (code, "", 1)
    assert words in err


def test_arguments_beyond_a_request_are_refused_before_it(plane: FakePlane) -> None:
    code, _, err = b3lb("run", "render", "--arguments", json.dumps({"text": "x" * 70_000}))
    assert (code, "at most 65536 bytes" in err, plane.patches) == (2, True, [])


CHAIN = "chain: [{task: render}, {task: render, receives: before}]"


def test_runs_that_belong_together_are_one_request(plane: FakePlane, tmp_path: Path) -> None:
    done(plane, state="PENDING", finishedAt=None, startedAt=None)
    (tmp_path / "chain.yaml").write_text(CHAIN)
    code, out, _ = b3lb("run", "--file", str(tmp_path / "chain.yaml"), "--priority", "7", "-o", "json")
    assert (code, json.loads(out)["state"]) == (0, "PENDING")
    ((path, request),) = requests(plane)
    assert path == f"{QUEUE}/record"
    assert request["workflow"]["priority"] == 7
    assert [step["task"] for step in request["workflow"]["definition"]["chain"]] == ["render", "render"]


def test_runs_of_several_queues_are_not_asked_for_at_one(plane: FakePlane, tmp_path: Path) -> None:
    (tmp_path / "chain.yaml").write_text("chain: [{task: render}, {task: check-nodes}]")
    code, _, err = b3lb("run", "--file", str(tmp_path / "chain.yaml"))
    assert (code, plane.patches) == (2, [])
    assert "the tasks belong to the BBBQueues core, record" in err


def test_writing_needs_a_kubeconfig_beside_an_address(plane: FakePlane, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", "/nowhere")
    monkeypatch.setenv("B3LB_TOKEN", TOKEN)
    code, _, err = b3lb("purge", "record", "--server", plane.url)
    assert (code, "needs a kubeconfig or B3LB_DATABASE_URL beside --server" in err) == (78, True)


@pytest.mark.usefixtures("plane")
@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--once",), 78, "needs B3LB_DATABASE_URL and B3LB_ENCRYPTION_KEYS; without --once a pod runs it"),
        (("--debug",), 2, "--debug goes with --once"),
        (("--once", "--wait"), 2, "without --file, --wait, --priority and --arguments"),
    ],
)
def test_running_here_says_what_it_needs(arguments: tuple[str, ...], code: int, words: str) -> None:
    found, out, err = b3lb("run", "check-nodes", *arguments)
    assert (found, out, err.count("\n")) == (code, "", 1)
    assert words in err


@pytest.mark.usefixtures("plane")
def test_running_here_becomes_the_job(monkeypatch: pytest.MonkeyPatch) -> None:
    became: list[tuple[list[str], dict[str, str]]] = []
    monkeypatch.setattr("os.execve", lambda _path, command, environment: became.append((command, environment)))
    monkeypatch.setenv("B3LB_DATABASE_URL", "postgresql://x")
    monkeypatch.setenv("B3LB_ENCRYPTION_KEYS", "k")
    monkeypatch.setattr("b3lb_cli.runs.run", lambda _options: None)
    b3lb("run", "check-nodes", "--once", "--debug", "-n", "farm")
    ((command, environment),) = became
    assert command[1:] == ["-m", "b3lb_jobs", "--once", "--namespace", "farm", "--", "check-nodes"]
    assert (environment["B3LB_LOG_LEVEL"], environment["B3LB_LOG_FORMAT"]) == ("debug", "console")
