"""Labels of tenants in metrics: the first tenants have a label of their own, all others share one."""

OTHER = "other"
"""Label of all tenants without a label of their own. A tenant with this name shares it."""


class TenantLabels:
    """The labels of one process. At most `most` tenants have a label of their own: those that are seen first."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._known: set[str] = set()

    def label_of(self, tenant: str) -> str:
        """Return the label of a tenant."""
        if tenant in self._known:
            return tenant
        if len(self._known) >= self._most:
            return OTHER
        self._known.add(tenant)
        return tenant
