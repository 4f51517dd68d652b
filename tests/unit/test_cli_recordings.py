"""Recordings on the command line without a database: shown as the operator says, steered by edits of an object."""

from __future__ import annotations

import getpass
import json
import socket
from collections.abc import Callable
from typing import Any

import pytest

from b3lb.views.recordings import audit_document, callback_document, recording_document
from b3lb_cli import recordings, runs
from b3lb_cli.output import bytes_text
from b3lb_cli.recording_steering import object_of
from tests.unit.commands import b3lb
from tests.unit.control_documents import DOCUMENTS, listing, queue, run
from tests.unit.fake_plane import Answer, FakePlane, status
from tests.unit.recording_rows import RECORD_ID, audit_line, delivered, recording, video

OBJECT = f"/apis/b3lb.io/v1alpha1/namespaces/farm/bbbrecordings/{RECORD_ID}"
QUEUES = listing("QueueList", queue("housekeeping", "delete-recording"))


def document(**fields: Any) -> dict[str, Any]:
    return recording_document(recording(video(), callbacks=(delivered(),), **fields))


@pytest.fixture
def plane(named_plane: FakePlane, monkeypatch: pytest.MonkeyPatch) -> FakePlane:
    monkeypatch.setattr(recordings, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(recordings, "TELL_SECONDS", 0.0)
    monkeypatch.setattr(runs, "POLL_SECONDS", 0.01)
    items = (document(), recording_document(recording(state="FAILED", reason="NoProfile", tenant_slug=None)))
    named_plane.documents = {
        **DOCUMENTS,
        "/queues": QUEUES,
        "/recordings": listing("RecordingList", *items),
        "/callbacks": listing("CallbackList", callback_document(delivered())),
        "/audit": listing("AuditList", audit_document(audit_line())),
    }
    named_plane.answers = {}
    named_plane.asked.clear()
    named_plane.patches.clear()
    return named_plane


def known(plane: FakePlane, **fields: Any) -> None:
    plane.documents[f"/recordings/{RECORD_ID}"] = document(**fields)


def served(plane: FakePlane, spec: dict[str, Any]) -> None:
    """Let the API server have the BBBRecording, whose spec is what was last patched into it."""

    def answer() -> Answer:
        changed = [patch["spec"] for path, patch in plane.patches if path == OBJECT]
        whole = {**spec, **{name: value for patch in changed for name, value in patch.items()}}
        return 200, {"kind": "BBBRecording", "metadata": {"resourceVersion": "7"}, "spec": whole}

    plane.answers[OBJECT] = answer


@pytest.mark.usefixtures("plane")
def test_a_list_says_how_far_each_is_and_when_it_goes() -> None:
    code, out, _ = b3lb("recordings", "list")
    lines = out.splitlines()
    assert (code, lines[0].split()[:5]) == (0, ["RECORDING", "MEETING", "TENANT", "STATE", "VIDEOS"])
    assert "RENDERING 40%" in lines[1]
    assert "300 MiB" in lines[1]
    assert "in 13d" in lines[1]
    assert "NoProfile" in lines[2]


def test_what_is_chosen_goes_to_the_operator(plane: FakePlane) -> None:
    b3lb("recordings", "list", "--tenant", "UNI", "--state", "failed", "--limit", "7", "-n", "farm")
    query = {"tenant": "UNI", "state": "failed", "limit": "7", "namespace": "farm"}
    assert ("/recordings", query) in plane.asked


@pytest.mark.usefixtures("plane")
@pytest.mark.parametrize(
    ("verb", "words"), [("callbacks", "https://lms.example.org/ready?…"), ("audit", "PastHold"), ("audit", "1 GiB")]
)
def test_callbacks_and_the_audit_are_tables(verb: str, words: str) -> None:
    code, out, _ = b3lb("recordings", verb)
    assert (code, words in out, "geheim" in out) == (0, True, False)


def test_a_recording_is_shown_with_videos_warnings_and_callbacks(plane: FakePlane) -> None:
    warned = video(warning_count=3, warnings=[{"code": "FONT_SUBSTITUTED", "message": "no\x1b glyph"}])
    found = recording_document(recording(warned, callbacks=(delivered(),)))
    plane.documents[f"/recordings/{RECORD_ID}"] = found
    code, out, _ = b3lb("recordings", "show", RECORD_ID)
    assert (code, "\x1b" in out) == (0, False)
    for words in ("meetingName   Algebra", "full-hd", "DELIVERED", "FONT_SUBSTITUTED: no  glyph", "and 2 more"):
        assert words in out.replace("  ", "  "), out
    code, out, _ = b3lb("recordings", "show", RECORD_ID, "-o", "json")
    assert json.loads(out) == found


def test_waiting_tells_the_progress_and_by_its_exit_code_how_it_ended(plane: FakePlane) -> None:
    known(plane)
    later = [document(state="FAILED", reason="OutOfMemory", message="twice")] * 2
    asked = plane.control

    def control(path: str, query: dict[str, str], token: str | None) -> Answer:
        answer = asked(path, query, token)
        if path.startswith("/recordings/") and later:
            plane.documents[path] = later.pop()
        return answer

    plane.control = control  # type: ignore[method-assign]  # the answer changes with each question
    code, _, err = b3lb("recordings", "show", RECORD_ID, "--wait", "--timeout", "10s")
    plane.control = asked  # type: ignore[method-assign]  # as it was
    assert code == 3
    assert err.splitlines()[0] == "RENDERING 40%; full-hd RENDERING 40% (rendering)"
    assert err.endswith("FAILED: OutOfMemory twice\n")


def test_a_retry_counts_up_and_takes_a_cancellation_back(plane: FakePlane) -> None:
    known(plane, state="FAILED", reason="OutOfMemory", failed_at=recording().record_set.uploaded_at)
    served(plane, {"retry": 2, "cancel": True})
    assert b3lb("recordings", "retry", RECORD_ID)[0] == 0
    ((path, patch),) = plane.patches
    assert path == OBJECT
    assert patch == {"metadata": {"resourceVersion": "7"}, "spec": {"retry": 3, "cancel": False}}


@pytest.mark.parametrize(
    ("words", "spec"),
    [
        (("pause", RECORD_ID), {"paused": True}),
        (("resume", RECORD_ID), {"paused": False}),
        (("cancel", RECORD_ID), {"cancel": True}),
        (("priority", RECORD_ID, "9"), {"priority": 9}),
    ],
)
def test_a_rendering_is_steered_by_an_edit_of_its_object(
    plane: FakePlane, words: tuple[str, ...], spec: dict[str, Any]
) -> None:
    known(plane)
    served(plane, {})
    code, out, err = b3lb("recordings", *words, "-o", "json")
    assert (code, err) == (0, "")
    assert [patch["spec"] for _, patch in plane.patches] == [spec]
    assert json.loads(out)["recordID"] == RECORD_ID


@pytest.mark.parametrize(
    ("state", "words", "problem"),
    [
        ("RENDERED", ("retry", RECORD_ID), "nothing of recording"),
        ("RENDERED", ("pause", RECORD_ID), "there is no rendering to change"),
        ("RENDERING", ("delete", RECORD_ID), "recordings cancel ends that"),
    ],
)
def test_what_is_not_in_that_state_is_left_alone(
    plane: FakePlane, state: str, words: tuple[str, ...], problem: str
) -> None:
    known(plane, state=state)
    code, out, err = b3lb("recordings", *words)
    assert (code, out, problem in err, plane.patches) == (1, "", True, [])


@pytest.mark.parametrize(
    ("answer", "code", "words"),
    [
        (status(404, "not found"), 1, "there is no BBBRecording"),
        (status(403, "no"), 77, "bind the Role b3lb-control-tasks"),
        (status(409, "changed"), 75, "by others all the time"),
        (status(422, "spec.priority: too large"), 2, "too large"),
        (status(500, "etcd"), 75, "etcd"),
    ],
)
def test_a_refused_edit_is_one_precise_line(plane: FakePlane, answer: Answer, code: int, words: str) -> None:
    known(plane)
    turns: list[Answer] = []

    def alternating() -> Answer:
        turns.append((200, {"metadata": {"resourceVersion": "1"}, "spec": {}}) if len(turns) % 2 == 0 else answer)
        return turns[-1]

    always: Callable[[], Answer] = alternating if answer[0] != 404 else lambda: answer
    plane.answers[OBJECT] = always
    found, out, err = b3lb("recordings", "cancel", RECORD_ID)
    assert (found, out, words in err, err.count("\n")) == (code, "", True, 1), err


def test_deleting_is_a_run_and_names_who_asked(plane: FakePlane) -> None:
    known(plane, state="RENDERED")

    def outcome(request_id: str, _request: Any) -> dict[str, Any]:
        plane.documents[f"/runs/{request_id}"] = run(request_id, task="delete-recording", result={"deleted": True})
        return {"state": "done", "message": ""}

    plane.outcome = outcome
    code, out, _ = b3lb("recordings", "delete", RECORD_ID, "--wait")
    assert (code, '{"deleted": true}' in out) == (0, True)
    (request,) = [json.loads(text) for _, patch in plane.patches for text in patch["metadata"]["annotations"].values()]
    assert request["run"]["task"] == "delete-recording"
    arguments = request["run"]["arguments"]
    assert (arguments["record_id"], arguments["record_set"]) == (RECORD_ID, "00000000-0000-0000-0000-000000000001")
    assert arguments["actor"] == f"b3lb of {getpass.getuser()} on {socket.gethostname()}"


def test_a_dry_run_says_what_would_go_and_asks_for_nothing(plane: FakePlane) -> None:
    known(plane, state="RENDERED")
    code, out, _ = b3lb("recordings", "delete", RECORD_ID, "--dry-run")
    assert (code, out.startswith("would delete "), "300 MiB" in out, plane.patches) == (0, True, True, [])
    known(plane, state="RENDERED", legal_hold=True)
    code, _, err = b3lb("recordings", "delete", RECORD_ID, "--dry-run")
    assert (code, "legal hold" in err) == (1, True)


@pytest.mark.usefixtures("plane")
@pytest.mark.parametrize(
    "words", [("hold", RECORD_ID, "--reason", "x"), ("release", RECORD_ID, "--reason", "x"), ("rebuild",)]
)
def test_what_needs_the_database_says_so(words: tuple[str, ...]) -> None:
    code, out, err = b3lb("recordings", *words)
    assert (code, out, "B3LB_DATABASE_URL" in err) == (78, "", True)


@pytest.mark.usefixtures("plane")
@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("show", "nothing"), 1, "no recording nothing"),
        (("show", "a b"), 2, "no blank"),
        (("priority", RECORD_ID, "10"), 2, "from 0 to 9"),
        (("list", "--limit", "0"), 2, "from 1 to 1000"),
        (("hold", RECORD_ID), 2, "--reason"),
        ((), 2, "COMMAND"),
    ],
)
def test_wrong_command_lines_end_with_one_line(words: tuple[str, ...], code: int, message: str) -> None:
    found, out, err = b3lb("recordings", *words)
    assert (found, out, message in err) == (code, "", True), err


@pytest.mark.parametrize(
    ("record_id", "name"),
    [
        (RECORD_ID, RECORD_ID),
        ("Not_a_name", "recording-00000000-0000-0000-0000-000000000001"),
        ("a" * 300, "recording-00000000-0000-0000-0000-000000000001"),
    ],
)
def test_the_object_has_the_name_that_the_operator_gives_it(record_id: str, name: str) -> None:
    assert object_of(recording_document(recording(record_id=record_id))) == name


@pytest.mark.parametrize(
    ("number", "text"),
    [(None, "-"), (0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (300 << 20, "300 MiB"), (5 << 40, "5 TiB")],
)
def test_bytes_are_written_in_three_digits(number: int | None, text: str) -> None:
    assert bytes_text(number) == text
