"""Redemption of links: a public operation that counts refused links for each address."""

from collections.abc import Callable

from synckairos.errors import Unauthorized
from synckairos.limits.client_work_budgets import ClientWorkLimits
from synckairos.limits.work_limits import REFUSED_TOKENS
from synckairos.principal import Principal
from synckairos.stored_credentials.table import RedeemedLink
from synckairos.stored_credentials.verifier import CredentialVerifier, principal_of
from synckairos.telemetry import log

logger = log.get_logger(__name__)


class LinkRedeemer:
    """Gives session tokens for links. It exists only if authentication is on."""

    def __init__(
        self,
        verifier: CredentialVerifier,
        *,
        now_ms: Callable[[], int],
        work: ClientWorkLimits,
        refuse_ended: Callable[[Principal], None],
    ) -> None:
        """Create the redeemer.

        `now_ms` is the time of Redis in ms since the Unix epoch. `refuse_ended` raises an error if the tenant of a
        principal is not accepted.
        """
        self.now_ms = now_ms
        self._verifier = verifier
        self._work = work
        self._refuse_ended = refuse_ended

    async def redeem(self, text: str, address: str) -> RedeemedLink:
        """Count a use of the link with the text `text`, and return a new session token. At most one round trip.

        A refused link takes from the budget of `address` for refused tokens.

        Raises: Unauthorized, with the same text for unknown, ended, revoked and used-up links. RateLimitExceeded if the
            address has no budget. TenantSuspended, TenantUnknown. StoreUnavailable.
        """
        with self._work.charge_if_due(address, REFUSED_TOKENS) as refused:
            try:
                found = await self._verifier.redeem(text, self.now_ms())
            except Unauthorized:
                refused.is_due = True
                raise
        principal = principal_of(found.credential)
        self._refuse_ended(principal)
        logger.info("link redeemed", sub=principal.subject, jti=found.credential.credential_id)
        return found
