"""Authorisation: decides what a caller is allowed to do, by the table of access rules.

The order is: whether the session exists for the caller (404), the role of the caller (403), then the state. All of it
comes before the replay of a command id, the check of the precondition, and any detail of a state. Grants name sessions
by their ids, so the first decision needs no look-up. A session that the caller cannot reach therefore costs and answers
the same as a session that does not exist.
"""

from synckairos.clock.commands import Command, Resume, Switch
from synckairos.clock.model import Session
from synckairos.errors import Forbidden, SessionNotFound
from synckairos.principal import Principal, Role
from synckairos.service.access_rules import ACCESS_RULES


def find_role(principal: Principal, session_id: str) -> Role:
    """Return the role of a caller on a session, whether the session exists or not.

    Raises: SessionNotFound if the caller cannot reach a session with this id.
    """
    role = principal.role_on(session_id, ())
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


def authorize_without_session(principal: Principal, verb: str, participant_id: str | None = None) -> None:
    """Check a verb without a session. Verbs of the scope `session` always pass here; `Sessions` checks these verbs.

    `participant_id` is the participant (lower-case UUID) that the request names. Only the scope `participant` uses it.

    Raises: Forbidden.
    """
    rule = ACCESS_RULES[verb]
    if rule.scope == "session" or principal.role == "admin":
        return
    if rule.scope == "participant" and (participant_id is None or participant_id != principal.participant_id):
        raise Forbidden("A participant reads only its own sessions and times. All others require the role admin")
    if not rule.allows(principal.role):
        raise Forbidden(f"{verb} requires the role {rule.least} or a higher role")


def authorize_command(principal: Principal, role: Role, verb: str, command: Command, session: Session) -> None:
    """Check that a caller with the role `role` on a session is allowed to execute a command on this version.

    A caller with the role `participant` must be a participant of the session, and acts only for itself:

    - A switch must name the caller as `current_participant_id`, and must not name a next participant. The engine
      compares `current_participant_id` with the active participant.
    - A resume must name the reason of a pause that the caller has taken. A resume without a reason would also end a
      pause that the clock takes at a deadline before the commit.

    Raises: Forbidden.
    """
    require_session_role(role, verb)
    if role != "participant":
        return
    require_participation(principal, role, session)
    if isinstance(command, Switch):
        current_id = command.current_participant_id
        if current_id is None or current_id.lower() != principal.participant_id:
            raise Forbidden("Name yourself as current_participant_id: a participant ends only its own turn")
        if command.next_participant_id is not None:
            raise Forbidden("next_participant_id requires the role controller or a higher role")
    elif isinstance(command, Resume):
        own_reasons = {each.reason for each in session.pauses if each.paused_by == principal.actor}
        if command.reason not in own_reasons:
            raise Forbidden("A participant ends only its own pauses. Name the reason of your pause")


def require_participation(principal: Principal, role: Role, session: Session | None) -> None:
    """Check that a caller with the role `participant` is a participant of the session. Other roles pass.

    `session` is None if no store has the session any more. Then the role `participant` is refused.

    Raises: Forbidden.
    """
    if role != "participant":
        return
    participants = () if session is None else session.participants
    if not any(each.participant_id.lower() == principal.participant_id for each in participants):
        raise Forbidden("You take no part in this session")
