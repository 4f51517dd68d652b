"""What the status of a BBBNode says of its load."""

from __future__ import annotations

import dataclasses

import pytest

from b3lb.health import LoadReason
from tests.unit.node_statuses import (
    GOOD,
    build,
    condition,
    record,
)


@pytest.mark.parametrize("reason", [reason for reason in LoadReason if reason is not LoadReason.REPORTED])
def test_a_missing_load_is_said_and_has_no_cpu(reason: LoadReason) -> None:
    state = dataclasses.replace(GOOD, cpu=None, load_reason=reason, load_message="HTTP 404", load_missed=4)
    status = build(record=record(state))
    assert "cpuPercent" not in status
    expected = ("False", reason.value, "HTTP 404; the load counts meetings and attendees only")
    assert condition(status, "LoadReported") == expected
    assert condition(status, "Ready")[0] == condition(status, "Schedulable")[0] == "True"


def test_a_load_that_is_missing_for_a_few_ticks_is_kept() -> None:
    state = dataclasses.replace(GOOD, load_reason=LoadReason.NOT_FOUND, load_message="HTTP 404", load_missed=2)
    status = build(record=record(state))
    assert status["cpuPercent"] == 10
    assert condition(status, "LoadReported") == (
        "True",
        "Reported",
        "the last value is kept for now (NotFound: HTTP 404)",
    )


@pytest.mark.parametrize(("cpu", "percent"), [(0, 0), (249, 0), (250, 5), (5000, 50), (9749, 95), (10000, 100)])
def test_the_cpu_is_rounded_to_five_percent(cpu: int, percent: int) -> None:
    assert build(record=record(dataclasses.replace(GOOD, cpu=cpu)))["cpuPercent"] == percent


@pytest.mark.parametrize(("load", "shown"), [(285.0, 283), (299.0, 299), (260.0, 260), (270.0, 283), (269.0, 269)])
def test_a_load_that_moves_a_little_by_itself_is_not_written_again(load: float, shown: int) -> None:
    assert build(build(), record=record(load=load))["load"] == shown


def test_a_load_moves_with_what_it_is_made_of() -> None:
    state = dataclasses.replace(GOOD, attendees=62)
    assert build(build(), record=record(state, load=284.4))["load"] == 284
