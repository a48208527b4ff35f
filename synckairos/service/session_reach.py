"""The sessions that a caller can reach, for lists: their ids and their labels."""

from dataclasses import dataclass
from typing import Self

from synckairos.errors import StoreUnavailable
from synckairos.principal import Principal, parse_resource_label
from synckairos.service.visible_rows import limit_document
from synckairos.wire.document_scan import extract_labels, find_session_id


@dataclass(frozen=True, slots=True)
class SessionReach:
    """The sessions that a caller can reach.

    - `session_ids`, `labels`: the caller reaches at most the sessions with one of these ids (lower-case UUIDs) or one
      of these labels (pairs of key and value). `session_ids` None: at most all sessions of the tenant.
    """

    principal: Principal
    session_ids: frozenset[str] | None
    labels: frozenset[tuple[str, str]]

    @classmethod
    async def of(cls, principal: Principal) -> Self:
        """Return the sessions that a caller can reach, by its grants and its member rows.

        Raises: StoreUnavailable if the member rows are needed and unknown.
        """
        only = None if principal.narrowing is None else principal.narrowing.session_ids
        if only is not None or principal.role == "admin" or any(each.all_sessions for each in principal.grants):
            return cls(principal, only, frozenset())
        session_ids = {session_id for grant in principal.grants for session_id in grant.session_ids}
        labels = {label for grant in principal.grants for label in grant.labels}
        if principal.members is not None:
            await principal.members.load()
            if (rows := principal.members.rows) is None:
                raise StoreUnavailable("The members are not known; try again shortly")
            for resource in rows:
                label = parse_resource_label(resource)
                if label is None:
                    session_ids.add(resource)
                else:
                    labels.add(label)
        return cls(principal, frozenset(session_ids), frozenset(labels))

    def has(self, document: bytes) -> bool:
        """Return whether the caller reaches the session with this document."""
        labels = extract_labels(document).items()
        return self.principal.role_on(find_session_id(document), labels) is not None

    def limit_document(self, document: bytes) -> bytes:
        """Return the document of a session as the caller sees it."""
        return limit_document(self.principal, find_session_id(document), document)
