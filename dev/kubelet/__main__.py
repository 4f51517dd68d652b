"""Command line of the process kubelet: ``python -m dev.kubelet --kubeconfig FILE --node NAME ...``."""

import argparse
import asyncio
import logging
import signal
import sys
from pathlib import Path

from dev.kubelet.addresses import AddressesInUseError, AddressPool, claimed
from dev.kubelet.api import Api, Credentials, KubeconfigError, read_kubeconfig
from dev.kubelet.gateway import PORT, SERVICE, Gateway
from dev.kubelet.host import Host
from dev.kubelet.images import ImageFile
from dev.kubelet.kubelet import DirectoryInUseError, Kubelet, exclusive, private_mounts_work
from dev.kubelet.memory import MemoryGuard
from dev.kubelet.node import NodeAgent, NodeOptions
from dev.kubelet.plans import NodeFacts, service_variables
from dev.kubelet.quantities import parse_quantity
from dev.kubelet.services import ServiceDirectory

logger = logging.getLogger("dev.kubelet")


class _OneLineFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return super().format(record).replace("\n", " | ")


def _quantity(text: str) -> str:
    parse_quantity(text)
    return text


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m dev.kubelet", description="Runs the pods of a node as processes.")
    parser.add_argument("--kubeconfig", type=Path, required=True, metavar="FILE", help="with a token")
    parser.add_argument("--node", required=True, metavar="NAME", help="name of the node to register")
    parser.add_argument("--directory", type=Path, required=True, metavar="DIR", help="gets pods/NAMESPACE_POD_UID/")
    parser.add_argument("--images", type=Path, required=True, metavar="FILE", help="JSON, see dev/kubelet/images.py")
    parser.add_argument("--start-delay", type=float, default=0.0, metavar="SECONDS", help="before a pod's containers")
    parser.add_argument("--restart-backoff", type=float, default=10.0, metavar="SECONDS", help="before a 2nd restart")
    parser.add_argument("--cpu", type=_quantity, default="8", help="capacity (default: %(default)s)")
    parser.add_argument("--memory", type=_quantity, default="32Gi", help="capacity (default: %(default)s)")
    parser.add_argument("--pods", type=int, default=110, help="capacity (default: %(default)s)")
    parser.add_argument("--address-range", type=AddressPool, metavar="NETWORK", help="default: a free one")
    parser.add_argument("--lease-seconds", type=float, default=10.0, help="between renewals (default: %(default)s)")
    parser.add_argument("--no-private-mounts", action="store_true", help="rewrite paths even as root")
    return parser


async def _run(options: argparse.Namespace, credentials: Credentials, addresses: AddressPool) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    directory: Path = options.directory.resolve()
    node = NodeOptions(
        name=options.node,
        address=addresses.node,
        cpu=options.cpu,
        memory=options.memory,
        pods=options.pods,
        lease_seconds=options.lease_seconds,
    )
    private = not options.no_private_mounts and await private_mounts_work(directory)
    server = credentials.server
    facts = NodeFacts(
        allocatable=node.resources,
        services=service_variables(server.host or "", server.port or 443),
        private_mounts=private,
    )
    gateway = Gateway(server.host or "", server.port or PORT)
    async with Api(credentials) as api, gateway.listen(addresses.node) as reachable:
        host = Host(
            api=api,
            node=facts,
            address=addresses.node,
            images=ImageFile(options.images.resolve()),
            memory=MemoryGuard(),
            addresses=addresses,
            directory=directory / "pods",
            start_delay=options.start_delay,
            restart_backoff=options.restart_backoff,
            services=ServiceDirectory({SERVICE: ((addresses.node, ""),)} if reachable else {}),
        )
        logger.info("node %s, private mounts %s, server %s", node.name, "on" if private else "off", server)
        await Kubelet(api, NodeAgent(api, node), host).run(stop)


def main() -> int:
    """Runs the kubelet until SIGTERM or SIGINT; returns the exit code."""
    options = _parser().parse_args()
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_OneLineFormatter("%(asctime)s %(levelname)s %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    try:
        with exclusive(options.directory), claimed(options.address_range) as addresses:
            asyncio.run(_run(options, read_kubeconfig(options.kubeconfig), addresses))
    except (KubeconfigError, DirectoryInUseError, AddressesInUseError) as error:
        logger.error("%s", error)  # noqa: TRY400  # the message says it all
        return 1
    logger.info("stopped")
    return 0


if __name__ == "__main__":
    sys.exit(main())
