"""The types of tenants, API secrets and record profiles: defaults, names, bounds."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from b3lb.resources import BBBRecordProfileSpec, BBBSecretSpec, BBBTenantSpec
from b3lb.resources.base import Schema
from b3lb.resources.secret import generated_secret_name

SECRET: dict[str, Any] = {"tenantRef": {"name": "uni"}, "subId": 1}


def test_a_tenant_needs_no_more_than_a_slug() -> None:
    spec = BBBTenantSpec.model_validate({"slug": "UNI"})
    assert spec.model_dump(mode="json", by_alias=True) == {
        "slug": "UNI",
        "clusterRefs": [{"name": "default"}],
        "enabled": True,
        "limits": {"meetings": None, "attendees": None},
        "timeZone": "Etc/UTC",
        "holdDays": 0,
    }
    assert spec.object_name == "uni"


def test_a_secret_needs_no_more_than_tenant_and_number() -> None:
    spec = BBBSecretSpec.model_validate(SECRET)
    assert spec.model_dump(mode="json", by_alias=True) == {
        "tenantRef": {"name": "uni"},
        "subId": 1,
        "enabled": True,
        "secretRef": None,
        "limits": {"meetings": None, "attendees": None},
        "recordProfileRefs": [],
        "holdDays": 0,
    }


def test_the_key_of_a_given_secret_is_by_default_secret() -> None:
    spec = BBBSecretSpec.model_validate({**SECRET, "secretRef": {"name": "moodle"}})
    assert spec.secret_ref is not None
    assert spec.secret_ref.key == "secret"


def test_the_core_secret_that_is_generated_is_called_after_the_object() -> None:
    assert generated_secret_name("uni-001") == "uni-001-api-secret"


@given(st.from_regex(r"\A[A-Z]{2,10}\Z"), st.integers(min_value=0, max_value=999))
def test_the_name_of_a_secret_is_the_tenants_with_the_number_in_three_digits(slug: str, sub_id: int) -> None:
    tenant = BBBTenantSpec.model_validate({"slug": slug})
    secret = BBBSecretSpec.model_validate({"tenantRef": {"name": tenant.object_name}, "subId": sub_id})
    name, hyphen, number = secret.object_name.rpartition("-")
    assert (name, hyphen, len(number), int(number)) == (slug.lower(), "-", 3, sub_id)


def test_an_empty_record_profile_has_every_default() -> None:
    spec = BBBRecordProfileSpec.model_validate({})
    assert spec.model_dump(mode="json", by_alias=True) == {
        "width": 1920,
        "height": 1080,
        "webcam": {"sizePercent": 25, "crop": False, "stretch": False},
        "backdrop": "#000000",
        "annotations": True,
        "container": "mp4",
        "video": {"preset": "veryfast", "crf": 23, "framesPerSecond": 25},
        "default": False,
        "runtime": "pypy",
        "resources": {
            "requests": {"cpu": None, "memory": None, "ephemeral-storage": None},
            "limits": {"cpu": None, "memory": None, "ephemeral-storage": None},
        },
    }


def test_quantities_of_a_record_profile_are_kept_as_they_were_written() -> None:
    resources = {"requests": {"cpu": 1, "ephemeral-storage": "20Gi"}, "limits": {"cpu": "1500m"}}
    spec = BBBRecordProfileSpec.model_validate({"resources": resources})
    assert spec.resources.model_dump(by_alias=True, exclude_none=True) == {
        "requests": {"cpu": 1, "ephemeral-storage": "20Gi"},
        "limits": {"cpu": "1500m"},
    }


@pytest.mark.parametrize(
    ("model", "fields", "message"),
    [
        (BBBTenantSpec, {}, "slug"),
        (BBBTenantSpec, {"slug": "uni"}, "2 to 10 letters from A to Z in upper case: write e.g. UNI"),
        (BBBTenantSpec, {"slug": "UNI1"}, "2 to 10 letters"),
        (BBBTenantSpec, {"slug": "UNI\n"}, "2 to 10 letters"),
        (BBBTenantSpec, {"slug": "ÜBER"}, "2 to 10 letters"),
        (BBBTenantSpec, {"slug": "U"}, "at least 2"),
        (BBBTenantSpec, {"slug": "U" * 11}, "at most 10"),
        (BBBTenantSpec, {"slug": "UNI", "clusterRefs": []}, "clusterRefs"),
        (BBBTenantSpec, {"slug": "UNI", "clusterRefs": [{}]}, "clusterRefs.0.name"),
        (BBBTenantSpec, {"slug": "UNI", "clusterRefs": [{"name": f"c{number}"} for number in range(33)]}, "32"),
        (BBBTenantSpec, {"slug": "UNI", "limits": {"meetings": 0}}, "limits.meetings"),
        (BBBTenantSpec, {"slug": "UNI", "limits": {"attendees": 1000001}}, "limits.attendees"),
        (BBBSecretSpec, {"subId": 1}, "tenantRef"),
        (BBBSecretSpec, {"tenantRef": {"name": "uni"}}, "subId"),
        (BBBSecretSpec, {**SECRET, "subId": -1}, "subId"),
        (BBBSecretSpec, {**SECRET, "subId": 1000}, "subId"),
        (BBBSecretSpec, {**SECRET, "tenantRef": {"name": "UNI"}}, "lower case: write e.g. uni for the tenant"),
        (BBBSecretSpec, {**SECRET, "secretRef": {"key": "secret"}}, "secretRef.name"),
        (BBBSecretSpec, {**SECRET, "recordProfileRefs": [{"name": f"p{n}"} for n in range(17)]}, "16"),
        (BBBRecordProfileSpec, {"width": 1921}, "must be even, .* write the number above or below"),
        (BBBRecordProfileSpec, {"width": 318}, "width"),
        (BBBRecordProfileSpec, {"width": 3842}, "width"),
        (BBBRecordProfileSpec, {"height": 238}, "height"),
        (BBBRecordProfileSpec, {"height": 2162}, "height"),
        (BBBRecordProfileSpec, {"height": 1081}, "must be even"),
        (BBBRecordProfileSpec, {"webcam": {"sizePercent": 91}}, "webcam.sizePercent"),
        (BBBRecordProfileSpec, {"webcam": {"crop": True, "stretch": True}}, "write at most one of them as true"),
        (BBBRecordProfileSpec, {"backdrop": "black"}, "write e.g. #000000 for black"),
        (BBBRecordProfileSpec, {"container": "avi"}, "container"),
        (BBBRecordProfileSpec, {"video": {"preset": "placebo"}}, "video.preset"),
        (BBBRecordProfileSpec, {"video": {"crf": 52}}, "video.crf"),
        (BBBRecordProfileSpec, {"video": {"framesPerSecond": 4}}, "video.framesPerSecond"),
        (BBBRecordProfileSpec, {"video": {"framesPerSecond": 61}}, "video.framesPerSecond"),
        (BBBRecordProfileSpec, {"runtime": "jython"}, "runtime"),
    ],
)
def test_what_makes_no_sense_is_refused(model: type[Schema], fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        model.model_validate(fields)


@pytest.mark.parametrize("sizes", [(320, 240), (3840, 2160)])
def test_the_smallest_and_the_largest_picture(sizes: tuple[int, int]) -> None:
    spec = BBBRecordProfileSpec.model_validate({"width": sizes[0], "height": sizes[1]})
    assert (spec.width, spec.height) == sizes
