"""The task table: every name leads to its function, and wrong names to a sentence."""

from datetime import timedelta

import pytest

from b3lb.crypto import KeyRing
from b3lb.tasks import DEFAULT_QUEUES, ON_DEMAND, QUEUES, TASKS, doubly_routed, tasks_of, unknown_tasks
from b3lb_jobs.interface import TaskContext
from b3lb_jobs.task_table import TABLE, UnknownNameError, listing, longest_of, route


def test_the_table_and_the_list_of_names_hold_the_same_tasks() -> None:
    assert tuple(entry.name for entry in TABLE) == TASKS
    assert {entry.name: entry.queue for entry in TABLE} == dict(DEFAULT_QUEUES)


@pytest.mark.parametrize("entry", TABLE, ids=lambda entry: entry.name)
async def test_every_task_can_be_made_and_opened(entry: object) -> None:
    assert entry in TABLE
    context = TaskContext("default", KeyRing.generate(), tick_seconds=15, max_in_flight=100)
    for known in TABLE:
        if known.on_demand:
            assert known.load_on_demand().arguments
            continue
        async with known.load()(context):
            pass


def test_a_task_that_runs_on_demand_is_not_run_by_name() -> None:
    assert {entry.name for entry in TABLE if entry.on_demand} == ON_DEMAND
    for name in ("delete-recording", "render-record"):
        with pytest.raises(UnknownNameError, match=f"runs only when it is enqueued: b3lb run {name}"):
            route([name])


def test_only_housekeeping_may_take_longer_than_a_minute() -> None:
    assert longest_of(route(["core", "statistics"])) == timedelta(seconds=50)
    assert longest_of(route(["housekeeping"])) > timedelta(hours=2)
    assert longest_of(()) == timedelta(seconds=50)


def test_no_name_is_both_a_task_and_a_queue() -> None:
    assert not set(TASKS) & set(QUEUES)


@pytest.mark.parametrize(
    ("names", "tasks"),
    [
        (["check-nodes"], ["check-nodes"]),
        (["core"], ["check-nodes", "update-secrets-lists"]),
        (["statistics"], ["update-statistics", "deliver-callbacks"]),
        (["housekeeping"], ["housekeeping-recordings", "finish-deletions", "sweep-storage", "forget-rows"]),
        (["forget-rows", "delete-recording"], ["forget-rows"]),
        (["forget-rows", "record"], ["forget-rows"]),
        (["core", "check-nodes"], ["check-nodes", "update-secrets-lists"]),
        (["check-nodes", "check-nodes"], ["check-nodes"]),
        (["update-secrets-lists", "core"], ["update-secrets-lists", "check-nodes"]),
    ],
)
def test_tasks_and_queues_lead_to_each_task_once_in_order(names: list[str], tasks: list[str]) -> None:
    assert [entry.name for entry in route(names)] == tasks


@pytest.mark.parametrize("name", ["", "cores", "check_nodes", "--once", "CORE", "core\n"])
def test_an_unknown_name_is_answered_with_the_allowed_ones_in_one_line(name: str) -> None:
    with pytest.raises(UnknownNameError) as caught:
        route(["core", name])
    assert str(caught.value) == (
        f"{name!r} is neither a task nor a queue; tasks: check-nodes, update-secrets-lists, update-statistics,"
        " deliver-callbacks, housekeeping-recordings, finish-deletions, sweep-storage, forget-rows, delete-recording,"
        " render-record; queues: core, statistics, housekeeping, record"
    )
    assert "\n" not in str(caught.value)


def test_the_listing_shows_each_task_with_its_queue() -> None:
    assert listing().splitlines() == [
        "TASK                     QUEUE         RUNS",
        "check-nodes              core          every tick",
        "update-secrets-lists     core          every tick",
        "update-statistics        statistics    once",
        "deliver-callbacks        statistics    once",
        "housekeeping-recordings  housekeeping  once",
        "finish-deletions         housekeeping  once",
        "sweep-storage            housekeeping  once",
        "forget-rows              housekeeping  once",
        "delete-recording         housekeeping  when enqueued",
        "render-record            record        when enqueued",
    ]


def test_tasks_of_a_queue() -> None:
    assert tasks_of("core") == ("check-nodes", "update-secrets-lists")
    assert tasks_of("nothing") == ()


def test_unknown_tasks_are_named_once_in_order() -> None:
    assert unknown_tasks(["b", "check-nodes", "a", "b"]) == ("b", "a")
    assert unknown_tasks([]) == ()


def test_doubly_routed_tasks_are_found_between_queues_and_within_one() -> None:
    queues = {"two": ["x", "check-nodes"], "core": ["check-nodes"], "three": ["y", "y"]}
    assert doubly_routed(queues) == {"check-nodes": ("core", "two"), "y": ("three", "three")}
    assert doubly_routed({"core": ["check-nodes"]}) == {}
