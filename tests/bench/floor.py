"""The floor under a tick: what the answers alone cost with the same parts and nothing of ours."""

from __future__ import annotations

import asyncio
import time

import aiohttp
import lxml.etree
from yarl import URL

from b3lb.bbb.checksum import signed_url
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


async def floor(polls: list[NodePoll], keys: KeyRing, *, namespace: str) -> float:
    """Return the CPU seconds of the bare client's GETs of all nodes and of parsing and printing their bodies."""
    urls = []
    for poll in polls:
        if poll.state is None or not poll.state.ready:
            continue
        context = secret_context(namespace, poll.name)
        secret = keys.decrypt(poll.secret_ciphertext, poll.secret_key_id, context=context)
        urls += [signed_url(poll.api_url, "getMeetings", "", secret, poll.algorithm), poll.load_url]
    limit = asyncio.Semaphore(100)

    async def get(session: aiohttp.ClientSession, url: str) -> None:
        async with limit, session.get(URL(url, encoded=True)) as response:
            body = await response.read()
        if body.startswith(b"<"):
            for meeting in lxml.etree.fromstring(body).iterfind("meetings/meeting"):
                for field in FIELDS:
                    meeting.findtext(field)
                lxml.etree.tostring(meeting)

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        cpu = time.process_time()
        async with asyncio.TaskGroup() as group:
            for url in urls:
                group.create_task(get(session, url))
        return time.process_time() - cpu
