"""What builds and runs images here: Docker, or buildah with namespaces of the kernel where there is no Docker."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from dev.images import bases
from dev.images.commands import ImagesError, run, say

ROOT = Path(__file__).resolve().parent.parent.parent
_BUILD_SECONDS = 1800.0
_SECONDS = 120.0
_PACKAGES = ("buildah", "debootstrap", "util-linux")


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """What an image says of itself: how it starts, as whom, and what is known of its making."""

    user: str
    environment: tuple[str, ...]
    command: tuple[str, ...]
    entrypoint: tuple[str, ...]
    stop_signal: str
    labels: Mapping[str, str]
    text: str
    """All of it and the history, to be searched."""


class Engine(Protocol):
    """Builds, describes and runs images."""

    def prepare(self) -> None:
        """Make ready what a build needs."""

    def build(self, target: str, name: str, *, arguments: Mapping[str, str], secrets: Mapping[str, Path]) -> None:
        """Build the target of the Dockerfile under the name."""

    def configuration(self, name: str) -> Configuration:
        """What the image says of itself."""

    def size(self, name: str) -> int:
        """Bytes of the image on a disk, unpacked."""

    def run(self, name: str, command: Sequence[str], *, stdin: str = "") -> str:
        """Run the command as the image's user, with a read-only root and without network; return its output."""


def find_engine() -> Engine:
    """Docker if it answers, else buildah.

    Raises:
        ImagesError: neither is there, and this user cannot install or use buildah.
    """
    if shutil.which("docker") is not None:
        try:
            run(["docker", "info"], seconds=30)
        except ImagesError:
            say("images: Docker does not answer, buildah is taken")
        else:
            return Docker()
    if os.geteuid() != 0:
        raise ImagesError(
            "building images needs a Docker that answers to this user, or root for buildah: "
            "start Docker, or run make images as root"
        )
    missing = [name for name in ("buildah", "debootstrap", "unshare") if shutil.which(name) is None]
    if missing:
        if shutil.which("apt-get") is None:
            raise ImagesError(
                f"{' and '.join(missing)} missing, and there is no apt-get to install it: install it, or Docker"
            )
        say(f"images: installing the Debian packages {' '.join(_PACKAGES)}")
        run(["apt-get", "update", "-qq"], seconds=300)
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        run(
            ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *_PACKAGES],
            seconds=600,
            environment=environment,
        )
    return Buildah()


def _options(arguments: Mapping[str, str], secrets: Mapping[str, Path]) -> list[str]:
    options = [f"--build-arg={name}={value}" for name, value in arguments.items()]
    return options + [f"--secret=id={name},src={path}" for name, path in secrets.items()]


def _configuration(config: Mapping[str, Any], text: str) -> Configuration:
    return Configuration(
        user=config.get("User") or "",
        environment=tuple(config.get("Env") or ()),
        command=tuple(config.get("Cmd") or ()),
        entrypoint=tuple(config.get("Entrypoint") or ()),
        stop_signal=config.get("StopSignal") or "",
        labels=config.get("Labels") or {},
        text=text,
    )


class Docker:
    """The Docker engine, with the base images that the Dockerfile names."""

    def prepare(self) -> None:
        """Nothing: the engine pulls the base images."""

    def build(self, target: str, name: str, *, arguments: Mapping[str, str], secrets: Mapping[str, Path]) -> None:
        """Build with BuildKit."""
        environment = {**os.environ, "DOCKER_BUILDKIT": "1"}
        command = ["docker", "build", "--target", target, "--tag", name, *_options(arguments, secrets), str(ROOT)]
        run(command, seconds=_BUILD_SECONDS, environment=environment)

    def configuration(self, name: str) -> Configuration:
        """From ``docker image inspect`` and ``docker history``."""
        text = run(["docker", "image", "inspect", name], seconds=_SECONDS)
        history = run(["docker", "history", "--no-trunc", name], seconds=_SECONDS)
        return _configuration(json.loads(text)[0]["Config"], text + history)

    def size(self, name: str) -> int:
        """From ``docker image inspect``."""
        return int(run(["docker", "image", "inspect", "--format", "{{.Size}}", name], seconds=_SECONDS))

    def run(self, name: str, command: Sequence[str], *, stdin: str = "") -> str:
        """In a container without capabilities."""
        limits = ["--read-only", "--network=none", "--cap-drop=ALL", "--security-opt=no-new-privileges"]
        return run(["docker", "run", "--rm", "--interactive", *limits, name, *command], seconds=_SECONDS, stdin=stdin)


@dataclass
class Buildah:
    """buildah, with base images made of Debian's packages; needs root."""

    _bases: dict[str, str] = field(default_factory=dict)

    def prepare(self) -> None:
        """Make the base images."""
        for base in (bases.PYTHON, bases.PYPY):
            self._bases[base.argument] = bases.import_base(base)

    def build(self, target: str, name: str, *, arguments: Mapping[str, str], secrets: Mapping[str, Path]) -> None:
        """Build without a daemon; layers of an earlier build are taken over."""
        options = ["--isolation=chroot", "--layers", "--pull-never", f"--target={target}", f"--tag={name}"]
        options += _options({**arguments, **self._bases}, secrets)
        run(["buildah", "bud", *options, str(ROOT)], seconds=_BUILD_SECONDS)

    def configuration(self, name: str) -> Configuration:
        """From ``buildah inspect``."""
        text = run(["buildah", "inspect", "--type=image", name], seconds=_SECONDS)
        return _configuration(json.loads(text)["Docker"]["config"], text)

    def size(self, name: str) -> int:
        """Counted in the image's root, so that layers that hide each other count once."""
        with self._mounted(name) as root:
            return int(run(["du", "--summarize", "--bytes", "--one-file-system", root], seconds=_SECONDS).split()[0])

    def run(self, name: str, command: Sequence[str], *, stdin: str = "") -> str:
        """In namespaces of its own, in the image's mounted root."""
        configuration = self.configuration(name)
        user, _, group = configuration.user.partition(":")
        enter = ["sh", str(Path(__file__).with_name("enter.sh"))]
        with self._mounted(name) as root:
            apart = ["unshare", "--mount", "--pid", "--net", "--ipc", "--uts", "--fork", "--kill-child"]
            started = [*apart, *enter, root, user, group, *configuration.environment, *command]
            return run(started, seconds=_SECONDS, stdin=stdin)

    @contextmanager
    def _mounted(self, name: str) -> Iterator[str]:
        container = run(["buildah", "from", "--pull-never", name], seconds=_SECONDS).strip()
        try:
            yield run(["buildah", "mount", container], seconds=_SECONDS).strip()
        finally:
            run(["buildah", "rm", container], seconds=_SECONDS)
