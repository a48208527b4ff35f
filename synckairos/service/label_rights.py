"""Rights that depend on labels: who creates sessions with which labels, and who changes which labels."""

from collections.abc import Mapping

from synckairos.clock.commands import Command, UpdateSession
from synckairos.clock.model import Session
from synckairos.errors import Forbidden
from synckairos.principal import Principal, includes_role


def require_creation_rights(principal: Principal, labels: Mapping[str, str]) -> None:
    """Check that a caller is allowed to create a session with these labels.

    Callers with the role `admin` create all sessions. Other callers need at least one label, and for each label a grant
    that names the label and gives the role `controller`.

    Raises: Forbidden.
    """
    if principal.role == "admin":
        return
    granted: set[tuple[str, str]] = set()
    for grant in principal.grants:
        if includes_role(grant.role or principal.role, "controller"):
            granted |= grant.labels
    if not principal.has_role("controller") or not labels or not labels.items() <= granted:
        raise Forbidden(
            "create requires the role admin, or the role controller and a grant for each label of the session"
        )


def require_label_rights(principal: Principal, command: Command, session: Session) -> None:
    """Check that a caller is allowed to change the labels that a command changes. Other commands pass.

    Only callers with the role `admin` change labels that a grant of the caller names. With such a change, a caller
    could reach further sessions, or give a session to others.

    Raises: Forbidden.
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
