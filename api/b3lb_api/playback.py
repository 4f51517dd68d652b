"""``GET /b3lb/r/<nonce>`` shows a video, ``…/poster`` its still picture; ``?download=1`` offers it as a file.

What is answered is decided by `b3lb.recordings.playback`. With S3 the answer is a redirect to a pre-signed URL, else
the bytes pass through here. Neither nonce nor signature is ever logged.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

from b3lb.db.playback import Published
from b3lb.logs import get_logger
from b3lb.recordings.links import LinkProblem, link_problem
from b3lb.recordings.playback import Answer, PlaybackRequest, Video, playback_answer
from b3lb.recordings.ranges import ByteRange
from b3lb.storage.interface import CHUNK_BYTES, ObjectNotFoundError, StorageError
from b3lb_api.backend import Backend, UnavailableError
from b3lb_api.instruments import Instruments
from b3lb_api.settings import ApiSettings
from b3lb_api.slots import BusyError, Slots
from b3lb_api.stream import BreakOff, FileAnswer

RETRY_SECONDS = 5

_NONCE = re.compile(r"[A-Za-z0-9_.~-]{1,128}", re.ASCII)

_log = get_logger(__name__)


class Kind(StrEnum):
    """What is asked for."""

    VIDEO = "video"
    POSTER = "poster"


@dataclass(frozen=True, slots=True)
class _Exchange:
    """A request, and the ways of ASGI to answer it."""

    kind: Kind
    request: Request
    receive: Receive
    send: Send


class Playback:
    """The end points of videos and their pictures, which share a bound on how much is sent at once."""

    def __init__(self, backend: Backend, settings: ApiSettings, instruments: Instruments) -> None:
        self._backend = backend
        self._settings = settings
        self._keys = settings.key_ring
        self._longest = timedelta(seconds=settings.playback_link_max_seconds)
        self._instruments = instruments
        self._slots = Slots(settings.playbacks_at_once, instruments.playbacks_in_flight)

    async def answer(self, kind: Kind, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; every refusal has a reason."""
        exchange = _Exchange(kind, Request(scope), receive, send)
        try:
            with self._slots.taken():
                await self._answer(exchange)
                return
        except asyncio.CancelledError:
            # The server ends, and has waited for as long as it may.
            self._instruments.playbacks_broken.labels(BreakOff.STOPPING.value).inc()
            return
        except BusyError:
            told = "too much is played at once; come again"
        except (StorageError, UnavailableError) as error:
            _log.warning("nothing could be played", message=str(error))
            told = "the recording cannot be shown now; come again"
        headers = {"Retry-After": str(RETRY_SECONDS), "Cache-Control": "no-store"}
        await self._respond(exchange, PlainTextResponse(f"{told}\n", 503, headers))

    async def _answer(self, exchange: _Exchange) -> None:
        request = exchange.request
        nonce: str = request.path_params["nonce"]
        problem = self._link_problem(nonce, request)
        found = None
        # A link that is not good is refused unseen: what it names makes no difference, not even in time.
        if problem is None and _NONCE.fullmatch(nonce) is not None:
            found = await self._backend.published(nonce)
        shown = None if found is None else await self._shown(exchange.kind, found)
        asked = PlaybackRequest(
            method=request.method,
            headers=request.headers,
            download=request.query_params.get("download", "") not in {"", "0", "false"},
        )
        # In a thread, for a pre-signed URL may need credentials that are fetched.
        answer = await self._backend.playing(playback_answer, asked, shown, problem=problem, presign=self._presign)
        if answer.body is None or shown is None or found is None:
            response = Response(answer.text, answer.status, headers=dict(answer.headers))
            await self._respond(exchange, response)
            return
        try:
            broken = await self._stream(exchange, shown.key, answer, answer.body)
        except ObjectNotFoundError:
            _log.error("a published video is not in the storage", record_set=str(found.record_set_id))
            gone = PlainTextResponse("the recording is not in the storage\n", 404, {"Cache-Control": "no-store"})
            await self._respond(exchange, gone)
            return
        if broken is not None:
            self._instruments.playbacks_broken.labels(broken.value).inc()
        if broken is BreakOff.STORAGE_UNAVAILABLE:
            _log.warning("what was being played broke off in the storage", record_set=str(found.record_set_id))

    def _link_problem(self, nonce: str, request: Request) -> LinkProblem | None:
        if not self._settings.playback_signed_links:
            return None
        now = datetime.now(UTC)
        return link_problem(nonce, request.query_params, self._keys, now, longest=self._longest)

    async def _shown(self, kind: Kind, found: Published) -> Video | None:
        if kind is Kind.VIDEO:
            return found.video
        if found.poster_key is None:
            return None
        stored = await self._backend.playing(self._backend.storage.stat, found.poster_key)
        if stored is None:
            return None
        video = found.video
        return replace(
            video, key=stored.key, size=stored.size, sha256=f"{video.sha256}-poster", content_type="image/png"
        )

    def _presign(self, key: str, seconds: int, file_name: str | None) -> str | None:
        if not self._settings.playback_redirect:
            return None
        return self._backend.storage.presign(key, seconds=seconds, file_name=file_name)

    async def _respond(self, exchange: _Exchange, response: Response) -> None:
        self._count(exchange.kind, response.status_code)
        await response(exchange.request.scope, exchange.receive, exchange.send)

    async def _stream(self, exchange: _Exchange, key: str, answer: Answer, span: ByteRange) -> BreakOff | None:
        backend = self._backend
        file = await backend.playing(backend.storage.open, key, start=span.first, length=span.length)
        try:
            self._count(exchange.kind, answer.status)
            sending = FileAnswer(
                status=answer.status,
                headers=answer.headers,
                length=span.length,
                idle_seconds=self._settings.playback_idle_seconds,
                read=lambda: backend.playing(file.read, CHUNK_BYTES),
                sent=self._instruments.playback_bytes.inc,
            )
            return await sending.send(exchange.receive, exchange.send)
        finally:
            backend.close_later(file)

    def _count(self, kind: Kind, status: int) -> None:
        self._instruments.playbacks.labels(kind.value, str(int(status))).inc()
