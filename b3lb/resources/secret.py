"""BBBSecret: one API secret of a tenant, by which its learning platforms sign their calls."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from b3lb.resources.base import Column, DataKey, ObjectName, Resource, Rule, Schema, Status, condition_path, rules
from b3lb.resources.conditions import SecretCondition
from b3lb.resources.tenant import HOLD_DAYS_MAXIMUM, SLUG_LENGTH
from b3lb.resources.usage import LimitsSpec, Usage

SUB_ID_MAXIMUM = 999
GENERATED_SECRET_KEY = "secret"  # noqa: S105 - the key in a core Secret, not a password

_TENANT_PATTERN = "^[a-z]{2,10}$"
_TENANT_MESSAGE = "tenantRef.name must be a tenant's slug in lower case: write e.g. uni for the tenant with slug UNI"
_TENANT_RULE = Rule(f"self.matches('{_TENANT_PATTERN}')", _TENANT_MESSAGE)
_FIXED = "must stay as it is: write another BBBSecret, and delete this one when nobody uses it any more"
# string(self.spec.subId) would do, but the API server cannot estimate how long that is, and then refuses the rule.
_NAME_RULE = Rule(
    "self.metadata.name == '%s-%s%d'.format([self.spec.tenantRef.name, "
    "self.spec.subId < 10 ? '00' : self.spec.subId < 100 ? '0' : '', self.spec.subId])",
    "metadata.name must be tenantRef.name, a hyphen and subId with three digits: write e.g. uni-007 for tenant uni and "
    "subId 7",
)


def _checked_tenant(name: str) -> str:
    if not re.fullmatch(_TENANT_PATTERN, name):
        raise PydanticCustomError("tenant", _TENANT_MESSAGE)
    return name


_TenantName = Annotated[str, AfterValidator(_checked_tenant)]


def generated_secret_name(name: str) -> str:
    """Return the name of the core Secret that is generated for the BBBSecret of that name."""
    return f"{name}-api-secret"


class TenantReference(Schema):
    """A BBBTenant in the same namespace."""

    name: _TenantName = Field(
        min_length=2,
        max_length=SLUG_LENGTH,
        description="Name of the BBBTenant: its slug in lower case.",
        json_schema_extra=rules(_TENANT_RULE),
    )


class APISecretReference(Schema):
    """A key of a Secret in the same namespace."""

    name: ObjectName = Field(description="Name of the Secret.")
    key: DataKey = Field(default=GENERATED_SECRET_KEY, description="Key of the Secret whose value is the API secret.")


class RecordProfileReference(Schema):
    """A BBBRecordProfile in the same namespace."""

    name: ObjectName = Field(description="Name of the BBBRecordProfile.")


class BBBSecretSpec(Schema):
    """One API secret of a tenant."""

    tenant_ref: TenantReference = Field(
        description="The tenant that it belongs to. Cannot be changed.",
        json_schema_extra=rules(Rule("self == oldSelf", f"tenantRef {_FIXED}")),
    )
    sub_id: int = Field(
        ge=0,
        le=SUB_ID_MAXIMUM,
        description="Number of the secret within its tenant. 0 sees the meetings of the whole tenant, any other number "
        "only those that were created by it. Cannot be changed.",
        json_schema_extra=rules(Rule("self == oldSelf", f"subId {_FIXED}")),
    )
    enabled: bool = Field(
        default=True,
        description="Whether the secret is valid. When false its list and usage are empty; running meetings go on, and "
        "the nodes' load still counts them.",
    )
    secret_ref: APISecretReference | None = Field(
        default=None,
        description="Where the API secret is kept; absent: one is generated and kept under the key secret of the core "
        "Secret <name>-api-secret, which goes with this object.",
    )
    limits: LimitsSpec = Field(
        default_factory=LimitsSpec,
        description="How much may run at the same time by this secret, also for subId 0 only what it created itself; "
        "the tenant's limits apply as well.",
    )
    record_profile_refs: tuple[RecordProfileReference, ...] = Field(
        default_factory=tuple,
        max_length=16,
        description="How recordings are rendered: once with each of these profiles; none: with each profile whose "
        "default is true.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
    )
    hold_days: int = Field(
        default=0,
        ge=0,
        le=HOLD_DAYS_MAXIMUM,
        description="For so many days after the meeting's end its recordings are kept, and then deleted; 0 leaves that "
        "to the BBBTenant. Of this and the BBBTenant's the smaller one that is not 0 counts.",
    )

    @property
    def object_name(self) -> str:
        """The name that the BBBSecret must have."""
        return f"{self.tenant_ref.name}-{self.sub_id:03d}"


class BBBSecretStatus(Status):
    """What is observed of an API secret; the secret itself is in the core Secret only."""

    usage: Usage | None = Field(
        default=None,
        description="What runs now: for subId 0 all meetings of the tenant, else those created by this secret; absent "
        "when it is not known.",
    )
    secret_ref: APISecretReference | None = Field(
        default=None, description="The key of the core Secret that is in use, given or generated."
    )


SECRET = Resource(
    kind="BBBSecret",
    plural="bbbsecrets",
    short_name="bbbs",
    description="One API secret of a tenant, by which its learning platforms sign their calls.",
    spec=BBBSecretSpec,
    status=BBBSecretStatus,
    columns=(
        Column("Tenant", ".spec.tenantRef.name"),
        Column("Sub ID", ".spec.subId", "integer", description="Number of the secret within its tenant."),
        Column("Enabled", ".spec.enabled", "boolean"),
        Column("Accepted", condition_path(SecretCondition.ACCEPTED)),
        Column("Meetings", ".status.usage.meetings", "integer"),
        Column("Attendees", ".status.usage.attendees", "integer"),
        Column("Reason", condition_path(SecretCondition.ACCEPTED, "reason"), description="Why (not) accepted."),
        Column("Secret", ".status.secretRef.name", priority=1, description="The core Secret that is in use."),
        Column("Limit Reached", condition_path(SecretCondition.LIMIT_REACHED), priority=1),
        Column("Message", condition_path(SecretCondition.ACCEPTED, "message"), priority=1),
        Column("Age", ".metadata.creationTimestamp", "date"),
    ),
    rules=(_NAME_RULE,),
    selectable_fields=(".spec.tenantRef.name",),
)
