"""``/recordings``, ``/recordings/{id}``, ``/callbacks`` and ``/audit``: what became of recordings, and who was told."""

from __future__ import annotations

from datetime import UTC, datetime

from b3lb.callbacks.outbox import CallbackState
from b3lb.db.callbacks import latest_callbacks
from b3lb.db.legal_hold import latest_audit
from b3lb.db.recordings import Recording, find_recordings
from b3lb.recordings.hold import RecordSetState
from b3lb.views.recordings import audit_document, callback_document, recording_document
from b3lb.views.values import Document, listing
from b3lb_operator.control.farms import Farms
from b3lb_operator.control.questions import Question, UnknownObjectError, shown

MOST_RECORDINGS = 1_000


async def recordings(farms: Farms, question: Question) -> Document:
    """Return the recordings that were uploaded last, the newest first; warnings only in the document of one."""
    namespaces = question.namespaces(farms.namespaces)
    tenant, record_id = question.text("tenant"), question.text("record")
    state, most = question.choice("state", RecordSetState), _limit(question)
    now = datetime.now(UTC)
    found = await farms.ask(
        lambda connection: find_recordings(
            connection,
            namespaces,
            tenant=None if tenant is None else tenant.upper(),
            state=state,
            record_id=record_id,
            most=most + 1,
        )
    )
    items = [recording_document(recording) for recording in found]
    return listing("RecordingList", items, as_of=now, most=most)


async def recording(farms: Farms, question: Question) -> Document:
    """Return one recording with all that is known of it."""
    namespaces, record_id = question.namespaces(farms.namespaces), question.path["id"]
    found: list[Recording] = await farms.ask(
        lambda connection: find_recordings(connection, namespaces, record_id=record_id, most=1, details=True)
    )
    if not found:
        raise UnknownObjectError(f"there is no recording {shown(record_id)}: /control/v1/recordings lists the newest")
    return recording_document(found[0])


async def callbacks(farms: Farms, question: Question) -> Document:
    """Return the newest callbacks, newest first."""
    namespaces = question.namespaces(farms.namespaces)
    record_id, state, most = question.text("record"), question.choice("state", CallbackState), _limit(question)
    now = datetime.now(UTC)
    found = await farms.ask(
        lambda connection: latest_callbacks(
            connection,
            namespaces,
            record_ids=None if record_id is None else [record_id],
            state=state,
            most=most + 1,
        )
    )
    return listing("CallbackList", [callback_document(item) for item in found], as_of=now, most=most)


async def audit(farms: Farms, question: Question) -> Document:
    """Return the newest lines of the audit, newest first."""
    namespaces = question.namespaces(farms.namespaces)
    subject, action, most = question.text("record"), question.text("action"), _limit(question)
    now = datetime.now(UTC)
    found = await farms.ask(
        lambda connection: latest_audit(connection, namespaces, subject=subject, action=action, most=most + 1)
    )
    return listing("AuditList", [audit_document(line) for line in found], as_of=now, most=most)


def _limit(question: Question) -> int:
    return question.number("limit", default=50, least=1, greatest=MOST_RECORDINGS)
