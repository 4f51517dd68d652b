"""An operator whose Secrets are not there yet: it says which, waits, and begins by itself when they are."""

from __future__ import annotations

import asyncio
import base64
import json

import pytest
from structlog.testing import capture_logs

from b3lb.settings import load_settings
from b3lb_operator.credentials import RETRY_SECONDS, Credentials
from b3lb_operator.kinds import SECRET
from b3lb_operator.kube import UnavailableError
from b3lb_operator.settings import OperatorSettings, ProgramSettings, load_operator_settings
from tests.unit.operator_fakes import NAMESPACE, FakeKube, secret_manifest

pytestmark = [pytest.mark.looptime]

URL = "postgresql://user:hidden@db/b3lb"
KEYS = f"k1:{base64.b64encode(bytes(32)).decode()}"


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in ("B3LB_DATABASE_URL", "B3LB_DATABASE_DIRECT_URL", "B3LB_ENCRYPTION_KEYS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("B3LB_NAMESPACES", f"{NAMESPACE},other")
    monkeypatch.setenv("B3LB_WAIT_FOR_SECRETS", "true")
    return monkeypatch


def credentials(kube: FakeKube) -> Credentials:
    return Credentials(kube, load_settings(ProgramSettings))


async def test_each_missing_secret_is_named_once_and_they_are_used_as_soon_as_they_are_there() -> None:
    kube = FakeKube()
    waiting = credentials(kube)
    with capture_logs() as logs:
        task = asyncio.create_task(waiting.wait())
        await asyncio.sleep(60)
        missing = f"Secret {NAMESPACE}/b3lb-database does not exist"
        both = f"{missing}; Secret {NAMESPACE}/b3lb-encryption does not exist"
        assert waiting.problem() == f"waiting for Secrets: {both}"
        kube.put(SECRET, secret_manifest("b3lb-encryption", keys=KEYS))
        await asyncio.sleep(60)
        assert waiting.problem() == f"waiting for Secrets: {missing}"
        kube.put(SECRET, secret_manifest("b3lb-database", url=URL, directUrl=f"{URL}2"))
        settings = await asyncio.wait_for(task, 2 * RETRY_SECONDS)
    assert waiting.problem() is None
    assert (settings.url, settings.direct_url) == (URL, f"{URL}2")
    assert settings.encryption_keys.get_secret_value() == KEYS
    assert [(line["event"], line.get("problem")) for line in logs] == [
        ("waiting for Secrets", both),
        ("waiting for Secrets", missing),
        ("the Secrets are there", None),
    ]


async def test_what_the_environment_brings_is_not_looked_for(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("B3LB_DATABASE_URL", URL)
    environment.setenv("B3LB_DATABASE_DIRECT_URL", f"{URL}2")
    kube = FakeKube()
    kube.put(SECRET, secret_manifest("b3lb-encryption", keys=KEYS))
    settings = await credentials(kube).wait()
    assert (settings.url, settings.direct_url) == (URL, f"{URL}2")
    assert [path.rpartition("/")[2] for _, path, _ in kube.requests] == ["b3lb-encryption"]


@pytest.mark.parametrize(
    ("database", "expected"),
    [
        ({}, "Secret farm/b3lb-database has no key url"),
        ({"url": ""}, "Secret farm/b3lb-database has no key url"),
        ({"url": "mysql://user:hidden@db"}, "Secret farm/b3lb-database: B3LB_DATABASE_URL: "),
        ({"url": URL, "directUrl": "hidden"}, "Secret farm/b3lb-database: B3LB_DATABASE_DIRECT_URL: "),
    ],
)
async def test_a_secret_of_no_use_is_told_without_its_value_and_waited_for(
    database: dict[str, str], expected: str
) -> None:
    kube = FakeKube()
    kube.put(SECRET, secret_manifest("b3lb-database", **database))
    kube.put(SECRET, secret_manifest("b3lb-encryption", keys=KEYS))
    waiting = credentials(kube)
    task = asyncio.create_task(waiting.wait())
    await asyncio.sleep(1)
    problem = waiting.problem() or ""
    assert problem.startswith(f"waiting for Secrets: {expected}")
    assert "hidden" not in problem
    kube.put(SECRET, secret_manifest("b3lb-database", url=URL))
    assert (await asyncio.wait_for(task, 2 * RETRY_SECONDS)).url == URL


async def test_bytes_that_are_no_text_are_told() -> None:
    kube = FakeKube()
    manifest = secret_manifest("b3lb-encryption")
    kube.put(SECRET, {**manifest, "data": {"keys": base64.b64encode(b"\xff\xfe").decode()}})
    kube.put(SECRET, secret_manifest("b3lb-database", url=URL))
    waiting = credentials(kube)
    task = asyncio.create_task(waiting.wait())
    await asyncio.sleep(1)
    assert waiting.problem() == f"waiting for Secrets: Secret {NAMESPACE}/b3lb-encryption: it is no text"
    task.cancel()


async def test_an_api_server_that_is_away_is_waited_for_as_well() -> None:
    kube = FakeKube()
    kube.put(SECRET, secret_manifest("b3lb-database", url=URL))
    kube.put(SECRET, secret_manifest("b3lb-encryption", keys=KEYS))
    kube.failure = lambda _method, _path: UnavailableError("the API server does not answer in time")
    waiting = credentials(kube)
    with capture_logs() as logs:
        task = asyncio.create_task(waiting.wait())
        await asyncio.sleep(60)
        assert waiting.problem() == "waiting for Secrets: the API server does not answer in time"
        kube.failure = lambda _method, _path: None
        await asyncio.wait_for(task, 2 * RETRY_SECONDS)
    assert json.dumps(logs).count("does not answer") == 1


def test_only_an_operator_that_is_told_to_wait_does_so(environment: pytest.MonkeyPatch) -> None:
    assert not isinstance(load_operator_settings(), OperatorSettings)
    environment.setenv("B3LB_DATABASE_URL", URL)
    assert not isinstance(load_operator_settings(), OperatorSettings)
    environment.setenv("B3LB_ENCRYPTION_KEYS", KEYS)
    assert isinstance(load_operator_settings(), OperatorSettings)
