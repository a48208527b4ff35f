"""The command `synckairos session watch`: a live clock in a terminal. Between updates, readings are calculated."""

import asyncio
import shutil
from collections.abc import Callable
from contextlib import AsyncExitStack, aclosing, suppress
from typing import TextIO

import synckairos_client
from synckairos.admin.session_text import render_session_lines
from synckairos.errors import SyncKairosError
from synckairos_client import Client, ServerTimeUnknown, SessionDeleted, SessionNotFound, Watch
from synckairos_client.server_url import server_url

FIRST_STATE_TIMEOUT_S = 10.0
"""Seconds: maximum wait for the first state."""

REDRAW_INTERVAL_S = 0.1
"""Seconds between two drawings of a running clock."""

_HOME, _CLEAR_TO_LINE_END, _CLEAR_BELOW = "\x1b[H", "\x1b[K", "\x1b[J"
_CLEAR_SCREEN, _HIDE_CURSOR, _SHOW_CURSOR = "\x1b[2J", "\x1b[?25l", "\x1b[?25h"


class ServerUnreachable(SyncKairosError):
    """The server sent no state within the timeout."""

    code = "SERVER_UNREACHABLE"
    status = 503

    def __init__(self, url: str, trouble: str | None) -> None:
        super().__init__(f"No answer from {url}: {trouble or 'it accepts the connection but sends no state'}")


class WatchFailed(SyncKairosError):
    """The client ended with an error. `code` is the code of the client's error."""

    def __init__(self, error: synckairos_client.SyncKairosError, message: str) -> None:
        super().__init__(message)
        self.code = error.code


async def show_session(
    url: str,
    session_id: str,
    out: TextIO,
    on_first_state: Callable[[], None] = lambda: None,
    token: str | None = None,
) -> None:
    """Show the clocks of a session until the session ends. The texts of the errors name the server.

    On a terminal the view is redrawn in the same lines. Otherwise the view is written once for each update.
    `on_first_state` is called before the first output. `token` is the credential for a server with authentication.

    Raises:
        ServerUnreachable: no state arrived within 10 seconds.
        WatchFailed: there is no such session, it was deleted, or the server ended the connection permanently.
    """
    server = server_url(url)
    try:
        await _show(Client(url, token=token), session_id, out, on_first_state)
    except SessionDeleted as error:
        raise WatchFailed(error, f"Session {session_id} was deleted at {server}") from error
    except SessionNotFound as error:
        raise WatchFailed(error, f"No session {session_id} at {server}") from error
    except synckairos_client.SyncKairosError as error:
        raise WatchFailed(error, f"{server}: {error.message}") from error


async def _show(connecting: Client, session_id: str, out: TextIO, on_first_state: Callable[[], None]) -> None:
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(connecting)
        try:
            async with asyncio.timeout(FIRST_STATE_TIMEOUT_S):
                session = await stack.enter_async_context(client.watch(session_id))
        except TimeoutError:
            raise ServerUnreachable(client.url, client.trouble) from None
        on_first_state()
        if out.isatty():
            await _show_live(client, session, out)
        else:
            async for update in session.updates():
                out.write("\n".join(_lines(client, session)) + "\n\n")
                out.flush()
                if update.state.status.is_final:
                    return


async def _show_live(client: Client, session: Watch, out: TextIO) -> None:
    out.write(_HIDE_CURSOR + _CLEAR_SCREEN)
    async with aclosing(session.updates()) as updates:
        next_update = asyncio.ensure_future(anext(updates))
        try:
            while True:
                _paint(client, session, out)
                await asyncio.wait((next_update,), timeout=REDRAW_INTERVAL_S)
                if next_update.done():
                    if next_update.result().state.status.is_final:
                        return
                    next_update = asyncio.ensure_future(anext(updates))
        finally:
            next_update.cancel()
            # An async generator can be closed only after its pending `anext` has ended.
            await asyncio.gather(next_update, return_exceptions=True)
            _paint(client, session, out)
            out.write(_SHOW_CURSOR)
            out.flush()


def _paint(client: Client, session: Watch, out: TextIO) -> None:
    lines = "".join(f"{line}{_CLEAR_TO_LINE_END}\r\n" for line in _lines(client, session))
    out.write(_HOME + lines + _CLEAR_BELOW)
    out.flush()


def _lines(client: Client, session: Watch) -> list[str]:
    columns, lines = shutil.get_terminal_size()
    now_ms = None
    with suppress(ServerTimeUnknown):
        now_ms = client.now_ms()
    if not client.is_connected:
        footer = f"reconnecting ({client.trouble})"
    elif now_ms is None:
        footer = "measuring the server's time"
    else:
        footer = f"server time ± {client.error_ms:.1f} ms"
    if session.present is not None:
        footer = f"{session.present.clients} connected · {footer}"
    # The last line of the terminal stays free for the cursor.
    return render_session_lines(session.state, now_ms, columns=columns, lines=lines - 1, footer=footer)
