"""What a front end is told when a recording is ready, signed with its API secret.

https://docs.bigbluebutton.org/development/api/#recording-ready-callback-url: a form with one field
``signed_parameters``, a JSON Web Token (RFC 7519) by HMAC-SHA256 whose payload names the meeting and the recording.
"""

from __future__ import annotations

import json

from jwt import PyJWS
from jwt.algorithms import HMACAlgorithm
from jwt.exceptions import PyJWTError

FIELD = "signed_parameters"
ALGORITHM = "HS256"


class SigningError(ValueError):
    """A callback cannot be signed; the message does not repeat the secret."""


class _AnyKeyLength(HMACAlgorithm):
    """The secrets of BigBlueButton's API have the length that they have, and the front end verifies with the same."""

    def check_key_length(self, key: bytes) -> str | None:  # noqa: ARG002 - the library's signature
        return None


_signer = PyJWS(algorithms=[])
_signer.register_algorithm(ALGORITHM, _AnyKeyLength(HMACAlgorithm.SHA256))


def recording_ready_form(*, meeting_id: str, record_id: str, secret: str) -> dict[str, str]:
    """Return the fields of the form that tells a front end of a recording.

    Args:
        meeting_id: As the client knows the meeting: without the prefix that it has on the node.
        record_id: The recording's ID, which is BBB's internal meeting ID.
        secret: The API secret that the client shares with us.

    Raises:
        SigningError: The secret is empty: everybody could sign with it. Or it is a key of another kind.
    """
    if not secret:
        raise SigningError("an empty secret signs nothing")
    payload = json.dumps({"meeting_id": meeting_id, "record_id": record_id}, separators=(",", ":")).encode()
    try:
        return {FIELD: _signer.encode(payload, secret, algorithm=ALGORITHM, headers={"typ": "JWT"})}
    except (PyJWTError, UnicodeEncodeError):
        # From None: the cause may repeat the secret.
        raise SigningError("the API secret cannot sign a callback") from None
