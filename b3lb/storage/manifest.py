"""The manifest beside each record set: enough to rebuild its rows when the database is lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Literal, Self
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, model_validator

from b3lb.storage.interface import ObjectNotFoundError, Storage, StorageError, check_key
from b3lb.storage.layout import MANIFEST_NAME, RECORD_SETS, manifest_key

MOST_BYTES = 1 << 20
VERSION = 1
_MOST_WRITES = 20

_SHA256 = r"^[0-9a-f]{64}$"


class ManifestError(StorageError):
    """An object that should be a manifest is none, or of a newer program; the message says what is wrong where."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)


class ArchiveEntry(_Part):
    """The archive as the node sent it."""

    key: str = Field(max_length=512)
    size: int = Field(ge=0)
    sha256: str = Field(pattern=_SHA256)


class VideoEntry(_Part):
    """A rendered video; ``nonce`` names it in its public address, ``duration_milliseconds`` is its length."""

    profile: str = Field(max_length=253)
    key: str = Field(max_length=512)
    size: int = Field(ge=0)
    sha256: str = Field(pattern=_SHA256)
    nonce: str = Field(max_length=128, repr=False)
    content_type: str = Field(max_length=128)
    poster_key: str | None = Field(default=None, max_length=512)
    duration_milliseconds: int | None = Field(default=None, ge=0)
    width: int | None = Field(default=None, ge=1)
    height: int | None = Field(default=None, ge=1)
    finished_at: AwareDatetime


class UnrenderedEntry(_Part):
    """A profile without a video: PENDING while it is still to be rendered, else FAILED or CANCELLED; and why."""

    profile: str = Field(max_length=253)
    state: Literal["PENDING", "FAILED", "CANCELLED"]
    reason: str | None = Field(default=None, max_length=253)
    message: str | None = None
    finished_at: AwareDatetime | None = None

    @model_validator(mode="after")
    def _check_end(self) -> Self:
        if self.state == "FAILED" and (self.reason is None or self.finished_at is None):
            raise ValueError("what FAILED has a reason and a time")
        return self


class Manifest(_Part):
    """A record set: whose it is, when the meeting was, and which objects belong to it. Times are UTC."""

    version: int = Field(default=VERSION, ge=1, le=VERSION)
    install_id: UUID
    namespace: str = Field(max_length=63)
    record_set_id: UUID
    record_id: str = Field(max_length=256)
    meeting_id: str = Field(max_length=256)
    meeting_name: str = Field(default="", max_length=1024)
    tenant_slug: str | None = Field(default=None, max_length=10)
    sub_id: int | None = Field(default=None, ge=0, le=999)
    cluster_name: str | None = Field(default=None, max_length=253)
    node_name: str | None = Field(default=None, max_length=253)
    uploaded_at: AwareDatetime
    started_at: AwareDatetime | None = None
    ended_at: AwareDatetime
    duration_milliseconds: int | None = Field(default=None, ge=0)
    participants: int | None = Field(default=None, ge=0)
    metadata: Mapping[str, str] = Field(default_factory=dict)
    legal_hold: bool = False
    legal_hold_reason: str | None = None
    archive: ArchiveEntry | None
    videos: tuple[VideoEntry, ...] = ()
    unrendered: tuple[UnrenderedEntry, ...] = ()


def write_manifest(storage: Storage, manifest: Manifest) -> None:
    """Store a manifest in place of an older one.

    Raises:
        StorageError: The storage failed.
    """
    key = manifest_key(manifest.namespace, manifest.record_set_id)
    with storage.create(key, content_type="application/json") as writer:
        writer.write(manifest.model_dump_json(indent=1).encode())
        writer.publish()


def settle_manifest(storage: Storage, read: Callable[[], Manifest | None]) -> bool:
    """Store what ``read`` returns until it is the same after it was stored as before; return False if it never is.

    So whoever writes last has seen everything, and nothing is locked while the storage is written to. Of a record set
    that is deleted meanwhile nothing is left: a manifest would bring it back when the index is rebuilt.

    Args:
        storage: Where to.
        read: Returns the manifest by the rows (`b3lb.db.manifests.manifest_of`); None: there is nothing to store.

    Raises:
        StorageError: The storage failed.
    """
    manifest = read()
    for _ in range(_MOST_WRITES):
        if manifest is None:
            return True
        write_manifest(storage, manifest)
        written, manifest = manifest, read()
        if manifest == written:
            return True
        if manifest is None:
            storage.delete(manifest_key(written.namespace, written.record_set_id))
    return manifest is None


def read_manifest(storage: Storage, key: str) -> Manifest:
    """Return the manifest with this key.

    Raises:
        ObjectNotFoundError: There is none.
        ManifestError: It is none.
        StorageError: The storage failed.
    """
    with storage.open(key, length=MOST_BYTES + 1) as file:
        text = file.read()
    if len(text) > MOST_BYTES:
        raise ManifestError(f"{key}: more than {MOST_BYTES} bytes")
    try:
        return Manifest.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise ManifestError(f"{key}: {place}: {first['msg']}" if place else f"{key}: {first['msg']}") from None


def list_manifests(storage: Storage, namespace: str) -> Iterator[tuple[Manifest, datetime] | ManifestError]:
    """Go through a namespace's manifests and when each was written; what cannot be read comes as its error."""
    for found in storage.list(f"{RECORD_SETS}{check_key(namespace)}/"):
        if not found.key.endswith(f"/{MANIFEST_NAME}"):
            continue
        try:
            yield read_manifest(storage, found.key), found.modified_at
        except ManifestError as error:
            yield error
        except ObjectNotFoundError:
            # Deleted since it was listed.
            continue
