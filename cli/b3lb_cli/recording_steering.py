"""``b3lb recordings retry``, ``pause``, ``resume``, ``cancel`` and ``priority``: edits of the BBBRecording."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any
from uuid import UUID

from b3lb_cli.kube import Answer
from b3lb_cli.operator_client import forbidden, writable
from b3lb_cli.outcome import CommandError, ExitCode
from b3lb_cli.output import Item
from b3lb_cli.recordings import SETTLED, OperatorRecordings, existing, judge, print_recording, wait_until
from b3lb_cli.values import namespace_name, object_name

Change = Callable[[Mapping[str, Any]], Mapping[str, Any]]
"""Makes a patch of a BBBRecording's spec, from the present one."""

_TRIES = 3


def object_of(found: Item) -> str:
    """Return the name of a recording's BBBRecording."""
    from b3lb.resources.recording import recording_name  # noqa: PLC0415 - pydantic takes 0.2 s to import

    return recording_name(str(found["recordID"]), UUID(str(found["recordSet"])))


def retry(options: argparse.Namespace) -> None:
    """Have the videos that failed or were cancelled rendered again; with ``--wait`` say how that ended.

    Raises:
        CommandError: Nothing of it failed, or it failed again.
    """
    source = OperatorRecordings(options)
    found = existing(source, options.recording)
    if found["state"] != "FAILED" and not _cancelled(found):
        message = f"nothing of recording {found['recordID']} failed or was cancelled: it is {found['state']}"
        raise CommandError(ExitCode.NOT_FOUND, message)
    _change(options, source, found, lambda spec: {"retry": int(spec.get("retry") or 0) + 1, "cancel": False})
    ended = (found.get("failedAt"), found.get("renderedAt"))

    def over(now: Item) -> bool:
        return now["state"] in SETTLED and (now.get("failedAt"), now.get("renderedAt")) != ended

    if options.wait:
        found = wait_until(source, found, over, seconds=options.timeout)
    print_recording(found, options.output)
    if options.wait:
        judge(found)


def pause(options: argparse.Namespace) -> None:
    """Let a recording wait, and end what is rendered of it now."""
    _steer(options, lambda _: {"paused": True})


def resume(options: argparse.Namespace) -> None:
    """Let a recording that was paused go on."""
    _steer(options, lambda _: {"paused": False})


def cancel(options: argparse.Namespace) -> None:
    """Give up what is not rendered of a recording; nothing is deleted."""
    _steer(options, lambda _: {"cancel": True})


def priority(options: argparse.Namespace) -> None:
    """Give a recording another place in the queue."""
    _steer(options, lambda _: {"priority": options.priority})


def _steer(options: argparse.Namespace, change: Change) -> None:
    source = OperatorRecordings(options)
    found = existing(source, options.recording)
    if found["state"] not in {"UPLOADED", "RENDERING"}:
        message = f"recording {found['recordID']} is {found['state']}: there is no rendering to change"
        raise CommandError(ExitCode.NOT_FOUND, message)
    spec = _change(options, source, found, change)
    print_recording({**found, **{name: spec[name] for name in ("paused", "priority") if name in spec}}, options.output)


def _cancelled(found: Item) -> bool:
    return any(video.get("state") == "CANCELLED" for video in found.get("videos") or ())


def _change(options: argparse.Namespace, source: OperatorRecordings, found: Item, change: Change) -> Mapping[str, Any]:
    """Edit the BBBRecording and return its spec; an edit of somebody else's meanwhile is not overwritten."""
    api, path = writable(options, source.client), _path(found)
    for _ in range(_TRIES):
        answer = api.get(path)
        if answer.status != HTTPStatus.OK or not isinstance(answer.content, dict):
            raise _refused(answer, found, role=f"{source.client.role}-tasks")
        spec = answer.content.get("spec") or {}
        version = (answer.content.get("metadata") or {}).get("resourceVersion")
        answer = api.patch(path, {"metadata": {"resourceVersion": version}, "spec": change(spec)})
        if answer.status == HTTPStatus.OK and isinstance(answer.content, dict):
            return answer.content.get("spec") or {}
        if answer.status != HTTPStatus.CONFLICT:
            raise _refused(answer, found, role=f"{source.client.role}-tasks")
    raise CommandError(ExitCode.AWAY, f"BBBRecording {object_of(found)} is changed by others all the time; try again")


def _path(found: Item) -> str:
    try:
        namespace, name = namespace_name(str(found["namespace"])), object_name(object_of(found))
    except ValueError:
        raise CommandError(ExitCode.INTERNAL, "the operator names a recording that no object can be called") from None
    return f"/apis/b3lb.io/v1alpha1/namespaces/{namespace}/bbbrecordings/{name}"


def _refused(answer: Answer, found: Item, *, role: str) -> CommandError:
    if answer.status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        return forbidden(answer, role=role)
    name, namespace = object_of(found), found["namespace"]
    if answer.status == HTTPStatus.NOT_FOUND:
        message = f"there is no BBBRecording {name} in namespace {namespace} (yet): does the operator lead?"
        return CommandError(ExitCode.NOT_FOUND, message)
    code = ExitCode.AWAY if answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR else ExitCode.USAGE
    return CommandError(code, f"the API server does not change BBBRecording {name}: {answer.message or answer.status}")
