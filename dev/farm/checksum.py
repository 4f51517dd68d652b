"""Checksum verification of a BBB node, an own implementation apart from the product's.

Source: https://docs.bigbluebutton.org/development/api, section "API Security Model": the checksum is the lower-case
hexadecimal digest of call name, query string without the checksum, and shared secret; its length tells the algorithm.
"""

import hashlib
import hmac
from collections.abc import Collection
from typing import Final

ALGORITHMS: Final = ("sha1", "sha256", "sha384", "sha512")
_BY_LENGTH: Final = {2 * hashlib.new(name).digest_size: name for name in ALGORITHMS}
_PARAMETER: Final = "checksum="


def split_checksum(query: str) -> tuple[str, str]:
    """Takes the checksum out of a raw query string, wherever it stands.

    Args:
        query: the query string as received, neither decoded nor re-encoded.

    Returns:
        The query string without the checksum, and the checksum ("" if there is none).
    """
    parts = query.split("&")
    given = [part.removeprefix(_PARAMETER) for part in parts if part.startswith(_PARAMETER)]
    signed = "&".join(part for part in parts if not part.startswith(_PARAMETER))
    return signed, given[0] if len(given) == 1 else ""


def checksum(call: str, query: str, *, secret: str, algorithm: str) -> str:
    """The checksum of a call with a raw query string (without ``checksum=``)."""
    text = f"{call}{query}{secret}".encode("utf-8", "surrogateescape")
    return hashlib.new(algorithm, text).hexdigest()


def signed_url(api_url: str, call: str, query: str = "", *, secret: str, algorithm: str = "sha256") -> str:
    """The URL of a call with a raw query string (without ``checksum=``) and its checksum."""
    signature = f"checksum={checksum(call, query, secret=secret, algorithm=algorithm)}"
    return f"{api_url}/{call}?{f'{query}&{signature}' if query else signature}"


def is_valid(call: str, query: str, *, secret: str, algorithms: Collection[str]) -> bool:
    """Whether a raw query string carries a right checksum by an allowed algorithm.

    A node with an empty secret checks nothing, as real ones do.
    """
    if not secret:
        return True
    signed, given = split_checksum(query)
    algorithm = _BY_LENGTH.get(len(given))
    if algorithm is None or algorithm not in algorithms:
        return False
    expected = checksum(call, signed, secret=secret, algorithm=algorithm)
    return hmac.compare_digest(expected.encode(), given.encode("utf-8", "surrogateescape"))
