"""Names of sessions and of participants within a store that all tenants share.

A name is the id in the default tenant, and `<tenant>/<id>` in all other tenants. So all data of the default tenant
keeps the keys of earlier releases. Names are used wherever a session or a participant is a key: in Redis keys, members
of sorted sets, channels, outbox entries, caches and watchers. Documents, events, answers and rows have the bare id.

An id never contains a slash, because all ids are UUIDs. So no two pairs of tenant and id have the same name.
"""

import re

from synckairos.config.value_types import TENANT_NAME
from synckairos.principal import DEFAULT_TENANT

_TENANT = re.compile(TENANT_NAME)


def session_name(tenant: str, session_id: str) -> str:
    """Return the name of a session (lower-case UUID) of a tenant.

    Raises: ValueError if the id contains a slash.
    """
    if "/" in session_id:
        raise ValueError(f"{session_id!r} is no id")
    return session_id if tenant == DEFAULT_TENANT else f"{tenant}/{session_id}"


def split_session_name(name: str) -> tuple[str, str]:
    """Return the tenant and the id of a session from its name.

    Raises: ValueError if the name is not a result of `session_name`. The form of the id is not checked.
    """
    if "/" not in name:
        return DEFAULT_TENANT, name
    tenant, _, session_id = name.partition("/")
    if tenant == DEFAULT_TENANT or "/" in session_id or not _TENANT.fullmatch(tenant):
        raise ValueError(f"{name!r} is no name of a session")
    return tenant, session_id


def is_name_of_tenant(name: str, tenant: str) -> bool:
    """Return whether a text is the name of a session or participant of a tenant. The form of the id is not checked."""
    try:
        return split_session_name(name)[0] == tenant
    except ValueError:
        return False


def in_same_tenant(name: str, id_: str) -> str:
    """Return the name of the session or participant `id_` in the tenant of `name`.

    The form of `name` is not checked.
    """
    return name[: name.rfind("/") + 1] + id_


def bare_id(name: str) -> str:
    """Return the id in the name of a session or of a participant. The form of the name is not checked."""
    return name.rpartition("/")[2]


def participant_name(tenant: str, participant_id: str) -> str:
    """Return the name of a participant (lower-case UUID) of a tenant.

    Raises: ValueError if the id contains a slash.
    """
    return session_name(tenant, participant_id)


def split_participant_name(name: str) -> tuple[str, str]:
    """Return the tenant and the id of a participant from its name.

    Raises: ValueError if the name is not a result of `participant_name`. The form of the id is not checked.
    """
    return split_session_name(name)
