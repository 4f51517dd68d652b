"""How a file is sent to a player: whole, or not, and then it is known why."""

import asyncio
from collections.abc import MutableMapping
from typing import Any

import pytest

from b3lb.storage.interface import StorageError
from b3lb_api.stream import PIECE_BYTES, BreakOff, FileAnswer

Message = MutableMapping[str, Any]


class Player:
    """The other end of ASGI."""

    def __init__(self) -> None:
        self.came: list[Message] = []
        self.gone = asyncio.Event()
        self.takes = asyncio.Event()
        self.takes.set()
        self.refuses_bodies = False

    async def receive(self) -> Message:
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        await self.takes.wait()
        if self.refuses_bodies and message["type"] == "http.response.body":
            await asyncio.Event().wait()
        self.came.append(message)

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.came)


def answer(chunks: list[bytes | Exception], length: int, counted: list[int] | None = None) -> FileAnswer:
    left = iter(chunks)

    async def read() -> bytes:
        found = next(left, b"")
        if isinstance(found, Exception):
            raise found
        return found

    sent = (lambda _count: None) if counted is None else counted.append
    return FileAnswer(
        status=200, headers={"Content-Length": str(length)}, length=length, idle_seconds=5, read=read, sent=sent
    )


async def test_a_file_is_sent_in_pieces_to_its_last_byte_and_not_further() -> None:
    player, counted = Player(), list[int]()
    data = bytes(range(256)) * 1000
    assert await answer([data, data], len(data) + 5, counted).send(player.receive, player.send) is None
    assert player.came[0]["headers"] == [(b"content-length", str(len(data) + 5).encode())]
    assert player.body == data + data[:5]
    assert sum(counted) == len(data) + 5
    assert max(counted) == PIECE_BYTES
    assert [message["more_body"] for message in player.came[1:]][-2:] == [True, False]


@pytest.mark.parametrize("chunks", [[b"abc", StorageError("gone")], [b"abc"]])
async def test_a_storage_that_fails_or_has_too_little_breaks_it_off(chunks: list[bytes | Exception]) -> None:
    player = Player()
    assert await answer(chunks, 10).send(player.receive, player.send) is BreakOff.STORAGE_UNAVAILABLE
    assert player.body == b"abc"


@pytest.mark.looptime
async def test_a_player_that_takes_nothing_is_let_go_after_the_time_for_a_pause() -> None:
    player = Player()
    player.refuses_bodies = True
    loop = asyncio.get_running_loop()
    began = loop.time()
    assert await answer([b"abc"], 3).send(player.receive, player.send) is BreakOff.IDLE
    assert loop.time() - began == pytest.approx(5)


async def test_nothing_more_is_read_once_the_player_is_gone() -> None:
    player = Player()
    player.takes.clear()
    sending = asyncio.create_task(answer([b"abc"] * 100, 300).send(player.receive, player.send))
    await asyncio.sleep(0)
    player.gone.set()
    assert await sending is BreakOff.HUNG_UP
    assert player.came == []


async def test_an_end_from_outside_ends_it_and_leaves_no_task() -> None:
    player = Player()
    player.takes.clear()
    sending = asyncio.create_task(answer([b"abc"], 3).send(player.receive, player.send))
    await asyncio.sleep(0)
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    assert asyncio.all_tasks() == {asyncio.current_task()}
