"""The tenants whose data one web page is allowed to use, by the origin of the page."""

from msgspec import Struct


class PageTenants(Struct, frozen=True):
    """A rule about one page. Tenants without origins of their own follow the setting, all others their own origins.

    - `tenants`: the tenants for which the rule differs from that for all others.
    - `are_allowed`: True if the page is allowed for `tenants` alone, False if it is refused for them alone.
    """

    tenants: frozenset[str]
    are_allowed: bool

    def allows(self, tenant: str) -> bool:
        """Return whether the page is allowed to use the data of a tenant."""
        return (tenant in self.tenants) == self.are_allowed
