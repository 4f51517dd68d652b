"""BBBTenant: an organisation that shares the farm with others."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from b3lb.resources.base import Column, ObjectName, Resource, Rule, Schema, Status, condition_path, rules
from b3lb.resources.conditions import TenantCondition
from b3lb.resources.time_zone import TIME_ZONE_RULE, KnownTimeZone
from b3lb.resources.usage import LimitsSpec, Usage

SLUG_PATTERN = "^[A-Z]{2,10}$"
SLUG_LENGTH = 10
HOLD_DAYS_MAXIMUM = 36_500
"""A hundred years; for longer there is 0."""

_SLUG_MESSAGE = "slug must be 2 to 10 letters from A to Z in upper case: write e.g. UNI"
_SLUG_RULES = (
    Rule(f"self.matches('{SLUG_PATTERN}')", _SLUG_MESSAGE),
    Rule(
        "self == oldSelf",
        "slug must stay as it is, for it begins the IDs of running meetings: write another BBBTenant for another slug",
    ),
)
_NAME_RULE = Rule(
    "self.metadata.name == self.spec.slug.lowerAscii()",
    "metadata.name must be the slug in lower case: write e.g. uni as the name of the tenant with slug UNI",
)


def _checked_slug(slug: str) -> str:
    if not re.fullmatch(SLUG_PATTERN, slug):
        raise PydanticCustomError("slug", _SLUG_MESSAGE)
    return slug


_Slug = Annotated[str, AfterValidator(_checked_slug)]


class TenantClusterReference(Schema):
    """One of the clusters that a tenant may use."""

    name: ObjectName = Field(description="Name of the BBBCluster.")


class BBBTenantSpec(Schema):
    """An organisation that shares the farm with others."""

    slug: _Slug = Field(
        min_length=2,
        max_length=SLUG_LENGTH,
        description="Short name of the tenant, 2 to 10 letters from A to Z; its meetings have IDs that begin with it "
        "on the nodes. Cannot be changed.",
        json_schema_extra=rules(*_SLUG_RULES),
    )
    cluster_refs: tuple[TenantClusterReference, ...] = Field(
        default=(TenantClusterReference(name="default"),),
        min_length=1,
        max_length=32,
        description="The clusters on whose nodes its meetings may run.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
    )
    enabled: bool = Field(
        default=True,
        description="Whether its secrets are valid. When false its lists and usage are empty; running meetings go on, "
        "and the nodes' load still counts them.",
    )
    limits: LimitsSpec = Field(
        default_factory=LimitsSpec, description="How much may run at the same time, over all secrets of the tenant."
    )
    time_zone: KnownTimeZone = Field(
        default="Etc/UTC",
        min_length=1,
        max_length=64,
        description="Time zone in whose months its meetings are accounted, e.g. Europe/Berlin.",
        json_schema_extra=rules(TIME_ZONE_RULE),
    )
    hold_days: int = Field(
        default=0,
        ge=0,
        le=HOLD_DAYS_MAXIMUM,
        description="For so many days after the meeting's end its recordings are kept, and then deleted; 0 keeps them "
        "for ever. Of this and the BBBSecret's the smaller one that is not 0 counts.",
    )

    @property
    def object_name(self) -> str:
        """The name that the BBBTenant must have."""
        return self.slug.lower()


class BBBTenantStatus(Status):
    """What is observed of a tenant."""

    usage: Usage | None = Field(
        default=None, description="What runs now, over all secrets of the tenant; absent when it is not known."
    )
    secrets: int | None = Field(default=None, ge=0, description="BBBSecrets that refer to this tenant.")


TENANT = Resource(
    kind="BBBTenant",
    plural="bbbtenants",
    short_name="bbbt",
    description="An organisation that shares the farm with others: where its meetings run, and how many.",
    spec=BBBTenantSpec,
    status=BBBTenantStatus,
    columns=(
        Column("Slug", ".spec.slug"),
        Column("Enabled", ".spec.enabled", "boolean"),
        Column("Accepted", condition_path(TenantCondition.ACCEPTED)),
        Column("Meetings", ".status.usage.meetings", "integer"),
        Column("Attendees", ".status.usage.attendees", "integer"),
        Column("Reason", condition_path(TenantCondition.ACCEPTED, "reason"), description="Why (not) accepted."),
        Column("Secrets", ".status.secrets", "integer", priority=1),
        Column("Limit Reached", condition_path(TenantCondition.LIMIT_REACHED), priority=1),
        Column("Message", condition_path(TenantCondition.ACCEPTED, "message"), priority=1),
        Column("Age", ".metadata.creationTimestamp", "date"),
    ),
    rules=(_NAME_RULE,),
)
