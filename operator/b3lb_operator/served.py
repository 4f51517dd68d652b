"""Whether the API server serves the custom resources: nothing can be watched before that."""

from __future__ import annotations

import asyncio

import structlog

from b3lb_operator.kinds import CUSTOM_KINDS
from b3lb_operator.kube import Kube, KubeError

DEFINITIONS_SECONDS = 2.0

_log = structlog.stdlib.get_logger(__name__)


class Definitions:
    """Waits for the custom resource definitions; the watches look for them only once."""

    def __init__(self, kube: Kube) -> None:
        self._kube = kube
        self._served = False
        self.missed: set[str] = set()
        """The plurals of the kinds that were not served at one time: objects may have gone with their definition."""

    async def wait(self) -> None:
        """Wait until all are served; what is missing is logged once."""
        wanted = {kind.plural for kind in CUSTOM_KINDS}
        reported = ""
        while not self._served:
            try:
                missing = wanted - await self._kube.served(CUSTOM_KINDS[0].api_version)
                self.missed |= missing
                problem = f"no definition of {', '.join(sorted(missing))}" if missing else ""
            except KubeError as error:
                problem = str(error)
            self._served = not problem
            if problem and problem != reported:
                _log.warning("waiting for the custom resource definitions", problem=problem)
            reported = problem
            if problem:
                await asyncio.sleep(DEFINITIONS_SECONDS)

    def problem(self) -> str | None:
        """Return why nothing is watched yet, or None."""
        return None if self._served else "the custom resource definitions are not there yet"
