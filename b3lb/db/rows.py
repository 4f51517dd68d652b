"""Configuration as the operator wants it in the database: one frozen value per custom resource."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Generic, TypeVar

from b3lb.crypto import Encrypted
from b3lb.health import GuardPolicy
from b3lb.load import LoadFormula


@dataclass(frozen=True, slots=True)
class ClusterRow:
    """A BBBCluster.

    ``ca_certificates`` is PEM, None stands for the system's. ``lost_meetings_seconds`` is how long the meetings of a
    node that is not healthy are waited for before they count as ended. ``blocked_reason`` (a reason of its nodes'
    Ready, e.g. CASecretNotFound) and ``blocked_message`` say why none of its nodes may be polled. ``secret`` is the
    upload secret in clear text, None if there is none; it is encrypted on its way into the database.
    """

    name: str
    uid: str
    generation: int
    load: LoadFormula = field(default_factory=LoadFormula)
    checksum_algorithm: str = "sha256"
    timeout_seconds: int = 5
    unhealthy_after: int = 3
    healthy_after: int = 2
    guard: GuardPolicy = field(default_factory=GuardPolicy)
    ca_certificates: str | None = field(default=None, repr=False)
    lost_meetings_seconds: int = 86400
    blocked_reason: str | None = None
    blocked_message: str | None = None
    secret: str | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class NodeRow:
    """A BBBNode.

    ``cluster`` is the BBBCluster's name, None if there is none. ``secret`` is the API secret in clear text, None if it
    could not be had; it is encrypted on its way into the database and compared by its keyed hash. ``created_at`` is the
    custom resource's creation, which decides between duplicates. A node without cluster or secret must have a
    ``blocked_reason`` (the condition's reason, e.g. SecretNotFound) and a ``blocked_message``.
    """

    name: str
    uid: str
    generation: int
    cluster: str | None
    api_url: str
    load_url: str
    secret: str | None = field(repr=False, compare=False)
    created_at: datetime
    state: str = "Active"
    weight_percent: int = 100
    max_meetings: int | None = None
    max_attendees: int | None = None
    blocked_reason: str | None = None
    blocked_message: str | None = None


@dataclass(frozen=True, slots=True)
class QueueRow:
    """A BBBQueue; ``tick_seconds`` is None for a queue that does not tick."""

    name: str
    uid: str
    generation: int
    tasks: tuple[str, ...]
    tick_seconds: int | None = None
    max_in_flight: int = 100
    suspend: bool = False


@dataclass(frozen=True, slots=True)
class TenantRow:
    """A BBBTenant; without a limit everything is allowed. Its months are accounted by ``time_zone``, an IANA name.

    Recordings are kept for ``hold_days`` days after the meeting's end, for ever with 0; so with a secret's.

    It is blocked only while it has no slug that it may use (SlugInUse, InvalidSpec): then no meeting is its own.
    """

    name: str
    uid: str
    generation: int
    created_at: datetime
    slug: str
    enabled: bool = True
    cluster_names: tuple[str, ...] = ()
    meeting_limit: int | None = None
    attendee_limit: int | None = None
    time_zone: str = "Etc/UTC"
    blocked_reason: str | None = None
    blocked_message: str | None = None
    hold_days: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiSecretRow:
    """A BBBSecret: one API secret of a tenant.

    ``tenant`` is the BBBTenant's name, None if there is none. ``secret`` is the API secret in clear text, None if it
    could not be had; it is encrypted on its way into the database and compared by its keyed hash. Without tenant or
    secret there must be a ``blocked_reason``, e.g. SecretNotFound. Sub-ID 0 sees the meetings of the whole tenant.
    """

    name: str
    uid: str
    generation: int
    created_at: datetime
    tenant: str | None
    sub_id: int
    enabled: bool = True
    secret: str | None = field(repr=False, compare=False)
    meeting_limit: int | None = None
    attendee_limit: int | None = None
    record_profile_names: tuple[str, ...] = ()
    blocked_reason: str | None = None
    blocked_message: str | None = None
    hold_days: int = 0


@dataclass(frozen=True, slots=True)
class RecordProfileRow:
    """A BBBRecordProfile; ``spec`` is the whole spec with its defaults, as in YAML, {} if it cannot be read."""

    name: str
    uid: str
    generation: int
    is_default: bool
    spec: Mapping[str, Any]
    blocked_reason: str | None = None
    blocked_message: str | None = None


Row = TypeVar("Row", ClusterRow, NodeRow, QueueRow, TenantRow, ApiSecretRow, RecordProfileRow)


@dataclass(frozen=True, slots=True)
class Existing(Generic[Row]):
    """A row as it stands in the database, with its encrypted secret; ``revision`` counts for nodes only."""

    id: int
    row: Row
    deleted: bool = False
    revision: int = 1
    secret: Encrypted | None = None


class Action(StrEnum):
    """What happens to a row."""

    INSERT = "insert"
    UPDATE = "update"
    REVIVE = "revive"
    DELETE = "delete"


class Kind(StrEnum):
    """The kinds of configuration rows."""

    CLUSTER = "BBBCluster"
    NODE = "BBBNode"
    QUEUE = "BBBQueue"
    TENANT = "BBBTenant"
    SECRET = "BBBSecret"  # noqa: S105 - a kind, not a password
    RECORD_PROFILE = "BBBRecordProfile"


@dataclass(frozen=True, slots=True)
class Changed:
    """A row that was written. ``repoll``: its revision is new, so that it may have no state yet (nodes only)."""

    kind: Kind
    id: int
    name: str
    action: Action
    revision: int = 1
    repoll: bool = False
