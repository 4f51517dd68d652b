"""The types of the custom resources: defaults, bounds, names in YAML, and URLs."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone
from enum import StrEnum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from b3lb.health import LoadReason, Reason
from b3lb.resources import RESOURCES, BBBClusterSpec, BBBNodeSpec, BBBQueueSpec, DesiredState
from b3lb.resources.conditions import (
    MESSAGE_LENGTH,
    ClusterReason,
    ConditionStatus,
    LimitReason,
    NodeBlock,
    NodeReason,
    QueueReason,
    RecordingReason,
    RecordProfileReason,
    SecretReason,
    TenantReason,
    find_condition,
    format_time,
    parse_time,
    remove_condition,
    set_condition,
)
from b3lb.resources.reasons import REASONS
from b3lb.resources.reasons.recordings import FAILURES
from b3lb.resources.schedule import SCHEDULE_PATTERN
from b3lb.resources.urls import normalise_url, origin
from b3lb.window import parse_window

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
SECRET = {"secretRef": {"name": "bbb1"}}


def node(**fields: Any) -> BBBNodeSpec:
    return BBBNodeSpec.model_validate({**SECRET, **fields})


def test_an_empty_cluster_has_every_default() -> None:
    assert BBBClusterSpec.model_validate({}).model_dump(by_alias=True) == {
        "load": {"attendeeFactor": 1, "meetingFactor": 30, "cpuTerms": 6, "cpuMaximum": 5000},
        "checksumAlgorithm": "sha256",
        "health": {"timeoutSeconds": 5, "unhealthyAfter": 3, "healthyAfter": 2},
        "massFailureGuard": {"sharePercent": 50, "minimumNodes": 3, "maximumSeconds": 600},
        "lostMeetings": {"endAfterSeconds": 86400},
        "tls": {"caSecretRef": None},
        "uploadSecretRef": None,
    }


def test_the_ca_of_a_cluster_is_by_default_the_key_ca_crt() -> None:
    spec = BBBClusterSpec.model_validate({"tls": {"caSecretRef": {"name": "ca"}}})
    assert spec.tls.ca_secret_ref is not None
    assert spec.tls.ca_secret_ref.key == "ca.crt"


def test_a_node_needs_no_more_than_host_and_secret() -> None:
    spec = node(host="bbb1.example.org")
    assert spec.model_dump(by_alias=True) == {
        "clusterRef": {"name": "default"},
        "host": "bbb1.example.org",
        "apiUrl": None,
        "loadUrl": None,
        "secretRef": {"name": "bbb1", "key": "secret"},
        "state": "Active",
        "drain": {"deadlineSeconds": 3600},
        "weightPercent": 100,
        "maxMeetings": None,
        "maxAttendees": None,
    }
    assert spec.api_url == "https://bbb1.example.org/bigbluebutton/api"
    assert spec.load_url == "https://bbb1.example.org/b3lb/load"


@pytest.mark.parametrize(
    ("fields", "api_url", "load_url"),
    [
        pytest.param(
            {"host": "BBB1.Example.org"},
            "https://bbb1.example.org/bigbluebutton/api",
            "https://bbb1.example.org/b3lb/load",
            id="host in lower case",
        ),
        pytest.param(
            {"apiUrl": "HTTPS://BBB1.example.org:443/bigbluebutton/api/"},
            "https://bbb1.example.org/bigbluebutton/api",
            "https://bbb1.example.org/b3lb/load",
            id="apiUrl in normal form",
        ),
        pytest.param(
            {"apiUrl": "http://127.0.0.1:8080/bigbluebutton/api"},
            "http://127.0.0.1:8080/bigbluebutton/api",
            "http://127.0.0.1:8080/b3lb/load",
            id="loadUrl on the origin of apiUrl",
        ),
        pytest.param(
            {"host": "bbb1.example.org", "loadUrl": "http://metrics.example.org:9100/load/"},
            "https://bbb1.example.org/bigbluebutton/api",
            "http://metrics.example.org:9100/load",
            id="own loadUrl",
        ),
        pytest.param(
            {"apiUrl": "https://[2001:DB8::1]/bigbluebutton/api"},
            "https://[2001:db8::1]/bigbluebutton/api",
            "https://[2001:db8::1]/b3lb/load",
            id="IPv6",
        ),
    ],
)
def test_the_urls_of_a_node(fields: dict[str, str], api_url: str, load_url: str) -> None:
    spec = node(**fields)
    assert (spec.api_url, spec.load_url) == (api_url, load_url)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "exactly one of host"),
        ({"host": "a.example.org", "apiUrl": "https://a.example.org/api"}, "exactly one of host"),
        ({"apiUrl": "ftp://a.example.org/api"}, "begins with http"),
        ({"apiUrl": "a.example.org/bigbluebutton/api"}, "begins with http"),
        ({"apiUrl": "https:///bigbluebutton/api"}, "begins with http"),
        ({"apiUrl": "https://user:word@a.example.org/api"}, "without credentials"),
        ({"apiUrl": "https://a.example.org/api?x=1"}, "without credentials"),
        ({"apiUrl": "https://a.example.org/api#x"}, "without credentials"),
        ({"apiUrl": "https://a.example.org:99999/api"}, "^[^:]*error.*\napiUrl\n  write a port from 1 to 65535"),
        ({"apiUrl": "https://a.example.org:0/api"}, "write a port from 1 to 65535, or none"),
        ({"apiUrl": "https://a.example.org:x/api"}, "write a port from 1 to 65535, or none"),
        ({"apiUrl": "https://999.999.1.1/api"}, "write a DNS name, an IPv4 address"),
        ({"apiUrl": "https://[2001:db8::g]/api"}, "write"),
        ({"apiUrl": "https://[fe80::1%25eth0]/api"}, "write"),
        ({"apiUrl": "https://two words/api"}, "blanks"),
        ({"apiUrl": "https://a.example.org/\x07/api"}, "control characters"),
        ({"apiUrl": "https://a.example.org\n/api"}, "control characters"),
        ({"apiUrl": "\x00https://a.example.org/api"}, "control characters"),
        ({"apiUrl": "https://[::ffff:192.0.2.1]/api"}, "of an IPv4-mapped IPv6 address, ::ffff:…, the IPv4 address"),
        ({"apiUrl": "https://[0:0:0:0:0:FFFF:c000:201]/api"}, "the IPv4 address itself"),
        ({"host": "999.999.1.1"}, "four numbers from 0 to 255"),
        ({"host": "1.2.3"}, "four numbers from 0 to 255"),
        ({"host": "0x7f.0.0.1"}, "four numbers from 0 to 255"),
        ({"host": "2001:db8::1"}, r"write apiUrl instead, e.g. https://\[2001:db8::1\]/"),
        ({"host": "a.example.org:8443"}, "a port, another path or an IPv6 address write apiUrl instead"),
        ({"host": "a.example.org\n"}, "host must be a DNS name"),
        ({"host": "a.example.org", "loadUrl": "load"}, "begins with http"),
        ({"host": "a.example.org", "weightPercent": 0}, "weightPercent"),
        ({"host": "a.example.org", "weightPercent": 1001}, "weightPercent"),
        ({"host": "a.example.org", "maxMeetings": 0}, "maxMeetings"),
        ({"host": "a.example.org", "state": "Broken"}, "state"),
        ({"host": "a.example.org", "secretRef": {}}, "secretRef.name"),
        ({"host": "a.example.org", "secretRef": {"name": "Upper_Case"}}, "secretRef.name"),
        ({"host": "a.example.org", "drain": {"deadlineSeconds": -1}}, "drain.deadlineSeconds"),
    ],
)
def test_a_node_that_makes_no_sense_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        node(**fields)


@pytest.mark.parametrize("url", ["https://a.example.org/x", "http://A.example.org:8080/bigbluebutton/api//"])
def test_the_normal_form_of_a_url_is_its_own_normal_form(url: str) -> None:
    assert normalise_url(normalise_url(url)) == normalise_url(url)


@given(st.text(max_size=40))
def test_whatever_is_given_as_a_url_is_normalised_or_refused_with_a_value_error(text: str) -> None:
    for url in (text, f"https://{text}", f"http://a.example.org/{text}"):
        try:
            normal = normalise_url(url)
        except ValueError:
            continue
        assert normal.startswith(("http://", "https://"))
        assert normal.startswith(origin(url))


@pytest.mark.parametrize("host", ["a", "1.2.3.4", "255.255.255.255", "3com.example", "1.2.3.4a", "a-1.xn--p1ai"])
def test_a_host_is_a_dns_name_or_an_ipv4_address(host: str) -> None:
    assert node(host=host).api_url == f"https://{host}/bigbluebutton/api"


@pytest.mark.parametrize("port", [1, 65535])
def test_a_port_is_from_1_to_65535(port: int) -> None:
    assert node(apiUrl=f"http://a:{port}/api").api_url == f"http://a:{port}/api"


ENTRIES = st.from_regex(r"\A([*?]|[0-9]{1,2}|[A-Za-z]{3})(-([0-9]{1,2}|MON|jan))?(/[0-9]{1,2})?\Z")
NAMED = st.sampled_from(["JAN", "dec", "Sun", "SAT", "jan-Mar", "MON-FRI/2"])
FIELDS = st.lists(ENTRIES | NAMED | st.just("*"), min_size=1, max_size=2).map(",".join)
BOUNDS = (
    (0, 59, ""),
    (0, 23, ""),
    (1, 31, ""),
    (1, 12, "jan feb mar apr may jun jul aug sep oct nov dec"),
    (0, 6, "sun mon tue wed thu fri sat"),
)


def is_cron_entry(entry: str, low: int, high: int, names: str) -> bool:
    """Whether an entry of a field is one that Kubernetes reads, but for ranges that run backwards."""
    values, slash, step = entry.partition("/")
    if slash and not int(step) > 0:
        return False
    if values in {"*", "?"}:
        return True
    ends = values.split("-")
    return all(low <= int(end) <= high if end.isdigit() else end.lower() in names.split() for end in ends)


@pytest.mark.parametrize("position", range(5))
@given(field=FIELDS)
def test_a_field_of_a_schedule_is_taken_exactly_when_each_of_its_entries_is_in_range(position: int, field: str) -> None:
    schedule = " ".join(field if index == position else "*" for index in range(5))
    expected = all(is_cron_entry(entry, *BOUNDS[position]) for entry in field.split(","))
    assert (re.fullmatch(SCHEDULE_PATTERN, schedule) is not None) == expected


@pytest.mark.parametrize("position", range(5))
def test_the_numbers_of_a_field_of_a_schedule_are_those_of_cron(position: int) -> None:
    low, high, _ = BOUNDS[position]
    written = {
        number: " ".join(str(number) if index == position else "*" for index in range(5)) for number in range(100)
    }
    taken = [number for number, schedule in written.items() if re.fullmatch(SCHEDULE_PATTERN, schedule)]
    assert taken == list(range(low, high + 1))


def test_a_queue_needs_tasks_and_schedule() -> None:
    spec = BBBQueueSpec.model_validate({"tasks": ["check-nodes"], "schedule": "* * * * *"})
    assert spec.model_dump(by_alias=True) == {
        "tasks": ["check-nodes"],
        "schedule": "* * * * *",
        "timeZone": None,
        "window": None,
        "tickSeconds": None,
        "maxInFlight": 100,
        "suspend": False,
        "concurrency": 1,
        "autoscaling": None,
        "priority": 5,
        "rateLimit": None,
        "retry": {"maxRetries": 3, "backoffSeconds": 10, "maximumSeconds": 600},
        "softTimeLimitSeconds": None,
        "timeLimitSeconds": None,
        "batchSize": 1,
        "maxTicks": None,
        "maxMemoryGrowthMiB": None,
        "image": None,
        "resources": None,
        "successfulJobsHistoryLimit": 3,
        "failedJobsHistoryLimit": 5,
    }


@pytest.mark.parametrize(
    ("fields", "soft", "hard"),
    [
        ({}, 240, 300),
        ({"timeLimitSeconds": 2}, 1, 2),
        ({"timeLimitSeconds": 7200}, 7140, 7200),
        ({"softTimeLimitSeconds": 5}, 5, 300),
        ({"softTimeLimitSeconds": 1000}, 1000, 1060),
        ({"tasks": ["render-record"]}, 12 * 3600 - 60, 12 * 3600),
        ({"tasks": ["render-record"], "timeLimitSeconds": 600}, 540, 600),
    ],
)
def test_limits_of_time_that_are_left_out_follow_from_the_other_one_and_a_render_has_hours(
    fields: dict[str, Any], soft: int, hard: int
) -> None:
    spec = BBBQueueSpec.model_validate({"tasks": ["work"], **fields})
    assert (spec.soft_limit_seconds, spec.hard_limit_seconds) == (soft, hard)


def test_a_window_is_of_the_queues_time_zone() -> None:
    fields = {"tasks": ["work"], "timeZone": "Europe/Berlin", "window": {"start": "20:00", "end": "06:00"}}
    assert BBBQueueSpec.model_validate(fields).opening == parse_window("20:00", "06:00", "Europe/Berlin")
    assert BBBQueueSpec.model_validate({"tasks": ["work"]}).opening is None


@pytest.mark.parametrize(
    "fields",
    [
        {"schedule": "* * * * *"},
        {"tasks": [], "schedule": "* * * * *"},
        {"tasks": ["check-nodes"], "schedule": "* * * * *", "rateLimit": "10/d"},
        {"tasks": ["check-nodes"], "schedule": "* * * * *", "priority": 10},
        {"tasks": ["work"], "window": {"start": "20:00"}},
        {"tasks": ["work"], "window": {"start": "20:00", "end": "06:00"}, "timeZone": "Mars/Olympus"},
        {"tasks": ["work"], "window": {"start": "8:00", "end": "24:00"}},
        {"tasks": ["check-nodes"], "schedule": "* * * * *", "concurrency": 0},
        {"tasks": ["Check Nodes"], "schedule": "* * * * *"},
        {"tasks": ["check-nodes"], "schedule": "* * * * *", "tickSeconds": 7},
        {"tasks": ["check-nodes"], "schedule": "* * * * *", "maxInFlight": 0},
        {"tasks": ["check-nodes"], "schedule": "* * * * *", "image": "two words"},
    ],
)
def test_a_queue_that_makes_no_sense_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        BBBQueueSpec.model_validate(fields)


def test_a_queue_has_as_many_places_as_its_concurrency_or_its_limits_say() -> None:
    fixed = BBBQueueSpec.model_validate({"tasks": ["a"], "concurrency": 4})
    assert [fixed.replicas(demand) for demand in (0, 4, 50)] == [4, 4, 4]
    limits = {"minReplicas": 3, "maxReplicas": 10}
    scaling = BBBQueueSpec.model_validate({"tasks": ["a"], "autoscaling": limits})
    assert [scaling.replicas(demand) for demand in (0, 4, 50)] == [3, 4, 10]
    assert BBBQueueSpec.model_validate({"tasks": ["a"], "autoscaling": {"maxReplicas": 2}}).replicas(0) == 1


def test_quantities_are_kept_as_they_were_written() -> None:
    spec = BBBQueueSpec.model_validate(
        {"tasks": ["a"], "schedule": "@hourly", "resources": {"limits": {"cpu": 2, "memory": "1Gi"}}}
    )
    assert spec.resources is not None
    assert spec.resources.limits == {"cpu": 2, "memory": "1Gi"}


def test_a_spec_cannot_be_changed() -> None:
    spec = node(host="a.example.org")
    with pytest.raises(ValidationError, match="frozen"):
        spec.state = DesiredState.DISABLED  # type: ignore[misc]  # that is what is tested


def test_fields_of_newer_versions_are_ignored() -> None:
    assert node(host="a.example.org", newField=1).host == "a.example.org"


def test_kinds_plurals_and_short_names_differ() -> None:
    names = [name for kind in RESOURCES for name in (kind.singular, kind.plural, kind.short_name)]
    assert len(set(names)) == len(names)


def one(now: datetime = NOW, **fields: Any) -> list[dict[str, Any]]:
    values = {"status": ConditionStatus.TRUE, "reason": "Fine", "message": "it is", "observed_generation": 1}
    return set_condition([], "Ready", **{**values, **fields}, now=now)


def test_a_new_condition_is_appended_whole() -> None:
    assert one() == [
        {
            "type": "Ready",
            "status": "True",
            "observedGeneration": 1,
            "lastTransitionTime": "2026-03-01T12:00:00Z",
            "reason": "Fine",
            "message": "it is",
        }
    ]


@pytest.mark.parametrize(
    ("status", "moved"), [(ConditionStatus.TRUE, False), (ConditionStatus.FALSE, True), (ConditionStatus.UNKNOWN, True)]
)
def test_the_transition_time_moves_only_with_the_status(status: ConditionStatus, moved: bool) -> None:
    later = NOW + timedelta(minutes=5)
    changed = set_condition(
        one(), "Ready", status=status, reason="Other", message="new", observed_generation=2, now=later
    )
    assert changed == [
        {
            "type": "Ready",
            "status": str(status),
            "observedGeneration": 2,
            "lastTransitionTime": format_time(later if moved else NOW),
            "reason": "Other",
            "message": "new",
        }
    ]


def test_other_conditions_keep_their_place_and_the_input_is_not_changed() -> None:
    before = [{"type": "A"}, *one(), {"type": "B"}]
    copy = [dict(condition) for condition in before]
    after = set_condition(
        before, "Ready", status=ConditionStatus.FALSE, reason="R", message="m", observed_generation=3, now=NOW
    )
    assert [condition["type"] for condition in after] == ["A", "Ready", "B"]
    assert before == copy
    assert [condition["type"] for condition in remove_condition(after, "Ready")] == ["A", "B"]
    assert find_condition(after, "B") == {"type": "B"}
    assert find_condition(after, "C") is None


def test_a_condition_without_transition_time_gets_one() -> None:
    broken = [{"type": "Ready", "status": "True"}]
    after = set_condition(
        broken, "Ready", status=ConditionStatus.TRUE, reason="R", message="m", observed_generation=3, now=NOW
    )
    assert after[0]["lastTransitionTime"] == format_time(NOW)


def test_a_long_message_is_cut_so_that_the_api_server_takes_it() -> None:
    message = one(message="x" * 5000)[0]["message"]
    assert len(message) == MESSAGE_LENGTH
    assert message.endswith("x…")


def test_times_are_written_in_utc_and_read_back() -> None:
    moment = datetime(2026, 3, 1, 14, 0, 0, 999999, tzinfo=timezone(timedelta(hours=2)))
    assert format_time(moment) == "2026-03-01T12:00:00Z"
    assert parse_time("2026-03-01T12:00:00Z") == NOW
    assert parse_time("2026-03-01T12:00:00.000000+00:00") == NOW


def test_every_reason_is_explained_in_the_reference_of_its_kind() -> None:
    known: dict[str, list[type[StrEnum]]] = {
        "BBBCluster": [ClusterReason],
        "BBBNode": [Reason, LoadReason, NodeBlock, NodeReason],
        "BBBTenant": [TenantReason, LimitReason],
        "BBBRecordProfile": [RecordProfileReason],
        "BBBSecret": [SecretReason, LimitReason],
        "BBBQueue": [QueueReason],
        "BBBRecording": [RecordingReason],
    }
    explained = {kind: {meaning.reason for meaning in meanings} - {"…"} for kind, meanings in REASONS.items()}
    # A video fails for the reasons of the renderer.
    explained["BBBRecording"] -= FAILURES.keys()
    assert explained == {kind: {str(reason) for group in groups for reason in group} for kind, groups in known.items()}
    assert list(REASONS) == [resource.kind for resource in RESOURCES]
