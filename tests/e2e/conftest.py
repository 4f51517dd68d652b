"""One environment for all end-to-end tests; each test has an installation in a namespace of its own, and a farm."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from dev.environment import Environment, Installation
from dev.farm.process import Farm
from dev.scenario import NOTHING_DECLARED, SEAM_SECONDS, TICK_SECONDS, Scenario
from tests.e2e.leaks import known_values, leaks
from tests.migrated import create_migrated_database

_NAMESPACES = itertools.count(1)
_KINDS = "bbbqueues,bbbnodes,bbbsecrets,bbbtenants,bbbrecordprofiles,bbbclusters,cronjobs,jobs,secrets"
_UNEXPECTED = re.compile(
    r"Traceback|\"level\": ?\"(error|critical)\"|unclosed|was never (awaited|retrieved)|Task was destroyed"
)


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory, assets: Path, helm_program: Path) -> Iterator[Environment]:
    """Control plane, node and PostgreSQL of the session."""
    assert helm_program.exists()
    directory = tmp_path_factory.mktemp("environment")
    with Environment(directory, assets=assets) as running:
        yield running


@pytest.fixture
def expected_errors() -> list[str]:
    """Regular expressions of log lines that the test announces; a line that none of them matches fails it."""
    return []


@pytest.fixture
def installation(environment: Environment, expected_errors: list[str]) -> Iterator[Installation]:
    """A release in a namespace of its own, in which tests declare cluster and queue themselves.

    At the end its logs are searched for unannounced errors, and everything but core Secrets for their values.
    """
    namespace = f"e2e-{next(_NAMESPACES)}"
    with Installation(
        environment, namespace, values=NOTHING_DECLARED, create_database=create_migrated_database
    ) as running:
        yield running
        remove(running)
        found = leaks(running, known_values(running))
    assert_no_problems(running, expected_errors)
    assert found == []


@pytest.fixture(scope="module")
def release(environment: Environment) -> Iterator[Installation]:
    """A release that a file's tests share, for those in which no part of it comes to harm."""
    with Installation(
        environment, f"e2e-{next(_NAMESPACES)}", values=NOTHING_DECLARED, create_database=create_migrated_database
    ) as running:
        yield running


@pytest.fixture
def shared_installation(release: Installation, expected_errors: list[str]) -> Iterator[Installation]:
    """The file's release without anything of earlier tests; it is searched like one of the test's own.

    A file whose tests share their release has `installation` return this one.
    """
    before = declared(release)
    yield release
    remove(release)
    found = leaks(release, known_values(release))
    clear(release, before)
    assert_no_problems(release, expected_errors)
    assert found == []


@pytest.fixture
def start_farm() -> Iterator[Callable[..., Farm]]:
    """Return a function that starts a farm, stopped at the end of the test."""
    farms: list[Farm] = []

    def start(
        *,
        nodes: int = 3,
        meetings: int = 3,
        attendees: int = 5,
        frozen: bool = True,
        tenants: Sequence[tuple[str, int]] = (),
    ) -> Farm:
        farm = Farm(
            nodes=nodes, meetings=meetings, attendees=attendees, frozen=frozen, tenants=tenants, start_time="now"
        )
        farm.start()
        farms.append(farm)
        return farm

    yield start
    for farm in farms:
        farm.stop()


@pytest.fixture
def scenario(installation: Installation, start_farm: Callable[..., Farm]) -> Scenario:
    """An installation and a farm of three nodes that does not change by itself."""
    return Scenario(installation, start_farm(frozen=True))


@pytest.fixture
def ticking(installation: Installation, start_farm: Callable[..., Farm]) -> Scenario:
    """A farm of four healthy nodes, one of which refuses connections, polled by a running pod."""
    scenario = Scenario(installation, start_farm(nodes=5, frozen=True))
    scenario.declare()
    for node in scenario.farm.nodes:
        scenario.expect_condition(node.name, "Ready", "True/Responding", within=10)
    scenario.farm.control.set_behaviour(scenario.farm.nodes[0].name, "refused")
    scenario.start_job()
    within = 3 * TICK_SECONDS + SEAM_SECONDS + 10
    scenario.expect_condition(scenario.farm.nodes[0].name, "Ready", "False/Refused", within=within)
    return scenario


def remove(installation: Installation) -> None:
    """Take queues and Jobs away, so that no pod runs on; the rest stays in its namespace, which nobody watches."""
    installation.kubectl("delete", "bbbqueues", "--all", "--wait=true", "--timeout=20s")
    installation.kubectl("delete", "jobs", "--all", "--wait=true", "--timeout=20s", "--cascade=foreground")


def declared(installation: Installation) -> set[str]:
    """Return what there is of the kinds that tests and the operator make."""
    return set(installation.kubectl("get", _KINDS, "-o", "name").split())


def clear(installation: Installation, keep: set[str]) -> None:
    """Take away everything else that is declared, and all Events, and see that nothing of it is left."""
    installation.kubectl("annotate", "bbbnodes", "--all", "--overwrite", "b3lb.io/force-delete=true")
    gone = declared(installation) - keep
    if gone:
        installation.kubectl("delete", *sorted(gone), "--ignore-not-found", "--timeout=20s")
    installation.kubectl("delete", "events", "--all")
    assert declared(installation) == keep


def assert_no_problems(installation: Installation, expected: Sequence[str] = ()) -> None:
    """The logs of a release have no errors but those that match one of the regular expressions."""
    problems = list(_problems(installation, [re.compile(pattern) for pattern in expected]))
    assert not problems, "unannounced errors in the logs:\n" + "\n".join(problems[:20])


def _problems(installation: Installation, expected: list[re.Pattern[str]]) -> Iterator[str]:
    """Yield the lines of the operator's and the pods' logs that speak of an error that nobody announced."""
    for log in installation.logs():
        lines = log.read_text(errors="replace").splitlines()
        for number, line in enumerate(lines):
            if _UNEXPECTED.search(line) and not any(pattern.search(line) for pattern in expected):
                # A traceback says what happened in its last line.
                following = lines[number + 1 : number + 30]
                end = next((text for text in following if not text.startswith((" ", "\t"))), "")
                yield f"{log.parent.name}/{log.name}: {line[:400]} {end[:400]}"
