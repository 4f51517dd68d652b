"""The farm as a process: two independent clients read it, it is quick, and it ends when it shall."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import psutil
import pytest
from yarl import URL

from dev.farm.checksum import signed_url
from dev.farm.messages import READY_FILE, FarmFile, FarmNode
from dev.farm.process import Farm
from dev.farm.schema import check_get_meetings
from dev.farm.tenants import tenant_secrets
from dev.processes import ProcessError
from tests.integration.bbb_clients import (
    BBBError,
    bbbctl,
    bbbctl_client,
    bigbluebutton_api_python,
    by_bbbctl,
    by_bigbluebutton_api_python,
    seen_by_bbbctl,
    seen_by_bigbluebutton_api_python,
    shown,
)

pytestmark = pytest.mark.integration

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def farm() -> Iterator[Farm]:
    with Farm(nodes=2, seed=5, meetings=5, attendees=4, frozen=True) as farm:
        yield farm


def get(node: FarmNode) -> bytes:
    async def request() -> bytes:
        async with (
            aiohttp.ClientSession() as session,
            session.get(URL(signed_url(node.api_url, "getMeetings", secret=node.secret), encoded=True)) as response,
        ):
            return await response.read()

    return asyncio.run(request())


def test_two_independent_clients_read_every_answer_as_the_farm_means_it(farm: Farm) -> None:
    """Over a thousand steps, at every seventeenth."""
    for _ in range(60):
        farm.control.step(17)
        for node in farm.nodes:
            truth = farm.control.node(node.name).meeting_list
            check_get_meetings(get(node))
            others = by_bigbluebutton_api_python(node.api_url, node.secret)
            assert [seen_by_bbbctl(meeting) for meeting in by_bbbctl(node.api_url, node.secret)] == [
                shown(meeting) for meeting in truth
            ]
            assert [seen_by_bigbluebutton_api_python(meeting) for meeting in others] == [
                shown(meeting)[:8] for meeting in truth
            ]


def test_both_clients_understand_empty_nodes_and_failures(farm: Farm) -> None:
    node = farm.nodes[1]
    farm.control.end_meetings(node.name)
    assert by_bbbctl(node.api_url, node.secret) == []
    assert by_bigbluebutton_api_python(node.api_url, node.secret) == []
    with pytest.raises(bbbctl.ApiError, match="checksumError"):
        by_bbbctl(node.api_url, "wrong")
    with pytest.raises(BBBError) as caught:
        by_bigbluebutton_api_python(node.api_url, "wrong")
    assert caught.value.key == "checksumError"


def test_clients_find_a_meeting_by_its_id(farm: Farm) -> None:
    node = farm.nodes[0]
    made = farm.control.create_meeting(node.name, meeting_id="ä b&c <d>", attendees=3)
    info = bbbctl_client(node.api_url, node.secret).getMeetingInfo("ä b&c <d>")
    assert info.findtext("internalMeetingID") == made.internal_meeting_id
    client = bigbluebutton_api_python.BigBlueButton(f"{node.api_url}/", node.secret)
    assert len(client.get_meeting_info("ä b&c <d>").get_attendees()) == 3


def test_two_processes_with_the_same_seed_answer_alike() -> None:
    answers = []
    for _ in range(2):
        with Farm(nodes=2, seed=9, meetings=4, attendees=3, frozen=True) as farm:
            farm.control.step(20)
            answers.append([get(node) for node in farm.nodes])
    assert answers[0] == answers[1]


def test_a_large_farm_costs_little() -> None:
    """300 nodes with 6000 meetings answer a round of 600 requests with far less than a second of processor time."""
    with Farm(nodes=300, meetings=20, attendees=15, frozen=True) as farm:
        process = psutil.Process(farm.pid)
        asyncio.run(poll(farm.nodes))
        before = process.cpu_times()
        size = asyncio.run(poll(farm.nodes))
        after = process.cpu_times()
        seconds = after.user + after.system - before.user - before.system
        memory = process.memory_info().rss
        counts = farm.control.counters()
    assert seconds < 1
    assert size > 25_000_000
    assert memory < 400_000_000
    assert counts.requests == {"getMeetings": 600, "load": 600}
    assert counts.in_flight == 0


async def poll(nodes: list[FarmNode]) -> int:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=100)) as session:

        async def read(url: str) -> int:
            async with session.get(URL(url, encoded=True)) as response:
                return len(await response.read())

        urls = [signed_url(node.api_url, "getMeetings", secret=node.secret) for node in nodes]
        return sum(await asyncio.gather(*map(read, urls + [node.load_url for node in nodes])))


def test_only_the_named_algorithms_are_accepted() -> None:
    with Farm(nodes=1, meetings=2, algorithms=["sha384"], frozen=True) as farm:
        assert b"checksumError" in get(farm.nodes[0])
        farm.control.set_algorithms("node-001", ["sha256"])
        assert b"SUCCESS" in get(farm.nodes[0])


def test_the_farm_ends_on_sigterm(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "dev.farm", "--nodes=2", f"--directory={tmp_path}"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert b"2 nodes, control port http://127.0.0.1:" in process.stdout.readline()
        ready_file = tmp_path / READY_FILE
        content = FarmFile.model_validate_json(ready_file.read_bytes())
        assert content.pid == process.pid
        assert ready_file.stat().st_mode & 0o077 == 0
        assert set(json.loads(ready_file.read_bytes())["nodes"][0]) == {"name", "apiUrl", "loadUrl", "secret"}
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    assert not ready_file.exists()


def test_the_farm_ends_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    script = (
        "import time; from dev.farm.process import Farm; print(Farm(nodes=1).start().pid, flush=True); time.sleep(60)"
    )
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, env=environment, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        farm = psutil.Process(int(parent.stdout.readline()))
        parent.kill()
    deadline = time.monotonic() + 10
    while farm.is_running() and farm.status() != psutil.STATUS_ZOMBIE and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not farm.is_running() or farm.status() == psutil.STATUS_ZOMBIE


def test_a_farm_that_cannot_start_says_why() -> None:
    with pytest.raises(ProcessError, match="must be 0 to 500"):
        Farm(nodes=501).start()


def test_a_stopped_farm_can_be_stopped_again() -> None:
    farm = Farm(nodes=1, frozen=True).start()
    farm.stop()
    farm.stop()
    with pytest.raises(RuntimeError):
        _ = farm.pid


def test_a_farm_with_tenants_says_which_secrets_there_are() -> None:
    with Farm(nodes=2, meetings=6, attendees=3, frozen=True, tenants=tenant_secrets(2, 3)) as farm:
        names = [(truth.slug, truth.sub_id) for truth in farm.control.secrets()]
        assert names == [("UNIA", 0), ("UNIA", 1), ("UNIB", 0)]
        assert 0 < sum(farm.control.tenant(slug).meetings for slug in ("UNIA", "UNIB")) <= 12
    with pytest.raises(ProcessError, match="not like UNIA-001"):
        Farm(nodes=1, tenants=[("unia", 0)]).start()


def test_secrets_are_in_no_representation(farm: Farm) -> None:
    assert farm.nodes[0].secret not in repr(farm.nodes)
