"""What `GET /b3lb/r/<nonce>` answers: a video or a part of it, a redirect to the storage, or why not. Pure functions.

https://www.rfc-editor.org/rfc/rfc9110: ranges (14), conditional requests (13).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from email.utils import format_datetime
from http import HTTPStatus
from urllib.parse import quote

from b3lb.recordings.links import LinkProblem
from b3lb.recordings.ranges import ByteRange, UnsatisfiableRangeError, parse_range

CACHE_SECONDS = 3600
LEAST_PRESIGNED = timedelta(hours=1)
LONGEST_PRESIGNED = timedelta(days=7)
"""S3 signs no URL for longer (https://docs.aws.amazon.com/AmazonS3/latest/userguide/ShareObjectPreSignedURL.html)."""

_LONGEST_VALIDATOR = 1000
_UNSAFE = re.compile(r"[^A-Za-z0-9_.-]+")
_PLAIN = "!#$&+-.^_`|~"
"""What a file name may hold unescaped (RFC 8187, attr-char) besides letters and digits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Video:
    """A published video, or its still picture; ``name`` is the file name that a browser offers, without its suffix."""

    key: str
    size: int
    sha256: str
    content_type: str
    finished_at: datetime
    name: str = "recording"
    duration: timedelta | None = None

    @property
    def etag(self) -> str:
        """The strong validator."""
        return f'"{self.sha256}"'

    @property
    def modified(self) -> str:
        """``Last-Modified``."""
        return format_datetime(self.finished_at.replace(microsecond=0), usegmt=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaybackRequest:
    """What a request asks for; ``headers`` by lower-case name. ``download`` wants a file rather than a player."""

    method: str
    headers: Mapping[str, str] = field(default_factory=dict)
    download: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """What to send: the bytes ``body`` of the video's object, else ``text``; neither to HEAD, 304 and redirects."""

    status: int
    headers: Mapping[str, str]
    body: ByteRange | None = None
    text: str = ""


def presigned_for(video: Video) -> timedelta:
    """Return how long a pre-signed URL is good: twice the video's length, for players keep it while they play."""
    wanted = 2 * (video.duration or timedelta(0))
    return min(max(wanted, LEAST_PRESIGNED), LONGEST_PRESIGNED)


def playback_answer(
    request: PlaybackRequest,
    video: Video | None,
    *,
    problem: LinkProblem | None = None,
    presign: Callable[[str, int, str | None], str | None] = lambda _key, _seconds, _file_name: None,
) -> Answer:
    """Return what to answer.

    Args:
        request: The request.
        video: What the nonce names, None if it names nothing, or nothing any more.
        problem: Why the link is not good, where links are signed.
        presign: Returns a URL at which the storage itself serves the object of a key for so many seconds, as an
            attachment of such a name if there is one; None if it cannot (`b3lb.storage.interface.Storage.presign`).
    """
    if request.method not in {"GET", "HEAD"}:
        return _told(HTTPStatus.METHOD_NOT_ALLOWED, "only GET and HEAD", {"Allow": "GET, HEAD"})
    # Before the recording: a bad link tells nobody which recordings there are.
    if problem is not None:
        return _told(HTTPStatus.FORBIDDEN, problem.value)
    if video is None:
        return _told(HTTPStatus.NOT_FOUND, "there is no such recording, or it was deleted")
    # A URL is signed for one method; what HEAD asks for is known here.
    if request.method == "GET":
        file_name = storage_file_name(video) if request.download else None
        url = presign(video.key, int(presigned_for(video).total_seconds()), file_name)
        if url is not None:
            return Answer(HTTPStatus.FOUND, {"Location": url, "Cache-Control": "no-store"})
    return _served(request, video, content_disposition(video, download=request.download))


def storage_file_name(video: Video) -> str:
    """Return the file's name with nothing in it that a storage would not put into a header."""
    kept = _UNSAFE.sub("_", video.name)[:100].lstrip(".-") or "recording"
    return f"{kept}.{_suffix(video)}"


def content_disposition(video: Video, *, download: bool) -> str:
    """Return ``Content-Disposition`` with the file's name in ASCII and, where it differs, in UTF-8 (RFC 6266)."""
    kept = "".join(letter if letter.isprintable() and letter not in '/\\"' else "_" for letter in video.name)
    name = f"{kept.strip(' .')[:100] or 'recording'}.{_suffix(video)}"
    plain = "".join(letter if letter.isascii() else "_" for letter in name)
    extended = "" if plain == name else f"; filename*=UTF-8''{quote(name, safe=_PLAIN, errors='replace')}"
    return f'{"attachment" if download else "inline"}; filename="{plain}"{extended}'


def _suffix(video: Video) -> str:
    return {"video/webm": "webm", "image/png": "png"}.get(video.content_type, "mp4")


def _served(request: PlaybackRequest, video: Video, disposition: str) -> Answer:
    headers = {
        "Accept-Ranges": "bytes",
        "ETag": video.etag,
        "Last-Modified": video.modified,
        "Cache-Control": f"private, max-age={CACHE_SECONDS}",
    }
    if _is_known(request.headers, video):
        return Answer(HTTPStatus.NOT_MODIFIED, headers)
    try:
        span = _range(request, video)
    except UnsatisfiableRangeError as error:
        unsatisfied = {**headers, "Content-Range": f"bytes */{video.size}"}
        return _told(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, str(error), unsatisfied)
    headers |= {
        "Content-Type": video.content_type,
        "Content-Disposition": disposition,
        "Content-Length": str(video.size if span is None else span.length),
        "X-Content-Type-Options": "nosniff",
    }
    if span is not None:
        headers["Content-Range"] = f"bytes {span.first}-{span.last}/{video.size}"
    whole = ByteRange(0, video.size - 1) if video.size else None
    return Answer(
        HTTPStatus.OK if span is None else HTTPStatus.PARTIAL_CONTENT,
        headers,
        None if request.method == "HEAD" else span or whole,
    )


def _range(request: PlaybackRequest, video: Video) -> ByteRange | None:
    # Ranges are defined for GET only.
    if request.method != "GET":
        return None
    condition = request.headers.get("if-range")
    if condition is not None and condition.strip() not in {video.etag, video.modified}:
        return None
    return parse_range(request.headers.get("range"), video.size)


def _is_known(headers: Mapping[str, str], video: Video) -> bool:
    """Whether the client has the video already; the validator goes before the date (RFC 9110, 13.2.2)."""
    validators = headers.get("if-none-match")
    if validators is None:
        return headers.get("if-modified-since", "").strip() == video.modified
    if len(validators) > _LONGEST_VALIDATOR:
        return False
    given = {item.strip().removeprefix("W/") for item in validators.split(",")}
    return "*" in given or video.etag in given


def _told(status: HTTPStatus, text: str, headers: Mapping[str, str] | None = None) -> Answer:
    told = {
        "Content-Type": "text/plain; charset=utf-8",
        "Cache-Control": "no-store",
        "X-Content-Type-Options": "nosniff",
    }
    return Answer(status, {**(headers or {}), **told}, text=f"{text}\n")
