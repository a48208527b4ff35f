"""A group of processes of the same kind under one parent, as a member of the group sees it.

The members share a port, so a scrape of `/metrics` reaches one of them. This member asks the other members for their
metrics over unix sockets in the directory of the group, and answers with the sum.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from synckairos.telemetry import log
from synckairos.telemetry.merged_metrics import merge_metrics
from synckairos.telemetry.metric_types import ProcessKind
from synckairos.telemetry.metrics import render_metrics

ANSWER_TIMEOUT_S = 1.0
"""Seconds to wait for the metrics of another member. Its last known counters then count as those of an ended member."""

_SOCKET = ".socket"
_LAST = ".last"

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
        for name, text in {**running, self._name: own}.items():
            new = self._path(f"{name}.{self._name}", ".new")
            new.write_bytes(text)
            new.replace(self._path(name, _LAST))
        ended = [path for path in self._directory.glob(f"*{_LAST}") if path.stem not in {*running, self._name}]
        return merge_metrics(own, [*running.values()], [path.read_bytes() for path in ended])

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
