"""Redemption of links: a public operation that counts refused links for each address."""

from collections.abc import Callable
from typing import Protocol

from synckairos.errors import Forbidden, Unauthorized
from synckairos.limits.client_work_budgets import ClientWorkLimits
from synckairos.limits.work_limits import REFUSED_TOKENS
from synckairos.principal import Principal
from synckairos.stored_credentials.page_tenants import PageTenants
from synckairos.stored_credentials.records import RedeemedLink, RedemptionRules, RefusedLink
from synckairos.stored_credentials.verifier import LINK_REFUSED, CredentialVerifier, principal_of
from synckairos.telemetry import log

logger = log.get_logger(__name__)


class AcceptedTenants(Protocol):
    """The tenants whose credentials an instance accepts. See `ActiveTenants`."""

    @property
    def requires_registration(self) -> bool:
        """Return whether only registered tenants and the default tenant are accepted."""

    def require_open(self, tenant: str) -> None:
        """Check that credentials of a tenant are accepted. Raises: TenantSuspended, TenantUnknown, StoreUnavailable."""


class LinkRedeemer:
    """Gives session tokens for links. It exists only if authentication is on."""

    def __init__(
        self,
        verifier: CredentialVerifier,
        *,
        now_ms: Callable[[], int],
        work: ClientWorkLimits,
        refuse_ended: Callable[[Principal], None],
        tenants: AcceptedTenants | None = None,
    ) -> None:
        """Create the redeemer.

        `now_ms` is the time of Redis in ms since the Unix epoch. `refuse_ended` raises an error if the credential of a
        principal is not accepted. Without `tenants`, all tenants are accepted.
        """
        self.now_ms = now_ms
        self._verifier = verifier
        self._work = work
        self._refuse_ended = refuse_ended
        self._tenants = tenants

    async def redeem(self, text: str, address: str, page: PageTenants | None = None) -> RedeemedLink:
        """Count a use of the link with the text `text`, and return a new session token. At most one round trip.

        `page` are the tenants that accept the page of the request, None if all do. A link of another tenant, and of a
        tenant that is closed, keeps its uses. A refused link takes from the budget of `address` for refused tokens.

        Raises: Unauthorized, with the same text for unknown, ended, revoked and used-up links. RateLimitExceeded if the
            address has no budget. TenantSuspended, TenantUnknown. Forbidden because of the page. StoreUnavailable.
        """
        rules = RedemptionRules(self._tenants is not None and self._tenants.requires_registration, page)
        with self._work.charge_if_due(address, REFUSED_TOKENS) as refused:
            try:
                found = await self._verifier.redeem(text, rules, self.now_ms())
            except Unauthorized:
                refused.is_due = True
                raise
        if isinstance(found, RefusedLink):
            if self._tenants is not None:
                self._tenants.require_open(found.tenant)
            if page is not None and not page.allows(found.tenant):
                raise Forbidden("Pages of this origin are not allowed for the tenant of the link")
            raise Unauthorized(LINK_REFUSED)  # the tenant was closed, or the last use taken, at this moment
        principal = principal_of(found.credential)
        self._refuse_ended(principal)
        logger.info("link redeemed", sub=principal.subject, jti=found.credential.credential_id)
        return found
