"""The client: one connection at a time, made anew as often as it takes; on it go on all watches and commands."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any, Self
from uuid import UUID, uuid4

import orjson
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus
from websockets.typing import Subprotocol

from synckairos.backoff import Backoff
from synckairos.client import errors
from synckairos.client.clock_offset import Sample, ServerClock
from synckairos.client.connection import Connection, local_ms
from synckairos.client.pending_commands import Ack, PendingCommands
from synckairos.client.replica import Message, ReplicaGap
from synckairos.client.server_url import socket_url
from synckairos.client.watch import Watch
from synckairos.clock.model import EventType
from synckairos.errors import PayloadTooLarge, SessionNotFound, SyncKairosError

SUBPROTOCOL = Subprotocol("synckairos.v3")

MAX_SENT_BYTES = 65_536
MAX_RECEIVED_BYTES = 64 << 20
OPEN_WITHIN_S = 10.0
"""How long connecting and the handshake may take; a server in a storm may need most of it, a port that is dumb all."""

COMMANDS_AT_ONCE = 256
"""Commands that wait for their answers; more wait to be sent. Servers keep twice as many."""

ASK_AGAIN = frozenset({"STORE_UNAVAILABLE", "RATE_LIMIT_EXCEEDED"})


class Client:
    """A client of one address, inside its `async with`.

    Entering doesn't wait for the connection, and losing it ends nothing: it comes back by itself with full jitter
    (0.25 s, doubling, at most 10 s), or when a GOAWAY says, and goes on from where it was. What a server means for good
    (close codes 4500–4999, a refused handshake) is raised from everything that waits: `Unauthorized`, `Forbidden`,
    `TooManyConnections`, `PayloadTooLarge`, else `ConnectionEnded`.
    """

    def __init__(
        self,
        url: str,
        *,
        participant_id: str | None = None,
        headers: Mapping[str, str] | None = None,
        proxy: str | None = None,
    ) -> None:
        """Take a server's address, `ws://host:3000/ws` or `http://host:3000`; `proxy` is one to go through.

        `participant_id` is who this is to others who watch; a server that knows its callers wants none. Raises
        ValueError where it is no address.
        """
        self.url = socket_url(url)
        self.clock = ServerClock()
        self.trouble: str | None = None
        """Why there is no connection now; None while there is one, and before the first attempt."""
        self._participant_id = participant_id
        self._headers = headers
        self._proxy = proxy
        self._backoff = Backoff()
        self._link: Connection | None = None
        self._linked = asyncio.Event()
        self._timed = asyncio.Event()
        self._wanted = asyncio.Event()
        self._watches: dict[str, Watch] = {}
        self._requests = PendingCommands()
        self._at_once = asyncio.Semaphore(COMMANDS_AT_ONCE)
        self._task: asyncio.Task[None] | None = None
        self._failure: SyncKairosError | None = errors.ClientClosed()

    async def __aenter__(self) -> Self:
        self._failure = None
        self._task = asyncio.create_task(self._come_and_go())
        self._task.add_done_callback(self._done)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._task is not None
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task

    @property
    def is_connected(self) -> bool:
        return self._link is not None

    def now_ms(self) -> float:
        """Return the server's time, ms since the Unix epoch. Raises ValueError before its first answer."""
        return self.clock.now_ms(local_ms())

    @property
    def error_ms(self) -> float:
        """How far `now_ms` can be off, either way; infinite before the first answer."""
        return self.clock.error_ms(local_ms())

    async def measure(self) -> Sample:
        """Ask for the server's time once more than by itself, every ten seconds, and return what the answer tells."""
        while True:
            await self._linked.wait()
            if self._failure is not None:
                raise self._failure
            if self._link is not None:
                with suppress(ConnectionClosed, OSError):
                    return await self._link.ping()
            # It is gone, which the reader hasn't said yet.
            await asyncio.sleep(0)

    # -- what it is for -----------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def watch(self, session_id: str) -> AsyncIterator[Watch]:
        """Watch a session; given once its state and the server's time are known.

        Watching one a second time shares the first's state. Raises SessionNotFound, SubscriptionRefused, ValueError
        where the id is no UUID, or what ended the connection for good.
        """
        session_id = str(UUID(session_id))
        self._check()
        watch = self._watches.get(session_id)
        if watch is None:
            watch = self._watches[session_id] = Watch(session_id, self.command, self.now_ms, self._participant_id)
            self._subscribe(watch)
        watch.users += 1
        try:
            await watch.reach(0)
            await self._timed.wait()
            self._check()
            yield watch
        finally:
            watch.users -= 1
            if not watch.users:
                self._leave(watch)

    async def command(
        self,
        session_id: str,
        verb: str,
        args: Mapping[str, Any] | None = None,
        *,
        expected_version: int | None = None,
        command_id: str | None = None,
    ) -> Ack:
        """Do something to a session by REST's verb and arguments, once, however often the connection breaks.

        It waits as long as that takes; who gives up before, by cancelling, can learn what happened by asking again
        with the same `command_id`. Raises CommandRefused, PayloadTooLarge, ValueError where a command of that id is
        under way, or what ended the connection for good.
        """
        command_id = command_id or str(uuid4())
        message: Message = {"type": "COMMAND", "id": command_id, "session_id": session_id, "command": verb}
        message |= {"args": args or {}}
        if expected_version is not None:
            message["expected_version"] = expected_version
        frame = orjson.dumps(message)
        if len(frame) > MAX_SENT_BYTES:
            raise PayloadTooLarge(f"A message has at most {MAX_SENT_BYTES} bytes, this one {len(frame)}; use REST")
        async with self._at_once:
            self._check()
            answer = self._requests.add(command_id, frame)
            self._wanted.set()
            if self._link is not None:
                self._link.send(frame)
            try:
                return await answer
            finally:
                self._requests.drop(command_id, answer)

    def _check(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _subscribe(self, watch: Watch) -> None:
        watch.is_asking = True
        self._wanted.set()
        if self._link is not None:
            self._link.send(orjson.dumps(watch.subscription()))

    def _leave(self, watch: Watch) -> None:
        watch.end()
        if self._watches.get(watch.session_id) is watch:
            del self._watches[watch.session_id]
            if self._link is not None:
                self._link.send(orjson.dumps({"type": "UNSUBSCRIBE", "session_id": watch.session_id}))

    # -- connections --------------------------------------------------------------------------------------------------

    async def _come_and_go(self) -> None:
        while self._failure is None:
            self._wanted.clear()
            wait_s = await self._visit()
            if wait_s is not None:
                await asyncio.sleep(wait_s)
            elif not self._watches and not self._requests:
                await self._wanted.wait()

    async def _visit(self) -> float | None:
        """Be connected once; return how long to stay away then, s, None where there is no reason to come back."""
        try:
            async with connect(
                self.url, subprotocols=[SUBPROTOCOL], additional_headers=self._headers, proxy=self._proxy,
                compression=None, ping_interval=None, max_size=MAX_RECEIVED_BYTES,
                open_timeout=OPEN_WITHIN_S, close_timeout=1,
            ) as socket:  # fmt: skip
                if socket.subprotocol != SUBPROTOCOL:
                    self._fail(errors.ConnectionEnded(101, f"without {SUBPROTOCOL}"))
                    return None
                return await self._stay(Connection(socket, self._learn, self._hear))
        except InvalidStatus as refused:
            if failure := errors.error_for_status(refused.response.status_code):
                self._fail(failure)
            self.trouble = f"the server answers {refused.response.status_code}"
            return _retry_after_s(refused.response.headers.get("Retry-After")) + self._backoff.next_s()
        except (OSError, InvalidHandshake) as trouble:
            self.trouble = str(trouble) or type(trouble).__name__
            return self._backoff.next_s()

    async def _stay(self, link: Connection) -> float | None:
        for watch in self._watches.values():
            watch.is_asking = True
            link.send(orjson.dumps(watch.subscription()))
        for frame in self._requests.frames():
            link.send(frame)
        self._link, self.trouble = link, None
        self._linked.set()
        try:
            code, reason = await link.run()
        finally:
            self._link = None
            self._linked.clear()
        self.trouble = f"the connection ended: {code} {reason}".rstrip()
        if link.has_answered:
            self._backoff.reset()
        if failure := errors.error_for_close(code, reason):
            self._fail(failure)
        if code in errors.ABOUT_A_SESSION and not self._watches and not self._requests:
            return None
        if link.come_back_at is not None:
            return max(0.0, link.come_back_at - asyncio.get_running_loop().time())
        return self._backoff.next_s()

    def _learn(self, sample: Sample) -> None:
        self.clock.learn(sample)
        self._timed.set()

    def _hear(self, message: Message) -> None:
        if message["type"] in ("ACK", "ERROR") and self._requests.answer(message):
            return
        watch = self._watches.get(message.get("session_id", ""))
        if watch is None:
            return
        if message["type"] == "ERROR":
            self._refused(watch, message)
            return
        try:
            watch.hear(message)
        except ReplicaGap:
            if not watch.is_asking:
                self._subscribe(watch)
        if message["type"] == "EVENT" and message["event_type"] == EventType.SESSION_DELETED:
            self._end(watch, errors.SessionDeleted(watch.session_id))

    def _refused(self, watch: Watch, message: Message) -> None:
        """Hear that a session can't be watched, or not now."""
        code = message["code"]
        if code in ASK_AGAIN:
            wait_s = 0.5 + self._backoff.next_s()
            asyncio.get_running_loop().call_later(wait_s, self._ask_again, watch, self._link)
        elif code == SessionNotFound.code:
            gone = errors.SessionDeleted if watch.is_known else SessionNotFound
            self._end(watch, gone(watch.session_id))
        else:
            self._end(watch, errors.SubscriptionRefused(code, message["message"], message.get("details")))

    def _ask_again(self, watch: Watch, link: Connection | None) -> None:
        if self._link is link and self._watches.get(watch.session_id) is watch:
            self._subscribe(watch)

    def _end(self, watch: Watch, failure: SyncKairosError) -> None:
        del self._watches[watch.session_id]
        watch.end(failure)

    # -- the end ------------------------------------------------------------------------------------------------------

    def _done(self, task: "asyncio.Task[None]") -> None:
        fault = None if task.cancelled() else task.exception()
        if fault is not None:
            self._fail(SyncKairosError(f"The client failed: {fault!r}"))
        elif self._failure is None:
            self._fail(errors.ClientClosed())

    def _fail(self, failure: SyncKairosError) -> None:
        """Tell all who wait for anything that it won't come."""
        self._failure = failure
        for watch in self._watches.values():
            watch.end(failure)
        self._watches.clear()
        self._requests.fail(failure)
        self._linked.set()
        self._timed.set()


def _retry_after_s(text: str | None) -> float:
    return float(text) if text is not None and text.isdecimal() else 0.0
