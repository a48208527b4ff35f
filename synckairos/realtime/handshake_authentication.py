"""Authentication of handshakes: of WebSockets in both dialects, and of event streams.

A handshake has a token in a header or subprotocol, or a ticket in its URL. A v3 client can also authenticate afterwards
by AUTH. Each handshake is charged to the budgets of its client.
"""

from collections.abc import Callable
from urllib.parse import parse_qs

from synckairos.errors import Forbidden, RateLimitExceeded, SyncKairosError, TooManyConnections, Unauthorized
from synckairos.identity.authenticator import Authenticator, IgnoredCredentialsWarning
from synckairos.identity.credentials import SUBPROTOCOL_PREFIX
from synckairos.limits.work_limits import HANDSHAKES, REFUSED_TOKENS, UNKNOWN_SESSIONS
from synckairos.principal import Principal
from synckairos.realtime.hub import Hub
from synckairos.realtime.sign_in import SignIns
from synckairos.realtime.socket_interface import Scope
from synckairos.store.tickets import TicketStore


class HandshakeAuthentication:
    """Authenticates the clients of new connections, and charges their handshakes.

    `principal_for` returns the principal of an ASGI scope while authentication is off. `authenticator` authenticates
    callers, None while authentication is off. `sign_ins` has the sockets that wait for AUTH. `tickets` are the tickets
    in URLs, None while authentication is off. `allows_tenant` returns whether the `Origin` of an ASGI scope is allowed
    for a tenant. By default each origin is.
    """

    def __init__(
        self,
        hub: Hub,
        *,
        principal_for: Callable[[Scope], Principal],
        authenticator: Authenticator | None,
        sign_ins: SignIns,
        tickets: TicketStore | None,
        allows_tenant: Callable[[str, Scope], bool] = lambda _tenant, _scope: True,
    ) -> None:
        self._hub = hub
        self._principal_for = principal_for
        self._authenticator = authenticator
        self._sign_ins = sign_ins
        self._tickets = tickets
        self._allows_tenant = allows_tenant
        self._ignored_credentials_warning = IgnoredCredentialsWarning()

    async def authenticate_and_charge(self, scope: Scope, uses_v3: bool) -> tuple[Principal, SyncKairosError | None]:
        """Return the principal of a handshake, and the refusal if the client is limited or has no valid credential.

        The handshake is charged to its principal. A handshake without a valid credential is charged to its address.
        """
        principal, refusal, ticket = await self._authenticate(scope, uses_v3)
        if principal.life is not None and not self._allows_tenant(principal.tenant, scope):
            refusal, ticket = Forbidden("This Origin may not connect to this tenant"), None
        limited = self._charge(principal, uses_v3)
        if limited is None and ticket is not None and self._tickets is not None:
            # Take the ticket after all checks that can refuse the handshake, so that a refused client can use it again.
            try:
                if not await self._tickets.take(ticket):
                    raise self._refuse_ticket(principal.address)
            except SyncKairosError as error:
                return Principal.without_rights(principal.address), error.with_traceback(None)
        return principal, limited or refusal

    def bind_origin(self, scope: Scope) -> Callable[[str], bool]:
        """Return a function that returns whether the origin of a handshake is allowed for a tenant."""
        return lambda tenant: self._allows_tenant(tenant, scope)

    async def _authenticate(self, scope: Scope, uses_v3: bool) -> tuple[Principal, SyncKairosError | None, str | None]:
        """Return the principal of a handshake, the refusal without a valid credential, and the ticket to be taken.

        A v2 client can send its token only in the header `Authorization`. A v3 client without a credential gets a
        principal without rights, and must send AUTH. The ticket is None if the credential is no ticket.
        """
        principal = self._principal_for(scope)
        if self._authenticator is None:
            self._ignored_credentials_warning.warn_once_if_sent(
                any(name == b"authorization" for name, _ in scope["headers"])
                or any(each.startswith(SUBPROTOCOL_PREFIX) for each in scope.get("subprotocols", ()))
            )
            return principal, None, None
        without_rights = Principal.without_rights(principal.address)
        text = query_value(scope, "ticket")
        try:
            authenticated = await self._authenticator.authenticate(scope, in_subprotocols=uses_v3)
            if authenticated is not None and text is not None:
                raise Unauthorized("The request has two different credentials")
            if authenticated is not None:
                return authenticated, None, None
            if text is not None:
                return await self._find_ticket_principal(text, scope, principal.address), None, text
            if not uses_v3:
                raise Unauthorized("This connection needs a token", has_credential=False)
            self._authenticator.require_secure(scope)
            self._sign_ins.require_place(principal.address)
        except SyncKairosError as refusal:
            return without_rights, refusal.with_traceback(None), None
        return without_rights, None, None

    async def _find_ticket_principal(self, text: str, scope: Scope, address: str) -> Principal:
        """Return the principal of a ticket, which stays in Redis.

        The limits of connections, handshakes and refused tokens of the address are checked first. If one is reached,
        the ticket is not looked up. A refused ticket takes from the budget of its address for refused tokens.

        Raises: Unauthorized, TooManyConnections, RateLimitExceeded, InsecureTransport, StoreUnavailable.
        """
        if self._hub.would_exceed_limit(address):
            raise TooManyConnections("Too many connections; try again")
        assert self._authenticator is not None  # while authentication is off, no ticket is looked up
        self._authenticator.require_secure(scope)
        for limit in (HANDSHAKES, REFUSED_TOKENS):
            self._hub.work.require_budget(address, limit)
        ticket = None if self._tickets is None else await self._tickets.find(text)
        if ticket is None or ticket.origin not in (None, _origin_of(scope)):
            raise self._refuse_ticket(address)
        self._hub.credential_ends.require_valid(ticket.principal)
        return self._authenticator.complete(ticket.principal, address)

    def _refuse_ticket(self, address: str) -> Unauthorized:
        """Charge a refused ticket to its address, and return the refusal. Raises: RateLimitExceeded."""
        self._hub.work.charge(address, REFUSED_TOKENS)
        return Unauthorized("The ticket is not valid")

    def _charge(self, principal: Principal, uses_v3: bool) -> RateLimitExceeded | None:
        """Charge a handshake to its client. Return None if the handshake is allowed, else the refusal.

        A v2 client subscribes with its handshake. So its handshake is also refused if the client's budget for unknown
        sessions is used up. The handshake takes nothing from this second budget.
        """
        try:
            if not uses_v3:
                self._hub.work.require_budget(principal.limited_client_id, UNKNOWN_SESSIONS)
            self._hub.work.charge(principal.limited_client_id, HANDSHAKES)
        except RateLimitExceeded as refusal:
            return refusal.with_traceback(None)
        return None


def query_value(scope: Scope, name: str) -> str | None:
    """Return the first value of a parameter of the query string, None without this parameter."""
    values = parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True).get(name)
    return values[0] if values else None


def _origin_of(scope: Scope) -> str | None:
    return next((value.decode("latin-1") for name, value in scope["headers"] if name == b"origin"), None)
