"""Authorisation: decides which commands a caller is allowed to execute on a session.

The service calls these functions after it has loaded the session. It calls them before the replay of a command id,
before the check of the precondition, and before it returns any detail of the state.
"""

from synckairos.clock.commands import Command, Resume, Switch
from synckairos.clock.model import Session
from synckairos.errors import Forbidden
from synckairos.principal import Principal, Role

LEAST_ROLES: dict[str, Role] = {
    "switch": "participant",
    "pause": "participant",
    "resume": "participant",
    "start": "controller",
    "adjust": "controller",
    "complete": "controller",
    "cancel": "controller",
    "add_participant": "controller",
    "remove_participant": "controller",
    "update_metadata": "controller",
}
"""The lowest role that may execute each verb. All other verbs, such as `create` and `delete`, require `admin`."""


def authorize(principal: Principal, verb: str, session: Session | None) -> None:
    """Check that the role of a caller allows a verb on a session.

    A caller with the role `participant` must also be a participant of the session. `session` is None for a creation,
    and if Redis and Postgres do not have the session. Then the role `participant` is always refused.

    Raises: Forbidden.
    """
    if principal.role == "admin":
        return
    least = LEAST_ROLES.get(verb, "admin")
    if not principal.has_role(least):
        raise Forbidden(f"{verb} requires the role {least} or a higher role")
    if principal.role == "participant" and not _takes_part(principal, session):
        raise Forbidden("You take no part in this session")


def authorize_own_action(principal: Principal, command: Command, session: Session) -> None:
    """Check that a caller with the role `participant` acts only for itself. All other roles pass.

    `session` is the session before the command. A switch must name the caller as `current_participant_id`, and must not
    name a next participant. The engine compares `current_participant_id` with the active participant. A resume must
    name the reason of a pause that the caller has taken. A resume without a reason would also end a pause that the
    clock takes at a deadline before the commit.

    Raises: Forbidden.
    """
    if principal.role != "participant":
        return
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


def _takes_part(principal: Principal, session: Session | None) -> bool:
    if session is None:
        return False
    return any(each.participant_id.lower() == principal.participant_id for each in session.participants)
