"""Refusals of v3 messages: the ERROR frames, and the text for messages that are too large."""

from synckairos.errors import (
    RateLimitExceeded,
    SyncKairosError,
)
from synckairos.limits.work_limits import (
    FREE_BYTES,
)
from synckairos.realtime.connection import SocketConnection
from synckairos.service.visible_rows import limit_document
from synckairos.telemetry.metrics import RATE_LIMITED
from synckairos.wire import v3_messages
from synckairos.wire.document_scan import find_session_id

TOO_LARGE = (
    f"Messages except COMMAND have at most {FREE_BYTES:,} characters, AUTH and REFRESH at most "
    f"{v3_messages.MAX_CREDENTIAL_CHARACTERS:,}"
)
"""Text of the refusal of a message with too many characters."""


def send_refusal(
    connection: SocketConnection,
    refusal: SyncKairosError,
    at_ms: int,
    reply_to: str | None = None,
    session_id: str | None = None,
) -> None:
    """Send a refusal as an ERROR, and count the refusal in the metrics if a rate limit was exceeded.

    `at_ms` is the time in the ERROR, ms since the Unix epoch. `reply_to` is the id of the refused message, None if it
    has no readable id. `session_id` is the session of the message, None if the message names no session.
    """
    if isinstance(refusal, RateLimitExceeded):
        RATE_LIMITED.labels("ws").inc()
    if refusal.document is not None:
        document_session_id = find_session_id(refusal.document)
        refusal.document = limit_document(connection.principal, document_session_id, refusal.document)
    connection.send_or_queue(v3_messages.error_frame(refusal, at_ms, reply_to, session_id))
