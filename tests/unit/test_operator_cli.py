"""The command line and the settings: what goes in, and one clear line for what is wrong."""

from __future__ import annotations

import base64
import subprocess
import sys
from pathlib import Path

import pytest

from b3lb.crypto import KeyRing
from b3lb.settings import load_settings
from b3lb_operator import cli
from b3lb_operator.settings import OperatorSettings

KEYS = f"k1:{base64.b64encode(bytes(32)).decode()}"


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setenv("B3LB_DATABASE_URL", "postgresql://user:hidden@db/b3lb")
    monkeypatch.setenv("B3LB_ENCRYPTION_KEYS", KEYS)
    return monkeypatch


def test_keygen_prints_an_entry_that_the_settings_take(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["keygen", "--id", "2026"]) == 0
    ring = KeyRing.parse(capsys.readouterr().out.strip())
    assert ring.key_ids == ("2026",)


def test_keygen_refuses_an_id_that_the_settings_would_refuse(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["keygen", "--id", "a:b"]) == 78
    assert "ID" in capsys.readouterr().err


def test_version_and_help_end_well(capsys: pytest.CaptureFixture[str]) -> None:
    for option in ("--version", "--help"):
        with pytest.raises(SystemExit) as ended:
            cli.main([option])
        assert ended.value.code == 0
        assert "b3lb-operator" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("B3LB_DATABASE_URL", "", "B3LB_DATABASE_URL is not set"),
        ("B3LB_DATABASE_URL", "mysql://user:hidden@db/b3lb", "B3LB_DATABASE_URL: "),
        ("B3LB_ENCRYPTION_KEYS", "", "B3LB_ENCRYPTION_KEYS is not set"),
        ("B3LB_ENCRYPTION_KEYS", "hidden", "B3LB_ENCRYPTION_KEYS: "),
        ("B3LB_NAMESPACES", " , ", "B3LB_NAMESPACES: "),
        ("B3LB_NAMESPACES", "a,B", "B3LB_NAMESPACES: "),
        ("B3LB_HTTP_PORT", "http", "B3LB_HTTP_PORT: "),
        ("B3LB_HTTP_PORT", "65536", "B3LB_HTTP_PORT: "),
        ("B3LB_TASK_QUEUE_CORE", "a b", "B3LB_TASK_QUEUE_CORE: "),
        ("B3LB_LOG_FORMAT", "xml", "B3LB_LOG_FORMAT: "),
    ],
)
def test_a_wrong_variable_is_one_line_that_names_it_and_exit_78(
    environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, value: str, expected: str
) -> None:
    environment.setenv(name, value)
    assert cli.main([]) == 78
    error = capsys.readouterr().err
    assert error.startswith(f"b3lb-operator: {expected}")
    assert error.count("\n") == 1
    assert "hidden" not in error


def test_without_access_to_kubernetes_one_line_says_so(tmp_path: Path) -> None:
    variables = {
        "PATH": "/usr/bin",
        "HOME": str(tmp_path),
        "KUBECONFIG": str(tmp_path / "missing"),
        "B3LB_DATABASE_URL": "postgresql://db/b3lb",
        "B3LB_ENCRYPTION_KEYS": KEYS,
    }
    command = [sys.executable, "-m", "b3lb_operator.cli"]
    result = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=30, check=False)
    assert result.returncode == 78
    assert "no access to a Kubernetes API" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.usefixtures("environment")
def test_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("POD_IP", raising=False)
    settings = load_settings(OperatorSettings)
    assert (settings.http_address, settings.http_port) == ("", 8080)
    assert settings.namespaces == ("default",)
    assert settings.direct_url == settings.url
    assert settings.job_defaults.queue_labels == {}
    assert (settings.objects, settings.leader_election, settings.database_pool_size) == ((), False, 3)


@pytest.mark.usefixtures("environment")
def test_probes_are_answered_at_the_pods_address_alone_where_it_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POD_IP", "10.1.2.3")
    assert load_settings(OperatorSettings).http_address == "10.1.2.3"


def test_everything_reaches_the_cron_jobs(environment: pytest.MonkeyPatch) -> None:
    for name, value in {
        "B3LB_JOB_IMAGE": "b3lb:1",
        "B3LB_JOB_DATABASE_SECRET": "db",
        "B3LB_JOB_ENCRYPTION_SECRET": "keys",
        "B3LB_TASK_QUEUE_CORE": "night",
        "B3LB_TASK_QUEUE_STATISTICS": "day",
        "B3LB_LOG_FORMAT": "console",
        "B3LB_LOG_LEVEL": "debug",
        "B3LB_NAMESPACES": "one, two,one",
        "B3LB_OBJECTS": "b3lb-cluster-default,b3lb-queue-core",
        "B3LB_LEADER_ELECTION": "true",
        "B3LB_DATABASE_POOL_SIZE": "5",
    }.items():
        environment.setenv(name, value)
    settings = load_settings(OperatorSettings)
    defaults = settings.job_defaults
    assert (defaults.image, defaults.database_secret, defaults.encryption_secret) == ("b3lb:1", "db", "keys")
    assert (defaults.queue_labels, defaults.log_format, defaults.log_level) == (
        {"core": "night", "statistics": "day"},
        "console",
        "debug",
    )
    assert settings.namespaces == ("one", "two")
    assert settings.objects == ("b3lb-cluster-default", "b3lb-queue-core")
    assert (settings.leader_election, settings.database_pool_size) == (True, 5)


@pytest.mark.usefixtures("environment")
def test_no_representation_holds_a_secret() -> None:
    settings = load_settings(OperatorSettings)
    assert "hidden" not in repr(settings)
    assert KEYS not in repr(settings)
