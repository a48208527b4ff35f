"""The object store for cold storage: a local folder, or S3 and compatible services. Bytes by path; knows no sessions.

Callers delete rows after a write. So the bytes are on disk when `put` or `write` returns.
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
"""Schemes of URLs that name a remote store."""

# A caller that reads an archive must not wait for minutes, and a job has its own retries.
_TIMEOUTS: "ClientConfig" = {"connect_timeout": "3s", "timeout": "60s"}
# Options in the code hide all options of the environment. So these are read from the environment here.
_CLIENT_VARIABLES = (
    "allow_http",
    "allow_invalid_certificates",
    "connect_timeout",
    "proxy_ca_certificate",
    "proxy_excludes",
    "proxy_url",
    "timeout",
)
_VARIABLE_PREFIXES = {"s3": "AWS_", "s3a": "AWS_", "gs": "GOOGLE_"}  # other schemes are of Azure
_RETRIES: "RetryConfig" = {"max_retries": 3, "retry_timeout": timedelta(seconds=20)}

_ERROR_CODE = re.compile(r"<Code>(\w+)</Code>")
_NO_BUCKET_CODES = ("NoSuchBucket", "ContainerNotFound")

_PART_BYTES = 8 << 20  # S3 accepts parts of at least 5 MiB, and 10,000 of them


class ObjectMissing(LookupError):
    """There is no object at this path."""


@dataclass(frozen=True, slots=True)
class WrittenObject:
    """A written object: its size in bytes and the SHA-256 of its bytes."""

    size_bytes: int
    checksum: bytes


class ColdStorage:
    """Objects in one folder or under one prefix. Raises StoreUnavailable if the store is not reachable or refuses."""

    def __init__(self, url: str) -> None:
        """Set the store: a folder's path, a `file:///` URL, or a URL of REMOTE_SCHEMES. It is opened at its first use.

        Environment variables configure remote stores as in the tools of their vendors: `AWS_ENDPOINT_URL`,
        `AWS_REGION`, `AWS_ACCESS_KEY_ID` and so on. `AWS_ALLOW_HTTP` allows an endpoint without TLS.
        """
        self._url = url
        self._folder = local_folder(url)
        self._opened: ObjectStore | None = None

    async def put(self, path: str, content: bytes) -> WrittenObject:
        """Write an object atomically: a concurrent reader gets the old or the new one, never a part."""
        import obstore

        with self._translate_errors(path):
            await obstore.put_async(self._store(), path, content)
            await self._sync(path)
        return WrittenObject(len(content), hashlib.sha256(content).digest())

    async def write(self, path: str, pieces: AsyncIterable[bytes]) -> WrittenObject:
        """Write an object piece by piece, with a few megabytes in memory. If that fails, there is no object."""
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
        """Return an object's bytes. Raises ObjectMissing."""
        import obstore

        with self._translate_errors(path):
            try:
                return bytes(await (await obstore.get_async(self._store(), path)).bytes_async())
            except FileNotFoundError as fault:
                if _lacks_bucket(fault):
                    raise
                raise ObjectMissing(path) from None

    async def delete(self, path: str) -> None:
        """Delete an object, or do nothing if there is none."""
        import obstore

        with self._translate_errors(path):
            try:
                await obstore.delete_async(self._store(), path)
            except FileNotFoundError as fault:
                if _lacks_bucket(fault):
                    raise

    def _store(self) -> "ObjectStore":
        if self._opened is None:
            from obstore.store import LocalStore, from_url

            if self._folder is not None:
                self._opened = LocalStore(self._folder, mkdir=True, automatic_cleanup=True)
            else:
                self._opened = from_url(self._url, client_options=_client_options(self._url), retry_config=_RETRIES)
        return self._opened

    async def _sync(self, path: str) -> None:
        """Flush a local object and its folders to disk. Remote stores do this themselves."""
        if self._folder is not None:
            await asyncio.to_thread(_sync_to_disk, self._folder, path)

    @contextmanager
    def _translate_errors(self, path: str) -> Iterator[None]:
        from obstore.exceptions import BaseError

        try:
            yield
        except (BaseError, OSError) as fault:  # a missing bucket is a FileNotFoundError
            raise StoreUnavailable(f"The object store cannot read or write {path}: {_describe(fault)}") from fault


def local_folder(url: str) -> Path | None:
    """Return the local folder that a setting names, None if it names a remote store."""
    parts = urlsplit(url)
    if parts.scheme in REMOTE_SCHEMES:
        return None
    return Path(unquote(parts.path) if parts.scheme == "file" else url).absolute()


def _client_options(url: str) -> "ClientConfig":
    prefix = _VARIABLE_PREFIXES.get(urlsplit(url).scheme, "AZURE_")
    named = {option: os.environ.get(f"{prefix}{option.upper()}") for option in _CLIENT_VARIABLES}
    options = {option: value for option, value in named.items() if value}
    return cast("ClientConfig", {**_TIMEOUTS, **options})  # it also accepts texts for its boolean options


def _lacks_bucket(fault: FileNotFoundError) -> bool:
    """Return whether the bucket is missing, which an operator has to repair, and not only the object."""
    return (found := _ERROR_CODE.search(str(fault))) is not None and found[1] in _NO_BUCKET_CODES


def _describe(fault: Exception) -> str:
    """Describe an error in one line: the operation, and the error code of the store's XML."""
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
