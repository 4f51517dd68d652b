"""What the Job of a render is made of: which video it is, how large and long, and what it was given; pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID


@dataclass(frozen=True, slots=True)
class RenderKey:
    """Which video a run renders: a record set with a BBBRecordProfile."""

    record_set_id: UUID
    profile: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderNeeds:
    """What a render is and needs.

    Attributes:
        key: Which video it is.
        record_id: BBB's internal meeting ID.
        tenant: Slug, None for a recording of no tenant.
        spec: The profile's, None if there is no such profile.
        generation: The profile's, None if there is no such profile.
        memory_steps: How often it was given more memory.
        archive_bytes: Size of the archive.
        seconds: Length of the recorded part, else of the meeting, None if neither is known.
    """

    key: RenderKey
    record_id: str
    tenant: str | None
    spec: Mapping[str, Any] | None
    generation: int | None
    memory_steps: int
    archive_bytes: int
    seconds: float | None
