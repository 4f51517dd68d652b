"""Tenants, API secrets and record profiles on a real API server: what it fills in, takes, refuses and shows."""

from __future__ import annotations

import json
from typing import Any

import pytest

from b3lb.resources import BBBRecordProfileSpec, BBBSecretSpec, BBBTenantSpec
from b3lb.resources.base import Schema
from dev.controlplane import ControlPlane, KubectlError
from tests.integration.crd_cluster import API_VERSION, Cluster, changed, crd_cluster

# The first use of the control plane's programs builds them.
pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1200)]

TENANT: dict[str, Any] = {
    "apiVersion": API_VERSION,
    "kind": "BBBTenant",
    "metadata": {"name": "uni"},
    "spec": {"slug": "UNI"},
}
SECRET: dict[str, Any] = {
    "apiVersion": API_VERSION,
    "kind": "BBBSecret",
    "metadata": {"name": "uni-001"},
    "spec": {"tenantRef": {"name": "uni"}, "subId": 1},
}
PROFILE: dict[str, Any] = {"apiVersion": API_VERSION, "kind": "BBBRecordProfile", "metadata": {"name": "lecture"}}
MODELS: dict[str, type[Schema]] = {
    "BBBTenant": BBBTenantSpec,
    "BBBSecret": BBBSecretSpec,
    "BBBRecordProfile": BBBRecordProfileSpec,
}

SLUG = "slug must be 2 to 10 letters from A to Z in upper case: write e.g. UNI"
SECRET_NAME = "write e.g. uni-007 for tenant uni and subId 7"
QUANTITY = "must be a quantity above 0: write e.g. 2 or 500m for cpu and 8Gi for memory"


@pytest.fixture(scope="module")
def cluster(plane_with_definitions: ControlPlane) -> Cluster:
    """A control plane with the CRDs."""
    return crd_cluster(plane_with_definitions, "tenant-definitions")


def tenant(slug: str, *, name: str | None = None, **spec: Any) -> dict[str, Any]:
    """Return a tenant of a slug, by default with the name that it must have."""
    return changed(TENANT, name=slug.lower() if name is None else name, slug=slug, **spec)


def secret(sub_id: int, name: str, **spec: Any) -> dict[str, Any]:
    """Return a secret of a number."""
    return changed(SECRET, name=name, subId=sub_id, **spec)


def of_tenant(name: str) -> dict[str, Any]:
    """Return the first secret of a tenant."""
    return secret(1, f"{name}-001", tenantRef={"name": name})


def references(count: int) -> list[dict[str, str]]:
    """Return as many references to different objects."""
    return [{"name": f"object-{number}"} for number in range(count)]


def resources(requests: dict[str, Any] | None = None, limits: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return a profile whose rendering pod has such resources."""
    return changed(PROFILE, resources={"requests": requests or {}, "limits": limits or {}})


def test_defaults_appear_in_what_is_stored(cluster: Cluster) -> None:
    assert cluster.dry_run(TENANT)["spec"] == {
        "clusterRefs": [{"name": "default"}],
        "enabled": True,
        "holdDays": 0,
        "slug": "UNI",
        "timeZone": "Etc/UTC",
    }
    assert cluster.dry_run(SECRET)["spec"] == {
        "enabled": True,
        "holdDays": 0,
        "subId": 1,
        "tenantRef": {"name": "uni"},
    }
    given = secret(1, "uni-001", secretRef={"name": "moodle"})
    assert cluster.dry_run(given)["spec"]["secretRef"] == {"key": "secret", "name": "moodle"}
    assert cluster.dry_run(PROFILE)["spec"] == {
        "annotations": True,
        "backdrop": "#000000",
        "container": "mp4",
        "default": False,
        "height": 1080,
        "runtime": "pypy",
        "video": {"crf": 23, "framesPerSecond": 25, "preset": "veryfast"},
        "webcam": {"crop": False, "sizePercent": 25, "stretch": False},
        "width": 1920,
    }
    half = cluster.dry_run(changed(PROFILE, webcam={"crop": True}, resources={"limits": {"memory": "12Gi"}}))["spec"]
    assert half["webcam"] == {"crop": True, "sizePercent": 25, "stretch": False}
    assert half["resources"] == {"limits": {"memory": "12Gi"}}


@pytest.mark.parametrize(
    "manifest",
    [
        tenant("AB"),
        tenant("ABCDEFGHIJ", clusterRefs=references(32), enabled=False, limits={"meetings": 1, "attendees": 1000000}),
        tenant("UNI", limits={"meetings": 100000}, holdDays=36500),
        secret(0, "uni-000"),
        secret(7, "uni-007"),
        secret(42, "uni-042", recordProfileRefs=references(16)),
        secret(999, "uni-999", limits={"attendees": 1}, secretRef={"name": "moodle", "key": "api.key"}),
        of_tenant("abcdefghij"),
        changed(PROFILE, width=320, height=240, webcam={"sizePercent": 0, "stretch": True}),
        changed(PROFILE, width=3840, height=2160, webcam={"sizePercent": 90}, backdrop="#aBcDeF", annotations=False),
        changed(PROFILE, container="webm", runtime="cpython", default=True),
        changed(PROFILE, video={"preset": "veryslow", "crf": 0, "framesPerSecond": 5}),
        changed(PROFILE, video={"preset": "ultrafast", "crf": 51, "framesPerSecond": 60}),
        resources({"cpu": 1, "memory": "0.5Gi", "ephemeral-storage": "1e9"}, {"cpu": "1000m"}),
        resources({"memory": "10240Mi"}, {"memory": 10737418240}),
        resources({"ephemeral-storage": "20Gi"}, {"ephemeral-storage": "20Gi"}),
    ],
    ids=lambda manifest: json.dumps(manifest["spec"])[:60],
)
def test_what_is_valid_is_taken_by_the_api_server_and_by_the_types(cluster: Cluster, manifest: dict[str, Any]) -> None:
    MODELS[manifest["kind"]].model_validate(cluster.dry_run(manifest)["spec"])


@pytest.mark.parametrize(
    ("manifest", "words"),
    [
        (changed(TENANT, without="slug"), "spec.slug: Required value"),
        (tenant("uni"), SLUG),
        (tenant("UNI1"), SLUG),
        (tenant("MY-UNI"), SLUG),
        (tenant("U"), "spec.slug in body should be at least 2 chars long"),
        (tenant("ABCDEFGHIJK"), "spec.slug: Too long: may not be more than 10"),
        (tenant("UNI", name="university"), "metadata.name must be the slug in lower case: write e.g. uni"),
        (tenant("UNI", clusterRefs=[]), "spec.clusterRefs in body should have at least 1 items"),
        (tenant("UNI", clusterRefs=references(33)), "spec.clusterRefs: Too many: 33"),
        (tenant("UNI", clusterRefs=[{}]), "spec.clusterRefs[0].name: Required value"),
        (tenant("UNI", clusterRefs=[{"name": "a"}, {"name": "a"}]), "Duplicate value"),
        (tenant("UNI", limits={"meetings": 0}), "spec.limits.meetings"),
        (tenant("UNI", limits={"attendees": 0}), "spec.limits.attendees"),
        (tenant("UNI", limits={"attendees": 1000001}), "spec.limits.attendees"),
        (tenant("UNI", enabled="no"), "spec.enabled"),
        (tenant("UNI", limit={}), 'unknown field "spec.limit"'),
        (changed(SECRET, without="tenantRef"), "spec.tenantRef: Required value"),
        (changed(SECRET, without="subId"), "spec.subId: Required value"),
        (secret(-1, "uni--01"), "spec.subId"),
        (secret(1000, "uni-1000"), "spec.subId"),
        (secret(1, "uni-1"), SECRET_NAME),
        (secret(1, "uni-002"), SECRET_NAME),
        (secret(1, "uni-0001"), SECRET_NAME),
        (secret(1, "uni001"), SECRET_NAME),
        (secret(1, "school-001"), SECRET_NAME),
        (secret(42, "uni-42"), SECRET_NAME),
        (of_tenant("uni1"), "tenantRef.name must be a tenant's slug in lower case: write e.g. uni for the tenant"),
        (of_tenant("u"), "spec.tenantRef.name"),
        (of_tenant("abcdefghijk"), "spec.tenantRef.name: Too long"),
        (changed(SECRET, tenantRef={}), "spec.tenantRef.name: Required value"),
        (changed(SECRET, secretRef={"key": "x"}), "spec.secretRef.name: Required value"),
        (changed(SECRET, secretRef={"name": "x", "key": "two words"}), "spec.secretRef.key"),
        (changed(SECRET, limits={"meetings": 100001}), "spec.limits.meetings"),
        (changed(SECRET, recordProfileRefs=references(17)), "spec.recordProfileRefs: Too many: 17"),
        (changed(SECRET, recordProfileRefs=[{"name": "a"}, {"name": "a"}]), "Duplicate value"),
        (changed(PROFILE, width=318), "spec.width"),
        (changed(PROFILE, width=3842), "spec.width"),
        (
            changed(PROFILE, width=1921),
            "width must be even, for video is coded in blocks of two by two: write the number",
        ),
        (changed(PROFILE, height=238), "spec.height"),
        (changed(PROFILE, height=2162), "spec.height"),
        (changed(PROFILE, height=1081), "height must be even"),
        (changed(PROFILE, webcam={"sizePercent": 91}), "spec.webcam.sizePercent"),
        (changed(PROFILE, webcam={"crop": True, "stretch": True}), "write at most one of them as true"),
        (changed(PROFILE, backdrop="black"), "backdrop must be a colour as # and six hexadecimal digits: write e.g."),
        (changed(PROFILE, backdrop="#12345g"), "write e.g. #000000 for black"),
        (changed(PROFILE, backdrop="#0000000"), "spec.backdrop: Too long"),
        (changed(PROFILE, container="avi"), 'supported values: "mp4", "webm"'),
        (changed(PROFILE, runtime="jython"), 'supported values: "pypy", "cpython"'),
        (changed(PROFILE, video={"preset": "placebo"}), 'supported values: "ultrafast", "superfast"'),
        (changed(PROFILE, video={"crf": 52}), "spec.video.crf"),
        (changed(PROFILE, video={"framesPerSecond": 4}), "spec.video.framesPerSecond"),
        (changed(PROFILE, video={"framesPerSecond": 61}), "spec.video.framesPerSecond"),
        (changed(PROFILE, video={"framesPerSecond": 29.97}), "spec.video.framesPerSecond"),
        (resources({"memory": "much"}), "spec.resources.requests.memory"),
        (resources({"memory": "0"}), QUANTITY),
        (resources({"cpu": 0}), QUANTITY),
        (resources({"cpu": -1}), QUANTITY),
        (resources(limits={"ephemeral-storage": "0Gi"}), QUANTITY),
        (resources({"cpu": 2}, {"cpu": "1500m"}), "requests.cpu must not be above limits.cpu: write a larger limit"),
        (
            resources({"memory": "12Gi"}, {"memory": "10Gi"}),
            "requests.memory must not be above limits.memory: write a larger limit",
        ),
        (resources({"memory": "8Gi"}, {"memory": "4Gi"}), "or a smaller request"),
        (resources({"ephemeral-storage": "2Gi"}, {"ephemeral-storage": "1Gi"}), "limits.ephemeral-storage: write"),
        (resources({"gpu": 1}), 'unknown field "spec.resources.requests.gpu"'),
    ],
    ids=lambda value: json.dumps(value.get("spec"))[:60] if isinstance(value, dict) else "",
)
def test_what_is_wrong_is_refused_with_what_to_write(cluster: Cluster, manifest: dict[str, Any], words: str) -> None:
    assert words in cluster.refusal(manifest)


def test_slug_tenant_and_number_stay_as_they_are(cluster: Cluster) -> None:
    for manifest in (TENANT, SECRET):
        cluster("apply", "-f", "-", manifest=manifest)
    for kind, name, spec, words in (
        ("bbbtenant", "uni", {"slug": "UNIX"}, "slug must stay as it is, for it begins the IDs of running meetings"),
        ("bbbsecret", "uni-001", {"tenantRef": {"name": "school"}}, "tenantRef must stay as it is: write another"),
        ("bbbsecret", "uni-001", {"subId": 2}, "subId must stay as it is: write another BBBSecret"),
    ):
        with pytest.raises(KubectlError, match=words):
            cluster("patch", kind, name, "--type=merge", "-p", json.dumps({"spec": spec}))
    changeable = {"enabled": False, "limits": {"meetings": 2}, "secretRef": {"name": "moodle"}}
    cluster("patch", "bbbsecret", "uni-001", "--type=merge", "-p", json.dumps({"spec": changeable}))
    assert cluster.read("bbbsecret", "uni-001")["spec"]["enabled"] is False


def condition(reason: str) -> dict[str, Any]:
    """Return a status with usage and the condition Accepted."""
    accepted = {
        "type": "Accepted",
        "status": "True" if reason == "Accepted" else "False",
        "observedGeneration": 1,
        "lastTransitionTime": "2026-03-01T12:00:00Z",
        "reason": reason,
        "message": "In words.",
    }
    return {"observedGeneration": 1, "conditions": [accepted]}


def test_columns_show_the_status_and_secrets_are_found_by_tenant(cluster: Cluster) -> None:
    usage = {"meetings": 3, "attendees": 41, "listeners": 9, "voices": 8, "videos": 7, "moderators": 6}
    profile = changed(PROFILE, container="webm", default=True)
    statuses = (
        (tenant("SHOW"), condition("Accepted") | {"usage": usage, "secrets": 1}),
        (
            of_tenant("show"),
            condition("TenantDisabled")
            | {"usage": usage, "secretRef": {"name": "show-001-api-secret", "key": "secret"}},
        ),
        (profile, condition("Accepted")),
    )
    for manifest, status in statuses:
        cluster("apply", "-f", "-", manifest=manifest)
        place = (manifest["kind"].lower(), manifest["metadata"]["name"])
        cluster("patch", *place, "--subresource=status", "--type=merge", "-p", json.dumps({"status": status}))
        assert cluster.read(*place)["status"] == status
    header, row = cluster("get", "bbbt", "show").splitlines()
    assert header.split() == ["NAME", "SLUG", "ENABLED", "ACCEPTED", "MEETINGS", "ATTENDEES", "REASON", "AGE"]
    assert row.split()[:-1] == ["show", "SHOW", "true", "True", "3", "41", "Accepted"]
    header, row = cluster("get", "bbbs", "show-001").splitlines()
    assert header.split()[:5] == ["NAME", "TENANT", "SUB", "ID", "ENABLED"]
    assert header.split()[5:] == ["ACCEPTED", "MEETINGS", "ATTENDEES", "REASON", "AGE"]
    assert row.split()[:-1] == ["show-001", "show", "1", "true", "False", "3", "41", "TenantDisabled"]
    assert "show-001-api-secret" in cluster("get", "bbbsecret", "show-001", "-o", "wide")
    header, row = cluster("get", "bbbrp").splitlines()
    assert header.split() == ["NAME", "WIDTH", "HEIGHT", "CONTAINER", "DEFAULT", "ACCEPTED", "AGE"]
    assert row.split()[:-1] == ["lecture", "1920", "1080", "webm", "true", "True"]
    listed = cluster("get", "b3lb", "-o", "name").split()
    assert {"bbbtenant.b3lb.io/show", "bbbsecret.b3lb.io/show-001", "bbbrecordprofile.b3lb.io/lecture"} <= set(listed)
    by_tenant = ("get", "bbbsecrets", "-o", "name", "--field-selector")
    assert cluster(*by_tenant, "spec.tenantRef.name=show").split() == ["bbbsecret.b3lb.io/show-001"]
    assert cluster(*by_tenant, "spec.tenantRef.name=nobody") == ""


def test_explain_describes_every_field(cluster: Cluster) -> None:
    for path in ("bbbtenant.spec", "bbbsecret.spec", "bbbrp.spec", "bbbrp.spec.resources.limits", "bbbsecret.status"):
        assert "<no description>" not in cluster("explain", path)
    assert "one is generated" in " ".join(cluster("explain", "bbbs.spec.secretRef").split())
