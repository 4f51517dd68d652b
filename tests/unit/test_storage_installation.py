"""Whose storage it is when several ask at once."""

from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

from b3lb.storage.directory import DirectoryStorage
from b3lb.storage.installation import claim, read_install_id
from b3lb.storage.interface import StoredObject

ID = UUID(int=7)


class ClaimedMeanwhile(DirectoryStorage):
    """A storage that another one claims between the two looks at it."""

    def list(self, prefix: str = "") -> Iterator[StoredObject]:
        claim(DirectoryStorage(self.directory), ID)
        return super().list(prefix)

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.directory = directory


def test_a_storage_that_is_claimed_for_the_same_installation_meanwhile_is_ours(tmp_path: Path) -> None:
    storage = ClaimedMeanwhile(tmp_path)
    claim(storage, ID)
    assert read_install_id(storage) == ID
