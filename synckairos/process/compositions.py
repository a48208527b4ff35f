"""The compositions of a server process: one at a time, and a second one while the process follows a moved store.

The new composition accepts connections on the same port before the former one drains. So the port answers all the time.
"""

import asyncio
import socket
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Any

from msgspec import Struct

from synckairos.config import Settings
from synckairos.errors import StoreMoved, StoreUnavailable
from synckairos.process.moved_store import RETRY_S, settings_after_move
from synckairos.process.stop_signals import stop_on_signals
from synckairos.server.uvicorn_server import Server

BackgroundLoop = Coroutine[Any, Any, None]


class Composition(Struct, frozen=True):
    """A server with the background loops of its instance, and the wait for a move of its store."""

    server: Server
    loops: list[BackgroundLoop]
    wait_for_move: Callable[[], Coroutine[Any, Any, StoreMoved]]


Compose = Callable[[Settings, socket.socket], AbstractAsyncContextManager[Composition]]


class Compositions:
    """Runs the compositions of a process until the process is stopped."""

    def __init__(self, compose: Compose) -> None:
        """Create the runner. `compose` opens a composition on a listening socket, which the composition then closes."""
        self._compose = compose
        self._servers: set[Server] = set()
        self._is_stopping = False
        self._tasks = asyncio.TaskGroup()

    async def run(self, settings: Settings, listener: socket.socket, on_ready: Callable[[Server], None]) -> None:
        """Serve until SIGTERM or SIGINT arrives, then drain and return. Follow the store if it moves.

        `on_ready` is called when the server of the first composition accepts connections.

        Raises: the exceptions of `compose`, before the server accepts connections.
        """
        async with AsyncExitStack() as stack:
            settings, first = await self._open(stack, settings, listener)
            # The first signal starts the drain. A second signal shortens the drain.
            with stop_on_signals(self._stop):
                async with self._tasks:
                    await self._run(stack.pop_all(), settings, listener, first, on_ready)

    async def _open(
        self, stack: AsyncExitStack, settings: Settings, listener: socket.socket
    ) -> tuple[Settings, Composition]:
        """Open a composition on the present store. Return it with the settings of this store."""
        while True:
            try:
                return settings, await stack.enter_async_context(self._compose(settings, listener))
            except StoreMoved as moved:
                settings = await settings_after_move(settings, moved)

    async def _run(
        self,
        stack: AsyncExitStack,
        settings: Settings,
        listener: socket.socket,
        composition: Composition,
        on_ready: Callable[[Server], None],
    ) -> None:
        """Run an open composition until its server is stopped, and close it."""
        server = composition.server
        async with stack:
            self._servers.add(server)
            if self._is_stopping:
                server.stop()
            async with asyncio.TaskGroup() as tasks:
                running = [tasks.create_task(loop) for loop in composition.loops]
                running.append(tasks.create_task(self._follow_move(settings, listener, composition)))
                await server.run_until_stopped(on_ready=lambda: on_ready(server))
                for task in running:
                    task.cancel()
            self._servers.discard(server)

    async def _follow_move(self, settings: Settings, listener: socket.socket, composition: Composition) -> None:
        """Wait until the store has moved. Serve from the new store, and then drain the server of the former store."""
        moved = await composition.wait_for_move()
        shared, is_ready = listener.dup(), asyncio.Event()
        shared.setblocking(False)
        stack = AsyncExitStack()
        while True:
            try:
                settings = await settings_after_move(settings, moved)
                settings, following = await self._open(stack, settings, shared)
                break
            except StoreUnavailable:
                await asyncio.sleep(RETRY_S)
        # The task belongs to the process, because this composition ends before the following one.
        self._tasks.create_task(self._run(stack, settings, shared, following, lambda _: is_ready.set()))
        await is_ready.wait()
        composition.server.hand_over()

    def _stop(self) -> None:
        self._is_stopping = True
        for server in self._servers:
            server.stop()
