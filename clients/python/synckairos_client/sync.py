"""The client for programs without asyncio: the same interface, with calls that wait.

    with Client("https://clock.example.org") as client, client.watch(session_id) as session:
        print(session.remaining_ms())

An event loop in a thread runs the asynchronous client. Every thread can use a client.
"""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Self, TypeVar

from synckairos_client import reconnecting_client, watched_session
from synckairos_client.clock_offset import Sample
from synckairos_client.errors import ClientClosed
from synckairos_client.generated.clock.model import Session
from synckairos_client.generated.sync_rest_api import Api
from synckairos_client.pending_commands import Ack
from synckairos_client.replica import Message, ReceivedPresence, Update
from synckairos_client.socket_interface import Transport
from synckairos_client.watched_session import Turn

__all__ = ["Client", "Turn", "Watch"]

Result = TypeVar("Result")


class EventLoopThread:
    """An event loop in a thread, which runs coroutines for other threads."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="synckairos-client", daemon=True)
        self._thread.start()

    def run(self, awaitable: Awaitable[Result], timeout_s: float | None = None) -> Result:
        """Run an awaitable in the loop, wait for its end, and return its result.

        If the caller is interrupted, or after `timeout_s` seconds, the awaitable is cancelled.

        Raises: TimeoutError after `timeout_s` seconds, and the exceptions of the awaitable.
        """

        async def limited() -> Result:
            async with asyncio.timeout(timeout_s):
                return await awaitable

        future = asyncio.run_coroutine_threadsafe(limited(), self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def call(self, function: Callable[[], Result]) -> Result:
        """Call a function in the thread of the loop, and return its result."""

        async def called() -> Result:
            return function()

        return self.run(called())

    def stop(self) -> None:
        """Stop the loop, and wait for the end of its thread."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()


class Client:
    """A client of one server. Use it with `with`. See `synckairos_client.Client`.

    All calls wait for their result. `get_token` is an ordinary function. It runs in a thread of its own.
    """

    def __init__(
        self, url: str, *, token: str | None = None, get_token: Callable[[], str] | None = None, **options: Any
    ) -> None:
        """Create a client for the server at `url`. `options` are those of `synckairos_client.Client`.

        Raises: ValueError if `url` is not valid, or if both `token` and `get_token` are given.
        """

        async def fetch_token() -> str:
            assert get_token is not None
            return await asyncio.to_thread(get_token)

        source = None if get_token is None else fetch_token
        self._client = reconnecting_client.Client(url, token=token, get_token=source, **options)
        self._thread: EventLoopThread | None = None
        self.api = Api(self._call_operation)
        """The REST operations of the server."""

    def __enter__(self) -> Self:
        self._thread = EventLoopThread()
        self._thread.run(self._client.__aenter__())
        return self

    def __exit__(self, *_: object) -> None:
        thread, self._thread = self._thread, None
        assert thread is not None
        thread.run(self._client.__aexit__())
        thread.stop()

    @property
    def trouble(self) -> str | None:
        """Return the reason why there is no connection; None while connected and before the first attempt."""
        return self._client.trouble

    @property
    def is_connected(self) -> bool:
        """Return whether the client is connected now."""
        return self._client.is_connected

    @property
    def transport(self) -> Transport:
        """Return the transport of the present connection, or of the last one."""
        return self._client.transport

    @property
    def is_time_known(self) -> bool:
        """Return whether the server's time is known."""
        return self._loop.call(lambda: self._client.is_time_known)

    @property
    def error_ms(self) -> float:
        """Return the maximum error of `now_ms` in either direction, ms. Infinite if the time is not known."""
        return self._loop.call(lambda: self._client.error_ms)

    def now_ms(self) -> float:
        """Return the server's time, ms since the Unix epoch. Raises: ServerTimeUnknown."""
        return self._loop.call(self._client.now_ms)

    def measure(self, timeout_s: float | None = None) -> Sample:
        """Measure the server's time now. Raises: TimeoutError after `timeout_s` seconds."""
        return self._loop.run(self._client.measure(), timeout_s)

    @contextmanager
    def watch(self, session_id: str, timeout_s: float | None = None, *, only: str | None = None) -> Iterator["Watch"]:
        """Watch a session, with `with`. The block begins when the state and the server's time are known.

        With `only`, a participant id, the states have the row of this participant alone.

        Raises: TimeoutError after `timeout_s` seconds without a state, and the exceptions of the asynchronous method.
        """
        loop = self._loop
        watching = self._client.watch(session_id, only=only)
        session = loop.run(watching.__aenter__(), timeout_s)
        try:
            yield Watch(session, loop)
        finally:
            loop.run(watching.__aexit__(None, None, None))

    def command(
        self,
        session_id: str,
        verb: str,
        args: Mapping[str, Any] | None = None,
        *,
        timeout_s: float | None = None,
        **options: Any,
    ) -> Ack:
        """Send a command and wait for its answer. `options` are those of `synckairos_client.Client.command`.

        Raises: TimeoutError after `timeout_s` seconds. The outcome is then unknown.
        """
        return self._loop.run(self._client.command(session_id, verb, args, **options), timeout_s)

    @property
    def _loop(self) -> EventLoopThread:
        if self._thread is None:
            raise ClientClosed
        return self._thread

    def _call_operation(self, *args: Any, **options: Any) -> Any:
        return self._loop.run(self._client.call_operation(*args, **options))


class Watch:
    """A watched session, from `with Client.watch(…)`. See `synckairos_client.Watch`."""

    def __init__(self, session: watched_session.Watch, loop: EventLoopThread) -> None:
        self.session_id = session.session_id
        self._session = session
        self._loop = loop

    @property
    def state(self) -> Session:
        """Return the newest state."""
        return self._session.state

    @property
    def document(self) -> Message:
        """Return the document of the newest state as JSON values."""
        return self._loop.call(lambda: self._session.document)

    @property
    def present(self) -> ReceivedPresence | None:
        """Return the connected watchers, None before the first message about them."""
        return self._session.present

    def remaining_ms(self, participant_id: str | None = None) -> int | None:
        """Return the present reading of one clock in ms; None if this clock has no time limit."""
        return self._loop.call(lambda: self._session.remaining_ms(participant_id))

    def used_ms(self, participant_id: str | None = None) -> int:
        """Return the used time until now in ms: of the session, or of one participant."""
        return self._loop.call(lambda: self._session.used_ms(participant_id))

    def updates(self) -> Generator[Update, None, None]:
        """Yield the latest state without events, then each newer state with the events since the previous state."""
        yield from self._iterate(self._session.updates)

    def presences(self) -> Generator[ReceivedPresence, None, None]:
        """Yield the connected watchers of the session now, and again after changes."""
        yield from self._iterate(self._session.presences)

    def reach(self, version: int, timeout_s: float | None = None) -> Session:
        """Wait until the state has at least this version, and return it. Raises: TimeoutError."""
        return self._loop.run(self._session.reach(version), timeout_s)

    def command(
        self, verb: str, args: Mapping[str, Any] | None = None, *, timeout_s: float | None = None, **options: Any
    ) -> Ack:
        """Send a command to this session. `options` are those of `synckairos_client.Watch.command`.

        Raises: TimeoutError after `timeout_s` seconds. The outcome is then unknown.
        """
        return self._loop.run(self._session.command(verb, args, **options), timeout_s)

    def _iterate(self, start: Callable[[], Any]) -> Generator[Any, None, None]:
        items = start()
        try:
            while (item := self._loop.run(anext(items, None))) is not None:
                yield item
        finally:
            self._loop.run(items.aclose())
