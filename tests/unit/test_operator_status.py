"""When a status is written, and what of it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from b3lb_operator import status as status_module
from b3lb_operator.events import EventRecorder
from b3lb_operator.instruments import Instruments
from b3lb_operator.kinds import NODE, QUEUE, Kind, Manifest
from b3lb_operator.kube import UnavailableError
from b3lb_operator.status import StatusWriter, is_urgent, is_wanted, merge_patch
from b3lb_operator.store import Store
from tests.unit.operator_fakes import FakeKube, key, merge, node_manifest, queue_manifest

pytestmark = [pytest.mark.looptime]

_JSON = st.recursive(
    st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=15,
)
_OBJECTS = st.dictionaries(st.text(max_size=4), _JSON, max_size=4)


def condition(status: str = "True", reason: str = "Responding", message: str = "", generation: int = 1) -> Manifest:
    return {
        "type": "Ready",
        "status": status,
        "reason": reason,
        "message": message,
        "observedGeneration": generation,
        "lastTransitionTime": "2026-03-01T12:00:00Z",
    }


def status(load: int, ready: Manifest | None = None, generation: int = 1) -> Manifest:
    return {"observedGeneration": generation, "load": load, "conditions": [ready or condition()]}


class Fixture:
    """A writer on an API server in memory with one object in it."""

    def __init__(self, kind: Kind, manifest: Manifest) -> None:
        self.kube = FakeKube()
        self.kind = kind
        self.store = Store(lambda _: None)
        self.store.observe(kind, "ADDED", self.kube.put(kind, manifest))
        events = EventRecorder(self.kube, instance="pod")
        self.instruments = Instruments()
        self.writer = StatusWriter(
            self.kube, self.store, events, clock=asyncio.get_running_loop().time, instruments=self.instruments
        )
        self.name = key(manifest["metadata"]["name"])

    async def write(self, desired: Manifest) -> float | None:
        return await self.writer.write(self.kind, self.name, desired)

    @property
    def status(self) -> Any:
        return self.kube.object(self.kind, self.name.name).get("status")


@given(_OBJECTS, _OBJECTS)
def test_a_merge_patch_turns_the_old_into_the_new(old: dict[str, Any], new: dict[str, Any]) -> None:
    assert merge(old, merge_patch(old, new)) == new


@given(_OBJECTS)
def test_between_equals_there_is_nothing_to_patch(value: dict[str, Any]) -> None:
    assert merge_patch(value, value) == {}


def test_a_status_from_an_older_generation_is_not_wanted() -> None:
    assert not is_wanted(status(1, generation=5), status(2, generation=4), generation=5)


def test_a_status_that_claims_a_generation_the_object_never_had_is_no_obstacle() -> None:
    assert is_wanted(status(1, generation=99), status(2, generation=4), generation=4)


async def test_a_status_that_somebody_wrote_with_a_later_generation_is_mended_by_the_next_write() -> None:
    fixture = Fixture(NODE, {**node_manifest(), "status": status(1, generation=99)})
    assert await fixture.write(status(2)) is None
    assert fixture.status == status(2)


@pytest.mark.parametrize(
    ("new", "urgent"),
    [
        (status(2), False),
        (status(1, condition(message="other words")), False),
        (status(1, condition(status="False")), True),
        (status(1, condition(reason="Timeout")), True),
        (status(1, condition(generation=2)), True),
        (status(1, generation=2), True),
        ({"observedGeneration": 1, "load": 1, "conditions": []}, True),
        ({**status(1), "nodes": {"total": 2, "ready": 1}}, True),
        ({**status(1), "lastSuccessTime": "2026-11-23T07:25:46Z"}, True),
        ({**status(1), "failed": 1}, True),
        ({**status(1), "active": 1}, False),
    ],
)
def test_conditions_counts_of_nodes_and_finished_runs_are_urgent_and_other_numbers_and_words_are_not(
    new: Manifest, *, urgent: bool
) -> None:
    assert is_urgent(status(1), new) is urgent


async def test_an_equal_status_costs_no_request() -> None:
    fixture = Fixture(NODE, node_manifest(status=status(1)))
    assert await fixture.write(status(1)) is None
    assert fixture.kube.requests == []


async def test_only_the_difference_is_sent_and_removed_numbers_are_null() -> None:
    fixture = Fixture(NODE, node_manifest(status={**status(1), "meetings": 3}))
    assert await fixture.write(status(2)) is None
    assert [body["status"] for _, _, body in fixture.kube.writes] == [{"load": 2, "meetings": None}]
    assert fixture.status == status(2)


async def test_a_queue_whose_run_ends_every_minute_is_written_once_a_minute() -> None:
    fixture = Fixture(QUEUE, queue_manifest())
    await fixture.write({**status(1), "active": 1})
    ended = {**status(1), "active": 0, "lastSuccessTime": "2026-11-23T07:25:46Z"}
    assert await fixture.write(ended) is None
    assert fixture.status == ended
    assert await fixture.write({**ended, "active": 1}) == 60
    assert fixture.status == ended


@pytest.mark.parametrize(("kind", "manifest", "period"), [(NODE, node_manifest(), 30), (QUEUE, queue_manifest(), 60)])
async def test_numbers_wait_for_their_period_and_say_how_long(kind: Kind, manifest: Manifest, period: float) -> None:
    """A condition that went out meanwhile does not count: the first numbers after it follow at once."""
    fixture = Fixture(kind, manifest)
    await fixture.write(status(1))
    assert await fixture.write(status(2)) is None
    await asyncio.sleep(period - 10)
    assert await fixture.write(status(3)) == pytest.approx(10, abs=0.1)
    assert fixture.status == status(2)
    await asyncio.sleep(10)
    assert await fixture.write(status(4)) is None
    assert fixture.status == status(4)


async def test_how_many_pods_a_queue_may_have_waits_for_ten_seconds_only() -> None:
    fixture = Fixture(QUEUE, queue_manifest())
    await fixture.write({**status(1), "replicas": 3})
    await fixture.write({**status(1), "replicas": 3, "depth": 1})
    assert await fixture.write({**status(1), "replicas": 3, "depth": 2}) == pytest.approx(60, abs=0.1)
    grown = {**status(1), "replicas": 10, "depth": 40}
    assert await fixture.write(grown) == pytest.approx(10, abs=0.1)
    await asyncio.sleep(10)
    assert await fixture.write(grown) is None
    assert fixture.status == grown


async def test_a_changed_condition_goes_out_at_once_with_its_numbers() -> None:
    fixture = Fixture(NODE, node_manifest())
    await fixture.write(status(1))
    down = status(2, condition(status="False", reason="Timeout"))
    assert await fixture.write(down) is None
    assert fixture.status == down


async def test_the_answer_is_known_before_the_watch_shows_it() -> None:
    """Else the next pass would write the same again."""
    fixture = Fixture(NODE, node_manifest())
    await fixture.write(status(1))
    await fixture.write(status(1))
    assert len(fixture.kube.writes) == 1


async def test_what_is_remembered_of_objects_long_gone_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status_module, "_REMEMBERED", 3)
    fixture = Fixture(NODE, node_manifest())
    for number in range(10):
        fixture.writer._note_numbers(NODE, key(f"gone-{number}"))
        await asyncio.sleep(30)
    assert len(fixture.writer._numbers_written) <= 3


async def test_a_successor_of_the_same_name_does_not_get_the_status_of_the_one_before() -> None:
    fixture = Fixture(NODE, node_manifest())
    fixture.kube.put(NODE, node_manifest(metadata={"uid": "another"}))
    assert await fixture.write(status(1)) is None
    assert fixture.status is None


async def test_an_object_that_is_gone_is_nobodys_business() -> None:
    fixture = Fixture(NODE, node_manifest())
    fixture.kube.objects.clear()
    assert await fixture.write(status(1)) is None
    assert await fixture.writer.write(NODE, key("never-seen"), status(1)) is None


async def test_an_api_server_that_is_away_is_the_callers_business() -> None:
    fixture = Fixture(NODE, node_manifest())
    fixture.kube.failure = lambda _method, _path: UnavailableError("away")
    with pytest.raises(UnavailableError):
        await fixture.write(status(1))
    fixture.kube.failure = lambda _method, _path: None
    assert await fixture.write(status(1)) is None
    assert fixture.status == status(1)


async def test_written_and_avoided_patches_are_counted() -> None:
    fixture = Fixture(NODE, node_manifest())
    for load in (1, 1, 2):
        await fixture.write(status(load))
    counted = fixture.instruments.registry.get_sample_value
    assert counted("b3lb_operator_status_patches_total") == len(fixture.kube.writes) == 2
    assert counted("b3lb_operator_status_patches_avoided_total") == 1
