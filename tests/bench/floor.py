"""The floor under a tick: what the answers alone cost with the same parts and nothing of ours."""

from __future__ import annotations

import asyncio
import time

import aiohttp
import lxml.etree
from yarl import URL

from b3lb.bbb.checksum import signed_url
from b3lb.bbb.client import IDLE_CONNECTION_SECONDS
from b3lb.crypto import KeyRing
from b3lb.db.node_states import NodePoll
from b3lb.db.planning import secret_context

FIELDS = (
    "meetingID",
    "internalMeetingID",
    "createTime",
    "running",
    "participantCount",
    "listenerCount",
    "voiceParticipantCount",
    "videoCount",
    "moderatorCount",
    "isBreakout",
    "metadata/bbb-origin",
)


async def floor(polls: list[NodePoll], keys: KeyRing, *, namespace: str, rounds: int = 5) -> list[float]:
    """Return the CPU seconds of some rounds: the bare client's GETs of all nodes, parsing and printing their bodies.

    The client is set up as the jobs' own one and keeps its connections; a first round, that opens them, does not count.
    """
    urls = []
    for poll in polls:
        if poll.state is None or not poll.state.ready:
            continue
        context = secret_context(namespace, poll.name)
        secret = keys.decrypt(poll.secret_ciphertext, poll.secret_key_id, context=context)
        urls += [signed_url(poll.api_url, "getMeetings", "", secret, poll.algorithm), poll.load_url]
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=IDLE_CONNECTION_SECONDS),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"Accept": "*/*", "Accept-Encoding": "gzip"},
        timeout=aiohttp.ClientTimeout(total=None),
        trust_env=False,
    ) as session:
        return [await _round(session, urls) for _ in range(rounds + 1)][1:]


async def _round(session: aiohttp.ClientSession, urls: list[str]) -> float:
    limit = asyncio.Semaphore(100)

    async def get(url: str) -> None:
        async with limit, session.get(URL(url, encoded=True), allow_redirects=False) as response:
            body = await response.read()
        if body.startswith(b"<"):
            for meeting in lxml.etree.fromstring(body).iterfind("meetings/meeting"):
                for field in FIELDS:
                    meeting.findtext(field)
                lxml.etree.tostring(meeting)

    cpu = time.process_time()
    async with asyncio.TaskGroup() as group:
        for url in urls:
            group.create_task(get(url))
    return time.process_time() - cpu
