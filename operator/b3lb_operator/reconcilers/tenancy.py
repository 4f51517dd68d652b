"""BBBTenant, BBBSecret and BBBRecordProfile: their statuses follow from the database and from each other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel

from b3lb.db.mirror import ApiSecretMirror, RecordProfileMirror, TenantMirror
from b3lb.resources import BBBRecordProfileSpec, BBBSecretSpec, BBBTenantSpec
from b3lb.resources.conditions import ConditionStatus, SecretReason, TenantCondition, TenantReason, find_condition
from b3lb.resources.usage import LimitsSpec
from b3lb.tasks import UPDATE_SECRETS_LISTS
from b3lb_operator.kinds import API_SECRET, RECORD_PROFILE, TENANT, Key, Kind, Manifest
from b3lb_operator.manifests.facts import Block
from b3lb_operator.manifests.tenancy_status import Bound, UsageFacts, build_record_profile_status, build_usage_status
from b3lb_operator.manifests.verdicts import PENDING, Acceptance
from b3lb_operator.resolve import api_secret_ref, parse_spec, tenant_name
from b3lb_operator.store import Store
from b3lb_operator.view import View

Status = dict[str, Any]

S = TypeVar("S", bound=BaseModel)

_Mirror = TenantMirror | ApiSecretMirror | RecordProfileMirror


def tenancy_statuses(
    store: Store, namespace: str, view: View, *, problem_of: Callable[[Key], str]
) -> Iterator[tuple[Kind, Key, Status]]:
    """Iterate over the statuses that the objects of a namespace should have, but those of which nothing new is known.

    Args:
        store: The live objects.
        namespace: The namespace.
        view: What is known of it.
        problem_of: Returns why the core Secret of a BBBSecret could not be generated, empty without trouble.
    """
    api_secrets = dict(store.in_namespace(API_SECRET, namespace))
    counts = Counter(name for manifest in api_secrets.values() if (name := tenant_name(manifest)) is not None)
    tenants: dict[str, Mapping[str, Any]] = {}
    for key, manifest in store.in_namespace(TENANT, namespace):
        status = tenant_status(manifest, view, secrets=counts[key.name])
        tenants[key.name] = status or manifest.get("status") or {}
        if status is not None:
            yield TENANT, key, status
    for key, manifest in api_secrets.items():
        status = api_secret_status(manifest, view, tenants=tenants, problem=problem_of(key))
        if status is not None:
            yield API_SECRET, key, status
    for key, manifest in store.in_namespace(RECORD_PROFILE, namespace):
        status = record_profile_status(manifest, view)
        if status is not None:
            yield RECORD_PROFILE, key, status


def tenant_status(manifest: Manifest, view: View, *, secrets: int) -> Status | None:
    """Return the status that a BBBTenant should have, None while there is nothing new to say.

    Args:
        manifest: The live object.
        view: What is known of its namespace.
        secrets: How many BBBSecrets refer to it.
    """
    row = _own(manifest, view.snapshot.tenants if view.snapshot is not None else {})
    if _waits(manifest, row, view):
        return None
    spec = parse_spec(BBBTenantSpec, manifest)
    block = spec if isinstance(spec, Block) else _tenant_block(spec, row, view)
    limits = LimitsSpec() if isinstance(spec, Block) else spec.limits
    running = row.running if row is not None and _is_counted(view) else None
    return build_usage_status(
        _acceptance(manifest, row, view, block=block, in_use="the tenant may be used"),
        UsageFacts(
            totals=running,
            bounds=(Bound(limits=limits, running=running),),
            outdated=view.lists_outdated,
            unrun=view.lists_freshness.unrun,
        ),
        generation=manifest["metadata"]["generation"],
        extra={"secrets": secrets},
        old=manifest.get("status") or {},
        now=view.now,
    )


def api_secret_status(
    manifest: Manifest, view: View, *, tenants: Mapping[str, Mapping[str, Any]], problem: str
) -> Status | None:
    """Return the status that a BBBSecret should have, None while there is nothing new to say.

    Args:
        manifest: The live object.
        view: What is known of its namespace.
        tenants: The statuses of the tenants, by name.
        problem: Why its core Secret could not be generated, empty without trouble.
    """
    row = _own(manifest, view.snapshot.api_secrets if view.snapshot is not None else {})
    if _waits(manifest, row, view):
        return None
    spec = parse_spec(BBBSecretSpec, manifest)
    block = spec if isinstance(spec, Block) else _secret_block(spec, row, view, tenants=tenants, problem=problem)
    limits = LimitsSpec() if isinstance(spec, Block) else spec.limits
    old = manifest.get("status") or {}
    running = row.running if row is not None and row.totals is not None else None
    return build_usage_status(
        _acceptance(manifest, row, view, block=block, in_use="the secret is valid"),
        UsageFacts(
            totals=None if row is None else row.totals,
            bounds=(Bound(limits=limits, running=running), *_tenant_bounds(row, view)),
            outdated=view.lists_outdated,
            unrun=view.lists_freshness.unrun,
        ),
        generation=manifest["metadata"]["generation"],
        extra=_secret_ref(manifest, row, view, old),
        old=old,
        now=view.now,
    )


def record_profile_status(manifest: Manifest, view: View) -> Status | None:
    """Return the status that a BBBRecordProfile should have, None while there is nothing new to say."""
    row = _own(manifest, view.snapshot.record_profiles if view.snapshot is not None else {})
    if _waits(manifest, row, view):
        return None
    spec = parse_spec(BBBRecordProfileSpec, manifest)
    return build_record_profile_status(
        _acceptance(
            manifest,
            row,
            view,
            block=spec if isinstance(spec, Block) else None,
            in_use="recordings may use the profile",
        ),
        generation=manifest["metadata"]["generation"],
        old=manifest.get("status") or {},
        now=view.now,
    )


_M = TypeVar("_M", TenantMirror, ApiSecretMirror, RecordProfileMirror)


def _own(manifest: Manifest, rows: Mapping[str, _M]) -> _M | None:
    """Return the row of exactly that object."""
    row = rows.get(manifest["metadata"]["name"])
    return row if row is not None and row.uid == manifest["metadata"]["uid"] else None


def _waits(manifest: Manifest, row: _Mirror | None, view: View) -> bool:
    """Whether there will be more to say in a moment: its row lags behind, or the database was not read yet."""
    metadata = manifest["metadata"]
    if row is not None and row.generation != metadata["generation"] and view.is_awaited(metadata["uid"]):
        return True
    known = bool(manifest.get("status"))
    return known and view.snapshot is None and view.lists_outdated is None


def _acceptance(manifest: Manifest, row: _Mirror | None, view: View, *, block: Block | None, in_use: str) -> Acceptance:
    return Acceptance(
        block=block,
        stored=row is not None and row.generation == manifest["metadata"]["generation"],
        missing=row is None and view.is_readable,
        outdated=view.lists_outdated,
        in_use=in_use,
        waiting="it is not in the database yet",
    )


def _row_block(row: _Mirror | None) -> Block | None:
    if row is None or row.blocked_reason is None:
        return None
    return Block(row.blocked_reason, row.blocked_message or "")


def _tenant_block(spec: BBBTenantSpec, row: TenantMirror | None, view: View) -> Block | None:
    """Return why a tenant may not be used; what the user asked for is certain without a database."""
    if not spec.enabled:
        return Block(TenantReason.DISABLED, "spec.enabled is false: its lists and usage are empty")
    known = view.snapshot.clusters if view.snapshot is not None else {}
    missing = [ref.name for ref in spec.cluster_refs if ref.name not in known]
    if row is None or row.blocked_reason is not None or not missing:
        return _row_block(row)
    return Block(TenantReason.CLUSTER_NOT_FOUND, f"BBBCluster {', '.join(missing)} does not exist or cannot be used")


def _secret_block(
    spec: BBBSecretSpec,
    row: ApiSecretMirror | None,
    view: View,
    *,
    tenants: Mapping[str, Mapping[str, Any]],
    problem: str,
) -> Block | None:
    if not spec.enabled:
        return Block(SecretReason.DISABLED, "spec.enabled is false: its list and usage are empty")
    block = _row_block(row)
    if row is None or block is not None:
        pending = block is not None and block.reason == PENDING
        return Block(PENDING, f"the Secret cannot be generated: {problem}") if pending and problem else block
    return _tenants_block(spec, tenants.get(spec.tenant_ref.name, {})) or _profiles_block(spec, view)


def _tenants_block(spec: BBBSecretSpec, status: Mapping[str, Any]) -> Block | None:
    """Return what the state of its tenant, whose row is there, means for an API secret."""
    name = spec.tenant_ref.name
    condition = find_condition(status.get("conditions", ()), TenantCondition.ACCEPTED)
    if condition is None or condition["status"] == ConditionStatus.UNKNOWN:
        return Block(PENDING, f"BBBTenant {name} is not accepted yet")
    if condition["status"] == ConditionStatus.TRUE:
        return None
    if condition["reason"] == TenantReason.DISABLED:
        return Block(SecretReason.TENANT_DISABLED, f"BBBTenant {name} is disabled: its lists and usage are empty")
    message = f"BBBTenant {name} is not accepted: {condition['reason']}: {condition['message']}"
    return Block(SecretReason.TENANT_NOT_ACCEPTED, message)


def _profiles_block(spec: BBBSecretSpec, view: View) -> Block | None:
    known = view.snapshot.record_profiles if view.snapshot is not None else {}
    usable = {name for name, row in known.items() if row.blocked_reason is None}
    missing = [ref.name for ref in spec.record_profile_refs if ref.name not in usable]
    if not missing:
        return None
    message = f"BBBRecordProfile {', '.join(missing)} does not exist or cannot be used"
    return Block(SecretReason.RECORD_PROFILE_NOT_FOUND, message)


def _secret_ref(manifest: Manifest, row: ApiSecretMirror | None, view: View, old: Mapping[str, Any]) -> dict[str, Any]:
    """Return the field that names the core Secret in use, {} for none; while nothing is known the old one stands."""
    if row is None or row.generation != manifest["metadata"]["generation"]:
        return {"secretRef": old["secretRef"]} if view.freshness.error and "secretRef" in old else {}
    ref = api_secret_ref(manifest) if row.blocked_reason is None else None
    return {} if ref is None else {"secretRef": {"name": ref.name, "key": ref.key}}


def _tenant_bounds(row: ApiSecretMirror | None, view: View) -> tuple[Bound, ...]:
    """Return the limits of an API secret's tenant, none while that is not there."""
    tenants = view.snapshot.tenants if view.snapshot is not None else {}
    tenant = tenants.get(row.tenant) if row is not None and row.tenant is not None else None
    if tenant is None:
        return ()
    limits = LimitsSpec(meetings=tenant.meeting_limit, attendees=tenant.attendee_limit)
    return (Bound(limits=limits, running=tenant.running if _is_counted(view) else None, tenant=tenant.name),)


def _is_counted(view: View) -> bool:
    """Whether what runs was counted at all."""
    return view.snapshot is not None and view.snapshot.heartbeat(UPDATE_SECRETS_LISTS) is not None
