"""Commands as they stand in the documentation: which there are, and a shell that runs them."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dev.environment import REPOSITORY
from dev.processes import ManagedProcess, last_lines

COMMANDS = frozenset({"sh", "console"})
"""Languages of blocks with commands; in `console` those behind `$ `."""
_OTHERS = frozenset({"text", "yaml", "ini"})
_FENCE = re.compile(r" *```(?P<language>\S*)")
_MARK = re.compile(r" *<!-- (?P<mark>(not )?run .+) -->")
_BASH = "/bin/bash"
_PROMPT = "$ "


@dataclass(frozen=True)
class Block:
    """A fenced block with commands, its place, and what the comment in front of it says of tests."""

    document: str
    line: int
    section: str
    text: str
    mark: str

    def __str__(self) -> str:
        return f"{self.document}:{self.line}"


def command_blocks(document: str, section: str | None = None) -> list[Block]:
    """Return a document's blocks with commands, in order; those of one section, if it is named.

    Raises:
        ValueError: A block has no language or an unknown one, so that nobody knows whether it holds commands.
    """
    text = (REPOSITORY / document).read_text(encoding="utf-8")
    return [block for block in _blocks(document, text) if section in {None, block.section}]


def _blocks(document: str, text: str) -> Iterator[Block]:
    section = mark = ""
    lines = enumerate(text.splitlines(), start=1)
    for number, line in lines:
        fence = _FENCE.match(line)
        if fence:
            content = "\n".join(_until_fence(lines))
            if fence["language"] in COMMANDS:
                commands = _commands(textwrap.dedent(content), fence["language"])
                yield Block(document, number, section, commands, mark)
            elif fence["language"] not in _OTHERS:
                raise ValueError(f"{document}:{number}: a block of the language {fence['language']!r}")
        elif line.startswith("#"):
            section = line.lstrip("# ")
        found = _MARK.fullmatch(line)
        if found or line.strip():
            mark = found["mark"] if found else ""


def _until_fence(lines: Iterator[tuple[int, str]]) -> Iterator[str]:
    for _, line in lines:
        if _FENCE.match(line):
            return
        yield line


def _commands(text: str, language: str) -> str:
    if language == "sh":
        return text
    return "\n".join(line.removeprefix(_PROMPT) for line in text.splitlines() if line.startswith(_PROMPT))


class Shell:
    """Runs blocks one after the other; what one exports the next one has, and any command that fails is an error."""

    def __init__(self, directory: Path, environment: Mapping[str, str], *, seconds: float = 90) -> None:
        """Describe it.

        Args:
            directory: Where the blocks are run.
            environment: Variables beside those of this process.
            seconds: How long a block may take.
        """
        self._directory = directory
        self._exported = directory / "exported.sh"
        self._exported.write_text("", encoding="utf-8")
        self._environment = {**os.environ, **environment}
        self._seconds = seconds
        self._background: list[ManagedProcess] = []

    def run(self, block: Block) -> str:
        """Run a block and return its output, standard error included.

        Raises:
            AssertionError: A command failed or took too long; the message has the place and the end of the output.
        """
        exported = shlex.quote(str(self._exported))
        script = f"set -euo pipefail\n. {exported}\n{block.text}\nexport -p > {exported}\n"
        process = subprocess.Popen(
            [_BASH, "-c", script],
            cwd=self._directory,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        try:
            output, _ = process.communicate(timeout=self._seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            output, _ = process.communicate()
            raise AssertionError(f"{block} took longer than {self._seconds:g} s:\n{_end(output)}") from None
        assert process.returncode == 0, f"{block} failed:\n{_end(output)}"
        return output

    def start(self, block: Block) -> None:
        """Run a block that does not end by itself, until `stop`."""
        script = f"set -euo pipefail\n. {shlex.quote(str(self._exported))}\n{block.text}\n"
        process = ManagedProcess(
            str(block),
            [_BASH, "-c", script],
            log=self._directory / "background.log",
            environment=self._environment,
            directory=self._directory,
        )
        process.start()
        self._background.append(process)

    def stop(self) -> None:
        """End what was started, and see that it had not ended by itself.

        Raises:
            AssertionError: It had; the message has the end of its log.
        """
        ended = [process for process in self._background if not process.running]
        for process in self._background:
            process.stop(timeout=20)
        assert not ended, f"{ended[0].name} ended:\n{last_lines(self._directory / 'background.log')}"


def shell_environment(kubeconfig: Path, programs: Sequence[Path]) -> dict[str, str]:
    """Return the variables of somebody who has these programs in the path and this kubeconfig file."""
    path = os.pathsep.join([*(str(program.parent) for program in programs), os.environ.get("PATH", os.defpath)])
    return {"PATH": path, "KUBECONFIG": str(kubeconfig)}


def _end(output: str) -> str:
    return "\n".join(output.splitlines()[-30:])
