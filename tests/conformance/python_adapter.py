"""The Python client as a process that a test controls: JSON requests on stdin, JSON answers and notices on stdout.

Each line is one JSON object. A request has `id` and `op`. Its answer has the same `id` and either `result` or `error`.
Notices have no id: `update` for each newer state, `ended` when the watch ends, `token` when the client needs a token.
`clients/js/test/conformance/adapter.ts` is the same for the JavaScript client.
"""

import asyncio
import sys
import time
from contextlib import AsyncExitStack
from typing import Any

import orjson

from synckairos_client import Client, ServerTimeUnknown, SyncKairosError, Turn, Update, Watch
from synckairos_client.sleep_detecting_clock import MAX_BOOT_STEP_S, SuspendAwareClock
from synckairos_client.socket_interface import Transport


def write(message: dict[str, Any]) -> None:
    sys.stdout.buffer.write(orjson.dumps(message) + b"\n")
    sys.stdout.buffer.flush()


class Adapter:
    """One client with at most one watch."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self._stack = stack
        self._slept_s = 0.0
        self._tokens: asyncio.Queue[str] = asyncio.Queue()
        self._client: Client | None = None
        self._watch: Watch | None = None
        self._following: asyncio.Task[None] | None = None

    @property
    def client(self) -> Client:
        assert self._client is not None
        return self._client

    @property
    def session(self) -> Watch:
        assert self._watch is not None
        return self._watch

    async def connect(
        self, url: str, transport: Transport, token: str | None = None, asks_tokens: bool = False
    ) -> None:
        clock = SuspendAwareClock(lambda: time.monotonic() - self._slept_s, time.monotonic, MAX_BOOT_STEP_S)
        get_token = self._fetch_token if asks_tokens else None
        client = Client(url, token=token, get_token=get_token, transport=transport, local_clock=clock)
        self._client = await self._stack.enter_async_context(client)

    async def watch(self, session_id: str) -> None:
        self._watch = await self._stack.enter_async_context(self.client.watch(session_id))
        self._following = asyncio.create_task(self._follow(self._watch))

    async def command(
        self, name: str, args: dict[str, Any], command_id: str | None = None, has_guard: bool = True
    ) -> dict[str, Any]:
        guard = Turn.SHOWN if has_guard else None
        ack = await self.session.command(name, args, command_id=command_id, expected_turn=guard)
        return {"version": ack.version, "epoch": ack.epoch}

    async def read(self) -> dict[str, Any]:
        """Return the reading of the running clock and the server's time; null if the server's time is not known."""
        try:
            now_ms = self.client.now_ms()
            return {"now_ms": now_ms, "error_ms": self.client.error_ms, "remaining_ms": self.session.remaining_ms()}
        except ServerTimeUnknown:
            return {"now_ms": None, "error_ms": None, "remaining_ms": None}

    async def document(self) -> dict[str, Any]:
        return self.session.document

    async def token(self, token: str) -> None:
        self._tokens.put_nowait(token)

    async def sleep(self, seconds: float) -> None:
        """Stop the process and its monotonic clock for a time, as the sleep of a laptop does."""
        time.sleep(seconds)  # noqa: ASYNC251  the whole process sleeps
        self._slept_s += seconds

    async def answer(self, request: dict[str, Any]) -> None:
        try:
            result = await getattr(self, request["op"])(**request["args"])
            write({"id": request["id"], "result": result})
        except SyncKairosError as error:
            write({"id": request["id"], "error": error.code})

    async def _fetch_token(self) -> str:
        write({"notice": "token"})
        return await self._tokens.get()

    async def _follow(self, session: Watch) -> None:
        try:
            async for update in session.updates():
                write({"notice": "update", **described(update)})
        except SyncKairosError as error:
            write({"notice": "ended", "code": error.code})


def described(update: Update) -> dict[str, Any]:
    events = [{"type": each.event_type, "version": each.version} for each in update.events]
    return {"version": update.state.version, "epoch": update.state.epoch, "events": events, "gap": update.has_gap}


async def main() -> None:
    """Answer the requests on stdin until its end."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    async with AsyncExitStack() as stack:
        adapter, tasks = Adapter(stack), set()
        async for line in reader:
            tasks.add(asyncio.create_task(adapter.answer(orjson.loads(line))))


asyncio.run(main())
