"""Configuration as the operator wants it in the database: one frozen value per custom resource."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Generic, TypeVar

from b3lb.crypto import Encrypted
from b3lb.health import GuardPolicy
from b3lb.load import LoadFormula


@dataclass(frozen=True, slots=True)
class ClusterRow:
    """A BBBCluster; ``ca_certificates`` is PEM, None stands for the system's."""

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


Row = TypeVar("Row", ClusterRow, NodeRow, QueueRow)


@dataclass(frozen=True, slots=True)
class Existing(Generic[Row]):
    """A row as it stands in the database; of a node also its revision and its encrypted secret."""

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


@dataclass(frozen=True, slots=True)
class Changed:
    """A row that was written. ``repoll``: its revision is new, so that no state of it is known yet (nodes only)."""

    kind: Kind
    id: int
    name: str
    action: Action
    revision: int = 1
    repoll: bool = False
