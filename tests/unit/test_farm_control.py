"""The control port tells the farm's truth and changes it, and its client understands it."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from email.utils import parsedate_to_datetime

import aiohttp
import pytest

from dev.farm.checksum import signed_url
from dev.farm.client import FarmClient, FarmError
from dev.farm.control import ControlServer
from dev.farm.messages import Behaviour, SecretChange, SecretDetail
from dev.farm.simulation import Simulation
from dev.farm.world import World


@asynccontextmanager
async def running_farm(*, tenants: Sequence[tuple[str, int]] = ()) -> AsyncIterator[tuple[Simulation, FarmClient]]:
    world = World(seed=3, nodes=3, meetings=8, attendees=3, tenants=tenants)
    simulation = Simulation(world, frozen=True, step_seconds=0.01)
    control = ControlServer(simulation)
    await simulation.start()
    await control.start()
    try:
        yield simulation, FarmClient(control.url, timeout=5)
    finally:
        await control.close()
        await simulation.close()


async def status_of(client: FarmClient, request_line: str, body: str) -> tuple[int, str]:
    method, path = request_line.split()
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, f"{client.url}{path}", data=body) as response,
    ):
        return response.status, await response.text()


async def test_the_truth_is_that_of_the_world() -> None:
    async with running_farm() as (simulation, client):
        nodes = await asyncio.to_thread(client.nodes)
        assert [node.name for node in nodes] == list(simulation.world.nodes)
        for truth, node in zip(nodes, simulation.world.nodes.values(), strict=True):
            assert (truth.meetings, truth.breakouts) == (8, 2)
            assert truth.attendees == sum(len(meeting.attendees) for meeting in node.meetings.values())
            assert (truth.load, truth.behaviour) == (node.load, Behaviour.OK)
            detail = await asyncio.to_thread(client.node, truth.name)
            assert [meeting.meeting_id for meeting in detail.meeting_list] == list(node.meetings)
            assert sum(meeting.attendees for meeting in detail.meeting_list) == truth.attendees
            assert sum(meeting.is_breakout for meeting in detail.meeting_list) == 2


async def test_meetings_are_created_and_ended() -> None:
    async with running_farm() as (simulation, client):
        node = simulation.world.nodes["node-002"]
        made = await asyncio.to_thread(
            client.create_meeting, "node-002", meeting_id="a/b ä&?#%2F", name="<Name>", attendees=7
        )
        assert (made.meeting_id, made.name, made.attendees) == ("a/b ä&?#%2F", "<Name>", 7)
        invented = await asyncio.to_thread(client.create_meeting, "node-002")
        assert list(node.meetings)[-2:] == [made.meeting_id, invented.meeting_id]
        truth = await asyncio.to_thread(client.end_meeting, "node-002", made.meeting_id)
        assert truth.meetings == 9
        assert (await asyncio.to_thread(client.end_meetings, "node-002")).meetings == 0
        assert not node.meetings


async def test_users_join_and_leave_a_meeting_of_a_secret() -> None:
    async with running_farm(tenants=[("UNIA", 0), ("UNIA", 1)]) as (_, client):

        def play() -> list[SecretDetail]:
            client.create_meeting("node-002", meeting_id="UNIA-007-a/join", attendees=2)
            details = [client.secret("UNIA", 7)]
            client.join("node-002", "UNIA-007-a/join")
            made = client.join("node-002", "UNIA-007-a/join", user_ids=["w_me", "w_you"])
            assert (made.secret, made.client_id, made.attendees) == ("UNIA-007", "a/join", 5)
            details.append(client.secret("UNIA", 7))
            client.leave("node-002", "UNIA-007-a/join", user_ids=["w_me"])
            client.leave("node-002", "UNIA-007-a/join", count=2)
            rooms = client.open_breakouts("node-002", "UNIA-007-a/join", rooms=1).breakout_rooms
            details.append(client.secret("UNIA", 7))
            client.end_meeting("node-002", rooms[0])
            client.end_meeting("node-002", "UNIA-007-a/join")
            return [*details, client.secret("UNIA", 7)]

        details = await asyncio.to_thread(play)
        figures = [(d.meetings, d.attendees, d.users_joined, d.meetings_created, d.meetings_ended) for d in details]
        assert figures == [(1, 2, 2, 1, 0), (1, 5, 5, 1, 0), (2, 2, 6, 2, 0), (0, 0, 6, 2, 2)]
        assert [meeting.node for meeting in details[2].meeting_list] == ["node-002"] * 2
        secrets = await asyncio.to_thread(client.secrets)
        assert [(truth.slug, truth.sub_id) for truth in secrets] == [("UNIA", 0), ("UNIA", 1), ("UNIA", 7)]
        whole = await asyncio.to_thread(client.tenant, "UNIA")
        assert whole.meetings == sum(truth.meetings for truth in secrets)
        assert (await asyncio.to_thread(client.secret, "UNIZ", 9)).meetings == 0


@pytest.mark.parametrize("seconds", [0, 3600, -90])
async def test_a_nodes_clock_shows_in_the_date_of_its_answers(seconds: int) -> None:
    async with running_farm() as (simulation, client):
        truth = await asyncio.to_thread(client.set_clock_offset, "node-001", seconds)
        assert truth.clock_offset == seconds
        made = await asyncio.to_thread(client.create_meeting, "node-001")
        assert made.create_time - made.begun_at == seconds * 1000
        node = simulation.farm_nodes[0]
        async with aiohttp.ClientSession() as session:
            for url in (signed_url(node.api_url, "getMeetings", secret=node.secret), node.load_url):
                async with session.get(url) as response:
                    ahead = parsedate_to_datetime(response.headers["Date"]).timestamp() - time.time()
                    assert abs(ahead - seconds) < 10


async def test_behaviours_change_together_or_not_at_all() -> None:
    async with running_farm() as (simulation, client):
        wrong = {"node-001": Behaviour.HTML, "nobody": Behaviour.HTML}
        with pytest.raises(FarmError, match="nobody"):
            await asyncio.to_thread(client.set_behaviours, wrong)
        assert simulation.servers["node-001"].behaviour is Behaviour.OK
        nodes = await asyncio.to_thread(client.set_behaviours, {"node-001": "html", "node-003": "refused"}, seconds=2.5)
        assert [node.behaviour.value for node in nodes] == ["html", "ok", "refused"]
        truth = await asyncio.to_thread(client.set_behaviour, "node-003", "slow", seconds=0.5)
        assert (truth.behaviour, truth.seconds) == (Behaviour.SLOW, 0.5)


async def test_load_secret_and_algorithms_change() -> None:
    async with running_farm() as (simulation, client):
        natural = simulation.world.nodes["node-001"].load
        assert (await asyncio.to_thread(client.set_load, "node-001", 9999)).load == 9999
        assert (await asyncio.to_thread(client.set_load, "node-001", None)).load == natural
        await asyncio.to_thread(client.set_secret, "node-001", "another")
        truth = await asyncio.to_thread(client.set_algorithms, "node-001", ["sha384"])
        assert truth.algorithms == ["sha384"]
        url = signed_url(truth.api_url, "getMeetings", secret="another", algorithm="sha384")
        async with aiohttp.ClientSession() as session, session.get(url) as response:
            assert "SUCCESS" in await response.text()


async def test_time_stands_still_until_told() -> None:
    async with running_farm() as (simulation, client):
        await asyncio.sleep(0.05)
        assert simulation.world.steps == 0
        clock = await asyncio.to_thread(client.step, 25)
        assert (clock.steps, clock.frozen) == (25, True)
        other = World(seed=3, nodes=3, meetings=8, attendees=3, step_seconds=5)
        for _ in range(25):
            other.step()
        assert [node.attendee_count for node in other.nodes.values()] == [
            node.attendees for node in await asyncio.to_thread(client.nodes)
        ]


async def test_time_passes_by_itself_when_not_frozen() -> None:
    async with running_farm() as (simulation, client):
        assert not (await asyncio.to_thread(client.set_frozen, frozen=False)).frozen
        await asyncio.sleep(0.2)
        steps = (await asyncio.to_thread(client.set_frozen, frozen=True)).steps
        assert steps > 0
        await asyncio.sleep(0.05)
        assert simulation.world.steps == steps


async def test_counters_are_kept_per_node_and_for_the_farm() -> None:
    async with running_farm() as (simulation, client):
        async with aiohttp.ClientSession() as session:
            for node in simulation.farm_nodes[:2]:
                for url in (signed_url(node.api_url, "getMeetings", secret=node.secret), node.load_url, node.api_url):
                    async with session.get(url) as response:
                        await response.read()
        counts = await asyncio.to_thread(client.counters)
        assert counts.requests == {"getMeetings": 2, "load": 2, "index": 2}
        assert counts.nodes["node-001"].requests == {"getMeetings": 1, "load": 1, "index": 1}
        assert (counts.nodes["node-003"].total, counts.total, counts.max_in_flight) == (0, 6, 1)
        assert (await asyncio.to_thread(client.reset_counters)).total == 0


@pytest.mark.parametrize(
    ("request_line", "body", "status"),
    [
        ("GET /nodes/nobody", "", 404),
        ("GET /nothing", "", 404),
        ("POST /nodes", "", 405),
        ("DELETE /nodes/node-001/meetings/none", "", 404),
        ("PUT /nodes/node-001/behaviour", "", 400),
        ("PUT /nodes/node-001/behaviour", '{"behaviour": "friendly"}', 400),
        ("PUT /nodes/node-001/behaviour", '{"behaviour": "slow", "seconds": 0}', 400),
        ("PUT /nodes/node-001/behaviour", "{", 400),
        ("PUT /behaviours", "[]", 400),
        ("PUT /nodes/node-001/load", '{"load": 10001}', 400),
        ("PUT /nodes/node-001/load", '{"load": -1}', 400),
        ("PUT /nodes/node-001/algorithms", '{"algorithms": ["md5"]}', 400),
        ("POST /nodes/node-001/meetings", '{"meetingID": "with,comma"}', 400),
        ("POST /nodes/node-001/meetings", '{"meetingID": "x"}', 400),
        ("POST /nodes/node-001/meetings", '{"attendees": -1}', 400),
        ("POST /nodes/node-001/meetings", '{"unknown": 1}', 400),
        ("POST /nodes/node-001/meetings/none/join", "", 404),
        ("POST /nodes/node-001/meetings/none/leave", "", 404),
        ("POST /nodes/node-001/meetings/none/breakouts", "", 404),
        ("POST /nodes/node-001/meetings/none/join", '{"count": -1}', 400),
        ("POST /nodes/node-001/meetings/none/join", '{"userIDs": ["<b>"]}', 400),
        ("POST /nodes/node-001/meetings/none/breakouts", '{"rooms": 0}', 400),
        ("PUT /nodes/node-001/clock", "", 400),
        ("GET /secrets/UNIA-1", "", 404),
        ("POST /step", '{"count": 0}', 400),
        ("PUT /frozen", "", 400),
    ],
)
async def test_a_bad_request_is_refused_with_a_reason(request_line: str, body: str, status: int) -> None:
    async with running_farm() as (simulation, client):
        found, answer = await status_of(client, request_line, body)
        assert found == status
        assert '"error"' in answer
        assert all(len(node.meetings) == 8 for node in simulation.world.nodes.values())


async def test_a_meeting_that_exists_is_a_conflict() -> None:
    async with running_farm() as (_, client):
        await asyncio.to_thread(client.create_meeting, "node-001", meeting_id="same")
        with pytest.raises(FarmError) as caught:
            await asyncio.to_thread(client.create_meeting, "node-001", meeting_id="same")
        assert caught.value.status == 409


async def test_no_secret_comes_back() -> None:
    async with running_farm() as (_, client):
        long = "tell-nobody" * 30
        status, answer = await status_of(client, "PUT /nodes/node-001/secret", f'{{"secret": "{long}"}}')
        assert status == 400
        assert "tell-nobody" not in answer
        assert "tell-nobody" not in repr(SecretChange(secret="tell-nobody"))
