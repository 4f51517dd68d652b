"""The way to the operator, by kubeconfig or by address: one line says what to do for whatever is in the way."""

import base64
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from b3lb_cli import kube
from b3lb_cli.kube import at
from b3lb_cli.outcome import CommandError
from tests.unit.commands import b3lb
from tests.unit.control_documents import DOCUMENTS, NODES, PING
from tests.unit.fake_plane import ANNOTATION, BEARER, PROXY, TOKEN, Answer, FakePlane, service, status

NODES_PATH = f"{PROXY}/control/v1/nodes"
SERVICES = "/api/v1/namespaces/b3lb/services"
SECRET = "/api/v1/namespaces/b3lb/secrets/b3lb-control"


@pytest.fixture
def plane(module_plane: FakePlane, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakePlane]:
    for name in [name for name in os.environ if name.startswith(("B3LB_", "KUBE"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("KUBECONFIG", str(module_plane.kubeconfig(tmp_path)))
    monkeypatch.setenv("HOME", str(tmp_path))
    services = module_plane.services
    yield module_plane
    module_plane.answers = {}
    module_plane.services = services
    module_plane.documents = dict(DOCUMENTS)


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def refusal(*arguments: str) -> tuple[int, str]:
    """Return exit code and the one line of a command that fails, in which no token stands."""
    code, out, err = b3lb(*arguments)
    assert (out, err.count("\n")) == ("", 1)
    assert TOKEN not in err
    assert BEARER not in err
    return code, err


def test_an_address_and_a_token_are_enough(plane: FakePlane, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KUBECONFIG", "/nowhere")
    token = tmp_path / "token"
    token.write_text(f"{TOKEN}\n")
    assert b3lb("nodes", "--server", f"{plane.url}/", "--token-file", str(token))[0] == 0
    monkeypatch.setenv("B3LB_SERVER", plane.url)
    monkeypatch.setenv("B3LB_TOKEN", TOKEN)
    assert b3lb("nodes")[0] == 0


def test_an_address_takes_its_token_by_the_kubeconfig(plane: FakePlane) -> None:
    assert b3lb("nodes", "--server", plane.url)[0] == 0


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "the file {path} holds no token"),
        ("two words", "the file {path} holds no token"),
        (None, "the file {path} with the token cannot be read: No such file or directory"),
    ],
)
def test_a_file_without_a_token_is_told(plane: FakePlane, tmp_path: Path, content: str | None, words: str) -> None:
    path = tmp_path / "given"
    if content is not None:
        path.write_text(content)
    code, err = refusal("nodes", "--server", plane.url, "--token-file", str(path))
    assert (code, words.format(path=path) in err) == (78, True)


def test_a_wrong_token_says_where_the_right_one_is(plane: FakePlane, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("B3LB_TOKEN", "another")
    code, err = refusal("nodes", "--server", plane.url)
    assert (code, "the operator refuses the token: set B3LB_TOKEN or --token-file to" in err) == (78, True)


def test_without_token_and_kubeconfig_both_are_named(plane: FakePlane, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", "/nowhere")
    code, err = refusal("nodes", "--server", plane.url)
    assert (code, "--server needs the operator's token" in err, "no kubeconfig" in err) == (78, True, True)


def test_nobody_listens_there(plane: FakePlane, monkeypatch: pytest.MonkeyPatch) -> None:
    assert plane.url
    monkeypatch.setenv("B3LB_TOKEN", TOKEN)
    code, err = refusal("nodes", "--server", "http://127.0.0.1:1")
    assert code == 75
    assert err.startswith("b3lb: the operator at http://127.0.0.1:1 cannot be reached: ")


def kubeconfig(path: Path, **change: Any) -> str:
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **change}))
    return str(path)


def test_without_a_kubeconfig_the_ways_are_named(plane: FakePlane, monkeypatch: pytest.MonkeyPatch) -> None:
    assert plane.url
    words = "name one by KUBECONFIG or --kubeconfig, or give the operator's address with --server"
    for variable in ("KUBECONFIG", None):
        monkeypatch.delenv("KUBECONFIG") if variable is None else monkeypatch.setenv(variable, "/nowhere")
        assert refusal("nodes") == (78, f"b3lb: no kubeconfig: {words}\n")
    assert refusal("nodes", "--kubeconfig", "/nowhere") == (78, f"b3lb: no kubeconfig at /nowhere: {words}\n")


@pytest.mark.usefixtures("plane")
@pytest.mark.parametrize("content", ["{", "[]", "clusters: 7", "a: [1", "\x00", "contexts: [{}]\ncurrent-context: x"])
def test_a_broken_kubeconfig_is_one_line(tmp_path: Path, content: str) -> None:
    path = tmp_path / "broken"
    path.write_text(content)
    code, err = refusal("nodes", "--kubeconfig", str(path))
    assert (code, "kubeconfig" in err) == (78, True)


@pytest.mark.usefixtures("plane")
def test_an_unknown_context_is_told_with_those_that_there_are() -> None:
    assert refusal("nodes", "--context", "fak\x1b") == (
        2,
        "b3lb: no context fak in the kubeconfig; there are: fake\n",
    )
    assert b3lb("nodes", "--context", "fake")[0] == 0


def test_an_operator_of_another_namespace_is_found_where_one_may_look(plane: FakePlane, tmp_path: Path) -> None:
    assert b3lb("nodes", "--kubeconfig", str(plane.kubeconfig(tmp_path, namespace="farm")))[0] == 0
    assert b3lb("nodes", "--operator-namespace", "b3lb", "-n", "farm")[0] == 0
    plane.answers["/api/v1/services"] = status(403, "services is forbidden")
    farm = str(plane.kubeconfig(tmp_path, namespace="farm"))
    code, err = refusal("nodes", "-n", "farm", "--kubeconfig", farm)
    assert (code, "no operator in namespace farm: name its namespace with --operator-namespace" in err) == (1, True)


def test_with_the_two_roles_only_the_operator_is_found_in_the_namespace_of_the_context(
    plane: FakePlane, tmp_path: Path
) -> None:
    """The Role in a farm's namespace has nothing of Services."""
    plane.documents["/nodes"] = NODES
    for path in ("/api/v1/services", "/api/v1/namespaces/farm/services"):
        plane.answers[path] = status(403, "services is forbidden")
    assert b3lb("nodes", "-n", "farm")[0] == 0
    code, err = refusal("nodes", "--kubeconfig", str(plane.kubeconfig(tmp_path, namespace="farm")))
    assert (code, "or name its namespace with --operator-namespace" in err) == (77, True)


def test_an_operator_that_was_told_to_be_silent_is_named(plane: FakePlane) -> None:
    plane.services = [service()]
    assert "set control.enabled in its chart" in refusal("nodes")[1]


def test_an_annotation_leads_to_secrets_only(plane: FakePlane) -> None:
    plane.services = [service(**{ANNOTATION: "../token"})]
    code, err = refusal("nodes")
    assert (code, "of Service b3lb-operator in namespace b3lb names no Secret" in err) == (78, True)


def test_several_operators_are_named(plane: FakePlane, tmp_path: Path) -> None:
    marked = {ANNOTATION: "b3lb-control/token"}
    plane.services = [service(namespace="one", **marked), service(namespace="two", **marked)]
    path = str(plane.kubeconfig(tmp_path, namespace=None))
    assert refusal("nodes", "--kubeconfig", path) == (
        2,
        "b3lb: several operators, choose one with --operator-namespace: one, two\n",
    )


def test_a_service_without_the_mark_is_no_operator_to_ask(plane: FakePlane) -> None:
    plane.services = [service()]
    code, err = refusal("nodes")
    assert (code, "no operator in namespace b3lb" in err) == (1, True)


@pytest.mark.parametrize(
    ("path", "answer", "code", "words"),
    [
        (SERVICES, status(403, "may not list"), 77, "forbidden: may not list; ask your administrator to bind the Role"),
        (SERVICES, status(401, "Unauthorized"), 77, "the API server does not know you: log in again"),
        (SERVICES, status(500, "etcd"), 75, "the API server answers 500: etcd"),
        (SERVICES, (200, b"<html>"), 75, "the API server answers 200: no reason"),
        (SECRET, status(403, "may not get"), 77, "bind the Role b3lb-control to you"),
        (SECRET, status(404, "not found"), 78, "key token of Secret b3lb-control in namespace b3lb, cannot be read"),
        (SECRET, (200, {"data": {}}), 78, "key token of Secret b3lb-control in namespace b3lb, is missing"),
        (SECRET, (200, {"data": {"token": "%%"}}), 78, "is missing or unusable"),
        (SECRET, (200, {"data": {"token": encoded(f"{TOKEN}\nmore")}}), 78, "is missing or unusable"),
        (SECRET, (200, {"data": {"token": ""}}), 78, "is missing or unusable"),
        (NODES_PATH, status(403, "may not proxy"), 77, "forbidden: may not proxy; ask your administrator to bind"),
        (NODES_PATH, status(404, "no service"), 1, "finds no Service b3lb-operator in namespace b3lb: no service"),
        (
            NODES_PATH,
            status(503, "no endpoints available"),
            75,
            "run 'kubectl port-forward -n b3lb service/b3lb-operator 8080:metrics' and use --server http://localhost",
        ),
        (NODES_PATH, status(502, "dial tcp: i/o timeout"), 75, "(dial tcp: i/o timeout): is its pod ready"),
        (NODES_PATH, (401, {"message": "no"}), 78, "the operator refuses the token: the Secret was changed"),
        (NODES_PATH, (404, {"message": "one sentence"}), 1, "b3lb: one sentence\n"),
        (NODES_PATH, (404, b"404: Not Found"), 78, "is it of the same version as this command, and control.enabled"),
        (NODES_PATH, (400, {"message": "limit is no number"}), 2, "b3lb: limit is no number\n"),
        (NODES_PATH, (503, {"message": "the database is away"}), 75, "not ready: the database is away"),
        (NODES_PATH, (503, {"message": "stands by", "standby": True}), 75, "not ready: stands by"),
        (NODES_PATH, (500, b""), 70, "the operator answers 500 without a document"),
        (NODES_PATH, (302, b""), 70, "the operator answers 302 without a document"),
        (NODES_PATH, (200, b"[]"), 70, "the operator answers 200 without a document"),
        (NODES_PATH, (200, b"["), 70, "the operator answers 200 without a document"),
    ],
)
def test_what_is_in_the_way_is_one_line_that_says_what_to_do(
    plane: FakePlane, path: str, answer: Answer, code: int, words: str
) -> None:
    plane.answers[path] = answer
    found, err = refusal("nodes")
    assert (found, words in err) == (code, True), err


def test_an_operator_that_stands_by_is_passed_over(plane: FakePlane) -> None:
    answers = iter([(503, {"message": "stands by", "standby": True})] * 6 + [(200, NODES)])
    plane.answers[NODES_PATH] = lambda: next(answers)
    assert b3lb("nodes")[0] == 0
    pings = iter([(200, {**PING, "leads": False})] * 3 + [(200, PING)])
    plane.answers[f"{PROXY}/control/v1/ping"] = lambda: next(pings)
    assert "leads" in b3lb("inspect", "ping")[1]


def test_an_address_that_leads_to_an_operator_that_stands_by_says_so(
    plane: FakePlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("B3LB_TOKEN", TOKEN)
    plane.answers["/control/v1/nodes"] = (503, {"message": "this operator stands by", "standby": True})
    code, err = refusal("nodes", "--server", plane.url)
    assert (code, "only the other one shows the farm: forward a port to that" in err) == (75, True)


def test_a_slow_sender_is_given_up_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A byte now and then keeps every time-out of a socket from ending it."""
    monkeypatch.setattr(kube, "ANSWER_SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        over = threading.Event()

        def drip() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
                while not over.wait(0.1):
                    connection.sendall(b" ")

        thread = threading.Thread(target=drip)
        thread.start()
        began = time.monotonic()
        with pytest.raises(CommandError, match=r"no answer within 0\.5 s"):
            at(f"http://127.0.0.1:{listener.getsockname()[1]}").get("/")
        assert time.monotonic() - began < 5
        over.set()
        thread.join()


def test_an_endless_answer_is_given_up(plane: FakePlane, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kube, "MOST_BYTES", 100)
    code, err = refusal("nodes")
    assert (code, "answers with more than" in err) == (70, True)
    assert plane.url


def test_a_proxy_for_the_internet_is_not_asked_for_this_machine(
    plane: FakePlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("B3LB_TOKEN", TOKEN)
    assert b3lb("nodes", "--server", plane.url)[0] == 0


@pytest.mark.usefixtures("plane")
@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("B3LB_SERVER", "localhost:8080", "B3LB_SERVER: write the operator's address as http://HOST:PORT"),
        ("B3LB_NAMESPACE", "No Name", "B3LB_NAMESPACE: a namespace's name has"),
        ("B3LB_OPERATOR_NAMESPACE", "No Name", "namespace of the operator: a namespace's name has"),
    ],
)
def test_a_wrong_variable_is_named(monkeypatch: pytest.MonkeyPatch, variable: str, value: str, words: str) -> None:
    monkeypatch.setenv(variable, value)
    code, err = refusal("nodes")
    assert (code, words in err) == (78, True)
