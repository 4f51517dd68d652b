"""The metrics of tenants have B3LB's names and labels, and one tenant's are the same alone as among all."""

from prometheus_client.parser import text_string_to_metric_families

from b3lb.db.counters import SecretCounters
from b3lb.meetings.model import SecretTotals
from b3lb.metrics.tenants import SecretMetrics, tenant_families, tenant_text

WHOLE = SecretMetrics(
    slug="UNI",
    sub_id=0,
    totals=SecretTotals(meetings=3, attendees=40, listeners=5, voices=30, videos=7, moderators=2),
    counters=SecretCounters(
        attendees_joined=400,
        meetings=20,
        duration_count=20,
        duration_milliseconds=1_234_567,
        attendee_limit_hits=2,
        meeting_limit_hits=3,
    ),
    tenant_meeting_limit=10,
)
OWN = SecretMetrics(slug="UNI", sub_id=7, totals=SecretTotals(meetings=1), attendee_limit=99)
OTHER = SecretMetrics(slug="UNIA", sub_id=1, totals=SecretTotals(attendees=8), tenant_attendee_limit=5)

Sample = tuple[str, str, float]


def samples(text: str) -> set[Sample]:
    """Return name, secret or tenant, and value of every sample; none may be there twice."""
    found = [
        (sample.name, "".join(sample.labels.values()), sample.value)
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    ]
    assert len(found) == len(set(found))
    return set(found)


def test_every_series_has_the_old_name_and_label() -> None:
    assert samples(tenant_text([WHOLE], "UNI")) == {
        ("b3lb_attendees", "UNI", 40),
        ("b3lb_listeners", "UNI", 5),
        ("b3lb_voices", "UNI", 30),
        ("b3lb_videos", "UNI", 7),
        ("b3lb_meetings", "UNI", 3),
        ("b3lb_attendees_total", "UNI", 400),
        ("b3lb_meetings_total", "UNI", 20),
        ("b3lb_meeting_duration_seconds_count", "UNI", 20),
        ("b3lb_meeting_duration_seconds_sum", "UNI", 1234.567),
        ("b3lb_attendee_limit_hits", "UNI", 2),
        ("b3lb_attendee_limit_hits_total", "UNI", 2),
        ("b3lb_meeting_limit_hits", "UNI", 3),
        ("b3lb_meeting_limit_hits_total", "UNI", 3),
        ("b3lb_tenant_meeting_limit", "UNI", 10),
    }


def test_a_secret_is_labelled_with_its_sub_id_and_an_absent_limit_has_no_series() -> None:
    found = samples(tenant_text([OWN], "UNI"))
    assert ("b3lb_meetings", "UNI-007", 1) in found
    assert {name for name, *_ in found if name.endswith("_limit")} == {"b3lb_secret_attendee_limit"}


def test_the_families_are_of_the_kinds_that_prometheus_expects() -> None:
    kinds = {family.type for family in tenant_families([WHOLE])}
    assert kinds == {"gauge", "counter", "summary", "unknown"}


def test_a_tenants_text_is_the_part_of_all_that_is_its_own_whatever_the_order() -> None:
    both = samples(tenant_text([OTHER, OWN, WHOLE], "UNI")) | samples(tenant_text([WHOLE, OTHER, OWN], "UNIA"))
    everything = {
        (sample.name, "".join(sample.labels.values()), sample.value)
        for family in tenant_families([OWN, WHOLE, OTHER])
        for sample in family.samples
    }
    assert both == everything
    assert tenant_text([OWN, OTHER, WHOLE], "UNI") == tenant_text([WHOLE, OWN], "UNI")


def test_a_tenant_without_secrets_has_families_and_no_sample() -> None:
    assert samples(tenant_text([OTHER], "UNI")) == set()
