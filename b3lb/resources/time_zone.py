"""Names of time zones, as custom resources have them."""

from __future__ import annotations

import zoneinfo
from typing import Annotated

from pydantic import AfterValidator
from pydantic_core import PydanticCustomError

from b3lb.resources.base import Rule

TIME_ZONE_RULE = Rule(
    "self.matches('^[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+)*$') && self != 'Local'",
    "timeZone must be a name of the IANA time zone database, e.g. Europe/Berlin or Etc/UTC",
)


def _known(name: str) -> str:
    try:
        zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        raise PydanticCustomError("time_zone", TIME_ZONE_RULE.message) from None
    return name


KnownTimeZone = Annotated[str, AfterValidator(_known)]
"""A name that the time zone database of this program has."""
