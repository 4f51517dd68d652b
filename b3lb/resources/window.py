"""The part of the day in which a queue begins with what is enqueued."""

from __future__ import annotations

from pydantic import ConfigDict, Field

from b3lb.resources.base import Rule, Schema, rules

_CLOCK_PATTERN = "^([01][0-9]|2[0-3]):[0-5][0-9]$"
_DIFFERENT_RULE = Rule(
    "self.start != self.end", "start and end must differ: leave out window for work at any time of the day"
)


class QueueWindow(Schema):
    """From a time of day until another one, over midnight where the end is the earlier one."""

    model_config = ConfigDict(json_schema_extra=rules(_DIFFERENT_RULE))

    start: str = Field(
        min_length=5,
        max_length=5,
        pattern=_CLOCK_PATTERN,
        description='From when on runs begin, by the clock of timeZone, e.g. "20:00".',
    )
    end: str = Field(
        min_length=5,
        max_length=5,
        pattern=_CLOCK_PATTERN,
        description='From when on none begins any more, e.g. "06:00".',
    )
