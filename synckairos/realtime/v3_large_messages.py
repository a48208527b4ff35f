"""Charges of large messages of v3 connections. They are charged before they are parsed, by their sizes alone."""

import time

from synckairos.errors import PayloadTooLarge, RateLimitExceeded, Unauthorized
from synckairos.limits.client_work_budgets import WorkBudget
from synckairos.limits.work_limits import BYTES, CONNECTION_BYTES, CONNECTION_VALUES, VALUES
from synckairos.realtime.connection import SocketConnection
from synckairos.realtime.v3_refusals import TOO_LARGE, send_refusal
from synckairos.wire import v3_messages
from synckairos.wire.json_decode import value_count_upper_bound

READING_PAUSE_S = 0.5
"""Seconds for which the server reads nothing from a connection after it refused a large message of it."""


def charge_large_message(
    connection: SocketConnection, budget: WorkBudget, text: str, received_ms: int, *, is_signed_in: bool
) -> bool:
    """Charge a large message to its connection and its client. Return whether it can be handled.

    Only a COMMAND is allowed to be large, and only after an AUTH that is required (`is_signed_in`). `budget` is the
    budget of the connection. `received_ms` is the instant of the arrival in ms since the Unix epoch.

    If the result is False, the message must be dropped, and its client was answered: if the budget of the connection is
    used up, with a close, else with an ERROR. After an ERROR, the server pauses the reading while other clients are
    active, because to receive a large message takes processor time too.
    """
    if not v3_messages.may_be_command(text):
        send_refusal(connection, PayloadTooLarge(TOO_LARGE), received_ms)
        _pause_reading(connection)
        return False
    if not is_signed_in:
        send_refusal(connection, Unauthorized("Send AUTH first"), received_ms)
        return False
    values, now_s = value_count_upper_bound(text), time.monotonic()
    try:
        budget.charge(CONNECTION_BYTES, len(text), now_s)
        budget.charge(CONNECTION_VALUES, values, now_s)
    except RateLimitExceeded:
        connection.close(connection.codes.too_many_messages, "too many bytes or values")
        return False
    client_id, work = connection.principal.limited_client_id, connection.hub.work
    try:
        work.charge(client_id, BYTES, len(text))
        work.charge(client_id, VALUES, values)
    except RateLimitExceeded as refusal:
        send_refusal(connection, refusal, received_ms, v3_messages.extract_message_id(text))
        _pause_reading(connection)
        return False
    return True


def _pause_reading(connection: SocketConnection) -> None:
    if connection.hub.work.processor_time.has_other_clients(connection.principal.limited_client_id):
        connection.socket.pause_reading(READING_PAUSE_S)
