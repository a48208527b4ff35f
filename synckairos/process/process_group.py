"""A group of processes of the same kind under one parent: the metrics of all its members in one scrape.

The members share a port, so a scrape of `/metrics` reaches one of them. This member asks the other members for their
metrics over unix sockets in the directory of the group, and answers with the sum. Their counters also stay in the
directory, one file for each member and one for all members that have ended.
"""

import asyncio
import fcntl
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from synckairos.telemetry import log
from synckairos.telemetry.merged_metrics import merge_metrics
from synckairos.telemetry.metric_types import ProcessKind
from synckairos.telemetry.metrics import render_metrics

ANSWER_TIMEOUT_S = 1.0
"""Seconds to wait for the metrics of another member. Its last known counters then count as those of an ended member."""

_SOCKET = ".socket"
_LAST = ".last"
_ENDED = "ended"
_LOCK = "lock"

logger = log.get_logger(__name__)


class ProcessGroup:
    """The group with the directory `directory`, which only its user may read. `kind` is the kind of its processes."""

    def __init__(self, directory: Path, kind: ProcessKind) -> None:
        self._directory = directory
        self._kind = kind
        self._name = str(os.getpid())

    @asynccontextmanager
    async def join(self) -> AsyncIterator[None]:
        """Answer the other members during the block."""
        path = self._path(self._name, _SOCKET)
        server = await asyncio.start_unix_server(self._answer, path)
        try:
            yield
        finally:
            server.close()
            path.unlink(missing_ok=True)

    async def render_metrics(self) -> bytes:
        """Return the sum of the metrics of all members, in the text format of Prometheus.

        The counters of a member that has ended are those of the last scrape before its end.
        """
        own = await asyncio.to_thread(render_metrics, self._kind)
        names = sorted({path.stem for path in self._directory.glob(f"*{_SOCKET}")} - {self._name})
        answers = await asyncio.gather(*(self._ask(each) for each in names))
        running = {name: text for name, text in zip(names, answers, strict=True) if text is not None}
        return await asyncio.to_thread(self._merge, own, running)

    def _merge(self, own: bytes, running: dict[str, bytes]) -> bytes:
        with _locked(self._directory):
            # A member whose socket the parent has removed is in the file of the ended members already.
            running = {name: text for name, text in running.items() if self._path(name, _SOCKET).exists()}
            for name, text in {**running, self._name: own}.items():
                _replace(self._path(name, _LAST), text)
            silent = [path for path in self._directory.glob(f"*{_LAST}") if path.stem not in {*running, self._name}]
            kept = [path.read_bytes() for path in (self._directory / _ENDED, *silent) if path.exists()]
        return merge_metrics(own, [*running.values()], kept)

    async def _answer(self, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                writer.write(await asyncio.to_thread(render_metrics, self._kind))
                await writer.drain()
        except (OSError, TimeoutError):
            pass  # the other member has ended, or does not read
        finally:
            writer.close()

    async def _ask(self, name: str) -> bytes | None:
        """Return the metrics of another member. None if it does not answer in time."""
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                reader, writer = await asyncio.open_unix_connection(self._path(name, _SOCKET))
                try:
                    return await reader.read() or None
                finally:
                    writer.close()
        except (OSError, TimeoutError) as error:
            logger.debug("a process of the group gives no metrics", pid=name, cause=repr(error))
            return None

    def _path(self, name: str, suffix: str) -> Path:
        return self._directory / f"{name}{suffix}"


def keep_counters_of_ended(directory: Path, pid: int) -> None:
    """Add the counters of a member that has ended to those of all members that ended before. The parent calls this.

    `directory` is the directory of the group, `pid` the id of the ended process. The counters are those of the last
    scrape.

    Raises: OSError. ValueError if a file of the directory is malformed.
    """
    with _locked(directory):
        (directory / f"{pid}{_SOCKET}").unlink(missing_ok=True)
        last, ended = directory / f"{pid}{_LAST}", directory / _ENDED
        if last.exists():
            _replace(ended, merge_metrics(b"", [], [path.read_bytes() for path in (ended, last) if path.exists()]))
            last.unlink()


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Hold the lock of the group's files during the block, in a thread that may wait."""
    with (directory / _LOCK).open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _replace(path: Path, text: bytes) -> None:
    new = path.with_name(f"{path.name}.new")
    new.write_bytes(text)
    new.replace(path)
