"""Refusals of commands because of the state of the session, its version or its idempotency records."""

from typing import Any

from synckairos.errors.base import SyncKairosError


class InvalidTransition(SyncKairosError):
    """The status of the session does not allow the command. The message names the status."""

    code = "INVALID_STATE_TRANSITION"
    status = 400


class ParticipantExpired(SyncKairosError):
    """The participant has no time left, so the command cannot give it the turn."""

    code = "PARTICIPANT_EXPIRED"
    status = 400

    def __init__(self, participant_id: str) -> None:
        super().__init__(f"Participant {participant_id} has run out of time; add time with adjust first")
        self.participant_id = participant_id


class NotActiveParticipant(SyncKairosError):
    """The participant `current_participant_id` does not have the turn. Usually the command came too late."""

    code = "NOT_ACTIVE_PARTICIPANT"
    status = 409

    def __init__(self, participant_id: str, active_participant_id: str | None) -> None:
        super().__init__(
            f"Participant {participant_id} is not active",
            {"active_participant_id": active_participant_id},
        )


class ParticipantExists(SyncKairosError):
    """The session already has a participant with this id."""

    code = "PARTICIPANT_EXISTS"
    status = 409

    def __init__(self, participant_id: str) -> None:
        super().__init__(f"Participant {participant_id} is already in this session")


class SessionExists(SyncKairosError):
    """Another session already has the id of the session to create."""

    code = "SESSION_EXISTS"
    status = 409

    def __init__(self, session_id: str) -> None:
        super().__init__(f"Session {session_id} already exists")


class VersionConflict(SyncKairosError):
    """The session does not have the version `expected_version`. `details` has the expected and the actual version."""

    code = "CONFLICT"
    status = 409

    def __init__(self, expected_version: int, actual_version: int) -> None:
        super().__init__(
            f"The session is at version {actual_version}, not {expected_version}; read its state and decide again",
            {"expected_version": expected_version, "actual_version": actual_version},
        )
        self.expected_version = expected_version
        self.actual_version = actual_version


class TurnOver(SyncKairosError):
    """The session does not have the turn number `expected_turn`. Usually the command came too late."""

    code = "TURN_OVER"
    status = 409

    def __init__(self, expected_turn: int, turn_number: int) -> None:
        super().__init__(
            f"The session is in turn {turn_number}, not {expected_turn}",
            {"expected_turn": expected_turn, "turn_number": turn_number},
        )


class CannotUndo(SyncKairosError):
    """The turns cannot be undone: there are not so many, the session has ended, or a change is between."""

    code = "CANNOT_UNDO"
    status = 409


class PreconditionFailed(SyncKairosError):
    """`If-Match` does not name the current version and epoch of the session."""

    code = "PRECONDITION_FAILED"
    status = 412


class ReplayedRefusal(SyncKairosError):
    """The replay of a refusal. It has the code, status, text and details of the original error."""

    def __init__(self, code: str, status: int, message: str, details: Any) -> None:
        super().__init__(message, details)
        self.code = code
        self.status = status
        self.replayed = True


class IdempotencyKeyReused(SyncKairosError):
    """The Idempotency-Key or command id was used before for a request with other content."""

    code = "IDEMPOTENCY_KEY_REUSED"
    status = 422

    def __init__(self) -> None:
        super().__init__("This Idempotency-Key was used for another request; take a fresh key for each")


class SessionArchived(SyncKairosError):
    """The command needs versions of the session that are only in cold storage."""

    code = "SESSION_ARCHIVED"
    status = 409

    def __init__(self, session_id: str) -> None:
        super().__init__(f"Session {session_id} is only in cold storage, so it cannot be changed; create a new session")
