"""A loopback server: an operator below /control/v1, and an API server with a proxy to it below /api and /apis."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import yaml

from tests.unit.control_documents import DOCUMENTS

TOKEN = "the-token-of-the-operator"
BEARER = "the-token-of-a-person"
SERVICE = "b3lb-operator"
CONTROL = "/control/v1"
PROXY = f"/api/v1/namespaces/b3lb/services/http:{SERVICE}:metrics/proxy"
ANNOTATION = "b3lb.io/control-secret"

Answer = tuple[int, Any]


def status(code: int, message: str) -> Answer:
    """Return what the API server itself answers when it refuses."""
    return code, {"kind": "Status", "apiVersion": "v1", "code": code, "message": message}


def service(name: str = SERVICE, namespace: str = "b3lb", **annotations: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": namespace, "annotations": annotations}}


class FakePlane:
    """What it knows, and what it was asked.

    ``answers`` go before everything else: path → answer, or what makes one. ``outcome`` makes the outcome of a request
    by annotation.
    """

    def __init__(self) -> None:
        self.documents: dict[str, Any] = dict(DOCUMENTS)
        self.answers: dict[str, Answer | Callable[[], Answer]] = {}
        self.services = [service(**{ANNOTATION: "b3lb-control/token"})]
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.patches: list[tuple[str, dict[str, Any]]] = []
        self.outcome: Callable[[str, Mapping[str, Any]], Mapping[str, Any] | None] = lambda _id, _request: None
        self.url = ""

    def control(self, path: str, query: dict[str, str], token: str | None) -> Answer:
        if token != TOKEN:
            return 401, {"message": "send the header X-B3LB-Token"}
        self.asked.append((path, query))
        if path in self.documents:
            return 200, self.documents[path]
        return 404, {"message": f"there is no {path}"}

    def get(self, path: str, query: dict[str, str], headers: Message) -> Answer:
        if path in self.answers:
            return self._answered(path)
        token = headers.get("X-B3LB-Token")
        if path.startswith(CONTROL):
            return self.control(path.removeprefix(CONTROL), query, token)
        if headers.get("Authorization") != f"Bearer {BEARER}":
            return status(401, "Unauthorized")
        if path.startswith(PROXY + CONTROL):
            return self.control(path.removeprefix(PROXY + CONTROL), query, token)
        return self._object(path)

    def _object(self, path: str) -> Answer:
        if path == "/api/v1/namespaces/b3lb/secrets/b3lb-control":
            return 200, {"kind": "Secret", "data": {"token": base64.b64encode(TOKEN.encode()).decode()}}
        if not path.endswith("/services"):
            return status(404, f"{path} not found")
        namespace = "" if path == "/api/v1/services" else path.split("/")[4]
        items = [found for found in self.services if namespace in {"", found["metadata"]["namespace"]}]
        return 200, {"kind": "ServiceList", "items": items}

    def _answered(self, path: str) -> Answer:
        found = self.answers[path]
        return found if isinstance(found, tuple) else found()

    def patch(self, path: str, patch: dict[str, Any]) -> Answer:
        if "spec" in patch:
            self.patches.append((path, patch))
        if path in self.answers:
            return self._answered(path)
        self.patches.append((path, patch))
        for name, text in patch["metadata"]["annotations"].items():
            request_id = name.removeprefix("request.b3lb.io/")
            made = None if text is None else self.outcome(request_id, json.loads(text))
            if made is not None:
                self.documents[f"/requests/{request_id}"] = dict(made)
        return 200, {"kind": "BBBQueue"}

    def kubeconfig(self, directory: Path, *, namespace: str | None = "b3lb") -> Path:
        """Write a kubeconfig that leads here."""
        context = {"cluster": "fake", "user": "person"} | ({} if namespace is None else {"namespace": namespace})
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "fake",
            "clusters": [{"name": "fake", "cluster": {"server": self.url}}],
            "users": [{"name": "person", "user": {"token": BEARER}}],
            "contexts": [{"name": "fake", "context": context}],
        }
        path = directory / "config"
        path.write_text(yaml.safe_dump(content))
        return path


@contextmanager
def fake_plane() -> Iterator[FakePlane]:
    """Serve a plane."""
    plane = FakePlane()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            self._answer(plane.get(parts.path, dict(parse_qsl(parts.query)), self.headers))

        def do_PATCH(self) -> None:
            length = int(self.headers["Content-Length"])
            self._answer(plane.patch(self.path, json.loads(self.rfile.read(length))))

        def _answer(self, answer: Answer) -> None:
            code, content = answer
            body = content if isinstance(content, bytes) else json.dumps(content).encode()
            self.send_response(code)
            if code in {301, 302, 307}:
                self.send_header("Location", f"{plane.url}/stolen")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Be silent."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        server.block_on_close = False
        plane.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield plane
        finally:
            server.shutdown()
            thread.join()
