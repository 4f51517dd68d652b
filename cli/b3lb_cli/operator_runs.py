"""Task runs by the operator: read at its end point; enqueued and taken back by requests, annotations of a BBBQueue."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

from b3lb.control import LARGEST_REQUEST, REQUEST_PREFIX
from b3lb_cli.kube import Answer, Server
from b3lb_cli.operator_client import Document, OperatorClient, forbidden
from b3lb_cli.outcome import CommandError, ExitCode, listed
from b3lb_cli.table import shown
from b3lb_cli.values import namespace_name, object_name

if TYPE_CHECKING:
    from b3lb.workflows import Workflow

OUTCOME_SECONDS = 20.0
POLL_SECONDS = 0.25
_NAME_COLUMNS = 40


class OperatorRuns:
    """The runs of the operator's queues; every call raises CommandError with what is allowed."""

    def __init__(self, client: OperatorClient, api: Callable[[], Server], namespace: str | None) -> None:
        """Ask nothing yet.

        Args:
            client: The operator.
            api: Returns the API server, which is needed to write only.
            namespace: The queues' namespace; None: all of the operator's.
        """
        self._client = client
        self._api = api
        self._namespace = namespace

    def runs(
        self, *, queue: str | None, task: str | None, state: str | None, parent: UUID | None = None, limit: int
    ) -> Document:
        """Return the newest runs."""
        wanted = None if state is None else state.upper()
        query = {
            "queue": queue,
            "task": task,
            "state": wanted,
            "of": parent,
            "limit": limit,
            "namespace": self._namespace,
        }
        try:
            found = self._client.get("/runs", **query)
        except CommandError as error:
            if error.code is ExitCode.NOT_FOUND:
                self._check(queue, task)
            raise
        if not found.get("items"):
            self._check(queue, task)
        return found

    def run(self, run_id: UUID) -> Document:
        """Return a run."""
        found = self._client.find(f"/runs/{run_id}")
        if found is None:
            raise CommandError(ExitCode.NOT_FOUND, f"no run {run_id}; b3lb runs lists them")
        return found

    def enqueue(self, task: str, arguments: Mapping[str, Any], priority: int | None) -> Document:
        """Enqueue a run in the queue that has the task, and return it."""
        namespace, queue = self._queue_with(task)
        # The operator gives the run the request's ID.
        request_id = uuid4()
        request = {"run": {"task": task, "arguments": dict(arguments), "priority": priority}}
        self._request(namespace, queue, request_id, request, refused=ExitCode.USAGE)
        return self.run(request_id)

    def enqueue_workflow(self, workflow: Workflow, priority: int | None) -> Document:
        """Enqueue runs that belong together, all in one queue, and return the run that stands for all of them."""
        found = {self._queue_with(task) for task in {step.task for step in workflow.steps}}
        if len(found) > 1:
            queues = listed(sorted(name for _, name in found))
            message = (
                f"the tasks belong to the BBBQueues {queues}: only B3LB_DATABASE_URL lets several queues work together"
            )
            raise CommandError(ExitCode.USAGE, message)
        namespace, queue = found.pop()
        request_id = uuid4()
        definition = workflow.model_dump(mode="json", exclude_none=True)
        request = {"workflow": {"definition": definition, "priority": priority}}
        self._request(namespace, queue, request_id, request, refused=ExitCode.USAGE)
        return self.run(request_id)

    def revoke(self, run_id: UUID) -> Document:
        """Take a run back and return it."""
        run = self.run(run_id)
        if run.get("finishedAt") is not None:
            # The operator takes a repeated request for done; who asks anew is told, as by the database.
            problem = f"run {run_id} cannot be revoked: it is over: {run.get('state')}"
            raise CommandError(ExitCode.NOT_FOUND, problem)
        request = {"revoke": str(run_id)}
        self._request(str(run["namespace"]), str(run["queue"]), uuid4(), request, refused=ExitCode.NOT_FOUND)
        return self.run(run_id)

    def purge(self, queue: str) -> int:
        """Take back the waiting runs of a queue and return how many there were."""
        namespace, name = self._queue(queue)
        outcome = self._request(namespace, name, uuid4(), {"purge": True}, refused=ExitCode.NOT_FOUND)
        return int(outcome.get("revoked") or 0)

    def _check(self, queue: str | None, task: str | None) -> None:
        if queue is not None:
            self._queue(queue)
        if task is not None:
            self._queue_with(task)

    def _queues(self) -> list[Mapping[str, Any]]:
        return list(self._client.get("/queues", namespace=self._namespace).get("items") or ())

    def _queue(self, name: str) -> tuple[str, str]:
        queues = self._queues()
        found = [queue for queue in queues if queue["name"] == name]
        if not found:
            there = f"the queues are {_names(queue['name'] for queue in queues)}" if queues else "there is none at all"
            raise CommandError(ExitCode.USAGE, f"no BBBQueue {shown(name, _NAME_COLUMNS)}{self._place()}; {there}")
        return self._only(found, f"a BBBQueue {name}")

    def _queue_with(self, task: str) -> tuple[str, str]:
        queues = self._queues()
        found = [queue for queue in queues if task in queue["tasks"]]
        if not found:
            tasks = _names(name for queue in queues for name in queue["tasks"])
            there = f"the tasks are {tasks}" if tasks else "there is no BBBQueue at all"
            message = f"no BBBQueue{self._place()} has the task {shown(task, _NAME_COLUMNS)}; {there}"
            raise CommandError(ExitCode.USAGE, message)
        return self._only(found, f"a BBBQueue with the task {task}")

    def _only(self, queues: list[Mapping[str, Any]], what: str) -> tuple[str, str]:
        namespaces = sorted({str(queue["namespace"]) for queue in queues})
        if len(namespaces) > 1:
            message = f"several namespaces have {what}, choose one with -n: {listed(namespaces)}"
            raise CommandError(ExitCode.USAGE, message)
        return str(queues[0]["namespace"]), str(queues[0]["name"])

    def _place(self) -> str:
        return "" if self._namespace is None else f" in namespace {self._namespace}"

    def _request(
        self, namespace: str, queue: str, request_id: UUID, request: Mapping[str, Any], *, refused: ExitCode
    ) -> Document:
        """Put a request on a BBBQueue and return its outcome."""
        text = json.dumps(request, ensure_ascii=False, separators=(",", ":"))
        if len(text.encode()) > LARGEST_REQUEST:
            message = f"that is too large: a request has at most {LARGEST_REQUEST} bytes without B3LB_DATABASE_URL"
            raise CommandError(ExitCode.USAGE, message)
        api = self._api()
        path = _queue_path(namespace, queue)
        answer = api.patch(path, _annotation(request_id, text))
        if answer.status != HTTPStatus.OK:
            raise _not_taken(answer, namespace, queue, role=f"{self._client.role}-tasks")
        try:
            outcome, problem = self._outcome(request_id)
        except (CommandError, KeyboardInterrupt):
            # Who is told that it failed may ask again: it must not be done behind his back as well.
            _withdraw(api, path, request_id)
            raise
        if outcome is None:
            withdrawn = _withdraw(api, path, request_id)
            end = "and the request was withdrawn" if withdrawn else "and the request stays, so that it may do it yet"
            message = f"the operator did not do it within {OUTCOME_SECONDS:g} s{problem}, {end}"
            raise CommandError(ExitCode.AWAY, f"{message}: what says b3lb inspect ping?")
        if outcome.get("state") == "refused":
            raise CommandError(refused, shown(str(outcome.get("message")), 500))
        return outcome

    def _outcome(self, request_id: UUID) -> tuple[Document | None, str]:
        """Wait for a request's outcome; None while there is none in time, and why it could not be asked for."""
        deadline = time.monotonic() + OUTCOME_SECONDS
        problem = ""
        while time.monotonic() < deadline:
            try:
                outcome = self._client.find(f"/requests/{request_id}")
            except CommandError as error:
                # An operator that begins anew does what it finds: this is not the end of the request.
                if error.code is not ExitCode.AWAY:
                    raise
                outcome, problem = None, f" ({error})"
            if outcome is not None and outcome.get("state") in {"done", "refused"}:
                return outcome, ""
            time.sleep(POLL_SECONDS)
        return None, problem


def _queue_path(namespace: str, queue: str) -> str:
    """Return where the API server has a queue that the operator named; what is no name must not lead elsewhere."""
    try:
        return f"/apis/b3lb.io/v1alpha1/namespaces/{namespace_name(namespace)}/bbbqueues/{object_name(queue)}"
    except ValueError:
        raise CommandError(ExitCode.INTERNAL, "the operator names a queue that no queue can be called") from None


def _annotation(request_id: UUID, text: str | None) -> Mapping[str, Any]:
    return {"metadata": {"annotations": {f"{REQUEST_PREFIX}{request_id}": text}}}


def _withdraw(api: Server, path: str, request_id: UUID) -> bool:
    """Take a request back; return whether the API server did."""
    try:
        return api.patch(path, _annotation(request_id, None)).status in {HTTPStatus.OK, HTTPStatus.NOT_FOUND}
    except CommandError:
        return False


def _not_taken(answer: Answer, namespace: str, queue: str, *, role: str) -> CommandError:
    if answer.status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        return forbidden(answer, role=role)
    if answer.status == HTTPStatus.NOT_FOUND:
        return CommandError(ExitCode.NOT_FOUND, f"no BBBQueue {queue} in namespace {namespace} any more")
    code = ExitCode.AWAY if answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR else ExitCode.USAGE
    return CommandError(code, f"the API server does not take the request: {answer.message or answer.status}")


def _names(found: Iterable[object]) -> str:
    return listed(sorted({str(name) for name in found}))
