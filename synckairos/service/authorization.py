"""Authorisation: decides what a caller is allowed to do, by the table of access rules.

The order of the decisions is: whether the session exists for the caller (404), the role of the caller (403), then the
rights that depend on the state. These decisions come before the replay of a command id, the check of the precondition,
and any answer about the state.

Grants and member rows name sessions by their ids or by labels. If the role of a caller does not depend on labels, the
first decision needs no look-up. Otherwise the session is looked up first. In both cases a request for a session that
the caller cannot reach has the same answer and the same look-ups as a request for a missing session.

`RoleFinder` reads the member rows that a decision needs before the functions of this module decide. If they cannot be
read, each decision that needs them raises StoreUnavailable.
"""

from collections.abc import Mapping, Sequence

from synckairos.errors import Forbidden, SessionNotFound
from synckairos.principal import Principal, Role, includes_role
from synckairos.service.access_rules import ACCESS_RULES, OPERATOR_VERBS


def find_role(principal: Principal, session_id: str) -> Role | None:
    """Return the role of a caller on a session, whether the session exists or not.

    Return None if the role depends on the labels of the session. `find_role_by_labels` then decides.

    Raises: SessionNotFound if the caller cannot reach a session with this id, whatever its labels are. StoreUnavailable
        if the member rows of the caller are unknown.
    """
    if principal.role == "admin" and principal.narrowing is None:
        return "admin"
    if principal.depends_on_labels:
        role = principal.known_role_on(session_id)
        return role if role == principal.role else None
    role = principal.role_on(session_id, ())
    if role is None:
        raise SessionNotFound(session_id)
    return role


def find_role_by_labels(principal: Principal, session_id: str, labels: Mapping[str, str]) -> Role:
    """Return the role of a caller on a session that has these labels.

    Raises: SessionNotFound if the caller cannot reach the session. StoreUnavailable if the member rows of the caller
        are unknown.
    """
    role = principal.role_on(session_id, labels.items())
    if role is None:
        raise SessionNotFound(session_id)
    return role


def has_session_role(role: Role, verb: str) -> bool:
    """Return whether a caller with the role `role` on a session is allowed to use a verb of the scope `session`."""
    return ACCESS_RULES[verb].allows(role)


def require_session_role(role: Role, verb: str) -> None:
    """Check that the role of a caller on a session allows a verb of the scope `session`.

    Call this after the look-up of the session, so that a missing session is 404 for each role.

    Raises: Forbidden.
    """
    if not has_session_role(role, verb):
        raise Forbidden(f"{verb} requires the role {ACCESS_RULES[verb].least} or a higher role on the session")


async def authorize_hours(
    principal: Principal, participant_ids: Sequence[str] | None, labels: Mapping[str, str]
) -> None:
    """Check that a caller is allowed to read the hours of these participants (None for all) in sessions with `labels`.

    A caller reads the hours of all sessions on which each session with these labels gives it the role `controller`: as
    an admin, by a grant that names one of the labels or all sessions, or by a member row that names one of the labels.
    Other callers read only their own hours. The member rows are read only if no grant decides.

    Raises: Forbidden. StoreUnavailable if the member rows are needed and unknown.
    """
    if principal.role == "admin":
        return
    if participant_ids is not None and set(participant_ids) == {principal.participant_id}:
        return
    is_limited = principal.narrowing is not None and principal.narrowing.session_ids is not None
    if principal.has_role("controller") and not is_limited:
        for grant in principal.grants:
            names = grant.all_sessions or not grant.labels.isdisjoint(labels.items())
            if names and includes_role(grant.role or principal.role, "controller"):
                return
        if labels and principal.members is not None:
            await principal.members.load()
            if any(principal.members.controls_label(each) for each in labels.items()):
                return
    raise Forbidden(
        "A caller reads its own hours. All others require the role admin, or a label for which the caller is controller"
    )


def authorize_without_session(principal: Principal, verb: str, participant_id: str | None = None) -> None:
    """Check that a caller is allowed to use a verb, by the rules of all scopes except `session`.

    Verbs of the scope `session` always pass here; `Sessions` checks these verbs. `participant_id` is the participant
    (lower-case UUID) that the request names. Only the scope `participant` uses it.

    Raises: Forbidden.
    """
    rule = ACCESS_RULES[verb]
    if principal.is_operator or rule.least == "operator":
        _authorize_operator(principal, verb)
        return
    if rule.scope == "session" or principal.role == "admin":
        return
    if rule.scope == "participant" and (participant_id is None or participant_id != principal.participant_id):
        raise Forbidden("A participant reads only its own sessions and times. All others require the role admin")
    if not rule.allows(principal.role):
        raise Forbidden(f"{verb} requires the role {rule.least} or a higher role")


def _authorize_operator(principal: Principal, verb: str) -> None:
    """Check a verb for operators, or a verb of an operator.

    While authentication is off, each caller passes here, and the operation answers that authentication is off.

    Raises: Forbidden.
    """
    least = ACCESS_RULES[verb].least
    if principal.is_operator:
        if least not in ("operator", "public") and verb not in OPERATOR_VERBS:
            raise Forbidden(f"{verb} requires a credential of a tenant. An operator has no rights in tenants")
    elif principal.kind != "anonymous" or principal.role != "admin":
        raise Forbidden(f"{verb} requires the key of an operator, which only the command line makes")
