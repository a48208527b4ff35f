"""Folders of tenants in cold storage, so that the objects of one tenant can be listed, copied and removed alone."""

from synckairos.principal import DEFAULT_TENANT


def tenant_folder(tenant: str) -> str:
    """Return the beginning of the paths of a tenant's objects: `tenants/<tenant>/`.

    It is empty for the default tenant, whose objects keep the paths of earlier releases.
    """
    return "" if tenant == DEFAULT_TENANT else f"tenants/{tenant}/"
