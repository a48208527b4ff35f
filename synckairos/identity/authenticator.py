"""Authentication of requests: which principal an HTTP request, a WebSocket handshake or a token has."""

from collections.abc import Callable

from synckairos.errors import InsecureTransport, Unauthorized
from synckairos.frozen_replace import replace
from synckairos.identity.credentials import Scope, find_token
from synckairos.identity.token_verifier import TokenVerifier
from synckairos.limits.client_work_budgets import ClientWorkLimits
from synckairos.limits.work_limits import REFUSED_TOKENS
from synckairos.principal import Principal
from synckairos.telemetry import log

logger = log.get_logger(__name__)


def accept_every_principal(_: Principal) -> None:
    """Accept each principal, so do nothing. It is the `refuse_ended` of an authenticator without revocations."""


class Authenticator:
    """Authenticates callers by their tokens. It exists only if authentication is on."""

    def __init__(
        self,
        verifier: TokenVerifier,
        *,
        now_ms: Callable[[], int],
        address_for: Callable[[Scope], str],
        is_secure: Callable[[Scope], bool],
        work: ClientWorkLimits,
        refuse_ended: Callable[[Principal], None] = accept_every_principal,
    ) -> None:
        """Create the authenticator.

        - `now_ms`: the time of Redis in ms since the Unix epoch.
        - `address_for`: the address under which limits count the client of a request.
        - `is_secure`: whether no other machine can have read a request on its way.
        - `refuse_ended`: raises an error if the credential of a principal was revoked, or if its tenant is not
          accepted. It is called for each request, also if the token is in the cache.
        """
        self.now_ms = now_ms
        self._verifier = verifier
        self._address_for = address_for
        self._is_secure = is_secure
        self._work = work
        self._refuse_ended = refuse_ended

    async def authenticate(self, scope: Scope, *, in_subprotocols: bool = False) -> Principal | None:
        """Return the principal of an HTTP request or a WebSocket handshake. Return None if it has no credential.

        Pass `in_subprotocols=True` for a handshake, whose token can also be in a subprotocol.

        Raises: Unauthorized, InsecureTransport, RateLimitExceeded, KeysUnavailable, and the errors of `refuse_ended`.
        """
        token = find_token(scope, in_subprotocols=in_subprotocols)
        if token is None:
            return None
        self.require_secure(scope)
        return await self.authenticate_token(token, self._address_for(scope))

    def require_secure(self, scope: Scope) -> None:
        """Check that no other machine can have read a token in this request.

        Raises: InsecureTransport.
        """
        if not self._is_secure(scope):
            raise InsecureTransport

    async def authenticate_token(self, token: str, address: str) -> Principal:
        """Return the principal of a token that came from `address`. The principal has this address.

        A token that was accepted before comes from the cache. The signature of another token is checked only if the
        budget of its address for refused tokens is not used up.

        Raises: Unauthorized, RateLimitExceeded, KeysUnavailable, and the errors of `refuse_ended`.
        """
        now_ms = self.now_ms()
        principal = self._verifier.find_cached(token, now_ms)
        if principal is None:
            self._work.charge(address, REFUSED_TOKENS)
            try:
                principal = await self._verifier.verify(token, now_ms)
            except Unauthorized:
                raise
            except BaseException:  # the token was not refused as invalid, or the wait was cancelled
                self._work.undo_charge(address, REFUSED_TOKENS)
                raise
            self._work.undo_charge(address, REFUSED_TOKENS)
            self._refuse_ended(principal)
            jti = None if principal.life is None else principal.life.token_id
            logger.info("authenticated", kind=principal.kind, sub=principal.subject, jti=jti)
        else:
            self._refuse_ended(principal)
        return replace(principal, address=address)


class IgnoredCredentialsWarning:
    """Logs one warning that credentials have no effect. Used only while authentication is off."""

    def __init__(self) -> None:
        self._is_logged = False

    def warn_once_if_sent(self, has_credential: bool) -> None:
        """Log the warning at the first call with `has_credential` True. Otherwise do nothing."""
        if has_credential and not self._is_logged:
            self._is_logged = True
            logger.warning("credentials are ignored because SYNCKAIROS_AUTH is none")
