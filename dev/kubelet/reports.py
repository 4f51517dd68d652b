"""Writing the status of one pod to the API server, however long that is away."""

import asyncio
import logging
from http import HTTPStatus

from dev.kubelet.api import Api, ApiError, Backoff, Manifest

logger = logging.getLogger(__name__)


class StatusReporter:
    """Writes the newest status of a pod, one request at a time; statuses overtaken by newer ones are left out."""

    def __init__(self, api: Api, pod: Manifest) -> None:
        metadata = pod["metadata"]
        self._api = api
        self._uid: str = metadata["uid"]
        self._path = f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}"
        self._newest: Manifest | None = None
        self._written: Manifest | None = None
        self._writing: asyncio.Task[None] | None = None

    @property
    def conditions(self) -> list[Manifest] | None:
        """The conditions of the newest status."""
        return None if self._newest is None else self._newest["conditions"]

    def report(self, status: Manifest) -> None:
        """Takes a new status and returns at once; nothing happens if it is the newest one already."""
        if status == self._newest:
            return
        self._newest = status
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write())

    async def flush(self) -> None:
        """Waits until the newest status is written, or the pod does not exist any more."""
        if self._writing is not None:
            await self._writing

    async def delete(self) -> None:
        """Removes the pod's object, if it is still this pod's: nothing of it runs any more."""
        preconditions = {"uid": self._uid}
        options = {"kind": "DeleteOptions", "apiVersion": "v1", "gracePeriodSeconds": 0, "preconditions": preconditions}
        try:
            await self._api.persist("DELETE", self._path, body=options)
        except ApiError as error:
            self._log_refusal("the deletion", error)

    def cancel(self) -> None:
        """Gives up writing."""
        if self._writing is not None:
            self._writing.cancel()

    async def _write(self) -> None:
        backoff = Backoff()
        while self._newest is not None and self._written is not self._newest:
            status = self._newest
            try:
                # The uid makes the server refuse it when another pod has this name by now.
                body = {"metadata": {"uid": self._uid}, "status": status}
                await self._api.request("PATCH", f"{self._path}/status", body=body)
            except ApiError as error:
                if error.passing:
                    await backoff.pause()
                    continue
                self._log_refusal("the status", error)
            self._written = status
            backoff.reset()

    def _log_refusal(self, what: str, error: ApiError) -> None:
        if error.status not in {HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT}:
            logger.error("the API server refuses %s of %s: %d %s", what, self._path, error.status, error)
