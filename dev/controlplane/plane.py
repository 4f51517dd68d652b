"""Starts, stops and disturbs the control plane."""

import base64
import fcntl
import http.client
import json
import os
import ssl
import subprocess
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Self, TextIO

from dev.controlplane import commands, credentials
from dev.controlplane.commands import API_SERVER, CONTROLLER_MANAGER, ETCD, PARTS, SCHEDULER
from dev.controlplane.paths import object_path
from dev.processes import ManagedProcess, ProcessError, free_ports
from dev.toolchain import assets_directory, kubectl_path

_READY_SECONDS = 60.0
_STOP_SECONDS = 5.0
_REQUEST_SECONDS = 5.0
_KUBECTL_SECONDS = 60.0
_TOKEN_SECONDS = 24 * 3600
_MAX_RESPONSE_BYTES = 64_000_000
_KEYS_PER_PAGE = 500
_READY_PATHS = {ETCD: "/health", API_SERVER: "/readyz", CONTROLLER_MANAGER: "/healthz", SCHEDULER: "/healthz"}


class KubectlError(RuntimeError):
    """kubectl failed; the message is what it wrote to standard error."""


class ControlPlane:
    """etcd, kube-apiserver, kube-controller-manager and kube-scheduler on free ports of 127.0.0.1.

    A context manager. There is no node: pods stay pending until something registers one. Everything lies in one
    directory (``log/`` has a log file per part); objects in it survive ``stop`` and a later ``start``.
    etcd itself is open to every user of the machine: use it for development and tests only.
    """

    def __init__(self, directory: Path, *, assets: Path | None = None) -> None:
        """Describes the control plane; nothing is started yet.

        Args:
            directory: Work directory, created if needed.
            assets: Directory of the four binaries; None builds or finds them (``dev.toolchain``).
        """
        self._layout = commands.Layout(directory.resolve())
        self._assets = assets
        self._tokens = credentials.Tokens()
        self._ports = commands.Ports(*free_ports(5))
        self._parts: dict[str, ManagedProcess] = {}
        self._lock: TextIO | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """Address of the API server."""
        return f"https://127.0.0.1:{self._ports.api_server}"

    @property
    def token(self) -> str:
        """Bearer token of the administrator (group ``system:masters``)."""
        return self._tokens.admin

    @property
    def ca_file(self) -> Path:
        """Certificate authority that signed the API server's certificate (PEM)."""
        return self._layout.ca_file

    @property
    def kubeconfig(self) -> Path:
        """The kubeconfig file of the administrator."""
        return self._layout.kubeconfig("admin")

    def process(self, part: str) -> ManagedProcess:
        """The process of a part: ``etcd``, ``kube-apiserver``, ``kube-controller-manager`` or ``kube-scheduler``.

        Raises:
            ProcessError: there is no such part, or the control plane was never started.
        """
        if part not in PARTS:
            raise ProcessError(f"there is no part {part!r}: the parts are {', '.join(PARTS)}")
        if part not in self._parts:
            raise ProcessError("the control plane was not started")
        return self._parts[part]

    def start(self) -> None:
        """Starts all parts and waits until they are ready.

        Raises:
            ProcessError: a part ended or was not ready after 60 s, with the end of its log; or the directory is in
                use, by this or another control plane.
            ToolchainError: the binaries could not be found or built.
        """
        self._lock_directory()
        try:
            if not self._parts:
                self._prepare()
            # The controllers give up when the API server does not answer within 10 s, so they come second.
            for group in ((ETCD, API_SERVER), (CONTROLLER_MANAGER, SCHEDULER)):
                for part in group:
                    self._parts[part].start()
                for part in group:
                    self._wait_ready(part)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stops all parts, the clients before their servers; parts that ended already are no error."""
        for group in ((CONTROLLER_MANAGER, SCHEDULER), (API_SERVER,), (ETCD,)):
            processes = [self._parts[part] for part in group if part in self._parts]
            for process in processes:
                process.request_stop()
            for process in processes:
                process.stop(timeout=_STOP_SECONDS)
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def kill(self, part: str) -> None:
        """Kills a part (SIGKILL)."""
        self.process(part).kill()

    def pause(self, part: str) -> None:
        """Freezes a part (SIGSTOP): its connections stay open and nobody answers."""
        self.process(part).pause()

    def resume(self, part: str) -> None:
        """Lets a paused part go on (SIGCONT)."""
        self.process(part).resume()

    def restart(self, part: str) -> None:
        """Stops a part if it runs, starts it with the same ports and data, and waits until it is ready.

        Raises:
            ProcessError: it ended again or was not ready after 60 s.
        """
        self.process(part).stop(timeout=_STOP_SECONDS)
        self._start_part(part)

    def compact(self) -> int:
        """Discards the history of all objects up to now, in etcd and in the API server's watch cache.

        The API server answers from its cache where it can, so it is restarted after etcd's compaction. Watches and
        lists that continue from an older resource version then end with 410 Gone.

        Returns:
            The oldest resource version that is still known.
        """
        # https://etcd.io/docs/v3.6/dev-guide/api_grpc_gateway/
        answer = self._etcd("/v3/kv/range", {"key": "AA=="})
        revision = int(answer["header"]["revision"])
        self._etcd("/v3/kv/compaction", {"revision": revision, "physical": True})
        self.restart(API_SERVER)
        return revision

    def stored(self, prefix: str = "/registry/") -> dict[str, bytes]:
        """What etcd holds now: key and value of everything below a prefix, as the API server wrote it."""
        begin = prefix.encode()
        end = begin[:-1] + bytes([begin[-1] + 1])
        found: dict[str, bytes] = {}
        revision, more = "0", True
        while more:
            # Every page is read at the revision of the first one, so that together they are one moment.
            answer = self._etcd(
                "/v3/kv/range",
                {
                    "key": base64.b64encode(begin).decode(),
                    "range_end": base64.b64encode(end).decode(),
                    "limit": _KEYS_PER_PAGE,
                    "revision": revision,
                },
            )
            page = {
                base64.b64decode(item["key"]): base64.b64decode(item.get("value", "")) for item in answer.get("kvs", ())
            }
            found |= {key.decode(): value for key, value in page.items()}
            revision, more = answer["header"]["revision"], answer.get("more", False)
            begin = max(page, default=begin) + b"\0"
        return found

    def kubectl(
        self,
        *arguments: str,
        input: str | None = None,  # noqa: A002 - named as in subprocess.run
        check: bool = True,
        kubeconfig: Path | None = None,
    ) -> str:
        """Runs kubectl and returns its standard output.

        Args:
            *arguments: Command line after ``kubectl``.
            input: Text for its standard input (with ``-f -``).
            check: Whether a failure raises.
            kubeconfig: Whose rights to use; None is the administrator.

        Raises:
            KubectlError: kubectl failed and ``check`` is set, or it took longer than 60 s.
        """
        environment = {**os.environ, "KUBECACHEDIR": str(self._layout.directory / "kubectl-cache")}
        command = [str(kubectl_path()), f"--kubeconfig={kubeconfig or self.kubeconfig}", *arguments]
        try:
            result = subprocess.run(
                command,
                input=input,
                env=environment,
                capture_output=True,
                text=True,
                timeout=_KUBECTL_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise KubectlError(f"kubectl {arguments[0]} took longer than {_KUBECTL_SECONDS:g} s") from None
        if check and result.returncode != 0:
            raise KubectlError(result.stderr.strip())
        return result.stdout

    def find(self, path: str) -> dict[str, Any] | None:
        """Returns what the API server answers to a GET of a path as administrator, None if it is not there.

        Asking often this way costs a hundredth of starting kubectl.

        Raises:
            ProcessError: the API server does not answer, or answers something else.
        """
        status, content = self._request("GET", path)
        if status == http.client.NOT_FOUND:
            return None
        if status != http.client.OK:
            raise ProcessError(f"the API server answers {status} to {path}: {content[:500].decode(errors='replace')}")
        answer: dict[str, Any] = json.loads(content)
        return answer

    def send(
        self, method: str, path: str, manifest: object, *, content_type: str = "application/json"
    ) -> tuple[int, dict[str, Any]]:
        """Sends a manifest as administrator and returns the answer's status code and content, a refusal's, too.

        Raises:
            ProcessError: the API server does not answer.
        """
        status, content = self._request(method, path, json.dumps(manifest), {"Content-Type": content_type})
        return status, json.loads(content)

    def _request(
        self, method: str, path: str, body: str | None = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, bytes]:
        connection = _connection(self._ports.api_server, self._context)
        try:
            authorization = {"Authorization": f"Bearer {self._tokens.admin}"}
            connection.request(method, path, body, {**authorization, **(headers or {})})
            response = connection.getresponse()
            return response.status, response.read()
        except (OSError, http.client.HTTPException) as error:
            raise ProcessError(f"the API server does not answer: {error}") from error
        finally:
            connection.close()

    def find_object(self, kind: str, name: str, *, namespace: str) -> dict[str, Any] | None:
        """Returns an object as `find` does; a kind as kubectl calls one object, in full (``cronjob``).

        Raises:
            KeyError: the kind is not known (``dev.controlplane.paths``).
            ProcessError: the API server does not answer, or answers something else.
        """
        return self.find(object_path(kind, name, namespace=namespace))

    @cached_property
    def _context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.ca_file))

    def kubeconfig_for(self, namespace: str, service_account: str) -> Path:
        """Writes a kubeconfig file with a fresh token of a service account (TokenRequest, 24 h).

        Raises:
            ProcessError: the API server does not answer, or the service account does not exist.
        """
        # https://kubernetes.io/docs/reference/kubernetes-api/authentication-resources/token-request-v1/
        path = f"{object_path('serviceaccount', service_account, namespace=namespace)}/token"
        status, answer = self.send("POST", path, {"spec": {"expirationSeconds": _TOKEN_SECONDS}})
        if status != http.client.CREATED:
            raise ProcessError(f"there is no token of {service_account} in {namespace}: {answer.get('message')}")
        user = f"{namespace}.{service_account}"
        return self._write_kubeconfig(user, answer["status"]["token"], namespace=namespace)

    def _lock_directory(self) -> None:
        """Makes sure that nobody else works in the directory, until ``stop``."""
        self._layout.directory.mkdir(parents=True, exist_ok=True)
        lock = (self._layout.directory / "lock").open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            raise ProcessError(f"a control plane runs already in {self._layout.directory}") from None
        self._lock = lock

    def _prepare(self) -> None:
        assets = self._assets or assets_directory()
        layout, ports = self._layout, self._ports
        credentials.write_certificates(layout.ca_file.parent)
        credentials.write_service_account_key(layout.service_account_key)
        credentials.write_private(layout.token_file, self._tokens.static_token_file().encode())
        self._write_kubeconfig("admin", self._tokens.admin)
        self._write_kubeconfig(CONTROLLER_MANAGER, self._tokens.controller_manager)
        self._write_kubeconfig(SCHEDULER, self._tokens.scheduler)
        lines = {
            ETCD: commands.etcd_command(assets, layout, ports),
            API_SERVER: commands.api_server_command(assets, layout, ports),
            CONTROLLER_MANAGER: commands.controller_manager_command(assets, layout, ports),
            SCHEDULER: commands.scheduler_command(assets, layout, ports),
        }
        self._parts = {part: ManagedProcess(part, line, log=layout.log(part)) for part, line in lines.items()}

    def _write_kubeconfig(self, user: str, token: str, *, namespace: str = "default") -> Path:
        content = credentials.kubeconfig(
            url=self.url, ca_file=self.ca_file, token=token, user=user, namespace=namespace
        )
        return credentials.write_private(self._layout.kubeconfig(user), content)

    def _start_part(self, part: str) -> None:
        self.process(part).start()
        self._wait_ready(part)

    def _wait_ready(self, part: str) -> None:
        self.process(part).wait_ready(self._ready_check(part), timeout=_READY_SECONDS)

    def _ready_check(self, part: str) -> Callable[[], bool]:
        ports = self._ports
        port = {
            ETCD: ports.etcd,
            API_SERVER: ports.api_server,
            CONTROLLER_MANAGER: ports.controller_manager,
            SCHEDULER: ports.scheduler,
        }[part]
        context = None if part == ETCD else ssl.create_default_context(cafile=str(self.ca_file))
        return lambda: self._answers(port, _READY_PATHS[part], context)

    @staticmethod
    def _answers(port: int, path: str, context: ssl.SSLContext | None) -> bool:
        connection = _connection(port, context)
        try:
            connection.request("GET", path)
            return connection.getresponse().status == http.client.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def _etcd(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        connection = _connection(self._ports.etcd, None)
        try:
            connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
            response = connection.getresponse()
            content = response.read(_MAX_RESPONSE_BYTES + 1)
        except (OSError, http.client.HTTPException) as error:
            raise ProcessError(f"etcd does not answer: {error}") from error
        finally:
            connection.close()
        if response.status != http.client.OK:
            raise ProcessError(f"etcd answers {response.status} to {path}: {content.decode(errors='replace')}")
        if len(content) > _MAX_RESPONSE_BYTES:
            raise ProcessError(f"etcd answers to {path} with more than {_MAX_RESPONSE_BYTES} bytes")
        answer: dict[str, Any] = json.loads(content)
        return answer


def _connection(port: int, context: ssl.SSLContext | None) -> http.client.HTTPConnection:
    if context is None:
        return http.client.HTTPConnection("127.0.0.1", port, timeout=_REQUEST_SECONDS)
    return http.client.HTTPSConnection("127.0.0.1", port, timeout=_REQUEST_SECONDS, context=context)
