"""Rights that depend on labels: who creates sessions with which labels, and who changes which labels."""

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from synckairos.clock.commands import Command, UpdateSession
from synckairos.clock.model import Session
from synckairos.errors import Forbidden
from synckairos.principal import Principal, includes_role


class ReservedLabels(Protocol):
    """The labels that member rows or grants of API keys name. See `MemberTable` and `CredentialTable`."""

    async def names_label(self, tenant: str, labels: Collection[tuple[str, str]]) -> bool:
        """Return whether a row of the tenant names one of these labels. Raises: StoreUnavailable."""


async def require_creation_rights(principal: Principal, labels: Mapping[str, str]) -> None:
    """Check that a caller is allowed to create a session with these labels.

    Callers with the role `admin` create all sessions. Other callers need at least one label, and for each label a grant
    or a member row that names the label and gives the role `controller`. The member rows are read only if the grants do
    not name all labels.

    Raises: Forbidden. StoreUnavailable if the member rows are needed and unknown.
    """
    if principal.role == "admin":
        return
    granted: set[tuple[str, str]] = set()
    for grant in principal.grants:
        if includes_role(grant.role or principal.role, "controller"):
            granted |= grant.labels
    missing = labels.items() - granted
    if missing and principal.has_role("controller") and (members := principal.members) is not None:
        await members.load()
        missing = {each for each in missing if not members.controls_label(each)}
    if not principal.has_role("controller") or not labels or missing:
        raise Forbidden(
            "create requires the role admin, or the role controller and a grant or a member row for each label of the"
            " session"
        )


async def require_label_rights(
    principal: Principal, command: Command, session: Session, reserved_labels: Sequence[ReservedLabels]
) -> None:
    """Check that a caller is allowed to change the labels that a command changes. Other commands pass.

    Only callers with the role `admin` change labels that a grant of the caller, a member row of the tenant or a grant
    of a valid API key of the tenant names. With such a change, a caller could reach further sessions, give a session to
    others, or take it away from them. The server does not know the grants of tokens of other callers. `reserved_labels`
    has the labels of the member rows and of the API keys.

    Raises: Forbidden. StoreUnavailable if the labels cannot be read.
    """
    if principal.role == "admin" or not isinstance(command, UpdateSession):
        return
    changed: set[tuple[str, str]] = set()
    for key, value in command.labels.items():
        before = session.labels.get(key)
        if before != value:
            changed |= {(key, each) for each in (before, value) if each is not None}
    if any(not changed.isdisjoint(grant.labels) for grant in principal.grants):
        raise Forbidden("Only the role admin changes labels that a grant names")
    for labels in reserved_labels if changed else ():
        if await labels.names_label(principal.tenant, changed):
            raise Forbidden("Only the role admin changes labels that a member row or a grant of an API key names")
