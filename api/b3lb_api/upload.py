"""``POST /b3lb/b/record/upload?nonce=…``: a node sends a published recording as a multipart form.

``file`` is the recording's folder as a tar, ``meta`` its metadata.xml, in any order. The archive goes to the storage as
it arrives. 200 says that it is safe, whether it came now or earlier; a node may then delete its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from http import HTTPStatus
from uuid import UUID

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from b3lb.db.record_sets import Uploaded
from b3lb.logs import get_logger
from b3lb.recordings.hold import RecordSetState
from b3lb.recordings.metadata import MOST_BYTES, MetadataError, RecordingMetadata, parse_metadata
from b3lb.storage.interface import CHUNK_BYTES, StorageError, StorageFullError, Writer
from b3lb.storage.layout import archive_key, record_set_prefix
from b3lb.storage.manifest import ArchiveEntry, Manifest, write_manifest
from b3lb_api.backend import Backend, UnavailableError
from b3lb_api.body import Body, BrokenBodyError
from b3lb_api.instruments import PRESENT, STORED, Instruments, Outcome
from b3lb_api.multipart import FormError, UploadForm
from b3lb_api.slots import BusyError, Slots

LONGEST_NONCE = 1024
FORM_BYTES = MOST_BYTES + (1 << 20)
"""What a form may have beside its file."""

RETRY_SECONDS = 30
DRAIN_BYTES = 64 << 20
DRAIN_SECONDS = 20.0
PRESENT_SECONDS = 3600.0
"""How much of a body is passed over before a refusal is sent, and how long at most; for a recording that is present the
whole of it, for its node must get to know."""

_UNDRAINED = frozenset({"Idle", "Stopping"})

_log = get_logger(__name__)


class Refusal(Exception):  # noqa: N818 - an answer, not a fault
    """An upload that is not taken: the answer's status, a reason in CamelCase, and a message for people."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadLimits:
    """Bytes of the largest archive, uploads at once, and seconds for which one may bring nothing."""

    archive_bytes: int
    at_once: int
    idle_seconds: float


class Uploads:
    """The end point."""

    def __init__(self, backend: Backend, limits: UploadLimits, instruments: Instruments) -> None:
        self._backend = backend
        self._limits = limits
        self._instruments = instruments
        self._slots = Slots(limits.at_once, instruments.uploads_in_flight)

    async def __call__(self, request: Request) -> Response:
        """Take one upload; every refusal has a reason."""
        with self._instruments.upload() as outcome:
            return await self._answer(request, outcome)

    async def _answer(self, request: Request, outcome: Outcome) -> Response:
        body = Body(request, idle_seconds=self._limits.idle_seconds)
        try:
            with _refusals():
                taken = await self._admit(request, body)
            outcome.name = STORED if taken.stored else PRESENT
            return taken.answer()
        except Refusal as refusal:
            outcome.name = refusal.reason
            _log.warning("an upload was refused", reason=refusal.reason, message=str(refusal), status=refusal.status)
            if refusal.reason not in _UNDRAINED:
                await body.drain(most=DRAIN_BYTES, seconds=DRAIN_SECONDS)
            headers = {"Connection": "close"}
            if refusal.status == HTTPStatus.SERVICE_UNAVAILABLE:
                headers["Retry-After"] = str(RETRY_SECONDS)
            answer = {"error": refusal.reason, "message": str(refusal)}
            return JSONResponse(answer, status_code=refusal.status, headers=headers)

    async def _admit(self, request: Request, body: Body) -> _Taken:
        """Let in who shows an upload secret, while there is room; before anything of the body is read."""
        nonces = request.query_params.getlist("nonce")
        cluster = None
        if len(nonces) == 1 and 1 <= len(nonces[0]) <= LONGEST_NONCE:
            cluster = await self._backend.cluster_of(nonces[0])
        if cluster is None:
            raise Refusal(403, "WrongNonce", "the nonce is no upload secret of any cluster")
        self._check_length(request)
        with self._slots.taken():
            try:
                return await self._take(request, body, cluster)
            except _KnownError as known:
                await body.drain(most=self._limits.archive_bytes + FORM_BYTES, seconds=PRESENT_SECONDS)
                return _Taken(known.record_id, known.record_set, stored=False)

    def _check_length(self, request: Request) -> None:
        length = request.headers.get("content-length", "")
        if length.isdigit() and int(length[:20]) > self._limits.archive_bytes + FORM_BYTES:
            raise self._too_large()

    def _too_large(self) -> Refusal:
        return Refusal(413, "TooLarge", f"an archive may have {self._limits.archive_bytes} bytes")

    async def _take(self, request: Request, body: Body, cluster: str) -> _Taken:
        install_id = await self._backend.install_id()
        record_set = uuid.uuid4()
        key = archive_key(self._backend.namespace, record_set)
        form = UploadForm(
            request.headers.get("content-type", ""), file="file", field="meta", most_field_bytes=MOST_BYTES
        )
        writer = await self._backend.in_storage(self._backend.storage.create, key, content_type="application/x-tar")
        try:
            metadata = await self._receive(body, form, writer)
            if metadata is None:
                metadata = await self._judge(form.finish())
            if writer.size == 0:
                raise Refusal(400, "EmptyArchive", "the archive is empty")
            return await self._keep(
                metadata, writer, record_set=record_set, key=key, cluster=cluster, install_id=install_id
            )
        finally:
            await self._backend.in_storage(writer.discard)

    async def _receive(self, body: Body, form: UploadForm, writer: Writer) -> RecordingMetadata | None:
        """Pass the file on to the storage; return the metadata if they came before its end.

        Metadata that come first are judged at once, which may spare the node the rest.
        """
        received = 0
        pending = bytearray()
        metadata: RecordingMetadata | None = None
        async for piece in body.pieces():
            received += len(piece)
            self._instruments.upload_bytes.inc(len(piece))
            if received > self._limits.archive_bytes + FORM_BYTES:
                raise self._too_large()
            pending += form.feed(piece)
            if writer.size + len(pending) > self._limits.archive_bytes:
                raise self._too_large()
            if metadata is None and form.field is not None:
                metadata = await self._judge(form.field)
            if len(pending) >= CHUNK_BYTES:
                await self._backend.in_storage(writer.write, bytes(pending))
                pending.clear()
        form.finish()
        if pending:
            await self._backend.in_storage(writer.write, bytes(pending))
        return metadata

    async def _judge(self, text: bytes) -> RecordingMetadata:
        """Read the metadata and see whether the recording is wanted."""
        metadata = parse_metadata(text)
        if metadata.breakout:
            raise Refusal(403, "Breakout", "recordings of breakout rooms are not taken")
        known = await self._known(metadata.record_id)
        if known is not None:
            raise _KnownError(metadata.record_id, known)
        return metadata

    async def _known(self, record_id: str) -> UUID | None:
        """Return the record set of a recording that is safe; what is being deleted is not, and comes again later."""
        known = await self._backend.known(record_id)
        if known is not None and known.state is RecordSetState.DELETING:
            raise Refusal(503, "Deleting", "the recording is being deleted; come again when it is gone")
        return None if known is None else known.id

    async def _keep(
        self,
        metadata: RecordingMetadata,
        writer: Writer,
        *,
        record_set: UUID,
        key: str,
        cluster: str,
        install_id: UUID,
    ) -> _Taken:
        """Publish the archive and its manifest, then note them."""
        backend = self._backend
        attribution, now = await backend.attribute(metadata.record_id, metadata.meeting_id)
        uploaded = Uploaded(
            id=record_set,
            namespace=backend.namespace,
            record_id=metadata.record_id,
            meeting_id=metadata.meeting_id,
            meeting_name=metadata.meeting_name,
            cluster_name=cluster,
            attribution=attribution,
            uploaded_at=now,
            started_at=metadata.started_at,
            ended_at=metadata.ended_at or now,
            duration_milliseconds=metadata.duration_milliseconds,
            participants=metadata.participants,
            metadata=metadata.metadata,
            archive_key=key,
            archive_bytes=writer.size,
            archive_sha256=writer.sha256,
            install_id=install_id,
        )
        try:
            await backend.in_storage(writer.publish)
            await backend.in_storage(write_manifest, backend.storage, manifest_of(uploaded))
        except StorageError:
            await self._clear(record_set)
            raise
        # Should this fail, the row may be there all the same: the archive stays, for the sweep of orphans to judge.
        if not await backend.note(uploaded):
            return await self._outrun(metadata.record_id, record_set)
        _log.info(
            "a recording was uploaded",
            record_id=metadata.record_id,
            meeting_id=metadata.meeting_id,
            node=attribution.node_name,
            bytes=writer.size,
        )
        return _Taken(metadata.record_id, record_set, stored=True)

    async def _outrun(self, record_id: str, record_set: UUID) -> _Taken:
        """Give up what was published while another upload of the recording came first.

        Raises:
            Refusal: The other one is gone again.
        """
        await self._clear(record_set)
        known = await self._known(record_id)
        if known is None:
            raise Refusal(503, "Deleting", "the recording was deleted meanwhile; come again")
        return _Taken(record_id, known, stored=False)

    async def _clear(self, record_set: UUID) -> None:
        """Delete what was published for nothing; what stays is left to the sweep of orphans."""
        with contextlib.suppress(StorageError):
            prefix = record_set_prefix(self._backend.namespace, record_set)
            await self._backend.in_storage(self._backend.storage.delete_prefix, prefix)


@dataclass(frozen=True, slots=True)
class _Taken:
    """A recording that is safe, since now (``stored``) or earlier."""

    record_id: str
    record_set: UUID
    stored: bool

    def answer(self) -> Response:
        status = "stored" if self.stored else "present"
        return JSONResponse({"status": status, "recordId": self.record_id, "recordSet": str(self.record_set)})


class _KnownError(Exception):
    """The recording was uploaded before."""

    def __init__(self, record_id: str, record_set: UUID) -> None:
        super().__init__(record_id)
        self.record_id = record_id
        self.record_set = record_set


def manifest_of(uploaded: Uploaded) -> Manifest:
    """Return the manifest of a record set that has no video yet."""
    return Manifest(
        install_id=uploaded.install_id,
        namespace=uploaded.namespace,
        record_set_id=uploaded.id,
        record_id=uploaded.record_id,
        meeting_id=uploaded.meeting_id,
        meeting_name=uploaded.meeting_name,
        tenant_slug=uploaded.attribution.tenant_slug,
        sub_id=uploaded.attribution.sub_id,
        cluster_name=uploaded.cluster_name,
        node_name=uploaded.attribution.node_name,
        uploaded_at=uploaded.uploaded_at,
        started_at=uploaded.started_at,
        ended_at=uploaded.ended_at,
        duration_milliseconds=uploaded.duration_milliseconds,
        participants=uploaded.participants,
        metadata=uploaded.metadata,
        archive=ArchiveEntry(key=uploaded.archive_key, size=uploaded.archive_bytes, sha256=uploaded.archive_sha256),
    )


@contextlib.contextmanager
def _refusals() -> Iterator[None]:
    """Turn what went wrong into the answer that lets a node do the right thing: mend it, or come again."""
    try:
        yield
    except BrokenBodyError as error:
        raise Refusal(408 if error.idle else 400, "Idle" if error.idle else "BrokeOff", str(error)) from None
    except asyncio.CancelledError:
        # The server cancels what is still under way when it has to end; there is time for a last word.
        raise Refusal(503, "Stopping", "the front end is being stopped; come again") from None
    except BusyError:
        raise Refusal(503, "Busy", "too many uploads at once; come again") from None
    except FormError as error:
        raise Refusal(400, "BadForm", str(error)) from None
    except MetadataError as error:
        raise Refusal(400, "BadMetadata", str(error)) from None
    except StorageFullError as error:
        raise Refusal(507, "StorageFull", str(error)) from error
    except StorageError as error:
        raise Refusal(503, "StorageUnavailable", str(error)) from error
    except UnavailableError as error:
        raise Refusal(503, "Unavailable", str(error)) from error
