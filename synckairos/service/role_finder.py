"""Roles of callers on sessions, including roles that the labels of a session decide."""

from collections.abc import Mapping

from synckairos.errors import SessionNotFound
from synckairos.principal import Principal, Role
from synckairos.service import authorization
from synckairos.service.restore import SessionRestorer
from synckairos.service.session_cache import SessionCache
from synckairos.session_names import session_name
from synckairos.store.sessions import SessionStore
from synckairos.wire.document_scan import extract_labels


class RoleFinder:
    """Finds the role of a caller on a session. A session is read only if its labels decide the role."""

    def __init__(self, store: SessionStore, restorer: SessionRestorer, cache: SessionCache) -> None:
        self._store = store
        self._restorer = restorer
        self._cache = cache

    async def find_role(self, principal: Principal, session_id: str) -> Role:
        """Return the role of a caller on a session. The session is read only if its labels decide the role.

        For a deleted session, the labels of its last version decide.

        Raises: SessionNotFound if the caller cannot reach the session. StoreUnavailable if the session must be read.
        """
        role = authorization.find_role(principal, session_id)
        if role is not None:
            return role
        name = session_name(principal.tenant, session_id)
        loaded = await self._store.load(name, held=self._cache.find_snapshot(name))
        stored = loaded.stored or await self._restorer.restore_or_recover(name)
        if stored is None:
            raise SessionNotFound(session_id)
        return await self.find_role_by_labels(principal, session_id, extract_labels(stored.snapshot.document))

    async def find_role_by_labels(self, principal: Principal, session_id: str, labels: Mapping[str, str]) -> Role:
        """Return the role of a caller on a session with these labels.

        Raises: SessionNotFound if the caller cannot reach the session. Before that, the method makes the look-ups that
            a missing session needs, so that both cases take the same time.
        """
        try:
            return authorization.find_role_by_labels(principal, session_id, labels)
        except SessionNotFound:
            await self._restorer.read_like_a_missing_session(session_name(principal.tenant, session_id))
            raise
