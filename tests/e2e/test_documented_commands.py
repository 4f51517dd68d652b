"""Whoever types what README and docs say, in order, meets no error: on an empty cluster, from installation to removal.

The process kubelet runs the pods, and the example's server is replaced by simulated ones; all else is as written.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml

from dev.environment import REPOSITORY, Environment, Installation
from dev.farm.process import Farm
from dev.processes import free_ports
from dev.scenario import Scenario, example_objects
from dev.toolchain import kubectl_path
from tests.e2e.conftest import assert_no_problems
from tests.e2e.documented import Block, Shell, command_blocks, shell_environment

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(240)]

NAMESPACE = "b3lb"
IMAGES = ("registry.example.org/b3lb:0.1.0", "registry.example.org/b3lb:0.1")
NOT_RUN = "not run by the tests: "
BACKGROUND = "run in the background by the tests"
ELSEWHERE = "run by "
DOCUMENTS = (
    "docs/installation.md",
    "README.md",
    "docs/cli.md",
    "docs/production.md",
    "docs/runbooks.md",
    "docs/upgrade.md",
    "docs/running.md",
)
"""In the order in which somebody follows them; the last but one removes the release, and the last one needs none."""


@dataclass
class Reader:
    """Somebody with a checkout, a cluster and a farm; ``read`` are the documents that were followed."""

    scenario: Scenario
    checkout: Path
    environment: dict[str, str]
    read: list[str] = field(default_factory=list)

    @property
    def installation(self) -> Installation:
        """The release that the documents install."""
        return self.scenario.installation

    def shell(self, document: str) -> Shell:
        """Return a new shell, as for each document."""
        variables = dict(self.environment)
        if document == "docs/running.md":
            variables["B3LB_DATABASE_URL"] = self.installation.environment.postgres.create_database("documented")
            variables |= {"B3LB_HTTP_ADDRESS": "127.0.0.1", "B3LB_HTTP_PORT": str(free_ports(1)[0])}
        elif document == "docs/upgrade.md":
            variables["NEW_DATABASE_URL"] = self.installation.environment.postgres.create_database("moved")
        elif document in {"README.md", "docs/cli.md", "docs/runbooks.md"}:
            variables |= {"B3LB_DATABASE_URL": self.installation.database_url, "B3LB_NAMESPACE": NAMESPACE}
        return Shell(self.checkout, variables)


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory, assets: Path, helm_program: Path) -> Iterator[Reader]:
    """A checkout with examples/minimal.yaml filled in, and a cluster without anything of b3lb."""
    directory = tmp_path_factory.mktemp("documented")
    with (
        Environment(directory / "environment", assets=assets) as environment,
        Farm(nodes=3, meetings=2, attendees=3, frozen=True, tenants=[("UNI", 1)]) as farm,
    ):
        if not environment.isolated:
            pytest.skip("a bundled database takes root")
        environment.name_image(*IMAGES)
        scenario = Scenario(Installation(environment, NAMESPACE, bundled_database=True), farm)
        kubeconfig = directory / "kubeconfig"
        kubeconfig.write_text(environment.control_plane.kubeconfig.read_text(encoding="utf-8"), encoding="utf-8")
        kubeconfig.chmod(0o600)
        programs = [kubectl_path(), helm_program]
        yield Reader(scenario, checkout(directory, farm), shell_environment(kubeconfig, programs))


def checkout(directory: Path, farm: Farm) -> Path:
    """Make a checkout whose example names the simulated servers: bbb1, bbb2 and bbb3."""
    made = directory / "checkout"
    made.mkdir()
    for name in ("charts", "crds", "deploy", ".venv"):
        (made / name).symlink_to(REPOSITORY / name)
    shutil.copytree(REPOSITORY / "examples", made / "examples")
    objects = yaml.safe_dump_all(example_objects(farm.nodes), allow_unicode=True)
    (made / "examples" / "minimal.yaml").write_text(objects, encoding="utf-8")
    return made


def ready(reader: Reader) -> bool:
    """Whether every server is Ready."""
    names = reader.installation.kubectl("get", "bbbnodes", "-o", "name").split()
    conditions = [reader.scenario.condition(name.rpartition("/")[2], "Ready") for name in names]
    return bool(conditions) and set(conditions) == {"True/Responding"}


def servers_are_ready(reader: Reader) -> None:
    """What was installed and applied works."""
    reader.scenario.expect("every server is Ready", lambda: ready(reader), within=30)
    # README drains one of them, and nobody wants to wait for its users.
    reader.scenario.farm.control.end_meetings(reader.scenario.farm.nodes[2].name)


def third_server_is_gone(reader: Reader) -> None:
    """README has deleted it."""
    assert not reader.scenario.exists("bbbnode", "bbb3")


def nothing_is_left(reader: Reader) -> None:
    """The namespace and the definitions are gone, and no program has complained."""
    plane = reader.installation.environment.control_plane
    reader.scenario.expect(
        "the namespace is gone", lambda: plane.find(f"/api/v1/namespaces/{NAMESPACE}") is None, within=30
    )
    assert "b3lb.io" not in reader.installation.kubectl("get", "crds", "-o", "name")
    assert_no_problems(reader.installation)


AFTERWARDS: dict[str, Callable[[Reader], None]] = {
    "docs/installation.md": servers_are_ready,
    "README.md": third_server_is_gone,
    "docs/upgrade.md": nothing_is_left,
    "docs/running.md": servers_are_ready,
}


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_documented_command_that_can_run_here_runs_without_an_error(reader: Reader, document: str) -> None:
    if reader.read != list(DOCUMENTS[: DOCUMENTS.index(document)]):
        pytest.fail("the document before was not followed to its end", pytrace=False)
    shell = reader.shell(document)
    try:
        for block in command_blocks(document):
            follow(shell, block)
        if document in AFTERWARDS:
            AFTERWARDS[document](reader)
    finally:
        shell.stop()
    reader.read.append(document)


def follow(shell: Shell, block: Block) -> None:
    """Run a block, unless its mark says otherwise."""
    if block.mark == BACKGROUND:
        shell.start(block)
    elif not block.mark:
        shell.run(block)


def test_a_block_that_is_not_run_says_why_or_which_test_runs_it() -> None:
    for document in DOCUMENTS:
        for block in command_blocks(document):
            if block.mark.startswith(ELSEWHERE):
                test = REPOSITORY / block.mark.removeprefix(ELSEWHERE)
                assert f'command_blocks("{document}", "{block.section}")' in test.read_text(encoding="utf-8"), block
            else:
                assert block.mark in {"", BACKGROUND} or len(block.mark) > len(NOT_RUN), block
                assert not block.mark or block.mark.startswith((NOT_RUN, BACKGROUND)), block
