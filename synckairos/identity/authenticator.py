"""Authentication of requests: which principal an HTTP request, a WebSocket handshake or a token has."""

from collections.abc import Callable
from typing import Protocol

from synckairos.errors import InsecureTransport, Unauthorized
from synckairos.frozen_replace import replace
from synckairos.identity.credentials import Scope, find_token
from synckairos.identity.secret_text import is_stored_credential
from synckairos.limits.client_work_budgets import ClientWorkLimits
from synckairos.limits.work_limits import REFUSED_TOKENS
from synckairos.principal import MemberRights, Principal
from synckairos.telemetry import log

logger = log.get_logger(__name__)


class CredentialVerifier(Protocol):
    """Verifies bearer credentials of one form. It keeps those that it has accepted in a cache."""

    def find_cached(self, text: str, now_ms: int, /) -> Principal | None:
        """Return the principal of a credential that was verified before, None if it must be verified."""

    async def verify(self, text: str, now_ms: int, /) -> Principal:
        """Verify a credential and return its principal. Raises: Unauthorized, KeysUnavailable, StoreUnavailable."""


def accept_every_principal(_: Principal) -> None:
    """Accept each principal, so do nothing. It is the `refuse_ended` of an authenticator without revocations."""


def find_no_members(_: Principal) -> MemberRights | None:
    """Return None. It is the `find_members` of an authenticator without members."""
    return None


class Authenticator:
    """Authenticates callers by their tokens and API keys. It exists only if authentication is on."""

    def __init__(
        self,
        tokens: CredentialVerifier,
        stored_credentials: CredentialVerifier | None = None,
        *,
        now_ms: Callable[[], int],
        address_for: Callable[[Scope], str],
        is_secure: Callable[[Scope], bool],
        work: ClientWorkLimits,
        refuse_ended: Callable[[Principal], None] = accept_every_principal,
        find_members: Callable[[Principal], MemberRights | None] = find_no_members,
    ) -> None:
        """Create the authenticator.

        - `tokens`: verifies JSON Web Tokens.
        - `stored_credentials`: verifies API keys. None: no API key is accepted.
        - `now_ms`: the time of Redis in ms since the Unix epoch.
        - `address_for`: the address under which limits count the client of a request.
        - `is_secure`: whether no other machine can have read a request on its way.
        - `refuse_ended`: raises an error if the credential of a principal was revoked, or if its tenant is not
          accepted. It is called for each request, also if the token is in the cache.
        - `find_members`: returns the member rows of a principal from memory, None if no row can concern the principal.
        """
        self.now_ms = now_ms
        self._tokens = tokens
        self._stored_credentials = stored_credentials
        self._address_for = address_for
        self._is_secure = is_secure
        self._work = work
        self._refuse_ended = refuse_ended
        self._find_members = find_members

    async def authenticate(
        self, scope: Scope, *, in_subprotocols: bool = False, accepts_operators: bool = False
    ) -> Principal | None:
        """Return the principal of an HTTP request or a WebSocket handshake. Return None if it has no credential.

        Pass `in_subprotocols=True` for a handshake, whose token can also be in a subprotocol. Unless
        `accepts_operators` is True, the key of an operator is refused.

        Raises: Unauthorized, InsecureTransport, RateLimitExceeded, KeysUnavailable, and the errors of `refuse_ended`.
        """
        token = find_token(scope, in_subprotocols=in_subprotocols)
        if token is None:
            return None
        self.require_secure(scope)
        return await self.authenticate_token(token, self._address_for(scope), accepts_operators=accepts_operators)

    def require_secure(self, scope: Scope) -> None:
        """Check that no other machine can have read a token in this request.

        Raises: InsecureTransport.
        """
        if not self._is_secure(scope):
            raise InsecureTransport

    async def authenticate_token(self, token: str, address: str, *, accepts_operators: bool = False) -> Principal:
        """Return the principal of a token that came from `address`. The principal has this address.

        A token that was accepted before comes from the cache. The signature of another token is checked only if the
        budget of its address for refused tokens is not used up.

        Raises: Unauthorized, RateLimitExceeded, KeysUnavailable, and the errors of `refuse_ended`.
        """
        now_ms = self.now_ms()
        verifier = self._tokens
        if self._stored_credentials is not None and is_stored_credential(token):
            verifier = self._stored_credentials
        principal = verifier.find_cached(token, now_ms)
        if principal is None:
            self._work.charge(address, REFUSED_TOKENS)
            try:
                principal = await verifier.verify(token, now_ms)
            except Unauthorized:
                raise
            except BaseException:  # the token was not refused as invalid, or the wait was cancelled
                self._work.undo_charge(address, REFUSED_TOKENS)
                raise
            if principal.is_operator and not accepts_operators:
                raise Unauthorized("The key of an operator is accepted only for requests")
            self._work.undo_charge(address, REFUSED_TOKENS)
            self._refuse_ended(principal)
            jti = None if principal.life is None else principal.life.token_id
            logger.info("authenticated", kind=principal.kind, sub=principal.subject, jti=jti)
        else:
            self._refuse_ended(principal)
        return self.complete(principal, address)

    def complete(self, principal: Principal, address: str) -> Principal:
        """Return the principal of a verified credential with the address of its client, and with its member rows."""
        return replace(principal, address=address, members=self._find_members(principal))


class IgnoredCredentialsWarning:
    """Logs one warning that credentials have no effect. Used only while authentication is off."""

    def __init__(self) -> None:
        self._is_logged = False

    def warn_once_if_sent(self, has_credential: bool) -> None:
        """Log the warning at the first call with `has_credential` True. Otherwise do nothing."""
        if has_credential and not self._is_logged:
            self._is_logged = True
            logger.warning("credentials are ignored because SYNCKAIROS_AUTH is none")
