"""Commands of participants: the rules for a command that a caller executes as a participant or on behalf of one.

A caller with the role `participant` acts as itself. With `on_behalf_of`, a caller with a higher role acts for a named
participant, under the same rules. `as_participant` adds to the command all that the engine needs for these rules. The
stored arguments contain the same values, so a replay of the audit needs nothing else.
"""

from typing import Any

from synckairos.clock.commands import Command, Done, Finish, Pause, Resume, Switch
from synckairos.clock.model import Session, SyncMode
from synckairos.errors import Forbidden, ParticipantNotFound
from synckairos.frozen_replace import replace
from synckairos.principal import Principal, Role
from synckairos.service.access_rules import ACCESS_RULES
from synckairos.service.authorization import require_session_role
from synckairos.service.requests import CommandRequest

_SWITCH_MEMBERS = frozenset({"current_participant_id", "lag_ms", "measured_lag_ms"})
"""Members of a switch that a participant can use. All others decide about the next turn."""


def find_acting_participant(principal: Principal, role: Role, on_behalf_of: str | None) -> str | None:
    """Return the id (lower-case UUID) of the participant for which a caller acts.

    A caller with the role `participant` acts for the participant of its credential. Any other caller acts for
    `on_behalf_of`. Return None if the caller acts for no participant. Return "" if the role is `participant` and the
    credential names no participant.
    """
    if role == "participant":
        return principal.participant_id or ""
    return on_behalf_of


def as_participant(request: CommandRequest, participant_id: str, mode: SyncMode) -> CommandRequest:
    """Return the request with the values that limit the command to the participant. `mode` is that of the session.

    - A switch ends only the turn of the participant. The engine compares the turn with `current_participant_id`.
    - A claim of lag stays only if the server measured the lag on the socket of the participant itself.
    - A pause belongs to the participant, and counts against its pause budget.
    - A resume ends only pauses that belong to the participant.
    - In `individual`, a pause, a resume and a `finish` concern only the clock of the participant.

    The result can contradict the request. `authorize_own_action` refuses such a request.
    """
    command = request.command
    added: dict[str, Any] = {}
    removed: tuple[str, ...] = ()
    bound: Command
    if isinstance(command, Switch):
        added = {"current_participant_id": participant_id}
        is_own_socket = request.principal.participant_id == participant_id and command.measured_lag_ms is not None
        if is_own_socket:
            bound = replace(command, current_participant_id=participant_id)
        else:
            bound = replace(command, current_participant_id=participant_id, lag_ms=None, measured_lag_ms=None)
            removed = ("lag_ms", "measured_lag_ms")
    elif isinstance(command, (Pause, Resume, Finish)):
        bound = command
        if isinstance(bound, (Pause, Resume)):
            added = {"taken_by": pause_holder(participant_id)}
            bound = replace(bound, taken_by=added["taken_by"])
        if mode is SyncMode.INDIVIDUAL:
            added["participant_ids"] = [participant_id]
            bound = replace(bound, participant_ids=(participant_id,))
    else:
        return request
    args = {name: value for name, value in (request.args or {}).items() if name not in removed}
    return replace(request, command=bound, args=args | added)


def pause_holder(participant_id: str) -> str:
    """Return the name of a participant in `paused_by` and `pauses_taken`. No kind of principal has this prefix."""
    return f"participant:{participant_id}"


def bind_to_caller(request: CommandRequest, role: Role, mode: SyncMode) -> CommandRequest:
    """Return the request with the role of its caller for the audit, and with the limits of `as_participant`.

    `role` is the role of the caller on the session, and `mode` the mode of the session.
    """
    if request.principal.kind not in ("anonymous", "timekeeper"):
        request = replace(request, role=role)
    participant_id = find_acting_participant(request.principal, role, request.on_behalf_of)
    return request if participant_id is None else as_participant(request, participant_id, mode)


def authorize_command(request: CommandRequest, role: Role) -> None:
    """Check those rights of a caller for a command that do not depend on the state of the session.

    `role` is the role of the caller on the session. `request` is the request as the caller sent it, before
    `bind_to_caller`.

    Raises: Forbidden.
    """
    require_session_role(role, request.verb)
    participant_id = find_acting_participant(request.principal, role, request.on_behalf_of)
    if participant_id is None:
        return
    if role == "participant" and request.on_behalf_of not in (None, participant_id):
        raise Forbidden("A participant acts only as itself; on_behalf_of requires the role controller or a higher role")
    if not ACCESS_RULES[request.verb].allows("participant"):
        raise Forbidden(f"{request.verb} is not possible on behalf of a participant")
    command = request.command
    if isinstance(command, Done) and command.participant_id != participant_id:
        raise Forbidden("A participant marks only itself as done, but participant_id names another participant")
    if isinstance(command, (Pause, Resume, Finish)) and (
        command.group_id is not None or command.participant_ids not in (None, (participant_id,))
    ):
        raise Forbidden(f"A participant uses {request.verb} only for itself; omit participant_ids and group_id")
    if not isinstance(command, Switch):
        return
    if command.current_participant_id not in (None, participant_id):
        raise Forbidden("A participant ends only its own turn, but current_participant_id names another participant")
    for name in Switch.__struct_fields__:
        if name not in _SWITCH_MEMBERS and getattr(command, name) not in (None, False):
            raise Forbidden(f"{name} is not possible as a participant or on behalf of a participant")


def require_participation(request: CommandRequest, role: Role, session: Session | None) -> None:
    """Check that the participant as which or for which a caller acts takes part in the session.

    A caller that acts for no participant passes. `session` is None if no store has the session any more; then the
    participant does not take part.

    Raises: Forbidden if the caller acts as itself. ParticipantNotFound if it acts on behalf of the participant.
    """
    participant_id = find_acting_participant(request.principal, role, request.on_behalf_of)
    participants = () if session is None else session.participants
    if participant_id is None or any(each.participant_id == participant_id for each in participants):
        return
    if role == "participant":
        raise Forbidden("You are not a participant of this session")
    raise ParticipantNotFound(participant_id)
