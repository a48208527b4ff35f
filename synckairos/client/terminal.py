"""`synckairos session watch`: a live clock in a terminal. Between two updates it is calculated, no frame is needed."""

import asyncio
import shutil
from contextlib import AsyncExitStack, aclosing
from typing import TextIO

from synckairos.client.client import Client
from synckairos.client.text_view import draw
from synckairos.client.watch import Watch
from synckairos.errors import SyncKairosError

CONNECT_WITHIN_S = 10.0
REDRAW_S = 0.1

_HOME, _END_OF_LINE, _BELOW = "\x1b[H", "\x1b[K", "\x1b[J"
_CLEAR, _HIDE_CURSOR, _SHOW_CURSOR = "\x1b[2J", "\x1b[?25l", "\x1b[?25h"


class ServerUnreachable(SyncKairosError):
    code = "SERVER_UNREACHABLE"
    status = 503

    def __init__(self, url: str, trouble: str | None) -> None:
        super().__init__(f"No answer from {url}: {trouble or 'it accepts the connection and says nothing'}")


async def show(url: str, session_id: str, out: TextIO) -> None:
    """Show a session's clocks until it ends: redrawn in place on a terminal, elsewhere once an update.

    Raises ServerUnreachable where nothing is known within ten seconds, SessionNotFound, SessionDeleted, or what ended
    the connection for good.
    """
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(Client(url))
        try:
            async with asyncio.timeout(CONNECT_WITHIN_S):
                session = await stack.enter_async_context(client.watch(session_id))
        except TimeoutError:
            raise ServerUnreachable(client.url, client.trouble) from None
        if out.isatty():
            await _live(client, session, out)
        else:
            async for update in session.updates():
                out.write("\n".join(_lines(client, session)) + "\n\n")
                out.flush()
                if update.state.status.is_final:
                    return


async def _live(client: Client, session: Watch, out: TextIO) -> None:
    out.write(_HIDE_CURSOR + _CLEAR)
    async with aclosing(session.updates()) as updates:
        news = asyncio.ensure_future(anext(updates))
        try:
            while True:
                _paint(client, session, out)
                await asyncio.wait((news,), timeout=REDRAW_S)
                if news.done():
                    if news.result().state.status.is_final:
                        return
                    news = asyncio.ensure_future(anext(updates))
        finally:
            news.cancel()
            # An iteration can be closed only when nobody waits in it any more.
            await asyncio.gather(news, return_exceptions=True)
            _paint(client, session, out)
            out.write(_SHOW_CURSOR)
            out.flush()


def _paint(client: Client, session: Watch, out: TextIO) -> None:
    out.write(_HOME + "".join(f"{line}{_END_OF_LINE}\r\n" for line in _lines(client, session)) + _BELOW)
    out.flush()


def _lines(client: Client, session: Watch) -> list[str]:
    columns, lines = shutil.get_terminal_size()
    link = f"server time ± {client.error_ms:.1f} ms" if client.is_connected else f"reconnecting ({client.trouble})"
    if session.present is not None:
        link = f"{session.present.clients} connected · {link}"
    # The last line stays free for the cursor.
    return draw(session.state, client.now_ms(), columns=columns, lines=lines - 1, footer=link)
