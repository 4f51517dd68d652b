"""Which storage the environment names."""

from pathlib import Path
from typing import Any

import pytest

from b3lb.settings import SettingsError, load_settings
from b3lb.storage.directory import DirectoryStorage
from b3lb.storage.s3 import S3Storage
from b3lb.storage.settings import StorageSettings, open_storage


def test_a_directory_is_opened_as_it_is(tmp_path: Path) -> None:
    assert isinstance(open_storage(StorageSettings(storage_directory=tmp_path)), DirectoryStorage)
    assert list(tmp_path.iterdir()) == []


def test_a_bucket_is_opened_without_a_request_and_its_secret_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "BUCKET": "recordings",
        "ENDPOINT": "https://s3.example.org",
        "ACCESS_KEY_ID": "id",
        "SECRET_ACCESS_KEY": "hidden",
        "REGION": "eu-central-1",
    }.items():
        monkeypatch.setenv(f"B3LB_S3_{name}", value)
    settings = load_settings(StorageSettings)
    storage = open_storage(settings)
    assert isinstance(storage, S3Storage)
    assert "hidden" not in repr(settings) + repr(storage)
    url = storage.presign("a/b.mp4", seconds=60)
    assert url is not None
    assert url.startswith("https://s3.example.org/recordings/a/b.mp4?")
    assert "hidden" not in url


def test_players_get_urls_of_the_public_end_point() -> None:
    storage = open_storage(
        StorageSettings(
            s3_bucket="recordings",
            s3_endpoint="http://s3.internal:9000",
            s3_public_endpoint="https://media.example.org",
            s3_access_key_id="id",
            s3_secret_access_key="hidden",
        )
    )
    url = storage.presign("a", seconds=60)
    assert url is not None
    assert url.startswith("https://media.example.org/recordings/a?")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "either B3LB_STORAGE_DIRECTORY or B3LB_S3_BUCKET"),
        ({"storage_directory": Path("/no/such/directory"), "s3_bucket": "abc"}, "either"),
        ({"storage_directory": Path("/no/such/directory")}, "B3LB_STORAGE_DIRECTORY: not a directory"),
        ({"s3_bucket": "abc", "s3_access_key_id": "a"}, "both"),
        ({"s3_bucket": "abc", "s3_endpoint": "no url"}, "B3LB_S3_"),
    ],
)
def test_a_storage_that_cannot_be_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        open_storage(StorageSettings(**given))
