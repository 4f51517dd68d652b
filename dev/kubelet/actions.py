"""What probes and hooks do: run a command beside a container, get a page from it, or open a connection to it."""

import asyncio
import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus

import aiohttp
from yarl import URL

from dev.kubelet.api import Manifest
from dev.kubelet.containers import Plan, execute
from dev.kubelet.mounts import rewrite

USER_AGENT = "kube-probe/process"


class ActionError(Exception):
    """A probe or hook has failed; the message says how, without anything that the container has said."""


@dataclass(frozen=True)
class Target:
    """The container that is asked."""

    plan: Plan
    address: str
    """The pod's address."""
    ports: Mapping[str, int]
    """Its named ports."""


def named_ports(container: Manifest) -> dict[str, int]:
    """The ports of a container that have a name."""
    return {port["name"]: port["containerPort"] for port in container.get("ports") or [] if "name" in port}


def port_number(port: int | str, ports: Mapping[str, int]) -> int:
    """The number of a port that is given by number or name.

    Raises:
        ActionError: the container has no port of this name.
    """
    if isinstance(port, int):
        return port
    if port in ports:
        return ports[port]
    if port.isdecimal():
        return int(port)
    raise ActionError(f"there is no port named {port}")


async def perform(action: Manifest, target: Target, *, purpose: str, seconds: float | None) -> None:
    """Does what a probe or hook says.

    Args:
        action: Has one of ``exec``, ``httpGet``, ``tcpSocket`` and ``sleep``.
        target: The container.
        purpose: A name for the files of a command, different for what may run at the same time.
        seconds: How long it may take; None: as long as it likes.

    Raises:
        ActionError: it failed, took too long or cannot be done here.
    """
    try:
        async with asyncio.timeout(seconds):
            if "exec" in action:
                await _run(action["exec"].get("command") or [], target, purpose=purpose)
            elif "httpGet" in action:
                await _get(action["httpGet"], target)
            elif "tcpSocket" in action:
                await _connect(action["tcpSocket"], target)
            elif "sleep" in action:
                await asyncio.sleep(action["sleep"]["seconds"])
            else:
                raise ActionError("this kind of probe is not supported by the process kubelet")
    except TimeoutError:
        raise ActionError(f"no answer within {seconds} s") from None
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise ActionError(f"{type(error).__name__}: {error}") from error


async def _run(command: list[str], target: Target, *, purpose: str) -> None:
    plan = target.plan
    words = command if plan.private_mounts else [rewrite(word, plan.mounts) for word in command]
    code = await execute(plan, words, purpose=purpose)
    if code != 0:
        raise ActionError(f"{words[0] if words else 'no command'} ended with code {code}")


def probe_url(get: Manifest, *, address: str, ports: Mapping[str, int]) -> URL:
    """The address an ``httpGet`` asks.

    Raises:
        ActionError: the container has no port of this name.
    """
    scheme = (get.get("scheme") or "HTTP").lower()
    path = get.get("path") or "/"
    separator = "" if path.startswith("/") else "/"
    return URL(f"{scheme}://{get.get('host') or address}:{port_number(get['port'], ports)}{separator}{path}")


async def _get(get: Manifest, target: Target) -> None:
    url = probe_url(get, address=target.address, ports=target.ports)
    headers = {"User-Agent": USER_AGENT, "Accept": "*/*"}
    headers |= {header["name"]: header["value"] for header in get.get("httpHeaders") or []}
    # As with the real kubelet, any certificate will do.
    async with (
        aiohttp.ClientSession(headers=headers, connector=aiohttp.TCPConnector(ssl=False)) as session,
        session.get(url, allow_redirects=False) as response,
    ):
        if not HTTPStatus.OK <= response.status < HTTPStatus.BAD_REQUEST:
            raise ActionError(f"{url.path} answers {response.status}")


async def _connect(socket: Manifest, target: Target) -> None:
    port = port_number(socket["port"], target.ports)
    _, writer = await asyncio.open_connection(socket.get("host") or target.address, port)
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
