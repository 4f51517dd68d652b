"""Requests to an API server, or to an operator by its address: the only module that imports ``kubernetes``.

Bounded in time and size, whatever the other side does; nothing is retried, no redirect is followed.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlencode, urlsplit

import urllib3.exceptions
from kubernetes.client.api_client import ApiClient
from kubernetes.client.configuration import Configuration
from kubernetes.client.exceptions import ApiException
from kubernetes.config import ConfigException, list_kube_config_contexts, load_incluster_config, load_kube_config

from b3lb_cli.outcome import CommandError, ExitCode, listed

T = TypeVar("T")

ANSWER_SECONDS = 10.0
MOST_BYTES = 64 * 1024 * 1024
_LONGEST_REASON = 300
_NO_FILE = "No configuration found"
_HOW_TO_CONNECT = "name one by KUBECONFIG or --kubeconfig, or give the operator's address with --server"


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer: its status, and its body as JSON, None where it is none."""

    status: int
    content: Any

    @property
    def message(self) -> str:
        """What the body says of itself, in one line; empty where it says nothing."""
        text = self.content.get("message") if isinstance(self.content, dict) else None
        return one_line(text) if isinstance(text, str) else ""

    @property
    def by_api_server(self) -> bool:
        """Whether the API server itself speaks, and nobody behind it."""
        return isinstance(self.content, dict) and self.content.get("kind") == "Status"


class Server:
    """A server that is spoken to with JSON, and the namespace that people mean there."""

    def __init__(self, configuration: Configuration, *, what: str, namespace: str | None = None) -> None:
        """Connect to nothing yet.

        Args:
            configuration: Address and credentials.
            what: What messages call it.
            namespace: The one of its context.
        """
        # Without this a host that is away is tried four times, and a redirect would carry the token elsewhere.
        configuration.retries = False
        self._client = ApiClient(configuration)
        self._what = what
        self.namespace = namespace

    def get(
        self, path: str, *, query: Mapping[str, object] | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Return the answer to a GET.

        Raises:
            CommandError: There is none in time, or it is too large.
        """
        text = urlencode({name: value for name, value in (query or {}).items() if value is not None})
        return self._request("GET", f"{path}?{text}" if text else path, headers or {}, None)

    def patch(self, path: str, patch: Mapping[str, Any]) -> Answer:
        """Merge a patch (RFC 7396) into an object.

        Raises:
            CommandError: There is no answer in time.
        """
        return self._request("PATCH", path, {"Content-Type": "application/merge-patch+json"}, patch)

    def _request(self, method: str, path: str, headers: Mapping[str, str], body: object) -> Answer:
        try:
            return _within(ANSWER_SECONDS, lambda: self._send(method, path, headers, body))
        except TimeoutError:
            problem = f"no answer within {ANSWER_SECONDS:g} s"
        except (urllib3.exceptions.HTTPError, ApiException, OSError) as error:
            problem = one_line(getattr(error, "reason", None) or error)
        raise CommandError(ExitCode.AWAY, f"{self._what} cannot be reached: {problem}")

    def _send(self, method: str, path: str, headers: Mapping[str, str], body: object) -> Answer:
        url = f"{self._client.configuration.host}{path}"
        sent = {"Accept": "application/json", "User-Agent": "b3lb", **headers}
        self._client.update_params_for_auth(sent, [], ["BearerToken"], path, method, body)
        request: Callable[..., Any] = self._client.rest_client.request
        answer = request(method, url, headers=sent, body=body, _request_timeout=ANSWER_SECONDS).response
        content = answer.read(MOST_BYTES + 1, decode_content=True)
        if len(content) > MOST_BYTES:
            answer.close()
            raise CommandError(ExitCode.INTERNAL, f"{self._what} answers with more than {MOST_BYTES >> 20} MiB")
        answer.release_conn()
        try:
            return Answer(answer.status, json.loads(content))
        except (ValueError, RecursionError):
            return Answer(answer.status, None)


def at(url: str) -> Server:
    """Return the operator at an address."""
    configuration = Configuration(host=url)
    if urlsplit(url).hostname in {"localhost", "127.0.0.1", "::1"}:
        # A proxy for the internet leads to its own loopback.
        configuration.proxy = None
    return Server(configuration, what=f"the operator at {url}")


def api_server(kubeconfig: str | None, context: str | None) -> Server:
    """Return the API server of a kubeconfig's context; in a pod without one, that of the service account.

    Args:
        kubeconfig: Path of the file; default: what kubectl takes.
        context: Name of the context; default: the current one.

    Raises:
        CommandError: There is no such file or context, or it cannot be used.
    """
    configuration = Configuration()
    named = kubeconfig is not None or context is not None or "KUBECONFIG" in os.environ
    try:
        if "KUBERNETES_SERVICE_HOST" in os.environ and not named:
            load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]  # no annotations
            return Server(configuration, what=f"the API server {configuration.host}")
        # The library would take the environment as it was when it was imported.
        paths = kubeconfig or os.environ.get("KUBECONFIG") or str(Path.home() / ".kube" / "config")
        namespace = _namespace(paths, context)
        load_kube_config(paths, context, client_configuration=configuration)  # type: ignore[no-untyped-call]  # no annotations
    except ConfigException as error:
        there = "no kubeconfig" if _NO_FILE in str(error) else f"the kubeconfig cannot be used ({one_line(error)})"
        where = f" at {kubeconfig}" if kubeconfig is not None else ""
        message = f"{there}{where}: {_HOW_TO_CONNECT}"
        raise CommandError(ExitCode.CONFIGURATION, message) from None
    except CommandError:
        raise
    except Exception as error:  # noqa: BLE001 - the library meets a malformed file with any exception
        message = f"the kubeconfig cannot be read ({type(error).__name__}): {_HOW_TO_CONNECT}"
        raise CommandError(ExitCode.CONFIGURATION, message) from None
    return Server(configuration, what=f"the API server {configuration.host}", namespace=namespace)


def one_line(text: object) -> str:
    """Return a foreign text in one line of bounded length that a terminal shows as it is."""
    clean = "".join(character if character.isprintable() else " " for character in str(text))
    words = " ".join(clean.split())
    return words if len(words) <= _LONGEST_REASON else f"{words[: _LONGEST_REASON - 1]}…"


def _namespace(paths: str, context: str | None) -> str | None:
    contexts, current = list_kube_config_contexts(paths)  # type: ignore[no-untyped-call]  # no annotations
    if context is None:
        chosen = current
    else:
        chosen = next((entry for entry in contexts if entry["name"] == context), None)
        if chosen is None:
            names = listed(sorted(str(entry["name"]) for entry in contexts))
            raise CommandError(ExitCode.USAGE, f"no context {one_line(context)} in the kubeconfig; there are: {names}")
    found = (chosen.get("context") or {}).get("namespace")
    return None if found is None else str(found)


def _within(seconds: float, action: Callable[[], T]) -> T:
    """Return what ``action`` returns; whatever it does, this takes no longer.

    Raises:
        TimeoutError: It takes longer, and is left to itself.
    """
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(action())
        except BaseException as error:  # noqa: BLE001 - raised again by the thread that waits
            errors.append(error)

    # Time-outs of sockets count from the last byte on: only another thread can end the waiting for a slow sender.
    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if errors:
        raise errors[0]
    if not results:
        raise TimeoutError
    return results[0]
