"""The member rows of one subject in the memory of one instance."""

from collections.abc import Awaitable, Callable, Collection, Mapping

from synckairos.errors import StoreUnavailable
from synckairos.principal import Role, highest_role, includes_role, parse_resource_label


class SubjectMembers:
    """The member rows of one subject. Implements `MemberRights`. `MemberCache` makes and changes the objects.

    After the announcement of a change the rows are not current, until they were read again. Decisions that cannot wait
    use the earlier rows for this time. If the read fails, the rows are unknown.
    """

    __slots__ = (
        "__weakref__",
        "_by_label",
        "_by_session",
        "_load",
        "changes",
        "is_current",
        "rows",
        "subject",
        "tenant",
    )

    def __init__(self, tenant: str, subject: str, load: Callable[["SubjectMembers"], Awaitable[None]]) -> None:
        """Create the object with unknown rows. `load` reads the rows and calls `set_rows` or `forget_rows`."""
        self.tenant = tenant
        self.subject = subject
        self.is_current = False
        self.rows: Mapping[str, Role] | None = None
        """The role by resource, as in `Member`. None if the rows are unknown."""
        self.changes = 0
        """Number of announced changes. Rows that were read before the last one are not used."""
        self._load = load
        self._by_session: Mapping[str, Role] = {}
        self._by_label: Mapping[tuple[str, str], Role] = {}

    @property
    def has_labels(self) -> bool:
        """Return whether a known row names a label."""
        return bool(self._by_label)

    async def load(self) -> None:
        """Read the rows, unless they are current. Without an answer of the stores, the rows are unknown afterwards."""
        if not self.is_current:
            await self._load(self)

    def role_on(self, session_id: str, labels: Collection[tuple[str, str]]) -> Role | None:
        """Return the highest role that a row gives on a session, None if no row names the session.

        `labels` are the labels of the session as pairs of key and value.

        Raises: StoreUnavailable if the rows are unknown.
        """
        self._require_known()
        roles = [self._by_session.get(session_id)]
        if self._by_label:
            roles += [self._by_label.get(each) for each in labels]
        return highest_role(roles)

    def known_role_on(self, session_id: str) -> Role | None:
        """Return the highest role that a row with this session id gives. None without such a row, or if unknown."""
        return self._by_session.get(session_id) if self.is_current else None

    def controls_label(self, label: tuple[str, str]) -> bool:
        """Return whether a row gives the role `controller` on all sessions with a label.

        Raises: StoreUnavailable if the rows are unknown.
        """
        self._require_known()
        role = self._by_label.get(label)
        return role is not None and includes_role(role, "controller")

    def expire(self) -> None:
        """Note that a change was announced, so that the rows are read again."""
        self.changes += 1
        self.is_current = False

    def set_rows(self, rows: Mapping[str, Role]) -> None:
        """Use rows that were read after the last announced change."""
        by_label = {parse_resource_label(each): role for each, role in rows.items()}
        self.rows, self.is_current = rows, True
        self._by_label = {label: role for label, role in by_label.items() if label is not None}
        self._by_session = {each: role for each, role in rows.items() if parse_resource_label(each) is None}

    def forget_rows(self) -> None:
        """Let the rows be unknown."""
        self.rows, self.is_current = None, False
        self._by_session, self._by_label = {}, {}

    def _require_known(self) -> None:
        if self.rows is None:
            raise StoreUnavailable("The members are not known; try again shortly")
