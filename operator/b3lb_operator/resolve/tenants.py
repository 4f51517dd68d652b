"""From tenants, API secrets and record profiles to their rows."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import TypeVar

from b3lb.db.configuration import ApiSecretRow, RecordProfileRow, TenantRow
from b3lb.resources import BBBRecordProfileSpec, BBBSecretSpec, BBBTenantSpec
from b3lb.resources.conditions import RecordProfileReason, SecretReason, TenantReason, parse_time
from b3lb.resources.secret import GENERATED_SECRET_KEY, APISecretReference, generated_secret_name
from b3lb_operator.kinds import API_SECRET, Key, Manifest, is_owned_by, key_of
from b3lb_operator.manifests.facts import Block
from b3lb_operator.resolve.specs import Secrets, parse_spec, shared_secret

_Named = TypeVar("_Named", BBBTenantSpec, BBBSecretSpec)


def slug_owners(tenants: Iterable[Manifest]) -> dict[str, Key]:
    """Return which tenant may use a slug: the oldest that names it, then the first by namespace and name.

    It keeps the slug also while it is disabled, or its clusters are missing, so that no meetings change hands.

    Args:
        tenants: All tenants of all namespaces.
    """
    owners: dict[str, Key] = {}
    for manifest in sorted(tenants, key=_age):
        spec = _named_spec(BBBTenantSpec, manifest)
        if not isinstance(spec, Block):
            owners.setdefault(spec.slug, key_of(manifest))
    return owners


def resolve_tenant(manifest: Manifest, owners: Mapping[str, Key]) -> TenantRow:
    """Return the row of a BBBTenant; ``owners`` says who may use which slug, and an unknown one anybody may."""
    metadata = manifest["metadata"]
    row = TenantRow(
        name=metadata["name"],
        uid=metadata["uid"],
        generation=metadata["generation"],
        created_at=parse_time(metadata["creationTimestamp"]),
        slug="",
    )
    spec = _named_spec(BBBTenantSpec, manifest)
    if isinstance(spec, Block):
        return dataclasses.replace(row, blocked_reason=spec.reason, blocked_message=spec.message)
    key = key_of(manifest)
    owner = owners.get(spec.slug, key)
    taken = owner != key
    return dataclasses.replace(
        row,
        slug=spec.slug,
        enabled=spec.enabled,
        cluster_names=tuple(ref.name for ref in spec.cluster_refs),
        meeting_limit=spec.limits.meetings,
        attendee_limit=spec.limits.attendees,
        time_zone=spec.time_zone,
        hold_days=spec.hold_days,
        blocked_reason=str(TenantReason.SLUG_IN_USE) if taken else None,
        blocked_message=f"BBBTenant {owner} is older and has slug {spec.slug} already" if taken else None,
    )


def api_secret_ref(manifest: Manifest) -> APISecretReference | None:
    """Return where the value of a BBBSecret is kept, given or generated; None if its spec cannot be read."""
    spec = parse_spec(BBBSecretSpec, manifest)
    if isinstance(spec, Block):
        return None
    generated = APISecretReference(name=generated_secret_name(manifest["metadata"]["name"]), key=GENERATED_SECRET_KEY)
    return spec.secret_ref or generated


def tenant_name(manifest: Manifest) -> str | None:
    """Return the name of the BBBTenant that a BBBSecret refers to."""
    spec = parse_spec(BBBSecretSpec, manifest)
    return None if isinstance(spec, Block) else spec.tenant_ref.name


def resolve_api_secret(manifest: Manifest, secrets: Secrets) -> ApiSecretRow:
    """Return the row of a BBBSecret."""
    metadata = manifest["metadata"]
    row = ApiSecretRow(
        name=metadata["name"],
        uid=metadata["uid"],
        generation=metadata["generation"],
        created_at=parse_time(metadata["creationTimestamp"]),
        tenant=None,
        sub_id=0,
        secret=None,
    )
    spec = _named_spec(BBBSecretSpec, manifest)
    if isinstance(spec, Block):
        return dataclasses.replace(row, blocked_reason=spec.reason, blocked_message=spec.message)
    value = _value(manifest, spec, secrets)
    block = value if isinstance(value, Block) else None
    return dataclasses.replace(
        row,
        tenant=spec.tenant_ref.name,
        sub_id=spec.sub_id,
        enabled=spec.enabled,
        secret=value if isinstance(value, str) else None,
        meeting_limit=spec.limits.meetings,
        attendee_limit=spec.limits.attendees,
        record_profile_names=tuple(ref.name for ref in spec.record_profile_refs),
        hold_days=spec.hold_days,
        blocked_reason=None if block is None else str(block.reason),
        blocked_message=None if block is None else block.message,
    )


def resolve_record_profile(manifest: Manifest) -> RecordProfileRow:
    """Return the row of a BBBRecordProfile."""
    metadata = manifest["metadata"]
    row = RecordProfileRow(
        name=metadata["name"], uid=metadata["uid"], generation=metadata["generation"], is_default=False, spec={}
    )
    spec = parse_spec(BBBRecordProfileSpec, manifest)
    if isinstance(spec, Block):
        reason = str(RecordProfileReason.INVALID_SPEC)
        return dataclasses.replace(row, blocked_reason=reason, blocked_message=spec.message)
    return dataclasses.replace(
        row, is_default=spec.is_default, spec=spec.model_dump(mode="json", by_alias=True, exclude_none=True)
    )


def _value(manifest: Manifest, spec: BBBSecretSpec, secrets: Secrets) -> str | Block:
    """Return the API secret, or why there is none."""
    if spec.secret_ref is not None:
        return shared_secret(secrets, spec.secret_ref.name, spec.secret_ref.key)
    name = generated_secret_name(manifest["metadata"]["name"])
    secret = secrets[name]
    if secret is None:
        return Block(SecretReason.PENDING, f"Secret {name} is about to be generated")
    if is_owned_by(secret, manifest["metadata"]["uid"]):
        return shared_secret(secrets, name, GENERATED_SECRET_KEY)
    if _is_leftover(secret, manifest["metadata"]["name"]):
        message = f"Secret {name} belongs to a deleted BBBSecret of this name: the garbage collector is to delete it"
        return Block(SecretReason.PENDING, message)
    message = f"there is a Secret {name} already that is not this BBBSecret's: delete it, or name it in spec.secretRef"
    return Block(SecretReason.SECRET_CONFLICT, message)


def _is_leftover(secret: Manifest, name: str) -> bool:
    """Whether a Secret belongs to another BBBSecret of the same name, which can only be a deleted one."""
    owners = secret["metadata"].get("ownerReferences", ())
    return any((owner.get("kind"), owner.get("name")) == (API_SECRET.name, name) for owner in owners)


def _named_spec(model: type[_Named], manifest: Manifest) -> _Named | Block:
    """Return the spec of an object whose name follows from it, or why it cannot be used."""
    spec = parse_spec(model, manifest)
    if isinstance(spec, Block) or spec.object_name == manifest["metadata"]["name"]:
        return spec
    message = f"metadata.name must be {spec.object_name}, for spec says so: write another object of that name"
    return Block(TenantReason.INVALID_SPEC, message)


def _age(manifest: Manifest) -> tuple[str, Key]:
    """Return what sorts tenants from the oldest on; all times have the same form."""
    return manifest["metadata"]["creationTimestamp"], key_of(manifest)
