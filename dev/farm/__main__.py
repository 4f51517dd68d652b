"""Runs a simulated farm until SIGTERM or SIGINT; writes ``farm.json`` when all ports are open."""

import argparse
import asyncio
import gc
import os
import resource
import signal
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from dev.farm.checksum import ALGORITHMS
from dev.farm.control import ControlServer
from dev.farm.messages import READY_FILE, FarmFile
from dev.farm.simulation import Simulation
from dev.farm.tenants import Secret, parse_secret, tenant_secrets
from dev.farm.world import START_TIME, World

MAXIMUM_NODES: Final = 500


def _count(maximum: int) -> Callable[[str], int]:
    def count(text: str) -> int:
        number = int(text)
        if not 0 <= number <= maximum:
            raise argparse.ArgumentTypeError(f"must be 0 to {maximum}")
        return number

    return count


def _secret(text: str) -> Secret:
    try:
        return parse_secret(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _milliseconds(text: str) -> int:
    moment = datetime.now(UTC) if text == "now" else datetime.fromisoformat(text)
    return round(moment.timestamp() * 1000)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    result = argparse.ArgumentParser(prog="python -m dev.farm", description=__doc__)
    result.add_argument("--nodes", type=_count(MAXIMUM_NODES), default=5)
    result.add_argument("--seed", type=int, default=1, help="the same seed gives the same farm")
    result.add_argument("--control-port", type=_count(65_535), default=0, help="0 takes a free port")
    result.add_argument("--directory", type=Path, help=f"where to write {READY_FILE}; a new temporary one by default")
    result.add_argument("--meetings", type=_count(1000), default=20, help="meetings on each node")
    result.add_argument("--attendees", type=_count(1000), default=15, help="mean number of attendees of a meeting")
    result.add_argument(
        "--tenants", type=int, default=0, metavar="N", help="tenants whose meetings have prefixes; none"
    )
    result.add_argument("--secrets", type=int, metavar="M", help="API secrets of all tenants together; one each")
    result.add_argument(
        "--secret",
        action="append",
        type=_secret,
        default=[],
        help="a further secret like UNIA-001, may be repeated",
    )
    result.add_argument("--frozen", action="store_true", help="time stands still until it is told to step")
    result.add_argument("--step-seconds", type=float, default=5.0, help="seconds between two steps")
    result.add_argument(
        "--algorithm", action="append", choices=ALGORITHMS, help="a checksum algorithm to accept, may be repeated; all"
    )
    result.add_argument(
        "--start-time",
        type=_milliseconds,
        default=START_TIME,
        help="simulated time at the start, ISO 8601 or 'now'; a fixed one by default",
    )
    return result


def _secrets(arguments: argparse.Namespace) -> list[Secret]:
    numbered = tenant_secrets(arguments.tenants, arguments.secrets)
    return list(dict.fromkeys([*numbered, *arguments.secret]))


def _allow_many_files() -> None:
    # Each node has a listening socket and connections; many systems start programs with a soft limit of 1024.
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _write_ready_file(directory: Path, content: FarmFile) -> Path:
    path = directory / READY_FILE
    temporary = path.with_suffix(".tmp")
    temporary.touch(mode=0o600)
    temporary.write_text(content.model_dump_json(by_alias=True, indent=2), encoding="utf-8")
    temporary.replace(path)
    return path


def _end_signal() -> asyncio.Event:
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    return ended


async def run(arguments: argparse.Namespace) -> None:
    """Runs the farm that the command line describes."""
    directory = arguments.directory or Path(tempfile.mkdtemp(prefix="farm-"))
    directory.mkdir(parents=True, exist_ok=True)
    (directory / READY_FILE).unlink(missing_ok=True)
    ended = _end_signal()
    world = World(
        seed=arguments.seed,
        nodes=arguments.nodes,
        meetings=arguments.meetings,
        attendees=arguments.attendees,
        step_seconds=arguments.step_seconds,
        start_time=arguments.start_time,
        tenants=arguments.all_secrets,
    )
    # The many objects of the world live on: the garbage collector need not visit them again and again.
    gc.freeze()
    simulation = Simulation(
        world,
        seed=arguments.seed,
        step_seconds=arguments.step_seconds,
        frozen=arguments.frozen,
        algorithms=arguments.algorithm or ALGORITHMS,
    )
    control = ControlServer(simulation, port=arguments.control_port)
    try:
        await simulation.start()
        await control.start()
        content = FarmFile(control=control.url, pid=os.getpid(), seed=arguments.seed, nodes=simulation.farm_nodes)
        path = _write_ready_file(directory, content)
        print(f"{len(world.nodes)} nodes, control port {control.url}, {path}", flush=True)
        await ended.wait()
    finally:
        await control.close()
        await simulation.close()
        (directory / READY_FILE).unlink(missing_ok=True)
        if arguments.directory is None:
            directory.rmdir()


def main() -> None:
    """Entry point."""
    arguments = parser().parse_args()
    if arguments.step_seconds <= 0:
        parser().error("--step-seconds must be above 0")
    try:
        arguments.all_secrets = _secrets(arguments)
    except ValueError as error:
        parser().error(str(error))
    _allow_many_files()
    asyncio.run(run(arguments))


if __name__ == "__main__":
    main()
