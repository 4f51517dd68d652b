"""Settings come from the environment; whatever is wrong is one line without values."""

from pathlib import Path

import pytest

from b3lb import settings
from b3lb.crypto import KeyRing
from b3lb.db.engine import Keepalive, connection_parameters
from b3lb.settings import (
    DatabaseSettings,
    EncryptionSettings,
    LogSettings,
    MigrationSettings,
    SettingsError,
    load_settings,
    own_namespace,
)

URL = "postgresql://b3lb:geheim@db:5432/b3lb"


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DATABASE_URL", "DATABASE_DIRECT_URL", "ENCRYPTION_KEYS", "LOG_FORMAT", "LOG_LEVEL"):
        monkeypatch.delenv(f"B3LB_{name}", raising=False)


class Everything(DatabaseSettings, EncryptionSettings, LogSettings):
    """What a program makes of the shared parts."""


def test_a_program_reads_all_parts_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = KeyRing.generate("k7").export()
    monkeypatch.setenv("B3LB_DATABASE_URL", URL)
    monkeypatch.setenv("B3LB_ENCRYPTION_KEYS", keys)
    monkeypatch.setenv("B3LB_LOG_LEVEL", "WARNING")
    settings = load_settings(Everything)
    assert settings.url == URL
    assert settings.direct_url == URL
    assert settings.key_ring.export() == keys
    assert (settings.log_format, settings.log_level) == ("json", "warning")


def test_keepalives_can_be_told_and_have_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("B3LB_DATABASE_URL", URL)
    assert load_settings(DatabaseSettings).keepalive == Keepalive(idle=5, interval=5, count=3)
    monkeypatch.setenv("B3LB_DATABASE_KEEPALIVE_IDLE_SECONDS", "60")
    monkeypatch.setenv("B3LB_DATABASE_KEEPALIVE_INTERVAL_SECONDS", "10")
    monkeypatch.setenv("B3LB_DATABASE_KEEPALIVE_COUNT", "2")
    keepalive = load_settings(DatabaseSettings).keepalive
    assert keepalive == Keepalive(idle=60, interval=10, count=2)
    parameters = connection_parameters("test", keepalive)
    assert (parameters["keepalives_idle"], parameters["tcp_user_timeout"]) == (60, 80_000)
    monkeypatch.setenv("B3LB_DATABASE_KEEPALIVE_COUNT", "0")
    with pytest.raises(SettingsError, match="B3LB_DATABASE_KEEPALIVE_COUNT"):
        load_settings(DatabaseSettings)


def test_the_direct_url_goes_past_the_pooler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("B3LB_DATABASE_URL", URL)
    monkeypatch.setenv("B3LB_DATABASE_DIRECT_URL", "postgres://b3lb@primary/b3lb")
    settings = load_settings(DatabaseSettings)
    assert settings.url == URL
    assert settings.direct_url == "postgres://b3lb@primary/b3lb"


def test_either_url_is_enough_to_migrate(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingsError, match="B3LB_DATABASE_URL is not set"):
        load_settings(MigrationSettings).direct_url  # noqa: B018 - the property raises
    monkeypatch.setenv("B3LB_DATABASE_DIRECT_URL", URL)
    assert load_settings(MigrationSettings).direct_url == URL


def test_representations_hold_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("B3LB_DATABASE_URL", URL)
    monkeypatch.setenv("B3LB_ENCRYPTION_KEYS", KeyRing.generate().export())
    text = repr(load_settings(Everything)) + load_settings(Everything).model_dump_json()
    assert "geheim" not in text
    assert "k1:" not in text


@pytest.mark.parametrize("empty", [None, ""])
def test_everything_that_is_missing_is_named_in_one_line(empty: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    if empty is not None:
        monkeypatch.setenv("B3LB_DATABASE_URL", empty)
    monkeypatch.setenv("B3LB_LOG_FORMAT", "xml")
    with pytest.raises(SettingsError) as caught:
        load_settings(Everything)
    message = str(caught.value)
    assert "B3LB_DATABASE_URL is not set" in message
    assert "B3LB_ENCRYPTION_KEYS is not set" in message
    assert "B3LB_LOG_FORMAT: Input should be 'json' or 'console'" in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("mysql://b3lb:geheim@db/b3lb", "a database URL begins with postgresql://"),
        ("host=db password=geheim", "a database URL begins with postgresql://"),
        ("postgresql://b3lb:geheim%zz@db/b3lb", "the database URL is malformed"),
        ("postgresql://b3lb:geheim@db/b3lb?nonsense=1", "the database URL is malformed"),
    ],
)
def test_a_wrong_url_is_not_repeated(url: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("B3LB_DATABASE_URL", url)
    with pytest.raises(SettingsError, match=f"B3LB_DATABASE_URL: {message}") as caught:
        load_settings(DatabaseSettings)
    assert "geheim" not in str(caught.value)
    assert caught.value.__suppress_context__


def test_wrong_keys_are_named_and_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("B3LB_ENCRYPTION_KEYS", "k1:Z2VoZWlt")
    with pytest.raises(SettingsError, match="B3LB_ENCRYPTION_KEYS: encryption key 1 has 6 bytes") as caught:
        load_settings(EncryptionSettings)
    assert "Z2VoZWlt" not in str(caught.value)


def test_the_service_accounts_namespace_is_the_default(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "namespace"
    file.write_text("b3lb\n")
    monkeypatch.setattr(settings, "_NAMESPACE_FILE", file)
    assert own_namespace() == "b3lb"
    monkeypatch.setattr(settings, "_NAMESPACE_FILE", tmp_path / "missing")
    assert own_namespace() == "default"
