"""Recordings in an installation: a server that pushes them, the front end, and what becomes of them."""

from __future__ import annotations

import json
import os
import subprocess
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import quote

from dev.debian import debian_program
from dev.environment import REPOSITORY, Installation
from dev.operators import secret_values
from dev.recordings.options import Options
from dev.recordings.writing import write_recording

API = "b3lb-api"
_PORT = 8080
_PUSH = REPOSITORY / "examples" / "bbb-node" / "b3lb-push"
_PUSH_SECONDS = 120.0
_READ_SECONDS = 30.0
_READY_SELECTOR = "app.kubernetes.io/name=b3lb-api"
_RESOURCES = {"requests": {"cpu": "100m", "memory": "256Mi"}, "limits": {"memory": "2Gi"}}


def recording_values(*, width: int = 640, height: int = 360, **video: Any) -> dict[str, Any]:
    """Return values of the chart by which it takes recordings, with pods that fit on a machine of developers.

    Args:
        width: Of the default profile's videos, in pixels.
        height: The same.
        **video: How they are encoded: the profile's field ``video``.
    """
    profile = {"width": width, "height": height, "runtime": "cpython", "resources": _RESOURCES, "video": video}
    return {
        "storage": {"type": "directory", "directory": {"size": "1Gi"}},
        "api": {"enabled": True, "shutdownSeconds": 5},
        "recordProfile": {"spec": profile},
        "queues": {"record": {"spec": {"resources": _RESOURCES}}},
    }


class FrontEnd:
    """The front end of an installation, as servers and players reach it."""

    def __init__(self, installation: Installation) -> None:
        """Describe it; its pod need not be there yet."""
        self._installation = installation

    @property
    def url(self) -> str | None:
        """Where it listens; None while no pod of it is ready."""
        plane, namespace = self._installation.environment.control_plane, self._installation.namespace
        path = f"/api/v1/namespaces/{namespace}/pods?labelSelector={quote(_READY_SELECTOR)}"
        for pod in (plane.find(path) or {}).get("items", []):
            conditions = {item["type"]: item["status"] for item in pod.get("status", {}).get("conditions", ())}
            if "deletionTimestamp" not in pod["metadata"] and conditions.get("Ready") == "True":
                return f"http://{pod['status']['podIP']}:{_PORT}"
        return None

    def is_ready(self) -> bool:
        """Whether it takes uploads."""
        return self.url is not None

    def links(self, record_id: str) -> list[str]:
        """Return the addresses of a recording's videos."""
        arguments = ("recordings", "link", record_id, "--base-url", self.url or "", "-o", "json")
        return [item["url"] for item in json.loads(self._installation.b3lb(*arguments))["items"]]

    def show(self, record_id: str) -> dict[str, Any]:
        """Return what `b3lb recordings show` says of a recording."""
        found: dict[str, Any] = json.loads(self._installation.b3lb("recordings", "show", record_id, "-o", "json"))
        return found


class PushingServer:
    """The disk of a BigBlueButton server with published recordings, and the script that pushes them."""

    def __init__(self, directory: Path, installation: Installation) -> None:
        """Take a directory for the server's files."""
        self._directory = directory
        self._installation = installation
        self._front_end = FrontEnd(installation)
        self._published = directory / "published"
        self._published.mkdir(parents=True)

    def publish(self, options: Options) -> str:
        """Write a test recording as if it had just been published; return its ID."""
        write_recording(self._published / options.meeting, options)
        return options.meeting

    def push(self, *record_ids: str, curl: str = "") -> subprocess.CompletedProcess[str]:
        """Run the script; without an ID it pushes what was neither taken nor refused yet.

        Args:
            *record_ids: What is pushed.
            curl: Lines of the server's own configuration of curl.
        """
        (self._directory / ".curlrc").write_text(f"{curl}\n")
        configuration = self._directory / "b3lb-push.conf"
        configuration.write_text(
            f"B3LB_URL={self._front_end.url}\nB3LB_NONCE={self._nonce()}\n"
            f"B3LB_PUBLISHED={self._published}\nB3LB_STATE={self._directory / 'state'}\nB3LB_PAUSE=1\n"
            f"export CURL_HOME={self._directory}\n"
        )
        configuration.chmod(0o600)
        debian_program("curl", "curl")
        return subprocess.run(
            ["/bin/sh", str(_PUSH), *record_ids],
            env={"PATH": os.environ.get("PATH", os.defpath), "B3LB_PUSH_CONFIG": str(configuration)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_PUSH_SECONDS,
            check=False,
        )

    def _nonce(self) -> str:
        found = self._installation.environment.control_plane.find_object(
            "secret", "b3lb-upload", namespace=self._installation.namespace
        )
        return secret_values(found)["nonce"]


def fetch(url: str, *, range_header: str | None = None) -> tuple[int, dict[str, str], bytes]:
    """Return status, headers with small letters and body of a GET.

    Raises:
        OSError: Nobody answers, or with an error.
    """
    request = urllib.request.Request(url, headers={"Range": range_header} if range_header else {})  # noqa: S310 - http
    with urllib.request.urlopen(request, timeout=_READ_SECONDS) as answer:  # noqa: S310 - the same
        return answer.status, {name.lower(): value for name, value in answer.headers.items()}, answer.read()


def first_frame(video: Path, picture: Path) -> None:
    """Write the first frame of a video as PNG.

    Raises:
        subprocess.CalledProcessError: FFmpeg cannot read it.
    """
    program = debian_program("ffmpeg", "ffmpeg")
    picture.parent.mkdir(parents=True, exist_ok=True)
    command = [str(program), "-nostdin", "-v", "error", "-y", "-i", str(video), "-frames:v", "1", str(picture)]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, timeout=_READ_SECONDS)
