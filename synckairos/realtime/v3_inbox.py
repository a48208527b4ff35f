"""Inbox of a v3 connection: the requests that are not started, and their handling in the order of arrival."""

from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

from synckairos.errors import (
    InternalError,
    PayloadTooLarge,
    RateLimitExceeded,
    SyncKairosError,
)
from synckairos.realtime.connection import SocketConnection
from synckairos.realtime.v3_refusals import TOO_LARGE, send_refusal
from synckairos.store.rate_quotas import PRESSES
from synckairos.telemetry import log
from synckairos.wire import v3_messages
from synckairos.wire.json_decode import value_count_upper_bound

InboxRequest = v3_messages.Subscribe | v3_messages.Unsubscribe | v3_messages.Command
"""Requests that a connection handles in the order of arrival. PING is answered at once and is not such a request."""

MAX_INBOX = 512
"""Maximum number of requests in the inbox of one connection. The inbox holds requests that are not started."""

MAX_INBOX_CHARACTERS = 1 << 20
"""Maximum characters of all requests in one inbox: 32 times the largest metadata.

The inbox holds large requests as text, because their values take up to 20 times this size in memory.
"""

logger = log.get_logger(__name__)


class V3Inbox:
    """The requests of one connection that are not started. It exists only while a task handles requests."""

    __slots__ = ("_characters", "_connection", "_handle", "_requests")

    def __init__(
        self, connection: SocketConnection, handle: Callable[[InboxRequest], Coroutine[Any, Any, None]]
    ) -> None:
        """Create an empty inbox. `handle` handles one request of `connection` and sends its answer."""
        self._connection = connection
        self._handle = handle
        self._characters = 0
        """The characters of all requests in the inbox."""
        self._requests: deque[tuple[InboxRequest | str, int]] = deque()
        """Each request with its number of characters. A large request is an unparsed text."""

    def add(self, request: InboxRequest | str, size: int) -> bool:
        """Add a request with `size` characters at the end. Return False, and add nothing, if the inbox is full."""
        if len(self._requests) >= MAX_INBOX or self._characters > MAX_INBOX_CHARACTERS - size:
            return False
        self._requests.append((request, size))
        self._characters += size
        return True

    async def handle_all(self) -> None:
        """Handle the requests in the order of arrival, until the inbox is empty or the connection is lost.

        A request that fails is answered with an ERROR, and the next request is handled.
        """
        connection = self._connection
        while self._requests and not connection.is_lost:
            next_request, size = self._requests.popleft()
            self._characters -= size
            request = await self._parse_large(next_request) if isinstance(next_request, str) else next_request
            if request is None:
                continue
            try:
                await self._handle_in_turn(request)
            except RateLimitExceeded as refusal:
                await connection.hub.work.processor_time.delay_refusal(connection.principal.limited_client_id)
                send_refusal(connection, refusal, connection.hub.now_ms(), request.id, request.session_id)
            except Exception as fault:  # the client must get an answer to this request and to later requests
                logger.error("a client's request failed", session_id=request.session_id, exc_info=fault)
                if isinstance(request, v3_messages.Subscribe):
                    connection.drop_subscription(request.session_id)
                send_refusal(connection, InternalError(), connection.hub.now_ms(), request.id, request.session_id)

    async def _parse_large(self, text: str) -> v3_messages.Command | None:
        """Parse a large message and return its COMMAND. If it is no valid COMMAND, send an ERROR and return None."""
        connection = self._connection
        try:
            request = await connection.hub.work.parse_queue.run(
                connection.principal.limited_client_id,
                value_count_upper_bound(text),
                lambda: v3_messages.parse_v3_message(text),
            )
            if isinstance(request, v3_messages.Command):
                return request
            raise PayloadTooLarge(TOO_LARGE)
        except SyncKairosError as refusal:
            send_refusal(connection, refusal, connection.hub.now_ms(), v3_messages.extract_message_id(text))
            return None

    async def _handle_in_turn(self, request: InboxRequest) -> None:
        """Wait until the client has used no more than its share of the processor, then handle the request.

        For presses see `ProcessorTime.run_press`.

        Raises: RateLimitExceeded if the wait takes too long. The request was not handled then.
        """
        connection = self._connection
        client, processor_time = connection.principal.limited_client_id, connection.hub.work.processor_time
        processor_time.note_activity(client)
        if isinstance(request, v3_messages.Command) and request.command in PRESSES:
            tenant = connection.principal.tenant
            await processor_time.run_press(client, tenant, request.session_id, lambda: self._handle(request))
        else:
            await processor_time.run(client, lambda: self._handle(request))
