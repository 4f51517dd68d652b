"""Tenants of the load balancer as their traces in a farm: prefixes of meeting IDs, origins, metadata of its own.

A node knows nothing of tenants. The load balancer puts ``<SLUG>-<NNN>-`` before the meeting ID that a client chose:
the tenant's slug and the sub-id of the API secret that the client used. A farm with tenants holds such meetings, and
some that no load balancer created.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from string import ascii_uppercase
from typing import Final, NamedTuple

from dev.farm import names
from dev.farm.chance import chance

_PREFIX: Final = re.compile(r"([A-Z]{2,10})-([0-9]{3})-(.{1,240})", re.DOTALL)
_FOREIGN: Final = 0.12
_NO_ORIGIN: Final = 0.1
_LETTERS: Final = len(ascii_uppercase)
MAXIMUM_TENANTS: Final = _LETTERS + _LETTERS**2
MAXIMUM_SUB_IDS: Final = 1000


class Secret(NamedTuple):
    """An API secret by its tenant's slug and its number."""

    slug: str
    sub_id: int

    def __str__(self) -> str:
        return f"{self.slug}-{self.sub_id:03d}"


@dataclass(slots=True)
class Book:
    """What is no longer to be seen of a secret's meetings: how many there were, and who was in those that ended."""

    created: int = 0
    ended: int = 0
    users_of_ended: int = 0


def split(meeting_id: str) -> tuple[Secret | None, str]:
    """The secret whose prefix a meeting ID has, and the client's part of it; None and the whole ID without one."""
    match = _PREFIX.fullmatch(meeting_id)
    return (None, meeting_id) if match is None else (Secret(match[1], int(match[2])), match[3])


def parse_secret(text: str) -> Secret:
    """The secret that a text like ``UNIA-001`` names.

    Raises:
        ValueError: it names none.
    """
    secret, rest = split(f"{text}-x")
    if secret is None or rest != "x":
        raise ValueError(f"{text!r} is not like UNIA-001")
    return secret


def tenant_secrets(tenants: int, secrets: int | None = None) -> list[Secret]:
    """So many secrets of so many tenants, UNIA and on, dealt out in turn; by default one each.

    Raises:
        ValueError: there are fewer secrets than tenants, or more of either than there can be.
    """
    total = tenants if secrets is None else secrets
    if not 0 <= tenants <= MAXIMUM_TENANTS or not tenants <= total <= MAXIMUM_SUB_IDS * tenants:
        raise ValueError(f"{total} secrets of {tenants} tenants: each needs one and can have {MAXIMUM_SUB_IDS}")
    return sorted(Secret(_slug(number % tenants), number // tenants) for number in range(total))


def _slug(number: int) -> str:
    first, last = divmod(number, _LETTERS)
    return f"UNI{ascii_uppercase[first - 1] if first else ''}{ascii_uppercase[last]}"


def prefixed_id(random: Random, secrets: Sequence[Secret]) -> str:
    """A meeting ID as a node of a farm with tenants has it: mostly prefixed; some only look as if they were."""
    client_id = names.meeting_id(random)
    secret = random.choice(secrets)
    if not chance(random, _FOREIGN):
        return f"{secret}-{client_id}"
    return random.choice(("", f"{secret.slug.lower()}-001-", f"{secret.slug}-1-", f"{secret.slug}-0001-")) + client_id


def spoil_origin(random: Random, metadata: dict[str, str]) -> None:
    """Empties or removes what says where a meeting comes from, now and then."""
    for key in ("bbb-origin", "bbb-origin-server-name"):
        if key in metadata and chance(random, _NO_ORIGIN):
            metadata[key] = ""
        elif chance(random, _NO_ORIGIN):
            metadata.pop(key, None)


def own_metadata(random: Random, secret: Secret) -> dict[str, str]:
    """What a load balancer adds to the metadata of a meeting that it creates; its clients shall not see it."""
    token = "".join(random.choices("0123456789abcdef", k=32))
    return {"b3lb-secret": str(secret), "b3lb-recordset": token}
