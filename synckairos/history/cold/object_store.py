"""Object store for cold storage: bytes by path in a local folder, in S3 or in a compatible service.

Retention deletes rows after it wrote an archive. Therefore the bytes are on disk when `write_bytes` or `write_stream`
returns.
"""

import asyncio
import hashlib
import os
import re
from collections.abc import AsyncIterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, cast
from urllib.parse import unquote, urlsplit

from synckairos.errors import StoreUnavailable

if TYPE_CHECKING:
    from obstore.store import ClientConfig, ObjectStore, RetryConfig

REMOTE_SCHEMES = ("s3", "s3a", "gs", "az", "azure", "abfs", "abfss")
"""URL schemes of remote object stores."""

# Time limits of one request. They are short, because a request for an archive must not wait for minutes, and background
# jobs repeat failed attempts.
_TIMEOUTS: "ClientConfig" = {"connect_timeout": "3s", "timeout": "60s"}
# If client options are passed in code, obstore ignores the client options of the environment. This module therefore
# reads these options from the environment.
_CLIENT_VARIABLES = (
    "allow_http",
    "allow_invalid_certificates",
    "connect_timeout",
    "proxy_ca_certificate",
    "proxy_excludes",
    "proxy_url",
    "timeout",
)
_VARIABLE_PREFIXES = {"s3": "AWS_", "s3a": "AWS_", "gs": "GOOGLE_"}  # all other schemes belong to Azure
_RETRIES: "RetryConfig" = {"max_retries": 3, "retry_timeout": timedelta(seconds=20)}

_ERROR_CODE = re.compile(r"<Code>(\w+)</Code>")
_NO_BUCKET_CODES = ("NoSuchBucket", "ContainerNotFound")

_LISTED_AT_ONCE = 500
"""Number of objects that are listed and then deleted together."""

_PART_BYTES = 8 << 20
"""Bytes of one part of a multipart upload. S3 accepts at most 10,000 parts of at least 5 MiB."""


class ObjectMissing(LookupError):
    """There is no object at the path."""


@dataclass(frozen=True, slots=True)
class WrittenObject:
    """Size in bytes and SHA-256 of an object that was written."""

    size_bytes: int
    checksum: bytes


class ColdStorage:
    """Object store with all objects in one folder or under one URL prefix.

    All methods raise StoreUnavailable if the store is unreachable or refuses the operation.
    """

    def __init__(self, url: str) -> None:
        """Save the location of the store, which is opened at its first use.

        `url` is a folder's path, a `file:///` URL, or a URL with one of `REMOTE_SCHEMES`. Environment variables
        configure remote stores as in the tools of the vendors, such as `AWS_ENDPOINT_URL`, `AWS_REGION` and
        `AWS_ACCESS_KEY_ID`. `AWS_ALLOW_HTTP` allows an endpoint without TLS.
        """
        self._url = url
        self._folder = parse_local_folder(url)
        self._opened: ObjectStore | None = None

    async def write_bytes(self, path: str, content: bytes) -> WrittenObject:
        """Write an object atomically, and return its size and checksum. An existing object at `path` is replaced.

        A concurrent reader gets the whole old object or the whole new object.
        """
        import obstore

        with self._translate_errors(path):
            await obstore.put_async(self._store(), path, content)
            await self._sync(path)
        return WrittenObject(len(content), hashlib.sha256(content).digest())

    async def write_stream(self, path: str, pieces: AsyncIterable[bytes]) -> WrittenObject:
        """Write an object from pieces, and return its size and checksum. Only a few megabytes are in memory.

        If the write fails or `pieces` raises, no object is created.
        """
        import obstore

        size, digest = 0, hashlib.sha256()
        with self._translate_errors(path):
            async with obstore.open_writer_async(self._store(), path, buffer_size=_PART_BYTES) as writer:
                async for piece in pieces:
                    size += len(piece)
                    digest.update(piece)
                    await writer.write(piece)
            await self._sync(path)
        return WrittenObject(size, digest.digest())

    async def get(self, path: str) -> bytes:
        """Return the bytes of an object. Raises: ObjectMissing if there is no object at `path`."""
        import obstore

        with self._translate_errors(path):
            try:
                return bytes(await (await obstore.get_async(self._store(), path)).bytes_async())
            except FileNotFoundError as fault:
                if _lacks_bucket(fault):
                    raise
                raise ObjectMissing(path) from None

    async def delete(self, path: str) -> None:
        """Delete an object. Do nothing if there is no object at this path."""
        import obstore

        with self._translate_errors(path):
            try:
                await obstore.delete_async(self._store(), path)
            except FileNotFoundError as fault:
                if _lacks_bucket(fault):
                    raise

    async def delete_folder(self, path: str) -> int:
        """Delete all objects whose paths begin with `path`, which ends with a slash. Return their number.

        Objects that are written meanwhile can stay.
        """
        import obstore

        deleted = 0
        with self._translate_errors(path):
            try:
                # An asynchronous list of obstore 0.12 can abort the process at its end, so a thread lists.
                while objects := await asyncio.to_thread(_list_some, self._store(), path):
                    await obstore.delete_async(self._store(), objects)
                    deleted += len(objects)
            except FileNotFoundError as fault:
                if _lacks_bucket(fault):
                    raise
        return deleted

    def _store(self) -> "ObjectStore":
        if self._opened is None:
            from obstore.store import LocalStore, from_url

            if self._folder is not None:
                self._opened = LocalStore(self._folder, mkdir=True, automatic_cleanup=True)
            else:
                self._opened = from_url(self._url, client_options=_client_options(self._url), retry_config=_RETRIES)
        return self._opened

    async def _sync(self, path: str) -> None:
        """Flush an object in a local folder, and its folders, to disk. Do nothing for a remote store."""
        if self._folder is not None:
            await asyncio.to_thread(_sync_to_disk, self._folder, path)

    @contextmanager
    def _translate_errors(self, path: str) -> Iterator[None]:
        from obstore.exceptions import BaseError

        try:
            yield
        except (BaseError, OSError) as fault:  # obstore raises FileNotFoundError, an OSError, for a missing bucket
            raise StoreUnavailable(f"The object store cannot read or write {path}: {_describe(fault)}") from fault


def parse_local_folder(url: str) -> Path | None:
    """Return the absolute path of the folder that a path or a `file:///` URL names.

    Return None if `url` names a remote store.
    """
    parts = urlsplit(url)
    if parts.scheme in REMOTE_SCHEMES:
        return None
    return Path(unquote(parts.path) if parts.scheme == "file" else url).absolute()


def _list_some(store: "ObjectStore", path: str) -> list[str]:
    """Return the paths of at most `_LISTED_AT_ONCE` objects whose paths begin with `path`."""
    import obstore

    return [each["path"] for each in next(iter(obstore.list(store, path, chunk_size=_LISTED_AT_ONCE)), ())]


def _client_options(url: str) -> "ClientConfig":
    prefix = _VARIABLE_PREFIXES.get(urlsplit(url).scheme, "AZURE_")
    named = {option: os.environ.get(f"{prefix}{option.upper()}") for option in _CLIENT_VARIABLES}
    options = {option: value for option, value in named.items() if value}
    return cast("ClientConfig", {**_TIMEOUTS, **options})  # obstore also accepts texts for boolean options


def _lacks_bucket(fault: FileNotFoundError) -> bool:
    """Return whether the error means that the whole bucket is missing, so that the operator must act."""
    return (found := _ERROR_CODE.search(str(fault))) is not None and found[1] in _NO_BUCKET_CODES


def _describe(fault: Exception) -> str:
    """Return one line that describes an error: the operation, and the error code in the store's XML, if any."""
    text, code = re.split(r"<|\n", str(fault), maxsplit=1)[0].rstrip(": "), _ERROR_CODE.search(str(fault))
    return text if code is None else f"{text} ({code[1]})"


def _sync_to_disk(folder: Path, path: str) -> None:
    file = folder / path
    for each in (file, *file.parents[: len(Path(path).parts)]):
        descriptor = os.open(each, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
