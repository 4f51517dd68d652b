"""``b3lb recordings list``, ``show``, ``callbacks`` and ``audit``: by the database, or by the operator."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol
from urllib.parse import quote

from b3lb_cli.namespaces import farm_namespace
from b3lb_cli.outcome import CommandError, ExitCode
from b3lb_cli.output import (
    UNKNOWN,
    Column,
    Item,
    Listing,
    age,
    as_table,
    bytes_text,
    count,
    long_text,
    since,
    size,
    span,
    text,
    write_document,
    write_listing,
)
from b3lb_cli.source import by_database, database, operator
from b3lb_cli.table import shown

POLL_SECONDS = 2.0
TELL_SECONDS = 10.0
SETTLED = ("RENDERED", "FAILED")
_ID_COLUMNS = 64
_LINE_COLUMNS = 200


class Recordings(Protocol):
    """Where recordings are; every call raises CommandError with what is allowed."""

    def list(self, *, tenant: str | None, state: str | None, limit: int) -> Item:
        """Return the recordings that were uploaded last."""

    def find(self, record_id: str) -> Item | None:
        """Return a recording with all that is known of it, None if there is none."""

    def callbacks(self, *, record_id: str | None, state: str | None, limit: int) -> Item:
        """Return the newest callbacks."""

    def audit(self, *, record_id: str | None, action: str | None, limit: int) -> Item:
        """Return the newest lines of the audit."""


class OperatorRecordings:
    """The recordings that an operator shows."""

    def __init__(self, options: argparse.Namespace) -> None:
        """Find the operator; nothing is asked yet."""
        self.client = operator(options)
        self._namespace = farm_namespace(options)

    def list(self, *, tenant: str | None, state: str | None, limit: int) -> Item:
        """Return the recordings that were uploaded last."""
        return self.client.get("/recordings", tenant=tenant, state=state, limit=limit, namespace=self._namespace)

    def find(self, record_id: str) -> Item | None:
        """Return a recording with all that is known of it, None if there is none."""
        query = "" if self._namespace is None else f"?namespace={quote(self._namespace)}"
        return self.client.find(f"/recordings/{quote(record_id, safe='')}{query}")

    def callbacks(self, *, record_id: str | None, state: str | None, limit: int) -> Item:
        """Return the newest callbacks."""
        return self.client.get("/callbacks", record=record_id, state=state, limit=limit, namespace=self._namespace)

    def audit(self, *, record_id: str | None, action: str | None, limit: int) -> Item:
        """Return the newest lines of the audit."""
        return self.client.get("/audit", record=record_id, action=action, limit=limit, namespace=self._namespace)


def recordings_source(options: argparse.Namespace) -> Recordings:
    """Return where recordings are read: the database, or the operator."""
    if by_database(options):
        from b3lb_cli.database_recordings import DatabaseRecordings  # noqa: PLC0415 - only this way needs its libraries

        return DatabaseRecordings(*database(options))
    return OperatorRecordings(options)


def state_of(item: Item, _now: datetime | None) -> str:
    """Return the state in one word, with what is done of a rendering: ``RENDERING 45%``, ``UPLOADED paused``."""
    state, percent = str(item.get("state")), item.get("progressPercent")
    if state not in SETTLED and item.get("paused"):
        return f"{state} paused"
    return f"{state} {percent:.0f}%" if state == "RENDERING" and percent is not None else state


def _videos(item: Item, _now: datetime | None) -> str:
    videos = item.get("videos") or ()
    done = sum(1 for video in videos if video.get("state") == "RENDERED")
    return f"{done}/{len(videos)}" if videos else UNKNOWN


def _stored(item: Item, _now: datetime | None) -> str:
    return bytes_text((item.get("archiveBytes") or 0) + (item.get("videoBytes") or 0))


def _expires(item: Item, now: datetime | None) -> str:
    if item.get("legalHold"):
        return "legal hold"
    return "never" if item.get("expiresAt") is None else since(item["expiresAt"], now)


def _callbacks(item: Item, _now: datetime | None) -> str:
    return ",".join(str(callback.get("state")) for callback in item.get("callbacks") or ()) or UNKNOWN


def _warnings(item: Item, _now: datetime | None) -> str:
    return str(item.get("warningCount") or 0)


LISTING = Listing(
    "recordings",
    (
        text("RECORDING", "recordID", columns=_ID_COLUMNS),
        text("MEETING", "meetingName"),
        text("TENANT", "tenant"),
        Column("STATE", state_of),
        Column("VIDEOS", _videos, right=True),
        Column("SIZE", _stored, right=True),
        Column("WARNINGS", _warnings, right=True),
        age("AGE", "uploadedAt"),
        Column("EXPIRES", _expires),
        text("REASON", "reason"),
        count("ATTEMPTS", "attempts", wide=True),
        Column("CALLBACKS", _callbacks, wide=True),
        text("NODE", "node", wide=True),
        long_text("MESSAGE", "message", wide=True),
        text("NAMESPACE", "namespace", wide=True),
    ),
)
VIDEOS = Listing(
    "videos",
    (
        text("PROFILE", "profile"),
        Column("STATE", state_of),
        count("ATTEMPTS", "attempts"),
        size("SIZE", "bytes"),
        Column("LENGTH", lambda item, _now: span(item.get("durationSeconds")), right=True),
        text("RUN", "run"),
        text("REASON", "reason"),
        long_text("MESSAGE", "message"),
    ),
)
CALLBACKS = Listing(
    "callbacks",
    (
        text("RECORDING", "recordID", columns=_ID_COLUMNS),
        text("STATE", "state"),
        count("ATTEMPTS", "attempts"),
        count("STATUS", "statusCode"),
        text("REASON", "reason"),
        age("AGE", "createdAt"),
        age("NEXT", "nextAttemptAt"),
        text("URL", "url", columns=80),
        text("KIND", "kind", wide=True),
        long_text("MESSAGE", "message", wide=True),
        text("NAMESPACE", "namespace", wide=True),
    ),
)
AUDIT = Listing(
    "lines in the audit",
    (
        age("AGE", "at"),
        text("ACTION", "action"),
        text("KIND", "kind"),
        text("SUBJECT", "subject", columns=_ID_COLUMNS),
        text("TENANT", "tenant"),
        text("REASON", "reason"),
        text("ACTOR", "actor"),
        count("OBJECTS", "objects"),
        size("SIZE", "bytes"),
        text("AT", "at", wide=True),
        text("NAMESPACE", "namespace", wide=True),
    ),
)
_FACTS = (
    *("recordID", "meetingName", "meetingID", "tenant", "namespace", "cluster", "node", "state", "reason", "message"),
    *("paused", "priority", "legalHold", "legalHoldReason", "holdDays", "expiresAt", "startedAt", "endedAt"),
    *("participants", "uploadedAt", "renderingAt", "renderedAt", "failedAt", "deletingAt", "recordSet"),
)


def list_recordings(options: argparse.Namespace) -> None:
    """List recordings, the newest first."""
    found = recordings_source(options).list(tenant=options.tenant, state=options.state, limit=options.limit)
    write_listing(LISTING, found, options.output)


def show(options: argparse.Namespace) -> None:
    """Show a recording; with ``--wait`` when it is rendered or failed.

    Raises:
        CommandError: There is none of this ID, or the rendering that was waited for failed.
    """
    source = recordings_source(options)
    found = existing(source, options.recording)
    if options.wait:
        found = wait_until(source, found, lambda now: now["state"] in SETTLED, seconds=options.timeout)
    print_recording(found, options.output)
    if options.wait:
        judge(found)


def callbacks(options: argparse.Namespace) -> None:
    """List callbacks, the newest first."""
    source = recordings_source(options)
    found = source.callbacks(record_id=options.recording, state=options.state, limit=options.limit)
    write_listing(CALLBACKS, found, options.output)


def audit(options: argparse.Namespace) -> None:
    """List what was deleted, held and released, the newest first."""
    source = recordings_source(options)
    found = source.audit(record_id=options.recording, action=options.action, limit=options.limit)
    write_listing(AUDIT, found, options.output)


def existing(source: Recordings, record_id: str) -> Item:
    """Return a recording.

    Raises:
        CommandError: There is none of this ID.
    """
    found = source.find(record_id)
    if found is None:
        message = f"no recording {shown(record_id, _ID_COLUMNS)}; b3lb recordings list shows the newest"
        raise CommandError(ExitCode.NOT_FOUND, message)
    return found


def wait_until(source: Recordings, found: Item, over: Callable[[Item], bool], *, seconds: float) -> Mapping[str, Any]:
    """Return a recording as it is when ``over`` says so, or after so many seconds; progress goes to standard error.

    Raises:
        CommandError: It was deleted meanwhile, or nobody says.
    """
    deadline = time.monotonic() + seconds
    told, told_at = "", 0.0
    while not over(found) and time.monotonic() < deadline:
        line = progress_line(found)
        if line != told and time.monotonic() - told_at >= TELL_SECONDS:
            told, told_at = line, time.monotonic()
            sys.stderr.write(f"{line}\n")
            sys.stderr.flush()
        time.sleep(POLL_SECONDS)
        found = existing(source, str(found["recordID"]))
    return found


def progress_line(item: Item) -> str:
    """Return in one line how far the work on a recording is."""
    videos = [
        f"{video.get('profile')} {state_of(video, None)}{_words(video.get('progressMessage'))}"
        for video in item.get("videos") or ()
    ]
    return shown("; ".join([state_of(item, None), *videos]), _LINE_COLUMNS)


def _words(message: object) -> str:
    return f" ({message})" if message else ""


def judge(found: Item) -> None:
    """Say by an error that what was waited for did not come.

    Raises:
        CommandError: The recording is not rendered.
    """
    if found["state"] == "RENDERED":
        return
    reason = shown(f"{found.get('reason') or ''} {found.get('message') or ''}".strip(), _LINE_COLUMNS)
    message = f"recording {found['recordID']}: {state_of(found, None)}{f': {reason}' if reason else ''}"
    raise CommandError(ExitCode.RUN_FAILED, message)


def print_recording(found: Item, output: str) -> None:
    """Print a recording with its videos, warnings and callbacks."""
    if output in {"json", "yaml"}:
        write_document(found, output)
        return
    sys.stdout.writelines(_lines(found))


def _lines(found: Item) -> Iterator[str]:
    facts = [(name, found.get(name)) for name in _FACTS]
    stored = f"{bytes_text(found.get('archiveBytes'))} archive, {bytes_text(found.get('videoBytes'))} videos"
    pairs = [(name, value) for name, value in facts if value not in (None, "", False)] + [("stored", stored)]
    widest = max(len(name) for name, _ in pairs)
    for name, value in pairs:
        yield f"{name.ljust(widest)}  {shown(str(value), _LINE_COLUMNS)}\n"
    videos: Sequence[Item] = found.get("videos") or ()
    for listing, items in ((VIDEOS, videos), (CALLBACKS, found.get("callbacks") or ())):
        if items:
            yield f"\n{as_table(listing, {'items': items})}"
    for video in videos:
        for warning in video.get("warnings") or ():
            words = (
                f"{warning.get('code')}: {warning.get('message') or ''}" if isinstance(warning, Mapping) else warning
            )
            yield f"warning of {video.get('profile')}: {shown(str(words), _LINE_COLUMNS)}\n"
        more = (video.get("warningCount") or 0) - len(video.get("warnings") or ())
        if more > 0:
            yield f"and {more} more of {video.get('profile')}\n"
