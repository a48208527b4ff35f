"""The object store: a local folder, S3 or what speaks like it. Bytes by path; knows nothing of sessions.

Whoever writes here deletes elsewhere afterwards: what `put` and `write` have returned from is on disk.
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

REMOTE = ("s3", "s3a", "gs", "az", "azure", "abfs", "abfss")

# Whoever waits for an archive isn't to wait for minutes; a job has attempts of its own.
_PATIENCE: "ClientConfig" = {"connect_timeout": "3s", "timeout": "60s"}
# Options given in the code hide all of them that the environment has: these are read from there here.
_CLIENT_VARIABLES = (
    "allow_http",
    "allow_invalid_certificates",
    "connect_timeout",
    "proxy_ca_certificate",
    "proxy_excludes",
    "proxy_url",
    "timeout",
)
_VARIABLES_BEGIN = {"s3": "AWS_", "s3a": "AWS_", "gs": "GOOGLE_"}  # or else Azure's
_RETRIES: "RetryConfig" = {"max_retries": 3, "retry_timeout": timedelta(seconds=20)}

_CODE = re.compile(r"<Code>(\w+)</Code>")
_NO_BUCKET = ("NoSuchBucket", "ContainerNotFound")

_PART_BYTES = 8 << 20  # S3 wants parts of 5 MiB at least, and takes 10,000 of them


class ObjectMissing(LookupError):
    """There is no object of this path."""


@dataclass(frozen=True, slots=True)
class WrittenObject:
    """An object that was written: its bytes' number and SHA-256."""

    size_bytes: int
    checksum: bytes


class ColdStorage:
    """Objects under one folder or prefix. Raises StoreUnavailable where the store doesn't answer, or refuses."""

    def __init__(self, url: str) -> None:
        """Take a folder's path, a `file:///` URL, or one of those `REMOTE` schemes; opened when it is first used.

        Remote stores are configured by the environment as their own tools are: `AWS_ENDPOINT_URL`, `AWS_REGION`,
        `AWS_ACCESS_KEY_ID` and so on; `AWS_ALLOW_HTTP` where the endpoint has no TLS.
        """
        self._url = url
        self._folder = local_folder(url)
        self._opened: ObjectStore | None = None

    async def put(self, path: str, content: bytes) -> WrittenObject:
        """Write an object whole: whoever reads meanwhile finds the old one or the new, never a part."""
        import obstore

        with self._named_faults(path):
            await obstore.put_async(self._store(), path, content)
            await self._sync(path)
        return WrittenObject(len(content), hashlib.sha256(content).digest())

    async def write(self, path: str, pieces: AsyncIterable[bytes]) -> WrittenObject:
        """Write an object piece by piece, a few megabytes in memory; where that fails, nothing is there."""
        import obstore

        size, digest = 0, hashlib.sha256()
        with self._named_faults(path):
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

        with self._named_faults(path):
            try:
                return bytes(await (await obstore.get_async(self._store(), path)).bytes_async())
            except FileNotFoundError as fault:
                if _lacks_bucket(fault):
                    raise
                raise ObjectMissing(path) from None

    async def delete(self, path: str) -> None:
        """Delete an object; one that isn't there is fine."""
        import obstore

        with self._named_faults(path):
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
        """Have a local object on disk, and the folders that lead to it; other stores see to it themselves."""
        if self._folder is not None:
            await asyncio.to_thread(_sync_to_disk, self._folder, path)

    @contextmanager
    def _named_faults(self, path: str) -> Iterator[None]:
        from obstore.exceptions import BaseError

        try:
            yield
        except (BaseError, OSError) as fault:  # a bucket that isn't there is a FileNotFoundError
            raise StoreUnavailable(f"The object store doesn't take or give {path}: {_said(fault)}") from fault


def local_folder(url: str) -> Path | None:
    """Return the local folder that a setting names, None where it names a remote store."""
    parts = urlsplit(url)
    if parts.scheme in REMOTE:
        return None
    return Path(unquote(parts.path) if parts.scheme == "file" else url).absolute()


def _client_options(url: str) -> "ClientConfig":
    begin = _VARIABLES_BEGIN.get(urlsplit(url).scheme, "AZURE_")
    named = {option: os.environ.get(f"{begin}{option.upper()}") for option in _CLIENT_VARIABLES}
    told = {option: value for option, value in named.items() if value}
    return cast("ClientConfig", {**_PATIENCE, **told})  # words for what it types as booleans are fine too


def _lacks_bucket(fault: FileNotFoundError) -> bool:
    """Tell a bucket that isn't there, which somebody has to mend, from an object that isn't."""
    return (found := _CODE.search(str(fault))) is not None and found[1] in _NO_BUCKET


def _said(fault: Exception) -> str:
    """Say a fault in one line: what was asked, and the code that the store's XML gives for it."""
    said, code = re.split(r"<|\n", str(fault), maxsplit=1)[0].rstrip(": "), _CODE.search(str(fault))
    return said if code is None else f"{said} ({code[1]})"


def _sync_to_disk(folder: Path, path: str) -> None:
    at = folder / path
    for place in (at, *at.parents[: len(Path(path).parts)]):
        descriptor = os.open(place, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
