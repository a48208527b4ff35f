"""Answers of a v3 connection to AUTH and REFRESH."""

from collections.abc import Callable

from synckairos.errors import (
    Forbidden,
    SyncKairosError,
    TooManyConnections,
    Unauthorized,
)
from synckairos.principal import Principal
from synckairos.realtime.connection import SocketConnection
from synckairos.realtime.sign_in import SignIn
from synckairos.realtime.v3_refusals import send_refusal
from synckairos.wire import v3_messages

NOT_AUTHENTICATED = (4501, "unauthorized")
UNDECIDED = (4000, "the credential cannot be checked now")
IDENTITY_CHANGED = (4501, "identity changed")
TOO_MANY_CONNECTIONS = (4520, "too many connections")


def send_authenticated(connection: SocketConnection, reply_to: str | None) -> None:
    """Send AUTHENTICATED with the milliseconds until the credential of the connection ends.

    `reply_to` is the id of the AUTH or REFRESH. It is None if the credential came with the handshake.
    """
    expires_in_ms = connection.hub.credential_ends.expires_in_ms(connection.principal)
    connection.send_or_queue(v3_messages.authenticated_frame(expires_in_ms, connection.hub.now_ms(), reply_to))


async def answer_sign_in(
    connection: SocketConnection,
    sign_in: SignIn,
    request: v3_messages.Auth | v3_messages.Refresh,
    allows_tenant: Callable[[str], bool],
) -> None:
    """Verify the token of an AUTH or REFRESH, take over its principal, and answer with AUTHENTICATED.

    If the token is refused, answer with an ERROR. The first AUTH also closes the connection if it is refused. If the
    token of a REFRESH has another identity than the connection, close the connection. Subscriptions to sessions that
    the new credential does not reach are ended. `allows_tenant` returns whether the origin of the connection is allowed
    for a tenant.
    """
    was_waiting = sign_in.is_waiting
    is_auth = isinstance(request, v3_messages.Auth)
    try:
        if not is_auth and was_waiting:
            raise Unauthorized("Send AUTH first")
        verify = sign_in.authenticate if is_auth else sign_in.refresh
        principal = await verify(request.token, connection.principal.address)
        if not allows_tenant(principal.tenant):
            raise Forbidden("This Origin may not connect to this tenant")
    except SyncKairosError as refusal:
        send_refusal(connection, refusal, connection.hub.now_ms(), request.id)
        if is_auth and was_waiting:
            connection.close(*(NOT_AUTHENTICATED if refusal.status in (401, 403) else UNDECIDED))
        return
    if connection.is_lost:
        return
    if was_waiting:
        sign_in.end_wait()
        try:
            connection.hub.authenticate_connection(connection, principal)
        except TooManyConnections:
            connection.close(*TOO_MANY_CONNECTIONS)
            return
    elif _identity(principal) != _identity(connection.principal):
        connection.close(*IDENTITY_CHANGED)
        return
    else:
        # The limits of a ticket hold as long as its socket. A page that got a narrowed ticket cannot remove them.
        connection.principal = principal.narrowed(connection.principal.narrowing)
        connection.hub.credential_ends.reschedule(connection)
    send_authenticated(connection, request.id)
    if connection.subscriptions and connection.principal.members is not None:
        await connection.principal.members.load()
    connection.apply_rights()


def _identity(principal: Principal) -> tuple[str, str, str]:
    """Return what a REFRESH must not change: tenant, kind and subject."""
    return principal.tenant, principal.kind, principal.subject
