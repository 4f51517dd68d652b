"""The token that opens what the operator shows."""

from __future__ import annotations

import hmac


def opens(token: str, given: str | None) -> bool:
    """Whether ``given`` is the token; how long that takes says nothing about it."""
    return given is not None and hmac.compare_digest(given.encode(errors="replace"), token.encode())
