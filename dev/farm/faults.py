"""Answers of a node that misbehaves."""

import asyncio
from typing import Final

from aiohttp import web

from dev.farm.messages import Behaviour

_ENDLESS_HEAD: Final = b"<response>\n<returncode>SUCCESS</returncode>\n<meetings>\n"
_ENDLESS_CHUNK: Final = b" " * 65_536
_HTML: Final = (
    b"<!DOCTYPE html>\n<html><head><title>Welcome to nginx!</title></head><body><p>It works<br></body></html>\n"
)
_BROKEN_XML: Final = (
    b"<response>\n<returncode>SUCCESS</returncode>\n<meetings>\n<meeting>\n<meetingName>\x01 & </meeting>"
)
_LOAD_TEXTS: Final = {
    Behaviour.LOAD_TEXT: "load is fine\n",
    Behaviour.LOAD_NEGATIVE: "-1\n",
    Behaviour.LOAD_TOO_HIGH: "10001\n",
}


def xml(body: bytes) -> web.Response:
    """An answer of the API."""
    return web.Response(body=body, content_type="text/xml", charset="utf-8")


def whole_answer(behaviour: Behaviour, raw_path: str) -> web.Response | None:
    """The answer of a behaviour that looks at no call, None if the behaviour needs more than that."""
    match behaviour:
        case Behaviour.HTTP_500:
            return web.Response(status=500, text="Internal Server Error\n")
        case Behaviour.REDIRECT:
            return web.Response(status=302, headers={"Location": f"/redirected{raw_path}"})
        case Behaviour.HTML:
            return web.Response(body=_HTML, content_type="text/html", charset="utf-8")
        case Behaviour.EMPTY:
            return xml(b"")
        case _:
            return None


def broken_xml() -> web.Response:
    """An answer with a control character, a bare ampersand and unclosed elements."""
    return xml(_BROKEN_XML)


def load_answer(behaviour: Behaviour, load: int) -> web.Response:
    """The load page: the load on its first line, or what the behaviour makes of it."""
    if behaviour is Behaviour.LOAD_404:
        return web.Response(status=404, text="Not Found\n")
    return web.Response(text=_LOAD_TEXTS.get(behaviour, f"{load}\n"))


async def wait(released: asyncio.Event, seconds: float) -> bool:
    """Waits so long, or until released; whether it was released."""
    try:
        async with asyncio.timeout(seconds):
            return await released.wait()
    except TimeoutError:
        return False


async def endless(request: web.BaseRequest, released: asyncio.Event) -> web.StreamResponse:
    """Sends white space until the client goes away or the behaviour changes."""
    response = web.StreamResponse(headers={"Content-Type": "text/xml;charset=utf-8"})
    await response.prepare(request)
    await response.write(_ENDLESS_HEAD)
    while not released.is_set():
        await response.write(_ENDLESS_CHUNK)
        # A fast reader must not keep all other nodes from answering.
        await asyncio.sleep(0)
    return response


async def drip(
    request: web.BaseRequest, answer: web.Response, *, seconds: float, released: asyncio.Event
) -> web.StreamResponse:
    """Sends an answer byte by byte, with so many seconds between two; drops the connection when released."""
    body = answer.body
    content = body if isinstance(body, bytes) else b""
    response = web.StreamResponse(
        status=answer.status,
        headers={"Content-Type": answer.headers["Content-Type"], "Content-Length": str(len(content))},
    )
    await response.prepare(request)
    for index in range(len(content)):
        await response.write(content[index : index + 1])
        if await wait(released, seconds):
            hang_up(request)
            break
    return response


def hang_up(request: web.BaseRequest) -> None:
    """Drops the connection without a further byte."""
    if request.transport is not None:
        request.transport.abort()
