"""Whatever happens on a farm and to the jobs: after every tick lists, counters and accounts are the truth.

Meetings, users, nodes and time do what they like, and jobs die at any statement. The nodes' answers are rendered by the
simulated farm and read by the real parser; only the network is missing. A life of the farm has 60 steps and some 70
ticks; B3LB_TEST_FARM_LIVES says how many lives there are. They are the same in every run but in CI, where they are
others each time, by a seed that is printed when it fails; B3LB_TEST_FARM_SEED gives it.
"""

import os
import secrets
from collections.abc import Iterator
from datetime import timedelta
from typing import ClassVar

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from dev.farm.model import Meeting
from tests.integration.meetings_life import LATE, NODES, OWNERS, Stage, owner_name
from tests.integration.meetings_truth import Owner, Server

pytestmark = [pytest.mark.integration, pytest.mark.timeout(1800)]

EXAMPLES = int(os.environ.get("B3LB_TEST_FARM_LIVES", "16"))
STEPS = 60

numbers = st.integers(0, 10_000)
servers = st.sampled_from(NODES)
owners = st.sampled_from([*OWNERS, ("GAMMA", 0)])


class Core(RuleBasedStateMachine):
    """A farm, its users, its operators, and the jobs."""

    stage: ClassVar[Stage]

    @initialize(rooms=st.lists(st.tuples(servers, owners, st.integers(0, 3)), min_size=8, max_size=20))
    def begin(self, rooms: list[tuple[str, Owner, int]]) -> None:
        self.stage.begin()
        self.truth = self.stage.truth
        for name, owner, users in rooms:
            self._create(name, owner, users, users)
        self.tick(15, 1)

    def _create(self, name: str, owner: Owner, number: int, users: int) -> None:
        server, meeting_id = self.truth.servers[name], f"{owner[0]}-{owner[1]:03}-room {number} & co"
        self.truth.create(server, meeting_id, self.stage.now())
        self.truth.join(server.farm.meetings[meeting_id], count=users, moderator=True)

    def _some_meeting(self) -> bool:
        return any(server.farm.meetings for server in self.truth.servers.values())

    def _pick(self, number: int) -> tuple[Server, Meeting]:
        meetings = self.truth.meetings()
        return meetings[number % len(meetings)]

    def _third(self, number: int) -> list[Meeting]:
        """Return every third meeting."""
        return [meeting for _, meeting in self.truth.meetings()[number % 3 :: 3]]

    @rule(
        name=servers, chosen=st.lists(owners, min_size=1, max_size=4), number=st.integers(0, 3), users=st.integers(0, 4)
    )
    def create(self, name: str, chosen: list[Owner], number: int, users: int) -> None:
        for owner in chosen:
            self._create(name, owner, number, users)

    @rule(number=numbers, count=st.integers(1, 5), moderator=st.booleans())
    def join(self, number: int, count: int, moderator: bool) -> None:
        for meeting in self._third(number):
            self.truth.join(meeting, count=count, moderator=moderator)

    @rule(number=numbers, count=st.integers(1, 3))
    def leave(self, number: int, count: int) -> None:
        for meeting in self._third(number):
            del meeting.attendees[:count]
            meeting.xml = None

    @precondition(_some_meeting)
    @rule(number=numbers)
    def end(self, number: int) -> None:
        server, meeting = self._pick(number)
        del server.farm.meetings[meeting.meeting_id]

    @rule(number=numbers)
    def open_breakout_rooms(self, number: int) -> None:
        for server, meeting in self.truth.meetings()[number % 3 :: 3]:
            if meeting.breakout is None:
                self.truth.create(server, f"breakout {meeting.internal_id}", self.stage.now(), parent=meeting)

    @rule(name=servers, event=st.sampled_from(["return", "return", "fail", "fail", "reboot", "disable", "remove"]))
    def change_node(self, name: str, event: str) -> None:
        """Let a node fail, lose its meetings, be disabled or removed, or return as it was."""
        self._change_node(name, event)

    @rule(
        name=servers,
        event=st.sampled_from(["fail", "fail", "disable", "remove"]),
        seconds=st.sampled_from([15, 60, 3600, 25 * 3600]),
        number=numbers,
        users=st.integers(0, 3),
    )
    def lose_node_for_a_while(self, name: str, event: str, seconds: int, number: int, users: int) -> None:
        """Let a node be away for so long that it is noticed, and return with meetings that went on, or not."""
        self._change_node(name, "return")
        self.tick(15, 2)
        self._change_node(name, event)
        self.tick(15, 3)
        for meeting in list(self.truth.servers[name].farm.meetings.values())[number % 3 :: 3]:
            self.truth.join(meeting, count=users, moderator=False)
        for meeting_id in list(self.truth.servers[name].farm.meetings)[number % 4 :: 4]:
            del self.truth.servers[name].farm.meetings[meeting_id]
        self.tick(seconds, 1)
        self._change_node(name, "return")
        self.tick(60, 2)

    def _change_node(self, name: str, event: str) -> None:
        server = self.truth.servers[name]
        if event == "reboot":
            server.farm.meetings.clear()
            return
        server.answering = event != "fail"
        if (server.disabled, server.removed) != (event == "disable", event == "remove"):
            server.disabled, server.removed = event == "disable", event == "remove"
            server.forget()
            self.stage.configure(name)

    @rule(owner=st.sampled_from(OWNERS), tenant=st.booleans())
    def configure(self, owner: Owner, tenant: bool) -> None:
        """Disable or enable a secret or its tenant; the late secret is created."""
        if owner == LATE:
            self.truth.owners.add(LATE)
            self.stage.run(sa.text("UPDATE secrets SET deleted_at = NULL WHERE name = :name"), name=owner_name(LATE))
        elif tenant:
            self.stage.run(sa.text("UPDATE tenants SET enabled = NOT enabled WHERE slug = :slug"), slug=owner[0])
        else:
            self.stage.run(
                sa.text("UPDATE secrets SET enabled = NOT enabled WHERE name = :name"), name=owner_name(owner)
            )

    @rule(seconds=st.sampled_from([15, 15, 15, 15, 60, 3600, 20 * 3600, 25 * 3600]), ticks=st.integers(1, 3))
    def tick(self, seconds: int, ticks: int) -> None:
        for _ in range(ticks):
            self.stage.pass_time(timedelta(seconds=seconds))
            assert self.stage.tick()
            self.stage.compare(whole=True)

    @rule(statement=st.integers(1, 50))
    def tick_and_be_killed(self, statement: int) -> None:
        self.stage.pass_time(timedelta(seconds=15))
        whole = self.stage.tick(kill_at=statement)
        self.stage.compare(whole=whole)

    @rule(statement=st.integers(1, 50))
    def tick_and_lose_the_connection(self, statement: int) -> None:
        self.stage.pass_time(timedelta(seconds=15))
        whole = self.stage.tick(cut_at=statement)
        self.stage.compare(whole=whole)

    @rule(commit=st.integers(1, 6))
    def tick_and_lose_the_answer_to_a_commit(self, commit: int) -> None:
        self.stage.pass_time(timedelta(seconds=15))
        whole = self.stage.tick(lose_commit=commit)
        self.stage.compare(whole=whole)


@pytest.fixture(scope="module")
def stage(module_database_url: str) -> Iterator[Stage]:
    made = Stage(module_database_url)
    yield made
    made.close()


def test_lists_gauges_and_counters_are_the_truth_after_every_tick(stage: Stage) -> None:
    Core.stage = stage
    number = os.environ.get("B3LB_TEST_FARM_SEED") or (str(secrets.randbits(32)) if os.environ.get("CI") else None)
    print(f"B3LB_TEST_FARM_SEED={number or ''}")  # pytest shows it with a failure
    run_state_machine_as_test(
        Core if number is None else seed(int(number))(Core),
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            derandomize=number is None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
