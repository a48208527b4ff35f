"""Execution of one command on a session: load, authorise, apply, commit.

A repeated command id is replayed after the authorisation. After a conflict with another commit, the command is
authorised and applied again to the newer session. A session that Redis does not have is restored first.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from msgspec import to_builtins
from msgspec.structs import asdict

from synckairos.clock import engine
from synckairos.clock.commands import Amend, Command, Reopen, Switch, Undo, with_actor
from synckairos.clock.engine import CommandDecision
from synckairos.clock.model import Session, Status, SyncMode
from synckairos.clock.plan_items import ran_out_of_time
from synckairos.clock.recorded_times import is_amendable
from synckairos.errors import Forbidden, ParticipantNotFound, RateLimitExceeded, SessionNotFound, StoreUnavailable
from synckairos.frozen_replace import replace
from synckairos.limits.client_work_budgets import ClientWorkLimits
from synckairos.limits.large_presses import LARGE_DOCUMENT_BYTES
from synckairos.limits.work_limits import UNKNOWN_SESSIONS
from synckairos.principal import Role
from synckairos.service.authorization import find_role
from synckairos.service.expire import CAUSED_BY_TIME
from synckairos.service.label_rights import ReservedLabels, require_label_rights
from synckairos.service.own_actions import authorize_command, bind_to_caller, require_participation
from synckairos.service.past_versions import PastVersionReader
from synckairos.service.prepare_commit import (
    MAX_ATTEMPTS,
    PreparedCommit,
    RecordedOutcome,
    build_versions,
    prepare_commit,
    traced_version,
)
from synckairos.service.requests import CommandRequest, SessionResult
from synckairos.service.restore import SessionRestorer
from synckairos.service.role_finder import RoleFinder, load_members
from synckairos.service.session_cache import SessionCache
from synckairos.store.commit_script import AlreadyDecided, CommitConflict
from synckairos.store.known_versions import KnownVersion
from synckairos.store.sessions import SessionStore
from synckairos.store.stored_session import SessionLoadResult, StoredSession
from synckairos.telemetry import tracing
from synckairos.telemetry.metrics import COMMIT_CONFLICTS
from synckairos.wire.outbox_entry import CommitCause
from synckairos.wire.rendered_session import RenderedSession
from synckairos.wire.session_json import breaks_json


class UnfinishedAttempt(NamedTuple):
    """The result of an attempt that did not finish the command. The next attempt starts from `stored` at `now_ms`.

    `stored` is None if Redis does not have the session. `lost` is described in `SessionLoadResult`.
    """

    stored: StoredSession | None
    now_ms: int
    lost: KnownVersion | None = None


class CommandExecutor:
    """Executes commands on sessions for `Sessions`.

    After each commit of new versions, `on_commit` is called with the number of the partition. `reserved_labels` has
    the labels that only admins change.
    """

    def __init__(
        self,
        store: SessionStore,
        cache: SessionCache,
        roles: RoleFinder,
        past_versions: PastVersionReader,
        restorer: SessionRestorer,
        on_commit: Callable[[int], None],
        work: ClientWorkLimits,
        reserved_labels: Sequence[ReservedLabels],
    ) -> None:
        self._reserved_labels = reserved_labels
        self._store = store
        self._cache = cache
        self._roles = roles
        self._past_versions = past_versions
        self._restorer = restorer
        self._on_commit = on_commit
        self._work = work
        self._large_presses = work.processor_time.large_presses

    async def execute(self, request: CommandRequest, loaded: SessionLoadResult | None) -> SessionResult:
        """Execute a command, or replay its first answer. See `Sessions.execute`."""
        session_id, name = request.session_id, request.session_name
        if request.principal.members is not None:
            await load_members(request.principal, session_id)
        role = self._find_role(request)
        key = self._store.keys.session(name)
        if loaded is None:
            held = self._cache.find_snapshot(name)
            loaded = await self._store.load(name, request.record_name, request.meter, held)
        if loaded.record is not None:
            session = None
            if role is None or role == "participant":
                stored = await self._restorer.complete_load(name, loaded)
                if stored is not None:
                    session = self._cache.parse_stored(name, stored.snapshot, key).session
            if role is None:
                role = await self._roles.find_role_by_labels(
                    request.principal, session_id, {} if session is None else session.labels
                )
            authorize_command(request, role)
            if role == "participant":
                require_participation(request, role, session)
            return await self._past_versions.replay_answer(name, request, loaded.record, loaded.snapshot, loaded.now_ms)
        stored, now_ms, lost = loaded.stored, loaded.now_ms, loaded.lost
        for _ in range(MAX_ATTEMPTS):
            if stored is None:
                stored = await self._restore(request)
            elif lost is not None:
                stored = await self._restorer.recover_lost_versions(name, stored, lost)
            if stored is None or stored.snapshot.deleted:
                self._store.charge_press_without_effect(request.meter)
                raise SessionNotFound(session_id)
            before = self._cache.parse_stored(name, stored.snapshot, key)
            decided = role or await self._find_role_of_loaded(request, before.session)
            await self._authorize(request, decided, before.session)
            bound = bind_to_caller(request, decided, before.session.rules.sync_mode)
            command = with_actor(bound.command, request.principal.actor)
            result = await self._attempt(name, bound, command, stored, before, now_ms)
            if isinstance(result, SessionResult):
                return result
            stored, now_ms, lost = result
        raise StoreUnavailable("Too many commands change this session at the same time; try again")

    async def _restore(self, request: CommandRequest) -> StoredSession | None:
        """Restore or recover the session of a command, as `SessionRestorer.restore_or_recover`.

        If the client has no token of the general quota, only its legal presses pass. Such a press must not read
        Postgres without a bound before it proves to be illegal. So it takes a unit of work before the read, and gives
        the unit back if the session exists.

        Raises: RateLimitExceeded before the read of Postgres, and the errors of `restore_or_recover`.
        """
        name, meter = request.session_name, request.meter
        if meter is None or not meter.is_press_of_limited_client or self._restorer.is_known_to_be_missing(name):
            return await self._restorer.restore_or_recover(name)
        client = request.principal.limited_client_id
        try:
            self._work.charge(client, UNKNOWN_SESSIONS)
        except RateLimitExceeded:
            self._store.charge_press_without_effect(meter)
            raise
        try:
            stored = await self._restorer.restore_or_recover(name)
        except StoreUnavailable:
            self._work.undo_charge(client, UNKNOWN_SESSIONS)
            raise
        if stored is not None and not stored.snapshot.deleted:
            self._work.undo_charge(client, UNKNOWN_SESSIONS)
        return stored

    def _find_role(self, request: CommandRequest) -> Role | None:
        """Return the role of the caller on the session of the command, None if the labels of the session decide it.

        If the caller cannot reach the session, its press is counted against the general quota of the caller instead of
        the quota for presses of the session. So a client cannot use up the presses of such a session.

        Raises: SessionNotFound.
        """
        try:
            return find_role(request.principal, request.session_id)
        except SessionNotFound:
            if request.meter is not None:
                request.meter.count_as_request()
            raise

    async def check_rights(self, request: CommandRequest, session: Session) -> None:
        """Check that the caller is allowed to execute the command on this version of the session. Commit nothing.

        Raises: Forbidden, ParticipantNotFound, or SessionNotFound if the caller cannot reach the session.
        """
        await load_members(request.principal, request.session_id)
        role = self._find_role(request) or await self._find_role_of_loaded(request, session)
        await self._authorize(request, role, session)

    async def _find_role_of_loaded(self, request: CommandRequest, session: Session) -> Role:
        """Return the role of the caller on the loaded session of the command.

        Raises: SessionNotFound after the look-ups and the counts of a press on a missing session.
        """
        try:
            return await self._roles.find_role_by_labels(request.principal, request.session_id, session.labels)
        except SessionNotFound:
            self._store.refund_press(request.meter)
            self._store.charge_press_without_effect(request.meter)
            raise

    async def _authorize(self, request: CommandRequest, role: Role, session: Session) -> None:
        """Check that the caller is allowed to execute the command on this version of the session.

        A forbidden press gives its token back to the session and takes a token of the client instead. So a client
        cannot use up the presses of a session that the client is not allowed to change.

        Raises: Forbidden, ParticipantNotFound, or RateLimitExceeded if the general quota of the client is used up.
            StoreUnavailable if the command changes labels, and the labels of member rows cannot be read.
        """
        if role == "admin" and request.on_behalf_of is None:
            return
        try:
            authorize_command(request, role)
            require_participation(request, role, session)
            await require_label_rights(request.principal, request.command, session, self._reserved_labels)
        except (Forbidden, ParticipantNotFound):
            self._store.refund_press(request.meter)
            self._store.charge_press_without_effect(request.meter)
            raise

    async def _attempt(
        self,
        name: str,
        request: CommandRequest,
        command: Command,
        stored: StoredSession,
        before: RenderedSession,
        now_ms: int,
    ) -> SessionResult | UnfinishedAttempt:
        """Apply a command to a stored session and commit the result, one time. `before` is the parsed stored session.

        `name` is the name of the session in its tenant.

        Returns UnfinishedAttempt if another commit came first, or if further transitions are overdue. The caller must
        then try again.

        Raises: the refusal of the command.
        """
        if isinstance(command, Reopen):
            request, command = await self._with_ended_turn(request, command, before.session)
        elif isinstance(command, Amend):
            request, command = await self._with_breaks_before(request, command, before.session, stored.audited_version)
        elif isinstance(command, Undo):
            request, command = await self._with_restored_turn(request, command, before.session)
        out_of_time_id = None
        if isinstance(command, Switch) and ran_out_of_time(before.session):
            out_of_time_id = await self._past_versions.find_expired_participant_id(name, before.session)
        decision = engine.apply(before.session, command, now_ms, request.precondition, out_of_time_id)
        if isinstance(decision.refusal, Forbidden):
            self._store.refund_press(request.meter)
        if decision.refusal is not None or not (decision.all_transitions or decision.has_more_overdue):
            self._store.charge_press_without_effect(request.meter)
        causes = _causes(decision, request)
        versions, rendered = build_versions(decision.all_transitions, causes, before, stored.snapshot.tag)
        outcome = _outcome(decision, request)
        prepared = prepare_commit(name, stored, versions, rendered.session, outcome=outcome, by_time=not decision.own)
        if not prepared.has_nothing_to_write:
            result = await self._store.commit(prepared.commit)
            if isinstance(result, AlreadyDecided):
                return await self._past_versions.replay_answer(name, request, result.record, None, now_ms)
            if isinstance(result, CommitConflict):
                COMMIT_CONFLICTS.inc()
                return UnfinishedAttempt(result.stored, result.now_ms, result.lost)
            self._finish_commit(name, prepared, rendered)
        if decision.has_more_overdue:
            return UnfinishedAttempt(prepared.stored, now_ms)
        if decision.refusal is not None:
            decision.refusal.document = prepared.stored.snapshot.document
            try:
                raise decision.refusal
            finally:
                del decision, outcome  # with them, this frame and the traceback of the refusal would be a cycle
        return SessionResult.from_stored_session(
            prepared.stored, now_ms, rendered.session, decision.expired_participant_id
        )

    async def _with_ended_turn(
        self, request: CommandRequest, command: Reopen, session: Session
    ) -> tuple[CommandRequest, Reopen]:
        """Return a reopening with the turn in which the session ended, in the command and in the audited arguments.

        Return the arguments unchanged if the status of the session refuses the command anyway, and in `individual`.

        Raises: SessionArchived if only cold storage has the turn, StoreUnavailable.
        """
        is_individual = session.rules.sync_mode is SyncMode.INDIVIDUAL
        if is_individual or session.status not in (Status.EXPIRED, Status.COMPLETED):
            return request, command
        turn = await self._past_versions.find_ended_turn(request.session_name, session)
        if turn is None:
            return request, command
        stored = {name: value for name, value in asdict(turn).items() if value is not None}
        return replace(request, args={**(request.args or {}), "turn": stored}), replace(command, turn=turn)

    async def _with_breaks_before(
        self, request: CommandRequest, command: Amend, session: Session, audited_version: int | None
    ) -> tuple[CommandRequest, Amend]:
        """Return an amendment with the breaks that the clock measured, in the command and in the audited arguments.

        Return the arguments unchanged if the amendment does not need these breaks. `audited_version` is that of the
        stored session.

        Raises: SessionArchived if the session is only in cold storage, StoreUnavailable.
        """
        if not is_amendable(session):
            return request, command
        is_needed = command.breaks is None and session.breaks is None
        breaks = await self._past_versions.find_breaks_before(
            request.session_name, session, audited_version, is_needed=is_needed
        )
        if breaks is None:
            return request, command
        args = {**(request.args or {}), "breaks_before": breaks_json(breaks)}
        return replace(request, args=args), replace(command, breaks_before=breaks)

    async def _with_restored_turn(
        self, request: CommandRequest, command: Undo, session: Session
    ) -> tuple[CommandRequest, Undo]:
        """Return an undo with the turn that it restores, in the command and in the audited arguments.

        Return the arguments unchanged if the turns cannot be undone. The engine then refuses the command.

        Raises: StoreUnavailable.
        """
        restored = await self._past_versions.find_restored_turn(request.session_name, session, command.turns)
        if restored is None:
            return request, command
        args = {**(request.args or {}), "restored": to_builtins(restored)}
        return replace(request, args=args), replace(command, restored=restored)

    def _finish_commit(self, session_name: str, prepared: PreparedCommit, rendered: RenderedSession) -> None:
        if prepared.commit.versions:
            self._on_commit(self._store.keys.partition_of(session_name))
            if tracing.active is not None:
                tracing.note_commit(traced_version(session_name, prepared.stored.snapshot))
        self._cache.put(session_name, prepared.stored.snapshot, rendered)
        if len(rendered.document) > LARGE_DOCUMENT_BYTES or self._large_presses.sessions:
            self._large_presses.note_size(session_name, len(rendered.document))


def _causes(decision: CommandDecision, request: CommandRequest) -> list[CommitCause]:
    """Return the cause of each transition. The cause of overdue and follow-up transitions is time, not the caller."""
    causes = [CAUSED_BY_TIME] * len(decision.overdue)
    causes += [request.cause] * len(decision.own)
    causes += [CAUSED_BY_TIME] * len(decision.follow_up)
    if causes and request.command_id is not None and decision.refusal is None and not decision.has_more_overdue:
        # The last event row of an accepted command has the command id. So a replay is possible after an eviction.
        at = len(decision.overdue) + len(decision.own) - 1
        causes[at] = replace(
            causes[at],
            command_id=request.record_name,
            fingerprint=request.fingerprint,
            expired_participant_id=decision.expired_participant_id,
        )
    return causes


def _outcome(decision: CommandDecision, request: CommandRequest) -> RecordedOutcome | None:
    """Return the outcome for the idempotency record.

    None without a command id, or if the command must be applied again.
    """
    name = request.record_name
    if name is None or decision.has_more_overdue:
        return None
    return RecordedOutcome(name, request.fingerprint, decision.refusal, decision.expired_participant_id)
