"""Roles of callers on sessions, including roles that the labels of a session or member rows decide."""

from collections.abc import Mapping

from synckairos.errors import SessionNotFound
from synckairos.principal import Principal, Role
from synckairos.service import authorization
from synckairos.service.restore import SessionRestorer
from synckairos.service.session_cache import SessionCache
from synckairos.session_names import session_name
from synckairos.store.sessions import SessionStore
from synckairos.wire.document_scan import extract_labels


async def load_members(principal: Principal, session_id: str) -> None:
    """Read the member rows of a caller if its role on a session depends on them, and they are not in memory.

    Call this before each decision about the session. If the rows cannot be read, the decision raises StoreUnavailable.
    """
    if (members := principal.missing_members(session_id, None)) is not None:
        await members.load()


class RoleFinder:
    """Finds the role of a caller on a session.

    A session is read only if its labels decide the role, and member rows only if the grants do not decide it.
    """

    def __init__(self, store: SessionStore, restorer: SessionRestorer, cache: SessionCache) -> None:
        self._store = store
        self._restorer = restorer
        self._cache = cache

    async def find_role(self, principal: Principal, session_id: str) -> Role:
        """Return the role of a caller on a session. The session is read only if its labels decide the role.

        For a deleted session, the labels of its last version decide.

        Raises: SessionNotFound if the caller cannot reach the session. StoreUnavailable if the session or the member
            rows must be read.
        """
        await load_members(principal, session_id)
        role = authorization.find_role(principal, session_id)
        if role is not None:
            return role
        name = session_name(principal.tenant, session_id)
        loaded = await self._store.load(name, held=self._cache.find_snapshot(name))
        stored = await self._restorer.complete_load(name, loaded)
        if stored is None:
            raise SessionNotFound(session_id)
        return await self.find_role_by_labels(principal, session_id, extract_labels(stored.snapshot.document))

    async def find_role_by_labels(self, principal: Principal, session_id: str, labels: Mapping[str, str]) -> Role:
        """Return the role of a caller on a session with these labels.

        Raises: SessionNotFound if the caller cannot reach the session. Before that, the method makes the look-ups that
            a missing session needs, so that both cases take the same time. StoreUnavailable if the member rows of the
            caller are needed and unknown.
        """
        if (members := principal.missing_members(session_id, labels.items())) is not None:
            await members.load()
        try:
            return authorization.find_role_by_labels(principal, session_id, labels)
        except SessionNotFound:
            await self._restorer.read_like_a_missing_session(session_name(principal.tenant, session_id))
            raise
