"""Renewal of the token of an open connection, before the token expires."""

import asyncio
from collections.abc import Callable

import orjson

from synckairos_client.errors import TokenUnavailable
from synckairos_client.single_connection import Connection
from synckairos_client.token_source import TokenSource


class TokenRenewal:
    """Fetches a fresh token for an open connection and sends the token to the server. One renewal runs at a time.

    `on_failure` is called if the token source raises. The server then ends the connection when the old token expires.
    """

    def __init__(self, tokens: TokenSource, on_failure: Callable[[TokenUnavailable], None]) -> None:
        self._tokens = tokens
        self._on_failure = on_failure
        self._task: asyncio.Task[None] | None = None

    def start(self, connection: Connection) -> None:
        """Start a renewal for `connection`, and return immediately.

        Do nothing if a renewal runs, or if the token source has only one token.
        """
        if self._task is None and self._tokens.can_renew:
            self._task = asyncio.create_task(self._renew(connection))

    def cancel(self) -> None:
        """Cancel the running renewal, if there is one."""
        if self._task is not None:
            self._task.cancel()

    async def _renew(self, connection: Connection) -> None:
        try:
            token = await self._tokens.fetch()
            connection.send(orjson.dumps({"type": "REFRESH", "token": token}))
        except TokenUnavailable as fault:
            self._on_failure(fault)
        finally:
            self._task = None
