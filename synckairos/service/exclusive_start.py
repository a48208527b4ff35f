"""The command `start` with `exclusive`: it first completes the other running sessions of the same participant."""

import secrets
from collections.abc import Awaitable, Callable, Sequence

import orjson

from synckairos.clock import engine
from synckairos.clock.commands import Start
from synckairos.clock.model import Session, Status, SyncMode
from synckairos.errors import (
    IdempotencyKeyReused,
    RateLimitExceeded,
    SessionNotFound,
    StoreUnavailable,
    SyncKairosError,
    ValidationFailed,
)
from synckairos.frozen_replace import replace
from synckairos.principal import Principal, timekeeper_of
from synckairos.service.command_executor import CommandExecutor
from synckairos.service.create import KEY_TTL_S
from synckairos.service.past_versions import PastVersionReader
from synckairos.service.requests import CommandRequest, SessionResult, StoppedSession
from synckairos.session_names import participant_name
from synckairos.store.rate_meter import RateMeter
from synckairos.store.sessions import SessionStore
from synckairos.telemetry.invalid_data import reporting_invalid_data
from synckairos.wire.command_bodies.start_and_end import CompleteBody

MAX_STOPPED = 100
"""Maximum number of sessions that one `start` completes."""

ReadSession = Callable[[Principal, str, RateMeter | None], Awaitable[SessionResult]]
"""A function that commits the overdue transitions of a session and returns the session. It counts the meter."""


class ExclusiveStarter:
    """Executes `start` with `exclusive`. Each session is completed by its own commit, exactly once for a command id."""

    def __init__(
        self, store: SessionStore, executor: CommandExecutor, past_versions: PastVersionReader, read: ReadSession
    ) -> None:
        self._store = store
        self._executor = executor
        self._past_versions = past_versions
        self._read = read

    async def execute(self, request: CommandRequest) -> SessionResult:
        """Complete the other sessions, then start the session. Return the session, with `stopped`.

        If `start` would be refused, no session is completed. The chosen sessions are stored under the command id. So a
        repeated command completes the sessions that are left, and has the same answer. The rights of the caller are
        decided for each session. `stopped` omits sessions that the caller cannot reach.

        Raises:
            ValidationFailed: the session is no `count_up` session with one participant, or too many sessions run.
            StoreUnavailable, RateLimitExceeded: possibly some sessions are completed, and the session is not started.
            The refusal of `start`.
        """
        session_ids = await self._choose_once(request)
        stopped: list[StoppedSession] = []
        for session_id in session_ids or ():
            try:
                result = await self._executor.execute(_completion(request, session_id), None)
                stopped.append(StoppedSession(session_id, result.snapshot.version))
            except (StoreUnavailable, RateLimitExceeded):
                raise
            except SessionNotFound:
                continue
            except SyncKairosError as refusal:
                stopped.append(StoppedSession(session_id, refusal=refusal))
        started = await self._executor.execute(request, None)
        return started if session_ids is None else replace(started, stopped=tuple(stopped))

    async def _choose_once(self, request: CommandRequest) -> list[str] | None:
        """Return the ids of the sessions to complete. For a repeated command id, return the ids of the first request.

        Return None if `start` would be refused, so that no session must be completed.
        """
        if request.command_id is None:
            return await self._choose(request)
        name = f"exclusive:{request.principal.qualify_request_id(request.command_id)}"
        reserved = await self._store.read_reserved_command_id(name)
        if reserved is None:
            chosen = await self._choose(request)
            if chosen is None:
                return None
            value = orjson.dumps([request.fingerprint, *chosen]).decode()
            reserved = await self._store.reserve_command_id(name, value, KEY_TTL_S) or value
        with reporting_invalid_data(self._store.keys.reserved_command_id(name)):
            fingerprint: str
            session_ids: list[str]
            fingerprint, *session_ids = orjson.loads(reserved)
        if not request.matches_fingerprint(fingerprint):
            raise IdempotencyKeyReused
        return session_ids

    async def _choose(self, request: CommandRequest) -> list[str] | None:
        found = await self._read(request.principal, request.session_id, request.meter)
        session = found.session
        await self._executor.check_rights(request, session)
        if session.rules.sync_mode is not SyncMode.COUNT_UP or len(session.participants) != 1:
            raise ValidationFailed.at_path("exclusive", "is possible only in count_up, with one participant")
        decision = engine.apply(session, Start(), found.now_ms, request.precondition)
        if decision.refusal is not None or not decision.own:
            return None
        participant_id = session.participants[0].participant_id
        tenant = request.principal.tenant
        name = participant_name(tenant, participant_id)
        candidates = await self._past_versions.find_sessions_of_running_participant(name)
        others = [each for each in candidates if each != request.session_id]
        chosen = [each for each in others if await self._runs_for(tenant, participant_id, each)]
        if len(chosen) > MAX_STOPPED:
            raise ValidationFailed.at_path("exclusive", f"the participant has more than {MAX_STOPPED} running sessions")
        return chosen

    async def _runs_for(self, tenant: str, participant_id: str, session_id: str) -> bool:
        """Return whether the clock of the participant runs now in a `count_up` session of the tenant."""
        try:
            session = (await self._read(timekeeper_of(tenant), session_id, None)).session
        except SessionNotFound:
            return False
        return _is_running_entry(session, participant_id)


def _is_running_entry(session: Session, participant_id: str) -> bool:
    active = session.active_participant
    is_running = session.status is Status.RUNNING and session.rules.sync_mode is SyncMode.COUNT_UP
    return is_running and active is not None and active.participant_id == participant_id


def _completion(request: CommandRequest, session_id: str) -> CommandRequest:
    """Return the request that completes another session for an exclusive start."""
    command_id = request.command_id or secrets.token_hex(16)
    return CommandRequest.for_command(
        request.principal, session_id, "complete", CompleteBody(), {}, command_id=f"exclusive:{command_id}"
    )


def stopped_json(stopped: Sequence[StoppedSession] | None) -> list[dict[str, object]] | None:
    """Return the member `stopped` of an answer: each session with its version, or with the error of its completion.

    Return None for None, which means that the command has no such member.
    """
    return None if stopped is None else [_stopped_session_json(each) for each in stopped]


def _stopped_session_json(stopped: StoppedSession) -> dict[str, object]:
    if stopped.refusal is None:
        return {"session_id": stopped.session_id, "version": stopped.version}
    error = {"code": stopped.refusal.code, "message": stopped.refusal.message}
    return {"session_id": stopped.session_id, "error": error}
