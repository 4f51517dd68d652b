"""Links to videos that expire: the path's nonce and a moment, signed with the installation's key."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from urllib.parse import urlencode

from b3lb.crypto import KeyRing, UnknownKeyError

EXPIRES, SIGNATURE = "expires", "signature"
_CONTEXT = "playback-link"
_LONGEST_SIGNATURE = 200
_LONGEST_EXPIRES = 12


class LinkProblem(StrEnum):
    """Why a signed link shows nothing."""

    UNSIGNED = "the link is not signed"
    WRONG_SIGNATURE = "the link's signature is wrong"
    EXPIRED = "the link has expired"
    TOO_LONG = "the link would be good for longer than a link may be"


def link_query(nonce: str, expires_at: datetime, keys: KeyRing) -> str:
    """Return the query that lets ``/b3lb/r/<nonce>`` show its video until then, to the second."""
    expires = str(int(expires_at.timestamp()))
    key_id, tag = keys.tag(_signed_text(nonce, expires), context=_CONTEXT)
    signature = f"{key_id}.{base64.urlsafe_b64encode(tag).decode().rstrip('=')}"
    return urlencode({EXPIRES: expires, SIGNATURE: signature})


def link_problem(
    nonce: str, query: Mapping[str, str], keys: KeyRing, now: datetime, *, longest: timedelta | None = None
) -> LinkProblem | None:
    """Return why a link shows nothing, None if it is good; any key of the ring may have signed it.

    Args:
        nonce: Of the path.
        query: The parameters of the request.
        keys: The installation's keys.
        now: The present time.
        longest: How far ahead it may expire; None: any time.
    """
    expires, signature = query.get(EXPIRES, ""), query.get(SIGNATURE, "")
    if not expires or not signature:
        return LinkProblem.UNSIGNED
    if not _is_signed(nonce, expires, signature, keys):
        return LinkProblem.WRONG_SIGNATURE
    left = int(expires) - now.timestamp()
    if left <= 0:
        return LinkProblem.EXPIRED
    return LinkProblem.TOO_LONG if longest is not None and left > longest.total_seconds() else None


def _is_signed(nonce: str, expires: str, signature: str, keys: KeyRing) -> bool:
    if len(signature) > _LONGEST_SIGNATURE or len(expires) > _LONGEST_EXPIRES or not expires.isdecimal():
        return False
    key_id, _, encoded = signature.rpartition(".")
    try:
        tag = base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4))
        return keys.matches(_signed_text(nonce, expires), tag, key_id, context=_CONTEXT)
    except (ValueError, UnknownKeyError):
        return False


def _signed_text(nonce: str, expires: str) -> str:
    return f"{expires}/{nonce}"
