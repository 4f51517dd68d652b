"""Checksums of the BBB API: what authenticates a call to a node and a call to us.

Source: https://docs.bigbluebutton.org/development/api/#api-security-model
"""

from __future__ import annotations

import hashlib

ALGORITHMS = ("sha1", "sha256", "sha384", "sha512")


def sign(call: str, query: str, secret: str, algorithm: str) -> str:
    """Return the checksum of an API call: hex(hash(call + query + secret)) in lower case.

    The query is hashed as it stands: order, ``+`` against ``%20`` and the case of escapes are part of what is signed.
    Bytes that are not UTF-8 survive when they were decoded with ``surrogateescape``.

    Args:
        call: Name of the call, for example ``getMeetings``.
        query: The raw query string without its ``checksum`` parameter, empty for a call without parameters.
        secret: The secret shared with the server.
        algorithm: One of ``ALGORITHMS``.

    Raises:
        ValueError: The algorithm is not one of ``ALGORITHMS``.
    """
    if algorithm not in ALGORITHMS:
        raise ValueError(f"unknown checksum algorithm {algorithm!r}, known are {', '.join(ALGORITHMS)}")
    signed = (call + query + secret).encode("utf-8", "surrogateescape")
    return hashlib.new(algorithm, signed, usedforsecurity=False).hexdigest()


def signed_url(api_url: str, call: str, query: str, secret: str, algorithm: str) -> str:
    """Return the URL of a signed API call; send it as it stands (yarl: ``URL(url, encoded=True)``).

    Args:
        api_url: Base of the API, for example ``https://bbb.example.org/bigbluebutton/api``, with or without a slash.
        call: Name of the call.
        query: The raw query string, exactly as it is to be sent; may be empty.
        secret: The secret shared with the server.
        algorithm: One of ``ALGORITHMS``.

    Raises:
        ValueError: The algorithm is not one of ``ALGORITHMS``.
    """
    checksum = sign(call, query, secret, algorithm)
    separator = "&" if query else ""
    return f"{api_url.rstrip('/')}/{call}?{query}{separator}checksum={checksum}"
