"""Storage in a bucket of an S3 server, by boto3.

A large object is sent as a multipart upload to its key, a small one as a whole: either appears at once or not at all,
and what was begun is found again by the list of multipart uploads. Buckets are addressed by path unless told otherwise,
and checksums are sent only where S3 demands them: servers other than Amazon's know no more for certain.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, BinaryIO, Self

import boto3
import botocore.config
import botocore.exceptions

from b3lb.storage.interface import (
    CHUNK_BYTES,
    Deleted,
    ObjectNotFoundError,
    StorageError,
    StorageFullError,
    StoredObject,
    Unfinished,
    check_key,
    check_prefix,
)
from b3lb.storage.pieces import Pieces
from b3lb.storage.s3_reader import S3Reader

LEAST_PART_BYTES = 5 << 20
"""S3's own; only the last part of an upload may be smaller."""

_MISSING = frozenset({"NoSuchKey", "NotFound", "404", "NoSuchUpload"})
_FULL = frozenset({"QuotaExceeded", "EntityTooLarge", "XMinioStorageFull", "InsufficientStorage", "507"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket:
    """Which bucket, and how it is reached.

    ``endpoint`` and ``region`` are the client library's where they are None; ``public_endpoint`` stands in pre-signed
    URLs. ``part_bytes`` times 10,000 is the size of the largest object. Without credentials the library looks for them
    where it always does. Times are seconds; ``attempts`` are made of every request, with a back-off.
    """

    name: str
    endpoint: str | None = None
    public_endpoint: str | None = None
    region: str | None = None
    access_key_id: str | None = field(default=None, repr=False)
    secret_access_key: str | None = field(default=None, repr=False)
    path_style: bool = True
    part_bytes: int = 8 << 20
    attempts: int = 11
    connect_timeout: float = 5
    read_timeout: float = 30


class S3Storage:
    """Objects of one bucket; may be used by several threads."""

    def __init__(self, bucket: Bucket) -> None:
        if bucket.part_bytes < LEAST_PART_BYTES:
            raise ValueError(f"a part has at least {LEAST_PART_BYTES} bytes")
        self._bucket = bucket
        self._client = _client(bucket, bucket.endpoint)
        self._presigner = _client(bucket, bucket.public_endpoint) if bucket.public_endpoint else self._client

    def __repr__(self) -> str:
        return f"S3Storage({self._bucket!r})"

    def create(self, key: str, *, content_type: str = "application/octet-stream") -> S3Writer:
        """Begin an object; nothing is sent before a part is full."""
        return S3Writer(self._client, self._bucket, check_key(key), content_type)

    def open(self, key: str, *, start: int = 0, length: int | None = None) -> BinaryIO:
        """Open an object; a connection that breaks while it is read is made anew."""
        if length == 0:  # a range cannot be empty
            return io.BufferedReader(io.BytesIO())
        with faults(key):
            reader = S3Reader(
                self._client, bucket=self._bucket.name, key=check_key(key), start=start, length=length, faults=faults
            )
        return io.BufferedReader(reader, CHUNK_BYTES)

    def stat(self, key: str) -> StoredObject | None:
        """Return what is known of an object."""
        try:
            with faults(key):
                found = self._client.head_object(Bucket=self._bucket.name, Key=check_key(key))
        except ObjectNotFoundError:
            return None
        return StoredObject(key, found["ContentLength"], found["LastModified"].astimezone(UTC))

    def list(self, prefix: str = "") -> Iterator[StoredObject]:
        """Go through the objects below a prefix, a thousand per request."""
        if prefix:
            check_prefix(prefix)
        with faults():
            pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket.name, Prefix=prefix)
            for page in pages:
                for item in page.get("Contents", ()):
                    yield StoredObject(item["Key"], item["Size"], item["LastModified"].astimezone(UTC))

    def delete(self, key: str) -> Deleted:
        """Delete an object."""
        found = self.stat(key)
        if found is None:
            return Deleted()
        with faults(key):
            self._client.delete_object(Bucket=self._bucket.name, Key=key)
        return Deleted(1, found.size)

    def delete_prefix(self, prefix: str) -> Deleted:
        """Delete all objects below a prefix, one request each: not every server can delete several at once."""
        deleted = Deleted()
        for found in self.list(check_prefix(prefix)):
            with faults(found.key):
                self._client.delete_object(Bucket=self._bucket.name, Key=found.key)
            deleted += Deleted(1, found.size)
        return deleted

    def unfinished(self, *, before: datetime) -> Iterator[Unfinished]:
        """Go through the multipart uploads that were begun before a point in time."""
        with faults():
            pages = self._client.get_paginator("list_multipart_uploads").paginate(Bucket=self._bucket.name)
            for page in pages:
                for item in page.get("Uploads", ()):
                    begun = item["Initiated"].astimezone(UTC)
                    if begun < before:
                        yield Unfinished(item["UploadId"], item["Key"], begun)

    def drop(self, unfinished: Unfinished) -> None:
        """Abort a multipart upload."""
        if unfinished.key is None:
            raise ValueError("an upload has a key")
        with contextlib.suppress(ObjectNotFoundError), faults(unfinished.key):
            self._client.abort_multipart_upload(Bucket=self._bucket.name, Key=unfinished.key, UploadId=unfinished.id)

    def presign(self, key: str, *, seconds: int, file_name: str | None = None) -> str | None:
        """Return a URL that serves the object for ``seconds``, as an attachment where ``file_name`` is given."""
        parameters = {"Bucket": self._bucket.name, "Key": check_key(key)}
        if file_name is not None:
            parameters["ResponseContentDisposition"] = f'attachment; filename="{check_key(file_name)}"'
        with faults(key):
            url: str = self._presigner.generate_presigned_url("get_object", Params=parameters, ExpiresIn=seconds)
        return url


class S3Writer:
    """An object that is being sent, part by part; one part is in memory, once."""

    def __init__(self, client: Any, bucket: Bucket, key: str, content_type: str) -> None:
        self._client = client
        self._target = {"Bucket": bucket.name, "Key": key}
        self._part_bytes = bucket.part_bytes
        self._content_type = content_type
        self._pieces: list[bytearray] = []
        self._waiting = 0
        self._digest = hashlib.sha256()
        self._upload: str | None = None
        self._parts: list[dict[str, Any]] = []
        self._published = False
        self.size = 0

    @property
    def sha256(self) -> str:
        """Checksum of the bytes so far, hexadecimal."""
        return self._digest.hexdigest()

    def write(self, data: bytes) -> None:
        """Add to it; a full part is sent at once."""
        self._digest.update(data)
        self.size += len(data)
        view = memoryview(data)
        while view:
            taken = view[: self._part_bytes - self._waiting]
            view = view[len(taken) :]
            self._keep(taken)
            if self._waiting == self._part_bytes:
                self._send()

    def publish(self) -> StoredObject:
        """Complete it, and make sure that the server has all of it."""
        key = self._target["Key"]
        with faults(key):
            if self._upload is None:
                self._client.put_object(**self._target, Body=Pieces(self._pieces), ContentType=self._content_type)
            else:
                if self._waiting:
                    self._send()
                self._client.complete_multipart_upload(
                    **self._target, UploadId=self._upload, MultipartUpload={"Parts": self._parts}
                )
            self._published = True
            found = self._client.head_object(**self._target)
        if found["ContentLength"] != self.size:
            raise StorageError(f"S3: {key} has {found['ContentLength']} bytes instead of {self.size}")
        return StoredObject(key, self.size, found["LastModified"].astimezone(UTC))

    def discard(self) -> None:
        """Abort the upload unless it was published."""
        self._pieces.clear()
        if self._upload is not None and not self._published:
            with contextlib.suppress(StorageError), faults():
                self._client.abort_multipart_upload(**self._target, UploadId=self._upload)

    def _keep(self, data: memoryview) -> None:
        # Pieces of about one size, however small they come: large ones would leave the allocator with holes.
        if not self._pieces or len(self._pieces[-1]) + len(data) > CHUNK_BYTES:
            self._pieces.append(bytearray())
        self._pieces[-1] += data
        self._waiting += len(data)

    def _send(self) -> None:
        with faults(self._target["Key"]):
            if self._upload is None:
                begun = self._client.create_multipart_upload(**self._target, ContentType=self._content_type)
                self._upload = begun["UploadId"]
            number = len(self._parts) + 1
            part = Pieces(self._pieces)
            sent = self._client.upload_part(**self._target, UploadId=self._upload, PartNumber=number, Body=part)
        self._pieces, self._waiting = [], 0
        self._parts.append({"PartNumber": number, "ETag": sent["ETag"]})

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.discard()


@contextlib.contextmanager
def faults(key: str = "") -> Iterator[None]:
    """Turn the library's exceptions into the storage's errors; theirs may quote signed requests."""
    try:
        yield
    except botocore.exceptions.ClientError as error:
        code = str(error.response.get("Error", {}).get("Code", "unknown"))
        if key and code in _MISSING:
            raise ObjectNotFoundError(f"no object {key}") from None
        kind = StorageFullError if code in _FULL else StorageError
        raise kind(f"S3: {error.operation_name}: {code}") from None
    except botocore.exceptions.BotoCoreError as error:
        raise StorageError(f"S3: {type(error).__name__}") from None


def _client(bucket: Bucket, endpoint: str | None) -> Any:
    return boto3.session.Session().client(
        "s3",
        endpoint_url=endpoint,
        region_name=bucket.region,
        aws_access_key_id=bucket.access_key_id,
        aws_secret_access_key=bucket.secret_access_key,
        config=botocore.config.Config(
            signature_version="s3v4",
            s3={"addressing_style": "path" if bucket.path_style else "virtual"},
            retries={"mode": "standard", "total_max_attempts": bucket.attempts},
            connect_timeout=bucket.connect_timeout,
            read_timeout=bucket.read_timeout,
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        ),
    )
