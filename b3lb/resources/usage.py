"""What tenants and secrets share: limits, and what runs now."""

from __future__ import annotations

from pydantic import Field

from b3lb.resources.base import Schema


class LimitsSpec(Schema):
    """How much may run at the same time."""

    meetings: int | None = Field(
        default=None,
        ge=1,
        le=100000,
        description="Running meetings from which on no new ones are created; absent: no limit.",
    )
    attendees: int | None = Field(
        default=None,
        ge=1,
        le=1000000,
        description="Attendees of all running meetings from which on no new meetings are created; absent: no limit.",
    )


class Usage(Schema):
    """What runs now."""

    meetings: int = Field(ge=0, description="Running meetings.")
    attendees: int = Field(ge=0, description="Attendees of all running meetings.")
    listeners: int = Field(ge=0, description="Attendees who only listen.")
    voices: int = Field(ge=0, description="Attendees with a microphone.")
    videos: int = Field(ge=0, description="Shared cameras.")
    moderators: int = Field(ge=0, description="Attendees who are moderators.")
