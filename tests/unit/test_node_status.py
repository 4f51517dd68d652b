"""The status of a BBBNode: whole dictionaries for each reason."""

from __future__ import annotations

import copy
import dataclasses
from datetime import timedelta
from typing import Any

import pytest

from b3lb.health import NodeState, Reason
from b3lb_operator.manifests.facts import Block, Freshness
from tests.unit.node_statuses import (
    BEFORE_TEXT,
    DEAD,
    FAILING,
    FRESH,
    GOOD,
    LOST,
    LOST_LONG,
    NEVER,
    NO_LOAD,
    NOW,
    STALE,
    WRONG_KEY,
    build,
    condition,
    record,
    spec,
    whole,
)


def test_a_healthy_node_is_ready_and_schedulable_with_rounded_numbers() -> None:
    assert build() == {
        "observedGeneration": 3,
        "load": 283,
        "meetings": 4,
        "attendees": 61,
        "cpuPercent": 10,
        "conditions": [
            whole("Ready", "True", "Responding", "the node answers"),
            whole("Schedulable", "True", "Schedulable", "gets new meetings"),
            whole("LoadReported", "True", "Reported", "the node reports its load"),
        ],
    }


@pytest.mark.parametrize("reason", [reason for reason in Reason if reason is not Reason.RESPONDING])
def test_a_failed_node_says_why_since_when_and_what_was_last_seen_and_has_no_numbers(reason: Reason) -> None:
    message = f"no luck; not Ready since {BEFORE_TEXT}; last seen with 4 meetings and 61 attendees"
    assert build(record=record(dataclasses.replace(DEAD, reason=reason, message="no luck"))) == {
        "observedGeneration": 3,
        "conditions": [
            whole("Ready", "False", reason.value, message),
            whole("Schedulable", "False", reason.value, message),
            NO_LOAD,
        ],
    }


def test_a_node_that_never_was_ready_has_nothing_that_was_last_seen() -> None:
    status = build(record=record(dataclasses.replace(DEAD, proven=False)))
    assert condition(status, "Ready") == ("False", "Timeout", f"no answer within 5 s; not Ready since {BEFORE_TEXT}")


@pytest.mark.parametrize(
    "reason", ["SecretNotFound", "SecretKeyNotFound", "InvalidSecret", "ClusterNotFound", "DuplicateURL", "InvalidSpec"]
)
@pytest.mark.parametrize("freshness", [FRESH, STALE, LOST, LOST_LONG])
def test_what_keeps_a_node_from_being_polled_is_said_with_and_without_database(
    reason: str, freshness: Freshness
) -> None:
    assert build(block=Block(reason, "what to do"), freshness=freshness) == {
        "observedGeneration": 3,
        "conditions": [
            whole("Ready", "False", reason, "what to do"),
            whole("Schedulable", "False", reason, "what to do"),
            NO_LOAD,
        ],
    }


@pytest.mark.parametrize("freshness", [FRESH, STALE, LOST_LONG])
def test_a_disabled_node_is_not_ready_whatever_is_known(freshness: Freshness) -> None:
    message = "not polled: spec.state is Disabled"
    assert build(spec=spec(state="Disabled"), freshness=freshness) == {
        "observedGeneration": 3,
        "conditions": [
            whole("Ready", "False", "Disabled", message),
            whole("Schedulable", "False", "Disabled", message),
            NO_LOAD,
        ],
    }


@pytest.mark.parametrize(
    ("changes", "reason", "message"),
    [
        pytest.param({"record": None}, "Pending", "not polled yet", id="no row yet"),
        pytest.param({"record": record(None)}, "Pending", "not polled yet", id="no state yet"),
        pytest.param(
            {"record": record(None), "freshness": NEVER},
            "Pending",
            "not polled yet; no health check has run so far: see the BBBQueue that runs check-nodes, its CronJob and "
            "its Jobs",
            id="no tick yet",
        ),
        pytest.param(
            {"record": None, "freshness": LOST},
            "Pending",
            "not polled yet; the database cannot be read: connection refused",
            id="no database yet",
        ),
        pytest.param(
            {"record": record(DEAD, revision=8)},
            "Pending",
            "the configuration changed; not polled with the new one yet",
            id="failure of another configuration",
        ),
        pytest.param(
            {"record": record(GOOD, revision=8)},
            "Pending",
            "the configuration changed; not polled with the new one yet",
            id="success of another configuration, not shown up to now",
        ),
        pytest.param(
            {"freshness": STALE},
            "Stale",
            "no health check since 2026-03-01T11:57:29Z: see the BBBQueue that runs check-nodes, its CronJob and its "
            "Jobs; last seen with 4 meetings and 61 attendees",
            id="no tick for long",
        ),
        pytest.param(
            {"freshness": NEVER},
            "Stale",
            "no health check since 2026-03-01T11:00:00Z: see the BBBQueue that runs check-nodes, its CronJob and its "
            "Jobs; last seen with 4 meetings and 61 attendees",
            id="only the operator's own probe, long ago",
        ),
        pytest.param(
            {"freshness": LOST_LONG},
            "DatabaseUnavailable",
            "the database cannot be read since 2026-03-01T11:57:29Z: connection refused; last seen with 4 meetings and "
            "61 attendees",
            id="no database for long",
        ),
        pytest.param(
            {"freshness": LOST_LONG, "record": None},
            "DatabaseUnavailable",
            "the database cannot be read since 2026-03-01T11:57:29Z: connection refused",
            id="no database from the start",
        ),
        pytest.param(
            {"record": record(unreadable=True)},
            "SecretUnreadable",
            f"{WRONG_KEY}; last seen with 4 meetings and 61 attendees",
            id="the jobs have another key",
        ),
        pytest.param(
            {"record": record(DEAD, unreadable=True)},
            "SecretUnreadable",
            f"{WRONG_KEY}; last seen with 4 meetings and 61 attendees",
            id="the jobs have another key since the node failed",
        ),
        pytest.param(
            {"record": record(None, unreadable=True)},
            "SecretUnreadable",
            WRONG_KEY,
            id="the jobs always had another key",
        ),
    ],
)
def test_what_is_not_known_is_unknown(changes: dict[str, Any], reason: str, message: str) -> None:
    assert build(**changes) == {
        "observedGeneration": 3,
        "conditions": [
            whole("Ready", "Unknown", reason, message),
            whole("Schedulable", "Unknown", reason, message),
            whole("LoadReported", "Unknown", reason, "the load is asked for only while the node is Ready"),
        ],
    }


def test_a_database_that_is_away_for_less_than_150_seconds_changes_nothing() -> None:
    assert build(freshness=LOST) == build()


def test_ticks_are_not_missed_while_the_database_cannot_be_read() -> None:
    read_at = NOW - timedelta(seconds=149)
    freshness = dataclasses.replace(LOST, tick_finished_at=read_at - timedelta(seconds=10), read_at=read_at)
    assert condition(build(freshness=freshness), "Ready")[:2] == ("True", "Responding")
    readable = dataclasses.replace(freshness, read_at=NOW, error="")
    assert condition(build(freshness=readable), "Ready")[:2] == ("Unknown", "Stale")


def test_a_recent_observation_keeps_a_node_known_before_the_first_tick() -> None:
    recent = dataclasses.replace(record(), observed_at=NOW - timedelta(seconds=3))
    assert condition(build(freshness=NEVER, record=recent), "Ready")[:2] == ("True", "Responding")


def test_an_operator_that_starts_without_database_leaves_the_status_as_it_is() -> None:
    old = build()
    assert build(old, record=None, freshness=LOST, generation=9, spec=spec(state="Cordoned")) == old
    later = build(old, record=None, freshness=LOST_LONG)
    assert condition(later, "Ready")[:2] == ("Unknown", "DatabaseUnavailable")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [({"spec": spec(state="Disabled")}, "Disabled"), ({"block": Block("DuplicateURL", "m")}, "DuplicateURL")],
)
def test_what_needs_no_database_is_said_by_an_operator_that_starts_without_one(
    changes: dict[str, Any], reason: str
) -> None:
    status = build(build(), record=None, freshness=LOST, **changes)
    assert condition(status, "Ready")[:2] == ("False", reason)


@pytest.mark.parametrize(("seconds", "status"), [(150, "True"), (151, "Unknown")])
def test_what_is_older_than_150_seconds_counts_as_unknown(seconds: int, status: str) -> None:
    then = NOW - timedelta(seconds=seconds)
    old_tick = Freshness(tick_started_at=then, tick_finished_at=then, read_at=NOW)
    assert condition(build(freshness=old_tick), "Ready")[0] == status
    unreadable = dataclasses.replace(FRESH, read_at=then, error="connection refused")
    assert condition(build(freshness=unreadable), "Ready")[0] == status


def test_a_ready_node_stays_ready_until_it_is_polled_with_its_new_configuration() -> None:
    after = build(build(), record=record(GOOD, revision=8), generation=4, now=NOW + timedelta(seconds=1))
    assert after["meetings"] == 4
    message = "the node answered before its configuration changed; not polled with the new one yet"
    assert after["conditions"][0] == whole("Ready", "True", "Responding", message)
    assert after["conditions"][1] == whole(
        "Schedulable", "True", "Schedulable", "gets new meetings", observedGeneration=4
    )


def test_a_node_that_was_disabled_is_not_ready_again_by_an_old_answer() -> None:
    disabled = build(spec=spec(state="Disabled"))
    assert condition(build(disabled, record=record(GOOD, revision=8)), "Ready")[:2] == ("Unknown", "Pending")


def test_a_failed_poll_makes_a_ready_node_suspect_and_keeps_its_numbers() -> None:
    assert build(record=record(FAILING)) == {
        "observedGeneration": 3,
        "load": 283,
        "meetings": 4,
        "attendees": 61,
        "cpuPercent": 10,
        "conditions": [
            whole(
                "Ready",
                "True",
                "Responding",
                "the last poll failed (Refused: connection refused); Ready until more fail in a row",
            ),
            whole(
                "Schedulable",
                "False",
                "Suspect",
                "no new meetings: the last poll failed (Refused: connection refused)",
            ),
            whole("LoadReported", "True", "Reported", "the node reports its load"),
        ],
    }


def test_suspicion_excludes_nobody_while_the_guard_holds() -> None:
    status = build(record=record(FAILING), guard_holds=True)
    message = (
        "gets new meetings: the last poll failed (Refused: connection refused), but too many others failed at once "
        "(MassFailure)"
    )
    assert condition(status, "Schedulable") == ("True", "Schedulable", message)


@pytest.mark.parametrize("state", [GOOD, FAILING])
def test_while_the_guard_holds_ready_does_not_say_that_the_node_answers(state: NodeState) -> None:
    message = "Ready before too many nodes failed at once (MassFailure); state kept"
    assert condition(build(record=record(state), guard_holds=True), "Ready") == ("True", "Responding", message)


def test_while_the_guard_holds_a_node_that_is_down_says_why() -> None:
    assert build(record=record(DEAD), guard_holds=True) == build(record=record(DEAD))


def test_a_poll_that_was_cut_off_once_leaves_the_node_ready() -> None:
    cut_off = dataclasses.replace(record(), observed_in_last_tick=False)
    assert build(record=cut_off) == build()


@pytest.mark.parametrize("state", ["Cordoned", "Draining"])
def test_what_the_user_asked_for_keeps_new_meetings_away_even_when_nothing_is_known(state: str) -> None:
    expected = ("False", state, f"no new meetings: spec.state is {state}")
    assert condition(build(spec=spec(state=state)), "Schedulable") == expected
    assert condition(build(spec=spec(state=state), freshness=STALE), "Schedulable") == expected


def test_a_cordoned_node_that_fails_says_why_it_fails() -> None:
    assert condition(build(spec=spec(state="Cordoned"), record=record(DEAD)), "Schedulable")[:2] == ("False", "Timeout")


@pytest.mark.parametrize("changes", [{}, {"record": record(DEAD)}, {"freshness": STALE}])
def test_a_node_that_is_being_deleted_says_so_first(changes: dict[str, Any]) -> None:
    expected = ("False", "Deleting", "no new meetings: the node is being deleted")
    assert condition(build(deleting=True, **changes), "Schedulable") == expected


@pytest.mark.parametrize(
    ("limits", "reason", "message"),
    [
        ({"maxMeetings": 4}, "MaxMeetingsReached", "no new meetings: 4 run, spec.maxMeetings is 4"),
        ({"maxAttendees": 61}, "MaxAttendeesReached", "no new meetings: 61 attendees, spec.maxAttendees is 61"),
        ({"maxMeetings": 1, "maxAttendees": 1}, "MaxMeetingsReached", "no new meetings: 4 run, spec.maxMeetings is 1"),
    ],
)
def test_a_full_node_gets_no_new_meetings(limits: dict[str, int], reason: str, message: str) -> None:
    assert condition(build(spec=spec(**limits)), "Schedulable") == ("False", reason, message)


def test_a_node_below_its_limits_gets_new_meetings() -> None:
    assert condition(build(spec=spec(maxMeetings=5, maxAttendees=62)), "Schedulable")[0] == "True"


def test_conditions_of_others_are_left_alone() -> None:
    foreign = whole("Backup", "True", "Done", "by another controller", observedGeneration=1)
    status = build({"conditions": [foreign]})
    assert status["conditions"][0] == foreign
    assert [entry["type"] for entry in status["conditions"]] == ["Backup", "Ready", "Schedulable", "LoadReported"]


def test_the_old_status_is_not_changed() -> None:
    old = build()
    before = copy.deepcopy(old)
    build(old, record=record(DEAD))
    assert old == before


def test_a_node_that_is_the_server_of_an_older_one_is_ready_gets_no_meetings_and_names_it() -> None:
    twin = dataclasses.replace(record(), duplicate_of="bbb-old")
    message = (
        "no new meetings: the older BBBNode bbb-old is the same server, and its meetings count there; "
        "delete one of the two, or change its address"
    )
    for state in ("Active", "Cordoned"):
        status = build(record=twin, spec=spec(state=state))
        assert condition(status, "Ready")[0] == "True"
        assert condition(status, "Schedulable") == ("False", "DuplicateServer", message)
    assert condition(build(record=dataclasses.replace(twin, state=DEAD)), "Schedulable")[1] == "Timeout"
    assert condition(build(build(record=twin), record=record()), "Schedulable")[0] == "True"
