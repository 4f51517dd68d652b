"""What the reasons of a BBBTenant, a BBBSecret and a BBBRecordProfile mean."""

from __future__ import annotations

from b3lb.resources.conditions import (
    LimitReason,
    RecordProfileCondition,
    RecordProfileReason,
    SecretCondition,
    SecretReason,
    TenantCondition,
    TenantReason,
)
from b3lb.resources.reasons.meaning import DATABASE_REFUSED, DATABASE_UNAVAILABLE, INVALID_SPEC, Meaning, meanings

_NOT_IN_DATABASE = "This configuration is not in the database yet."
_NOT_COUNTED = "The meetings were not counted yet with this configuration."
_STALE = "No tick of update-secrets-lists finished for 150 s: see the BBBQueue, its CronJob and its Jobs."


def _limits(condition: str, owner: str) -> tuple[Meaning, ...]:
    """Return the meanings of the condition LimitReached of a tenant or a secret."""
    return (
        *meanings(
            condition,
            "True",
            {
                LimitReason.MEETING_LIMIT_REACHED: f"As many meetings run as limits.meetings of {owner} allows.",
                LimitReason.ATTENDEE_LIMIT_REACHED: f"As many attendees are there as limits.attendees of {owner} "
                "allows.",
            },
        ),
        *meanings(
            condition,
            "False",
            {
                LimitReason.BELOW_LIMITS: "New meetings may be created.",
                LimitReason.NO_LIMITS: f"There are no limits of {owner}.",
            },
        ),
        *meanings(
            condition,
            "Unknown",
            {
                SecretReason.PENDING: _NOT_COUNTED,
                SecretReason.STALE: _STALE,
                SecretReason.DATABASE_UNAVAILABLE: DATABASE_UNAVAILABLE,
            },
        ),
        Meaning(condition, "Unknown", "…", "The reason of Accepted, when that is not True."),
    )


TENANT_REASONS = (
    *meanings(TenantCondition.ACCEPTED, "True", {TenantReason.ACCEPTED: "The tenant's secrets may be used."}),
    *meanings(
        TenantCondition.ACCEPTED,
        "False",
        {
            TenantReason.DISABLED: "spec.enabled is false.",
            TenantReason.SLUG_IN_USE: "An older BBBTenant, in whatever namespace of the operator, has the same slug: "
            "delete it, or choose another slug.",
            TenantReason.CLUSTER_NOT_FOUND: "A BBBCluster of clusterRefs does not exist; running meetings stay listed.",
            TenantReason.INVALID_SPEC: INVALID_SPEC,
            TenantReason.DATABASE_REFUSED: DATABASE_REFUSED.format("running meetings stay listed"),
        },
    ),
    *meanings(
        TenantCondition.ACCEPTED,
        "Unknown",
        {TenantReason.PENDING: _NOT_IN_DATABASE, TenantReason.DATABASE_UNAVAILABLE: DATABASE_UNAVAILABLE},
    ),
    *_limits(TenantCondition.LIMIT_REACHED, "the tenant"),
)

SECRET_REASONS = (
    *meanings(SecretCondition.ACCEPTED, "True", {SecretReason.ACCEPTED: "The API secret may be used."}),
    *meanings(
        SecretCondition.ACCEPTED,
        "False",
        {
            SecretReason.DISABLED: "spec.enabled is false.",
            SecretReason.TENANT_DISABLED: "spec.enabled of the BBBTenant is false.",
            SecretReason.TENANT_NOT_FOUND: "The BBBTenant of tenantRef does not exist.",
            SecretReason.TENANT_NOT_ACCEPTED: "The BBBTenant of tenantRef is not Accepted; see its reason.",
            SecretReason.SECRET_NOT_FOUND: "The Secret of secretRef does not exist.",
            SecretReason.SECRET_KEY_NOT_FOUND: "The Secret of secretRef has no such key.",
            SecretReason.INVALID_SECRET: "The value of the Secret cannot be an API secret, e.g. it is empty.",
            SecretReason.SECRET_CONFLICT: "There is a Secret <name>-api-secret already that does not belong to this "
            "object: name it in secretRef to use it, or delete it to have one generated.",
            SecretReason.RECORD_PROFILE_NOT_FOUND: "A BBBRecordProfile of recordProfileRefs does not exist; running "
            "meetings stay listed.",
            SecretReason.INVALID_SPEC: INVALID_SPEC,
            SecretReason.DATABASE_REFUSED: DATABASE_REFUSED.format("running meetings stay listed"),
        },
    ),
    *meanings(
        SecretCondition.ACCEPTED,
        "Unknown",
        {SecretReason.PENDING: _NOT_IN_DATABASE, SecretReason.DATABASE_UNAVAILABLE: DATABASE_UNAVAILABLE},
    ),
    *_limits(SecretCondition.LIMIT_REACHED, "the secret or its tenant"),
)

RECORD_PROFILE_REASONS = (
    *meanings(
        RecordProfileCondition.ACCEPTED, "True", {RecordProfileReason.ACCEPTED: "BBBSecrets may refer to the profile."}
    ),
    *meanings(
        RecordProfileCondition.ACCEPTED,
        "False",
        {
            RecordProfileReason.INVALID_SPEC: INVALID_SPEC,
            RecordProfileReason.DATABASE_REFUSED: DATABASE_REFUSED.format("the profile is not used"),
        },
    ),
    *meanings(
        RecordProfileCondition.ACCEPTED,
        "Unknown",
        {
            RecordProfileReason.PENDING: _NOT_IN_DATABASE,
            RecordProfileReason.DATABASE_UNAVAILABLE: DATABASE_UNAVAILABLE,
        },
    ),
)
