"""The operator's read-only end point: found by the kubeconfig, asked through the API server or at its own address."""

from __future__ import annotations

import argparse
import base64
import binascii
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

from b3lb.control import CONTROL_PATH, TOKEN_HEADER
from b3lb_cli.kube import Answer, Server, api_server, at
from b3lb_cli.namespaces import farm_namespace
from b3lb_cli.outcome import CommandError, ExitCode, listed
from b3lb_cli.values import namespace_name, object_name, server_url

Document = dict[str, Any]

SECRET_ANNOTATION = "b3lb.io/control-secret"  # noqa: S105 - the name of an annotation
SELECTOR = "app.kubernetes.io/part-of=b3lb,app.kubernetes.io/component=operator"
PORT = "metrics"
PORT_FORWARD = "kubectl port-forward{namespace} service/{service} 8080:metrics"

# One of two operators stands by, and the API server asks any of them.
MOST_ATTEMPTS = 10

_NO_END_POINT = (
    "the operator has no such page: is it of the same version as this command, and control.enabled set in its chart?"
)
_EVERYWHERE = "/api/v1/services"
_ROLE = "ask your administrator to bind the Role {role} to you"


@dataclass(frozen=True, slots=True)
class Found:
    """The operator's Service, and its token."""

    namespace: str
    service: str
    token: str

    @property
    def port_forward(self) -> str:
        """The command by which its address becomes http://localhost:8080."""
        return PORT_FORWARD.format(namespace=f" -n {self.namespace}", service=self.service)


class OperatorClient:
    """Asks an operator; every call raises CommandError with the reason and what to do about it."""

    def __init__(
        self, server: Server, *, token: str, prefix: str = "", found: Found | None = None, api: Server | None = None
    ) -> None:
        """Ask nothing yet.

        Args:
            server: What is spoken to.
            token: The operator's.
            prefix: Path of the operator on that server.
            found: The Service behind the prefix.
            api: The API server, if there is a kubeconfig.
        """
        self._server = server
        self._token = token
        self._prefix = prefix
        self._found = found
        self.api = api

    def get(self, path: str, **query: object) -> Document:
        """Return the document at a path below ``/control/v1``; parameters that are None are left out.

        Raises:
            CommandError: There is none.
        """
        answer = self._get(path, query)
        if answer.status == HTTPStatus.OK and isinstance(answer.content, dict):
            return answer.content
        raise self._problem(answer)

    def find(self, path: str) -> Document | None:
        """Return the document at a path, None where there is no such object (404).

        Raises:
            CommandError: The operator does not say.
        """
        answer = self._get(path, {})
        if answer.status == HTTPStatus.NOT_FOUND and not answer.by_api_server and answer.message:
            return None
        if answer.status == HTTPStatus.OK and isinstance(answer.content, dict):
            return answer.content
        raise self._problem(answer)

    @property
    def role(self) -> str:
        """The Role that lets people ask this operator; that with ``-tasks`` behind it lets them have tasks run."""
        return "b3lb-control" if self._found is None else f"{self._found.service.removesuffix('-operator')}-control"

    def _get(self, path: str, query: Mapping[str, object]) -> Answer:
        headers = {TOKEN_HEADER: self._token}
        answer = self._server.get(f"{self._prefix}{CONTROL_PATH}{path}", query=query, headers=headers)
        for _ in range(MOST_ATTEMPTS - 1):
            if not _stands_by(answer):
                break
            answer = self._server.get(f"{self._prefix}{CONTROL_PATH}{path}", query=query, headers=headers)
        return answer

    def _problem(self, answer: Answer) -> CommandError:
        if answer.by_api_server:
            return self._refused_by_api_server(answer)
        said = answer.message
        if _stands_by(answer) and not self._prefix:
            # There it is always the same one that answers.
            said += "; of its pods only the other one shows the farm: forward a port to that"
        problems: dict[int, tuple[ExitCode, str]] = {
            HTTPStatus.UNAUTHORIZED: (
                ExitCode.CONFIGURATION,
                f"the operator refuses the token: {self._token_advice()}",
            ),
            HTTPStatus.NOT_FOUND: (ExitCode.NOT_FOUND, said) if said else (ExitCode.CONFIGURATION, _NO_END_POINT),
            HTTPStatus.BAD_REQUEST: (ExitCode.USAGE, said or "the operator does not understand the request"),
            HTTPStatus.SERVICE_UNAVAILABLE: (
                ExitCode.AWAY,
                f"the operator is not ready: {said or 'it does not say why'}",
            ),
        }
        other = (
            ExitCode.INTERNAL,
            f"the operator answers {answer.status}{f': {said}' if said else ' without a document'}",
        )
        return CommandError(*problems.get(answer.status, other))

    def _refused_by_api_server(self, answer: Answer) -> CommandError:
        if self._found is None:
            return CommandError(ExitCode.INTERNAL, f"this is an API server, not an operator: {answer.message}")
        service = f"Service {self._found.service} in namespace {self._found.namespace}"
        if answer.status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
            return forbidden(answer, role=self.role)
        if answer.status == HTTPStatus.NOT_FOUND:
            return CommandError(ExitCode.NOT_FOUND, f"the API server finds no {service}: {answer.message}")
        advice = (
            f"is its pod ready (kubectl get pods -n {self._found.namespace})?"
            f" Where the API server cannot reach pods, run '{self._found.port_forward}' and use --server http://localhost:8080"
        )
        return CommandError(ExitCode.AWAY, f"the API server does not reach {service} ({answer.message}): {advice}")

    def _token_advice(self) -> str:
        if self._found is None:
            return "set B3LB_TOKEN or --token-file to the key token of the Secret b3lb-control"
        return "the Secret was changed a moment ago, or the operator was not restarted since"


def _stands_by(answer: Answer) -> bool:
    """Whether another operator works for this one, which says so by 503, or in its answer to a ping."""
    content = answer.content
    if not isinstance(content, dict):
        return False
    return content.get("standby") is True or (content.get("kind") == "Ping" and content.get("leads") is False)


def connect(options: argparse.Namespace) -> OperatorClient:
    """Return the operator that the command line, the environment or the kubeconfig leads to.

    Raises:
        CommandError: None is found; the message says what to do.
    """
    url = options.server or os.environ.get("B3LB_SERVER")
    if not url:
        api = api_server(options.kubeconfig, options.context)
        found = find_operator(api, options)
        path = f"/api/v1/namespaces/{found.namespace}/services/http:{found.service}:{PORT}/proxy"
        return OperatorClient(api, token=found.token, prefix=path, found=found, api=api)
    try:
        server = at(server_url(url))
    except ValueError as error:
        raise CommandError(ExitCode.CONFIGURATION, f"B3LB_SERVER: {error}") from None
    token = _given_token(options.token_file)
    if token is not None:
        return OperatorClient(server, token=token)
    try:
        api = api_server(options.kubeconfig, options.context)
        found = find_operator(api, options)
    except CommandError as error:
        message = f"--server needs the operator's token: set B3LB_TOKEN or --token-file (looked for it, too: {error})"
        raise CommandError(ExitCode.CONFIGURATION, message) from None
    return OperatorClient(server, token=found.token, api=api)


def writable(options: argparse.Namespace, client: OperatorClient) -> Server:
    """Return the API server through which requests go to the operator.

    Raises:
        CommandError: There is no kubeconfig.
    """
    if client.api is not None:
        return client.api
    try:
        return api_server(options.kubeconfig, options.context)
    except CommandError as error:
        message = f"this writes, which needs a kubeconfig or B3LB_DATABASE_URL beside --server ({error})"
        raise CommandError(ExitCode.CONFIGURATION, message) from None


def find_operator(api: Server, options: argparse.Namespace) -> Found:
    """Return the operator's Service and token: that of the namespace, else the only one of the cluster.

    Raises:
        CommandError: There is none, or several, or they may not be read.
    """
    chosen = options.operator_namespace or os.environ.get("B3LB_OPERATOR_NAMESPACE")
    namespace = chosen or farm_namespace(options) or api.namespace or "default"
    try:
        namespace_name(namespace)
    except ValueError as error:
        raise CommandError(ExitCode.CONFIGURATION, f"namespace of the operator: {error}") from None
    places = [f"/api/v1/namespaces/{namespace}/services"]
    if not chosen:
        # A farm's namespace need not be the operator's; who may not look everywhere may look in that of the context.
        places += [_EVERYWHERE, f"/api/v1/namespaces/{api.namespace or 'default'}/services"]
    return _found(api, _only_service(api, list(dict.fromkeys(places)), namespace)["metadata"])


def _only_service(api: Server, places: Sequence[str], namespace: str) -> Document:
    """Return the Service of an operator that answers this command, from the first place that has any."""
    refused: Answer | None = None
    silent: list[Document] = []
    for place in places:
        if place == _EVERYWHERE and refused is not None:
            continue
        services = _services(api, place)
        if isinstance(services, Answer):
            refused = services if place != _EVERYWHERE else refused
            continue
        marked = [item for item in services if SECRET_ANNOTATION in (item["metadata"].get("annotations") or {})]
        if len(marked) > 1:
            names = listed(sorted({str(service["metadata"]["namespace"]) for service in marked}))
            raise CommandError(ExitCode.USAGE, f"several operators, choose one with --operator-namespace: {names}")
        if marked:
            return marked[0]
        silent += services
    elsewhere = "name its namespace with --operator-namespace or -n"
    if refused is not None:
        raise forbidden(refused, role="b3lb-control", otherwise=f", or {elsewhere}")
    if silent:
        elsewhere = f"that answers this command: set control.enabled in its chart (helm upgrade), or {elsewhere}"
        raise CommandError(ExitCode.NOT_FOUND, f"no operator in namespace {namespace} {elsewhere}")
    raise CommandError(ExitCode.NOT_FOUND, f"no operator in namespace {namespace}: {elsewhere}")


def forbidden(answer: Answer, *, role: str, otherwise: str = "") -> CommandError:
    """Return the error for what the API server does not let this person do; ``otherwise`` is another way."""
    if answer.status == HTTPStatus.UNAUTHORIZED:
        return CommandError(
            ExitCode.FORBIDDEN, f"the API server does not know you: log in again, as for kubectl ({answer.message})"
        )
    return CommandError(ExitCode.FORBIDDEN, f"forbidden: {answer.message}; {_ROLE.format(role=role)}{otherwise}")


def _services(api: Server, path: str) -> list[Document] | Answer:
    """Return the Services of operators, or the refusal."""
    answer = api.get(path, query={"labelSelector": SELECTOR, "limit": 100})
    if answer.status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        return answer
    if answer.status != HTTPStatus.OK or not isinstance(answer.content, dict):
        raise CommandError(ExitCode.AWAY, f"the API server answers {answer.status}: {answer.message or 'no reason'}")
    return list(answer.content.get("items") or ())


def _found(api: Server, metadata: Mapping[str, Any]) -> Found:
    namespace, service = str(metadata["namespace"]), str(metadata["name"])
    name, _, key = str(metadata["annotations"][SECRET_ANNOTATION]).partition("/")
    try:
        object_name(name)
    except ValueError:
        message = f"the annotation {SECRET_ANNOTATION} of Service {service} in namespace {namespace} names no Secret"
        raise CommandError(ExitCode.CONFIGURATION, message) from None
    answer = api.get(f"/api/v1/namespaces/{namespace}/secrets/{name}")
    if answer.status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        raise forbidden(answer, role=f"{service.removesuffix('-operator')}-control")
    where = f"the operator's token, key {key} of Secret {name} in namespace {namespace}"
    if answer.status != HTTPStatus.OK or not isinstance(answer.content, dict):
        raise CommandError(ExitCode.CONFIGURATION, f"{where}, cannot be read: {answer.message or answer.status}")
    try:
        token = base64.b64decode((answer.content.get("data") or {})[key], validate=True).decode("ascii").strip()
    except (KeyError, ValueError, binascii.Error):
        token = ""
    if not _is_token(token):
        raise CommandError(ExitCode.CONFIGURATION, f"{where}, is missing or unusable")
    return Found(namespace, service, token)


def _is_token(text: str) -> bool:
    """Whether a text may stand in a header: what may not would be quoted, as a whole, by an error of a library."""
    return bool(text) and text.isascii() and text.isprintable() and " " not in text


def _given_token(path: str | None) -> str | None:
    if path is None:
        token = os.environ.get("B3LB_TOKEN", "").strip()
        where = "B3LB_TOKEN"
        if not token:
            return None
    else:
        where = f"the file {path}"
        try:
            token = Path(path).read_text(encoding="ascii").strip()
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else "no text"
            raise CommandError(ExitCode.CONFIGURATION, f"{where} with the token cannot be read: {reason}") from None
    if not _is_token(token):
        raise CommandError(ExitCode.CONFIGURATION, f"{where} holds no token")
    return token
