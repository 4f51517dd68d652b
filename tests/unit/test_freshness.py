"""When what the database says is too old, or of a time that has not come, to be believed."""

import dataclasses
from datetime import timedelta

import pytest

from tests.unit.node_statuses import FRESH, NOW


@pytest.mark.parametrize(("seconds", "stale"), [(-151, True), (-150, False), (60, False), (61, True), (18000, True)])
def test_a_health_check_long_ago_or_in_the_future_is_stale(seconds: int, stale: bool) -> None:
    block = dataclasses.replace(FRESH, tick_finished_at=NOW + timedelta(seconds=seconds)).outdated(NOW)
    assert (block is not None and block.reason == "Stale") == stale


def test_a_health_check_in_the_future_is_explained_whatever_else_was_observed() -> None:
    ahead = dataclasses.replace(FRESH, tick_finished_at=NOW + timedelta(hours=5))
    block = ahead.outdated(NOW, last_observation=NOW)
    assert block is not None
    assert block.message == (
        "the last health check is of 2026-03-01T17:00:00Z, which is in the future: the clock of the database was set "
        "back; the next tick of check-nodes mends it"
    )


def test_an_observation_in_the_future_does_not_make_an_old_health_check_fresh() -> None:
    old = dataclasses.replace(FRESH, tick_finished_at=NOW - timedelta(seconds=200))
    assert old.outdated(NOW, last_observation=NOW - timedelta(seconds=10)) is None
    assert old.outdated(NOW, last_observation=NOW + timedelta(hours=5)) is not None
